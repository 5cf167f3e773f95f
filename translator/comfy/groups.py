"""What the nodes of a graph belong to, for people: models, prompts, units, passes, output.

Told by the graph alone, so that any graph can be shown: by what its nodes give, by which sampler
they feed, and by titles such as ``ControlNet unit 0: canny``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from translator.comfy.catalog import NodeSignature
from translator.comfy.text import is_link

Graph = Mapping[str, Mapping[str, Any]]
"""A graph in ComfyUI's API format."""

MODELS, PROMPTS, OUTPUT = "Models", "Prompts", "Output"

_UNIT = re.compile(r"ControlNet unit \d+")
_MODEL_TYPES = frozenset(("MODEL", "CLIP", "VAE"))
_PASS_NAMES = ("First pass", "Hires pass")


@dataclass(frozen=True)
class Group:
    """Nodes that belong together.

    Attributes:
        title: in words: ``Models``, ``First pass``, ``ControlNet unit 1``.
        nodes: ids, in the graph's order.
        column: its place from left to right; groups of one column stand below each other.
    """

    title: str
    nodes: tuple[str, ...]
    column: int


def groups(graph: Graph, nodes: Mapping[str, NodeSignature]) -> tuple[Group, ...]:
    """The groups of a graph from left to right; every node is in one.

    Args:
        nodes: signatures, for the types of outputs.
    """
    if not graph:
        return ()
    found = _Sorter(graph, nodes).titles()
    order = sorted(dict.fromkeys(found.values()), key=_place)
    members: dict[str, list[str]] = {title: [] for title in order}
    for node in graph:
        members[found[node]].append(node)
    columns = {
        column: number for number, column in enumerate(sorted({_place(t)[0] for t in order}))
    }
    return tuple(Group(title, tuple(members[title]), columns[_place(title)[0]]) for title in order)


def links(graph: Graph, node: str) -> Iterator[tuple[str, str, int]]:
    """(input, source node, source output) of every link into a node."""
    for name, value in graph[node]["inputs"].items():
        if is_link(value, graph):
            yield name, value[0], value[1]


class _Sorter:
    def __init__(self, graph: Graph, nodes: Mapping[str, NodeSignature]) -> None:
        self._graph = graph
        self._signatures = nodes
        self._sources = {
            node: tuple(dict.fromkeys(source for _, source, _ in links(graph, node)))
            for node in graph
        }
        self._users: dict[str, list[str]] = {node: [] for node in graph}
        for node, sources in self._sources.items():
            for source in sources:
                self._users[source].append(node)

    def titles(self) -> dict[str, str]:
        passes = self._passes()
        found: dict[str, str] = {}
        self._add_units(found)
        for node in self._graph:
            if node in passes:
                found.setdefault(node, _pass_name(passes[node]))
        for node in reversed(tuple(self._graph)):
            if node not in found:
                found[node] = self._title(node, found, passes)
        return {node: found[node] for node in self._graph}

    def _outputs(self, node: str) -> Sequence[str]:
        signature = self._signatures.get(self._graph[node]["class_type"])
        return signature.outputs if signature else ()

    def _passes(self) -> dict[str, int]:
        """Sampler -> how many samplers of other sizes or pictures lie before it, from 0."""
        depth: dict[str, int] = {}
        passes: dict[str, int] = {}
        for node in self._graph:  # sources come first
            before = max((depth[source] for source in self._sources[node]), default=-1)
            if self._samples(node):
                latent = self._graph[node]["inputs"].get("latent_image")
                goes_on = is_link(latent, self._graph) and latent[0] in passes
                passes[node] = passes[latent[0]] if goes_on else before + 1
                before = passes[node]
            depth[node] = before
        return passes

    def _samples(self, node: str) -> bool:
        return "latent_image" in self._graph[node]["inputs"] and "LATENT" in self._outputs(node)

    def _add_units(self, found: dict[str, str]) -> None:
        """Nodes titled after a unit, and what only units are fed with."""
        for node in self._graph:
            match = _UNIT.match(self._title_of(node))
            if match:
                found[node] = match[0]
        for node in reversed(tuple(self._graph)):
            users = {found.get(user) for user in self._users[node]}
            if node in found or not users or None in users or self._is_model_or_prompt(node):
                continue
            if all(user is not None and _UNIT.match(user) for user in users):
                found[node] = min(str(user) for user in users)

    def _title_of(self, node: str) -> str:
        return str(self._graph[node].get("_meta", {}).get("title", ""))

    def _is_model_or_prompt(self, node: str) -> bool:
        outputs = set(self._outputs(node))
        return bool(outputs) and outputs <= _MODEL_TYPES | {"CONDITIONING"}

    def _title(self, node: str, found: Mapping[str, str], passes: Mapping[str, int]) -> str:
        """The group of a node whose users have theirs already."""
        outputs = set(self._outputs(node))
        if outputs & _MODEL_TYPES:
            return MODELS
        if "CONDITIONING" in outputs:
            return PROMPTS
        users = [found[user] for user in self._users[node]]
        nearest = [title for title in users if title not in (MODELS, PROMPTS)]
        if not nearest:
            return OUTPUT if not users else users[0]
        return min(nearest, key=_place)


def _pass_name(depth: int) -> str:
    return _PASS_NAMES[depth] if depth < len(_PASS_NAMES) else f"Pass {depth + 1}"


def _place(title: str) -> tuple[int, str]:
    """Column and order of a group."""
    fixed = {MODELS: 0, PROMPTS: 1, OUTPUT: 1000}
    if title in fixed:
        return fixed[title], title
    if _UNIT.match(title):
        return 2, title
    passes = [name for name in _PASS_NAMES if name == title]
    return (3 + _PASS_NAMES.index(passes[0]) if passes else 3 + int(title.split()[1])), title


def ranks(graph: Graph, members: Iterable[str]) -> dict[str, int]:
    """Member -> its column within the group: one right of the members that feed it.

    Args:
        members: in the graph's order, where sources come first.
    """
    rank: dict[str, int] = {}
    for node in members:
        before = [rank[source] for _, source, _ in links(graph, node) if source in rank]
        rank[node] = max(before, default=-1) + 1
    return rank
