"""What the versions of ComfyUI that the server can speak do otherwise, one row a version."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Error = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Dialect:
    """A version's ways, as its ``execution.validate_prompt`` and ``server.py`` have them.

    Attributes:
        version: as ``/system_stats`` says it; signatures of it are bundled.
        names_missing_nodes: an unknown class is ``missing_node_type``, not ``invalid_prompt``.
        names_cycles: a cycle is the error ``dependency_cycle`` of its nodes; older versions answer
            that the graph is invalid and name nothing.
        checks_v3: values of V3 nodes are compared with their options.
        quotes_values: a value that is not in a list is shown as Python shows it.
        strict_ids: a prompt id of the client must be a UUID as Python writes it.
        jobs_api: ``/api/jobs/{id}`` and its cancel are there.
    """

    version: str
    names_missing_nodes: bool
    names_cycles: bool
    checks_v3: bool
    quotes_values: bool
    strict_ids: bool
    jobs_api: bool


DIALECTS: Mapping[str, Dialect] = {
    dialect.version: dialect
    for dialect in (
        Dialect("0.3.64", False, False, False, False, False, False),
        Dialect("0.33.0", True, True, True, True, True, True),
    )
}
OLDEST = "0.3.64"


def missing_class(dialect: Dialect, node_id: str, node: Mapping[str, Any]) -> Error:
    """The refusal of a node without a class, or of one that is not there."""
    if not dialect.names_missing_nodes:
        message = (
            f"Cannot execute because node {node['class_type']} does not exist."
            if "class_type" in node
            else "Cannot execute because a node is missing the class_type property."
        )
        return _error("invalid_prompt", message, node_id, {})
    title = (node.get("_meta") or {}).get("title")
    name = node.get("class_type")
    message = (
        f"Node '{title or name}' not found. The custom node may not be installed."
        if name is not None
        else f"Node '{title or f'ID #{node_id}'}' has no class_type. The workflow may be corrupted "
        "or a custom node is missing."
    )
    shown = title if name is None else title or name
    info = {"node_id": node_id, "class_type": name, "node_title": shown}
    return _error("missing_node_type", message, node_id, info)


def _error(kind: str, message: str, node_id: str, info: Error) -> Error:
    details = f"Node ID '#{node_id}'"
    return {"type": kind, "message": message, "details": details, "extra_info": info}
