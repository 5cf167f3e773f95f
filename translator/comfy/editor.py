"""A graph as a workflow of ComfyUI's editor: laid out, grouped, with titles in words.

The editor's own format (version 0.4) has positions, sizes, links by number, and the values of each
node in the order of its widgets.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from translator.comfy.catalog import InputSignature, NodeSignature
from translator.comfy.groups import MODELS, OUTPUT, PROMPTS, Graph, Group, groups, ranks
from translator.comfy.text import is_link
from translator.comfy.titles import titles

WIDGET_TYPES = frozenset(("INT", "FLOAT", "STRING", "BOOLEAN", "COMBO"))

_VERSION = 0.4
_SEED_INPUTS = ("seed", "noise_seed")
"""INT inputs beside which the editor puts a widget that says what becomes of the seed."""

_WIDTH, _WIDE = 320, 420
_TITLE, _ROW, _LINES = 30, 24, 130
"""Pixels of a title, of a slot or widget, and of a field of several lines."""

_GAP, _MARGIN, _GROUP_TITLE = 40, 20, 50
_COLUMN_HEIGHT = 1100
"""Where a column of a group goes on in a new one."""

_COLOURS = {MODELS: "#3f5159", PROMPTS: "#3f5940", OUTPUT: "#594a3f"}
_UNIT_COLOUR, _PASS_COLOUR = "#57405e", "#40475e"


@dataclass(frozen=True)
class Box:
    """A rectangle in pixels."""

    x: int
    y: int
    width: int
    height: int


@dataclass(frozen=True)
class Layout:
    """Where everything stands.

    Attributes:
        groups: the groups, left to right.
        group_boxes: in the order of `groups`.
        nodes: node -> its box, the title included.
        titles: node -> its title.
    """

    groups: tuple[Group, ...]
    group_boxes: tuple[Box, ...]
    nodes: Mapping[str, Box]
    titles: Mapping[str, str]


def layout(graph: Graph, nodes: Mapping[str, NodeSignature]) -> Layout:
    """Groups from left to right; in each, nodes right of those that feed them."""
    found = groups(graph, nodes)
    group_of = {node: group.title for group in found for node in group.nodes}
    placed: dict[str, Box] = {}
    boxes: list[Box] = []
    x, y, right, column = 0, 0, 0, 0
    for group in found:
        if group.column != column:
            x, y, column = right + _GAP, 0, group.column
        box = _place(graph, nodes, group, x, y, placed)
        boxes.append(box)
        y, right = box.y + box.height + _GAP, max(right, box.x + box.width)
    return Layout(found, tuple(boxes), placed, titles(graph, group_of))


def workflow(graph: Graph, nodes: Mapping[str, NodeSignature]) -> dict[str, Any]:
    """A graph in API format as a workflow that the editor opens.

    Args:
        nodes: signatures; a node without one is left out of the workflow's promises: its values
            are written in the graph's order.
    """
    placed = layout(graph, nodes)
    numbers = _numbers(graph)
    wires = tuple(_wires(graph, nodes))
    incoming: dict[str, dict[str, _Wire]] = {}
    outgoing: dict[tuple[str, int], list[int]] = {}
    for wire in wires:
        incoming.setdefault(wire.target, {})[wire.input] = wire
        outgoing.setdefault((wire.source, wire.output), []).append(wire.number)
    slots = {node: _slots(graph, nodes, node) for node in graph}
    places = {
        (node, name): place for node, names in slots.items() for place, name in enumerate(names)
    }
    found = [
        _node(graph, nodes, node, placed, numbers, slots, incoming.get(node, {}), outgoing, order)
        for order, node in enumerate(graph)
    ]
    return {
        "last_node_id": max(numbers.values(), default=0),
        "last_link_id": len(wires),
        "nodes": found,
        "links": [
            [
                wire.number,
                numbers[wire.source],
                wire.output,
                numbers[wire.target],
                places[wire.target, wire.input],
                wire.type,
            ]
            for wire in wires
        ],
        "groups": [
            {
                "id": number,
                "title": group.title,
                "bounding": [box.x, box.y, box.width, box.height],
                "color": _colour(group.title),
                "font_size": 24,
                "flags": {},
            }
            for number, (group, box) in enumerate(
                zip(placed.groups, placed.group_boxes, strict=True), 1
            )
        ],
        "config": {},
        "extra": {},
        "version": _VERSION,
    }


def _numbers(graph: Graph) -> dict[str, int]:
    """Node -> its number in the editor: its id where all ids are numbers."""
    if all(node.isdecimal() for node in graph):
        return {node: int(node) for node in graph}
    return {node: number for number, node in enumerate(graph, 1)}


@dataclass(frozen=True)
class _Wire:
    number: int
    source: str
    output: int
    target: str
    input: str
    type: str


def _wires(graph: Graph, nodes: Mapping[str, NodeSignature]) -> Iterator[_Wire]:
    number = 0
    for target, node in graph.items():
        for name, value in node["inputs"].items():
            if is_link(value, graph):
                number += 1
                outputs = _outputs(graph, nodes, value[0])
                kind = outputs[value[1]] if value[1] < len(outputs) else "*"
                yield _Wire(number, value[0], value[1], target, name, kind)


def _outputs(graph: Graph, nodes: Mapping[str, NodeSignature], node: str) -> Sequence[str]:
    signature = nodes.get(graph[node]["class_type"])
    return signature.outputs if signature else ()


def _inputs(
    graph: Graph, nodes: Mapping[str, NodeSignature], node: str
) -> Mapping[str, InputSignature]:
    signature = nodes.get(graph[node]["class_type"])
    return signature.inputs if signature else {}


def _slots(graph: Graph, nodes: Mapping[str, NodeSignature], node: str) -> list[str]:
    """The inputs that are sockets: what takes links only, and widgets with a link."""
    known, given = _inputs(graph, nodes, node), graph[node]["inputs"]
    slots = [
        name
        for name, item in known.items()
        if item.type not in WIDGET_TYPES or is_link(given.get(name), graph)
    ]
    linked = [name for name, value in given.items() if is_link(value, graph)]
    return [*slots, *(name for name in linked if name not in slots)]


def _node(
    graph: Graph,
    nodes: Mapping[str, NodeSignature],
    node: str,
    placed: Layout,
    numbers: Mapping[str, int],
    slots: Mapping[str, Sequence[str]],
    incoming: Mapping[str, _Wire],
    outgoing: Mapping[tuple[str, int], list[int]],
    order: int,
) -> dict[str, Any]:
    """A node in the editor's format.

    Args:
        slots: node -> its sockets.
        incoming: input -> its wire.
        outgoing: node and output -> the numbers of the wires from there.
    """
    known, box = _inputs(graph, nodes, node), placed.nodes[node]
    class_type = graph[node]["class_type"]
    return {
        "id": numbers[node],
        "type": class_type,
        "title": placed.titles[node],
        "pos": [box.x, box.y + _TITLE],
        "size": [box.width, box.height - _TITLE],
        "flags": {},
        "order": order,
        "mode": 0,
        "inputs": [_socket(name, known.get(name), incoming.get(name)) for name in slots[node]],
        "outputs": [
            {
                "name": kind,
                "type": kind,
                "slot_index": index,
                "links": outgoing.get((node, index), []),
            }
            for index, kind in enumerate(_outputs(graph, nodes, node))
        ],
        "properties": {"Node name for S&R": class_type},
        "widgets_values": list(_widget_values(graph, nodes, node)),
    }


def _socket(name: str, item: InputSignature | None, wire: _Wire | None) -> dict[str, Any]:
    socket: dict[str, Any] = {
        "name": name,
        "type": item.type if item else (wire.type if wire else "*"),
        "link": wire.number if wire else None,
    }
    if item is not None and item.type in WIDGET_TYPES:
        socket["widget"] = {"name": name}
    return socket


def _widget_values(graph: Graph, nodes: Mapping[str, NodeSignature], node: str) -> Iterator[Any]:
    """The values of a node's widgets in the editor's order; a linked widget keeps its default."""
    given, known = graph[node]["inputs"], _inputs(graph, nodes, node)
    if not known:
        yield from (value for value in given.values() if not is_link(value, graph))
        return
    for name, item in known.items():
        if item.type not in WIDGET_TYPES:
            continue
        value = given.get(name)
        yield _default(item) if value is None or is_link(value, graph) else value
        if item.type == "INT" and name in _SEED_INPUTS:
            yield "fixed"
    for item in known.values():
        if item.folder == "input":
            yield "image"  # the button that uploads, which stands last


_EMPTY: Mapping[str, Any] = {"INT": 0, "FLOAT": 0.0, "STRING": "", "BOOLEAN": False}


def _default(item: InputSignature) -> Any:
    if item.default is not None:
        return item.default
    if item.type == "COMBO":
        return item.options[0] if item.options else ""
    return _EMPTY[item.type]


def _place(
    graph: Graph,
    nodes: Mapping[str, NodeSignature],
    group: Group,
    x: int,
    y: int,
    placed: dict[str, Box],
) -> Box:
    """Put the nodes of a group below and beside each other; the group's box around them."""
    levels: dict[int, list[str]] = {}
    rank = ranks(graph, group.nodes)
    for node in group.nodes:
        levels.setdefault(rank[node], []).append(node)
    left, bottom, right = x + _MARGIN, y, x
    for level in range(max(levels) + 1):
        top, width = y + _GROUP_TITLE, 0
        for node in levels.get(level, ()):
            size = _size(graph, nodes, node)
            if top > y + _GROUP_TITLE and top + size[1] > y + _COLUMN_HEIGHT:
                left, top, width = left + width + _GAP, y + _GROUP_TITLE, 0
            placed[node] = Box(left, top, *size)
            width, right = max(width, size[0]), max(right, left + size[0])
            bottom, top = max(bottom, top + size[1]), top + size[1] + _MARGIN
        left += width + _GAP
    return Box(x, y, right + _MARGIN - x, bottom + _MARGIN - y)


def _size(graph: Graph, nodes: Mapping[str, NodeSignature], node: str) -> tuple[int, int]:
    known = _inputs(graph, nodes, node)
    widgets = [item for item in known.values() if item.type in WIDGET_TYPES]
    fields = sum(item.multiline for item in widgets)
    slots = max(len(_slots(graph, nodes, node)), len(_outputs(graph, nodes, node)))
    rows = slots + sum(1 for _ in _widget_values(graph, nodes, node)) - fields
    return _WIDE if fields else _WIDTH, _TITLE + _ROW * rows + _LINES * fields + _MARGIN


def _colour(title: str) -> str:
    unit = title.startswith("ControlNet")
    return _COLOURS.get(title, _UNIT_COLOUR if unit else _PASS_COLOUR)
