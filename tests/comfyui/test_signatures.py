"""The bundled node signatures are those of the running server."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from importlib import resources
from typing import Any

import pytest

from tests.comfyui.exchange import Client
from translator import Catalog
from translator.comfy.catalog import NodeSignature, read_signatures
from translator.tables import read_table

LISTS_OF_FOLDERS = {
    ("LoadImageSetFromFolderNode", "folder"),
    ("LoadImageTextSetFromFolderNode", "folder"),
}
"""(node, input) whose options are the folders below the server's input folder."""


def bundled(name: str) -> Mapping[str, NodeSignature]:
    return read_signatures(read_table(name))


def same_but_for_files(one: NodeSignature, other: NodeSignature) -> bool:
    """Equal nodes. Lists of files are the server's own, and only the bundled one says so; some
    nodes list the keys of a set, so the order of options says nothing."""
    same = replace(other, inputs={**other.inputs, **file_lists(one)})
    return sorted_options(one) == sorted_options(same)


def sorted_options(node: NodeSignature) -> NodeSignature:
    inputs = {
        name: replace(item, options=tuple(sorted(item.options, key=str)))
        if item.type == "COMBO"
        else replace(item, options=())  # of V3's dynamic types: further inputs, not values
        for name, item in node.inputs.items()
    }
    return replace(node, inputs=inputs)


_AFTER_RELEASE = {"0.33.0": {"GetVideoComponents", "SaveVideo"}}
"""Nodes that a later commit with the same version, of which copies go round, has otherwise."""


def file_lists(node: NodeSignature) -> dict[str, Any]:
    return {
        name: item
        for name, item in node.inputs.items()
        if item.folder is not None or (node.name, name) in LISTS_OF_FOLDERS
    }


def differing(expected: Mapping[str, NodeSignature], object_info: Mapping[str, Any]) -> list[str]:
    """The nodes that the server has otherwise than `expected` says."""
    found = Catalog.from_object_info(object_info).nodes
    return [
        name
        for name, node in expected.items()
        if name in found and not same_but_for_files(node, found[name])
    ]


def test_foreign_nodes(client: Client, object_info: Mapping[str, Any]) -> None:
    version = client.get("/system_stats")["system"]["comfyui_version"]
    name = f"signatures-{version}"
    if not (resources.files("translator") / "tables" / f"{name}.json").is_file():
        pytest.skip(f"no signatures of ComfyUI {version} are bundled")
    expected = bundled(name)
    core = {node.name for node in expected.values() if not node.pack.startswith("custom_nodes")}
    assert core <= object_info.keys()
    assert set(differing(expected, object_info)) <= _AFTER_RELEASE.get(version, set())


def test_our_nodes(object_info: Mapping[str, Any]) -> None:
    expected = bundled("signatures-a1111-pack")
    assert expected.keys() <= object_info.keys(), "our pack did not load: see the server's log"
    assert not differing(expected, object_info)
