"""The order in which ComfyUI executes the nodes of a graph."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any


def is_link(value: Any) -> bool:
    """Whether an input value is ``[node id, output]``."""
    return (
        isinstance(value, list)
        and len(value) == 2
        and isinstance(value[0], str)
        and isinstance(value[1], int | float)
    )


class Schedule:
    """Hands out the nodes that the given outputs need, one by one, each after its sources.

    Of the nodes that are ready, an output goes first, then one that feeds an output directly, then
    one that feeds such a node, then the one that was added first: ComfyUI's heuristic to show a
    result as early as possible. Nodes are added by walking up from the outputs depth first, the
    last linked input first.

    Args:
        cached: whether a node's result is at hand, so that it need not run.
        is_output: whether a node is an output node.
    """

    def __init__(
        self,
        graph: Mapping[str, Mapping[str, Any]],
        cached: Callable[[str], bool],
        is_output: Callable[[str], bool],
    ) -> None:
        self._graph = graph
        self._cached = cached
        self._is_output = is_output
        self._waits_for: dict[str, int] = {}
        self._feeds: dict[str, list[str]] = {}

    def add(self, output: str) -> None:
        """Ask for a node; also one that is cached is handed out."""
        stack = [output]
        links: list[tuple[str, str]] = []
        while stack:
            node_id = stack.pop()
            if node_id in self._waits_for:
                continue
            self._waits_for[node_id] = 0
            self._feeds[node_id] = []
            for value in self._graph[node_id]["inputs"].values():
                if is_link(value) and not self._cached(value[0]):
                    stack.append(value[0])
                    links.append((value[0], node_id))
        for source, target in links:
            if target not in self._feeds[source]:
                self._feeds[source].append(target)
                self._waits_for[target] += 1

    def next(self) -> str | None:
        """The node to execute now, or None when all are done."""
        ready = [node_id for node_id, count in self._waits_for.items() if count == 0]
        if not ready:
            return None
        for distance in range(3):
            for node_id in ready:
                if self._reaches_output(node_id, distance):
                    return node_id
        return ready[0]

    def done(self, node_id: str) -> None:
        """A node was executed; those it feeds may become ready."""
        del self._waits_for[node_id]
        for target in self._feeds.pop(node_id):
            self._waits_for[target] -= 1

    def _reaches_output(self, node_id: str, distance: int) -> bool:
        if distance == 0:
            return self._is_output(node_id)
        return any(self._reaches_output(target, distance - 1) for target in self._feeds[node_id])
