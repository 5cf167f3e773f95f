"""Ends a graph's sampling early, as A1111's interrupt and skip do.

A1111 ends the pass that runs and decodes what it has reached; `interrupt` also drops the batches to
come. A graph has a sampling node a pass, so the passes of the batch under way are those that lie on
one path with the node that runs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

Graph = Mapping[str, Any]

_SAMPLING = frozenset({"KSampler", "KSamplerAdvanced", "SamplerCustom", "SamplerCustomAdvanced"})
_HEEDING = ("A1111Sampler", "A1111Schedule")
"""The samplers of our node pack: the only ones that look whether their pass is to end."""


def samples(graph: Graph, node: str | None) -> bool:
    """Whether a node runs a sampler (and reports its steps)."""
    return _class(graph, node) in _SAMPLING


def sampling_nodes(graph: Graph) -> list[str]:
    """Ids of the nodes that sample, in the graph's order."""
    return [name for name in graph if samples(graph, name)]


def heeds(graph: Graph) -> bool:
    """Whether the passes of a graph can be ended early."""
    return any(_class(graph, name) in _HEEDING for name in graph)


def passes_under_way(graph: Graph, node: str | None, done: Iterable[str]) -> list[str]:
    """The sampling nodes of the batch that is being made: those on one path with a node.

    Args:
        node: the node that runs; None where none does.
        done: nodes that have run or were found in the cache.

    Returns:
        None of a batch whose sampling has not begun: it has no picture to end with.
    """
    if node is None:
        return []
    links = _links(graph)
    batch = _reached(links, node) | _reached(_reverse(links), node)
    found = [name for name in sampling_nodes(graph) if name in batch]
    begun = set(done) | ({node} if samples(graph, node) else set())
    begun &= set(found)
    return [name for name in found if _reached(links, name) & begun]


def _class(graph: Graph, node: str | None) -> str:
    entry = graph.get(node or "")
    return str(entry.get("class_type", "")) if isinstance(entry, Mapping) else ""


def _links(graph: Graph) -> dict[str, set[str]]:
    """Node -> the nodes that it takes inputs from."""
    return {
        name: {
            str(value[0])
            for value in node["inputs"].values()
            if isinstance(value, list) and len(value) == 2 and str(value[0]) in graph
        }
        for name, node in graph.items()
    }


def _reverse(links: Mapping[str, set[str]]) -> dict[str, set[str]]:
    turned: dict[str, set[str]] = {name: set() for name in links}
    for name, sources in links.items():
        for source in sources:
            turned[source].add(name)
    return turned


def _reached(links: Mapping[str, set[str]], start: str) -> set[str]:
    """The start and everything that its links lead to."""
    found, waiting = {start}, [start]
    while waiting:
        for name in links.get(waiting.pop(), ()):
            if name not in found:
                found.add(name)
                waiting.append(name)
    return found
