"""Finished graphs held against the bundled node signatures, as read from their files.

Written apart from `translator.comfy.graph`, so that a mistake there does not hide itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any

from translator.comfy.catalog import OLDEST, VERSIONS, signature_files
from translator.tables import read_table

_SIMPLE = {"INT": int, "FLOAT": (int, float), "STRING": str, "BOOLEAN": bool}


def faults(graph: Mapping[str, Any], nodes: Mapping[str, Any]) -> list[str]:
    """What a ComfyUI with these nodes would refuse in a graph."""
    return [fault for node_id in graph for fault in _of_node(node_id, graph, nodes)]


def unused(graph: Mapping[str, Any], nodes: Mapping[str, Any]) -> list[str]:
    """Nodes of an acceptable graph that no output node needs; ComfyUI does not execute them."""
    reached = _reached(graph, nodes)
    return [
        f"{node_id} {node['class_type']}"
        for node_id, node in graph.items()
        if node_id not in reached
    ]


@cache
def bundled(version: str = OLDEST) -> Mapping[str, Any]:
    """A bundled version of ComfyUI with the packs, and our own pack.

    Where a version was captured without packs, it has those of the oldest.
    """
    nodes: dict[str, Any] = {}
    for name in signature_files(version):
        nodes.update(read_table(name)["nodes"])
    if version == OLDEST:
        return nodes
    packs = {name: node for name, node in bundled().items() if _is_of_a_pack(node)}
    return {**packs, **nodes}


def versions() -> Sequence[str]:
    """Every bundled version, the oldest first."""
    return VERSIONS


def _is_of_a_pack(node: Mapping[str, Any]) -> bool:
    pack: str = node["pack"]
    return pack.startswith("custom_nodes.") and not pack.endswith("websocket_image_save")


def _of_node(node_id: str, graph: Mapping[str, Any], known: Mapping[str, Any]) -> Iterator[str]:
    node = graph[node_id]
    where = f"{node_id} {node['class_type']}"
    signature = known.get(node["class_type"])
    if signature is None:
        yield f"{where}: no such node"
        return
    required = signature["inputs"].get("required", {})
    inputs = {**required, **signature["inputs"].get("optional", {})}
    yield from (f"{where}.{name}: missing" for name in required if name not in node["inputs"])
    for name, value in node["inputs"].items():
        if name not in inputs:
            yield f"{where}.{name}: no such input"
        elif isinstance(value, list):
            yield from _of_link(f"{where}.{name}", inputs[name], value, graph, known)
        else:
            yield from _of_value(f"{where}.{name}", inputs[name], value)


def _of_link(
    where: str,
    item: Mapping[str, Any],
    link: list[Any],
    graph: Mapping[str, Any],
    known: Mapping[str, Any],
) -> Iterator[str]:
    source, slot = link
    if source not in graph:
        yield f"{where}: links to {source}, which is not there"
        return
    outputs = known.get(graph[source]["class_type"], {}).get("outputs", [])
    if slot >= len(outputs):
        yield f"{where}: node {source} has no output {slot}"
        return
    given, wanted = outputs[slot]["type"], item["type"]
    if "*" not in (given, wanted) and not set(given.split(",")) & set(wanted.split(",")):
        yield f"{where}: takes {wanted}, is linked to {given}"


def _of_value(where: str, item: Mapping[str, Any], value: Any) -> Iterator[str]:
    if item["type"] == "COMBO":
        if not item.get("folders") and value not in item["options"]:
            yield f"{where}: {value!r} is not one of {item['options']}"
        return
    kind = _SIMPLE.get(item["type"])
    if kind is None:
        yield f"{where}: takes a link of type {item['type']}, has {value!r}"
    elif not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        yield f"{where}: takes {item['type']}, has {value!r}"
    elif item["type"] in ("INT", "FLOAT") and not (
        item.get("min", value) <= value <= item.get("max", value)
    ):
        yield f"{where}: {value} is not within {item.get('min')}..{item.get('max')}"


def _reached(graph: Mapping[str, Any], known: Mapping[str, Any]) -> set[str]:
    """The nodes that some output node needs. A cycle cannot hide: each node is visited once."""
    todo = [key for key, node in graph.items() if known[node["class_type"]]["output_node"]]
    seen: set[str] = set()
    while todo:
        node_id = todo.pop()
        if node_id not in seen:
            seen.add(node_id)
            links = graph[node_id]["inputs"].values()
            todo += [value[0] for value in links if isinstance(value, list)]
    return seen
