"""The node pack's table: inputs and outputs from its signatures, meanings from its docstrings."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from tools.markdown import table
from translator.tables import read_table

NODES = Path(__file__).parents[1] / "custom_nodes" / "comfyui_a1111" / "nodes"
_SHOWN_CHOICES = 8


def node_table() -> str:
    """Every node of the pack, file by file."""
    signatures = read_table("signatures-a1111-pack")["nodes"]
    rows = [
        [f"`{name}`", meaning, _inputs(signatures[name]["inputs"]), _outputs(signatures[name])]
        for name, meaning in sorted(meanings().items())
        if name in signatures
    ]
    return table(["node", "what it does", "inputs", "outputs"], rows)


@cache
def meanings() -> Mapping[str, str]:
    """Class of the pack's nodes -> first paragraph of its docstring, in one line."""
    return dict(_documented())


def _documented() -> Iterator[tuple[str, str]]:
    for file in sorted(NODES.glob("*.py")):
        for item in ast.parse(file.read_text("utf-8")).body:
            if isinstance(item, ast.ClassDef):
                paragraph = (ast.get_docstring(item) or "").partition("\n\n")[0]
                yield item.name, " ".join(paragraph.split())


def _inputs(groups: Mapping[str, Mapping[str, Any]]) -> str:
    required = [_input(*item) for item in groups.get("required", {}).items()]
    optional = list(_with_rows(groups.get("optional", {})))
    return ", ".join(required) + ("; optional " + ", ".join(optional) if optional else "")


def _with_rows(inputs: Mapping[str, Any]) -> Iterator[str]:
    """Inputs; of a numbered row (``image_1`` ...) the first and the last."""
    inside = False
    for name, item in inputs.items():
        stem, _, number = name.rpartition("_")
        between = number.isdigit() and {
            f"{stem}_{int(number) - 1}",
            f"{stem}_{int(number) + 1}",
        } <= set(inputs)
        if not between:
            yield _input(name, item)
        elif not inside:
            yield "..."
        inside = between


def _input(name: str, item: Mapping[str, Any]) -> str:
    options = item.get("options") or []
    if options:
        shown = ", ".join(map(str, options[:_SHOWN_CHOICES]))
        more = ", ..." if len(options) > _SHOWN_CHOICES else ""
        return f"{name} [{shown}{more}]"
    bounds = f" {item['min']}..{item['max']}" if "min" in item and "max" in item else ""
    return f"{name} {item['type']}{bounds}"


def _outputs(signature: Mapping[str, Any]) -> str:
    return ", ".join(
        item["type"] if item["name"] == item["type"] else f"{item['name']} {item['type']}"
        for item in signature["outputs"]
    )
