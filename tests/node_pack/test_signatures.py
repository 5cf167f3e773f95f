"""The bundled signatures of our pack are those of its nodes; its mappings are a literal."""

from __future__ import annotations

import ast

import pytest

from tools import pack_signatures

pytest.importorskip("torch", reason="the node pack needs torch")


def test_bundled_signatures_are_up_to_date() -> None:
    written = pack_signatures.TABLE.read_text("utf-8")
    assert written == pack_signatures.render(), "run python -m tools.pack_signatures"


def test_node_class_mappings_are_a_literal() -> None:
    """Tools that list a pack's nodes without importing it read the mapping as it is written."""
    source = (
        pack_signatures.ROOT / "custom_nodes" / pack_signatures.PACK / "__init__.py"
    ).read_text()
    values = {
        target.id: node.value
        for node in ast.parse(source).body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    mapping = values["NODE_CLASS_MAPPINGS"]
    assert isinstance(mapping, ast.Dict)
    names = [key.value for key in mapping.keys if isinstance(key, ast.Constant)]
    classes = [value.id for value in mapping.values if isinstance(value, ast.Name)]
    assert names == classes
    assert names == sorted(names)
