"""Workflows as ComfyUI's editor saves them -> graphs in API format, by the nodes' signatures.

Converted is what the signatures tell for certain: nodes, links, widgets in their order, reroutes,
primitives, notes, muted and bypassed nodes. Groups with nodes of their own (subgraphs), and nodes
that the server does not have, are not.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from translator import Catalog
from translator.comfy.catalog import InputSignature
from worker.errors import RequestError

_WIDGETS = frozenset(("INT", "FLOAT", "STRING", "BOOLEAN", "COMBO"))
_AFTER_GENERATE = frozenset(("fixed", "increment", "decrement", "randomize"))
_SEEDS = ("seed", "noise_seed")
_MUTED, _BYPASSED = 2, 4
_PRIMITIVE, _REROUTE = "PrimitiveNode", "Reroute"
_DECORATION = frozenset(("Note", "MarkdownNote", _PRIMITIVE, _REROUTE))

_REMEDY = "export it with Workflow > Export (API)"


def to_graph(workflow: Mapping[str, Any], catalog: Catalog) -> dict[str, Any]:
    """The graph of a workflow in the editor's format.

    Raises:
        RequestError: it holds what cannot be converted for certain, by node.
    """
    try:
        graph = _Converter(workflow, catalog).graph()
    except (AttributeError, IndexError, KeyError, TypeError, ValueError):
        raise RequestError(
            "workflow: this is the editor's format, and it is damaged", _REMEDY
        ) from None
    if not graph:
        raise RequestError("workflow: this is the editor's format, and no node of it runs", _REMEDY)
    return graph


class _Converter:
    def __init__(self, workflow: Mapping[str, Any], catalog: Catalog) -> None:
        self._catalog = catalog
        self._nodes = {node["id"]: node for node in workflow["nodes"]}
        self._links = dict(_links(workflow.get("links") or ()))

    def graph(self) -> dict[str, Any]:
        return {
            str(node_id): {
                "class_type": node["type"],
                "inputs": dict(self._inputs(node)),
                "_meta": {"title": node.get("title") or node["type"]},
            }
            for node_id, node in self._nodes.items()
            if node["type"] not in _DECORATION and node.get("mode") not in (_MUTED, _BYPASSED)
        }

    def _inputs(self, node: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
        signature = self._catalog.nodes.get(node["type"])
        if signature is None:
            raise _refused(node, "which the server does not have, or which is a subgraph")
        linked = {item["name"]: item for item in node.get("inputs") or ()}
        values = node.get("widgets_values") or []
        given = values if isinstance(values, Mapping) else None
        rest = [] if given is not None else list(values)
        for name, item in signature.inputs.items():
            slot = linked.get(name)
            if _is_widget(item) and not (slot and "widget" not in slot):
                value = given.get(name) if given is not None else _next(rest, name, node)
                if given is None or name in given:
                    yield name, value
            if slot and slot.get("link") is not None:
                source = self._source(self._links[slot["link"]], item.type)
                if source is not None:
                    yield name, source

    def _source(self, end: tuple[Any, int], kind: str) -> Any:
        """What a link carries: ``[node, output]``, a primitive's value, None from a muted node."""
        for _ in self._nodes:
            node_id, slot = end
            node = self._nodes[node_id]
            if node["type"] == _PRIMITIVE:
                return node["widgets_values"][0]
            if node.get("mode") == _MUTED:
                return None
            if node["type"] != _REROUTE and node.get("mode") != _BYPASSED:
                return [str(node_id), slot]
            link = self._through(node, slot)
            if link is None:
                return None
            end = self._links[link]
        raise RequestError("workflow: its reroutes lead in a circle", _REMEDY)

    @staticmethod
    def _through(node: Mapping[str, Any], slot: int) -> Any:
        """The link that a reroute or a bypassed node passes on: the first of the output's type."""
        inputs = node.get("inputs") or []
        if node["type"] == _REROUTE:
            return inputs[0].get("link")
        kind = node["outputs"][slot]["type"]
        return next((item.get("link") for item in inputs if item["type"] == kind), None)


def _links(entries: Sequence[Any]) -> Iterator[tuple[Any, tuple[Any, int]]]:
    """Link id -> node and output that it comes from; a list in old files, an object in new ones."""
    for entry in entries:
        if isinstance(entry, Mapping):
            yield entry["id"], (entry["origin_id"], entry["origin_slot"])
        else:
            yield entry[0], (entry[1], entry[2])


def _is_widget(item: InputSignature) -> bool:
    return item.type in _WIDGETS


def _next(rest: list[Any], name: str, node: Mapping[str, Any]) -> Any:
    """The next widget's value; a seed's is followed by what the editor does with it afterwards."""
    if not rest:
        raise _refused(node, f"which has no value for its input {name}")
    value = rest.pop(0)
    if name in _SEEDS and rest and rest[0] in _AFTER_GENERATE:
        rest.pop(0)
    return value


def _refused(node: Mapping[str, Any], why: str) -> RequestError:
    return RequestError(
        f"workflow: this is the editor's format, with node {node['id']} ({node['type']}), {why}",
        _REMEDY,
    )
