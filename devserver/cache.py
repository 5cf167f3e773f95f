"""What ComfyUI keeps of the last graph, and how it knows a node again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from devserver.schedule import is_link
from devserver.validation import Graph

Key = tuple[Any, ...]
IsChanged = Callable[[str], Any]
"""Node id -> what the node's IS_CHANGED says: part of its key (a file's hash, the time)."""


def node_keys(graph: Graph, is_changed: IsChanged) -> dict[str, Key]:
    """Node id -> cache key: the class and inputs of the node and of all above it.

    As in ComfyUI a link is written as the position of its source among the ancestors, so ids do
    not matter, but two equal nodes count as two. (No supported node sees its own id, which
    ComfyUI would make part of the key.)
    """
    parts = {node_id: _parts(node_id, node, is_changed) for node_id, node in graph.items()}
    return {node_id: _key(parts, node_id) for node_id in graph}


_Parts = tuple[Key, list[tuple[str, Any]]]


def _parts(node_id: str, node: Mapping[str, Any], is_changed: IsChanged) -> _Parts:
    """What a node itself adds to a key, and its inputs sorted by name."""
    return (node["class_type"], is_changed(node_id)), sorted(node["inputs"].items())


def _key(parts: Mapping[str, _Parts], node_id: str) -> Key:
    order: dict[str, int] = {}
    _number_ancestors(parts, node_id, order)
    return tuple(_signature(parts[item], order) for item in (node_id, *order) if item in parts)


def _number_ancestors(parts: Mapping[str, _Parts], node_id: str, order: dict[str, int]) -> None:
    for _, value in parts[node_id][1]:
        if is_link(value) and value[0] not in order and value[0] in parts:
            order[value[0]] = len(order)
            _number_ancestors(parts, value[0], order)


def _signature(parts: _Parts, order: Mapping[str, int]) -> Key:
    head, inputs = parts
    return head + tuple(
        (name, "link", order.get(value[0]), value[1]) if is_link(value) else (name, _plain(value))
        for name, value in inputs
    )


def _plain(value: Any) -> Any:
    """A hashable stand-in for an input value."""
    return value if isinstance(value, int | float | str | bool | None) else repr(value)


class Cache:
    """Values by cache key; a new graph drops what none of its nodes needs."""

    def __init__(self) -> None:
        self._values: dict[Key, Any] = {}
        self._keys: dict[str, Key] = {}

    def use(self, keys: dict[str, Key]) -> None:
        """Turn to a new graph."""
        used = set(keys.values())
        self._values = {key: value for key, value in self._values.items() if key in used}
        self._keys = keys

    def get(self, node_id: str) -> Any | None:
        """What was kept for a node of the current graph."""
        key = self._keys.get(node_id)
        return None if key is None else self._values.get(key)

    def put(self, node_id: str, value: Any) -> None:
        self._values[self._keys[node_id]] = value

    def __contains__(self, node_id: str) -> bool:
        return self._keys.get(node_id) in self._values
