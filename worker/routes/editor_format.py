"""Workflows as ComfyUI's editor saves them -> graphs in API format, by the nodes' signatures.

Converted is what the signatures tell for certain: nodes, links, widgets in their order, reroutes,
primitives, notes, muted and bypassed nodes, subgraphs with the widgets that they show. The rules
are those of the editor's own export: inner nodes are named ``subgraph:node``. Nodes that the server
does not have, group nodes, and inputs whose parts depend on their value are not.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from translator import Catalog
from translator.comfy.catalog import InputSignature, NodeSignature
from worker.errors import RequestError

_DYNAMIC, _GROWING = "COMFY_DYNAMICCOMBO_V3", "COMFY_AUTOGROW_V3"
"""Types of inputs of newer nodes: one with parts of its own, and a list of inputs."""
_WIDGETS = frozenset(("INT", "FLOAT", "STRING", "BOOLEAN", "COMBO", "COLOR", _DYNAMIC))
_AFTER_GENERATE = frozenset(("fixed", "increment", "decrement", "randomize"))
_SEEDS = ("seed", "noise_seed")
_MUTED, _BYPASSED = 2, 4
_PRIMITIVE, _REROUTE = "PrimitiveNode", "Reroute"
_CUSTOM_COMBO = "CustomCombo"
"""A node whose widgets the editor makes: the place of the choice, and the choices."""
_GROUP_NODE = "workflow>"
_ANY = "*"
_INPUT_NODE, _OUTPUT_NODE = -10, -20
"""Ids, in the links of a subgraph, of its own inputs and outputs."""
_OWN_WIDGET = "-1"
"""In ``proxyWidgets``: a widget of the subgraph's input, not of a node inside."""
_MOST_NODES, _DEEPEST = 10_000, 20
"""Nodes in all, those that do not run included, and subgraphs inside each other."""
_MOST_STEPS = 1_000_000
"""Links that are followed, and nodes and slots that are looked at beside them."""
_LONGEST_ID, _LONGEST_TYPE = 100, 1000
"""Characters of a node's id and of a slot's type."""
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


_Widget = tuple[str, str]
"""Id of the node (`_OWN_WIDGET` for an input of the subgraph) and name of a widget."""


_Linked = Mapping[str, Mapping[str, Any]]
"""A node's input slots by name."""


@dataclass(frozen=True)
class _Level:
    """The workflow itself, or one subgraph as it stands in the level above.

    Attributes:
        nodes: by id.
        links: id -> the node and output that it comes from.
        ends: output of the subgraph -> the link that leads to it.
        inputs: names of the subgraph's inputs, in order.
        host: the node that stands for the subgraph above; None for the workflow itself.
        above: its level; None for the workflow itself.
        values: what the host says for widgets that it shows.
        slots: how many nodes and inputs of nodes there are.
    """

    nodes: Mapping[Any, Mapping[str, Any]]
    links: Mapping[Any, tuple[Any, int]]
    ends: Mapping[int, Any] = field(default_factory=dict)
    inputs: Sequence[str] = ()
    host: Mapping[str, Any] | None = None
    above: _Level | None = None
    values: Mapping[_Widget, Any] = field(default_factory=dict)
    slots: int = 0

    @property
    def path(self) -> str:
        """What stands before the ids of its nodes in the graph."""
        if self.above is None or self.host is None:
            return ""
        return f"{self.above.path}{self.host['id']}:"


@dataclass(frozen=True)
class _Value:
    """A widget's value at the place of a link."""

    value: Any


_Source = tuple[str, int] | _Value | None
"""What a link carries: a node's output, a value, or nothing (it comes from a muted node)."""


class _Converter:
    def __init__(self, workflow: Mapping[str, Any], catalog: Catalog) -> None:
        self._catalog = catalog
        definitions = (workflow.get("definitions") or {}).get("subgraphs") or ()
        self._subgraphs = {item["id"]: item for item in definitions}
        self._bare: dict[Any, _Level] = {}
        self._levels: dict[tuple[str, Any], _Level] = {}
        self._workflow = workflow
        self._nodes_left = _MOST_NODES
        self._steps_left = _MOST_STEPS

    def graph(self) -> dict[str, Any]:
        return dict(self._entries(_level(self._workflow)))

    def _entries(self, level: _Level) -> Iterator[tuple[str, dict[str, Any]]]:
        for node_id, node in level.nodes.items():
            self._nodes_left -= 1
            if self._nodes_left < 0:
                raise RequestError(f"workflow: more than {_MOST_NODES} nodes", _REMEDY)
            if node["type"] in _DECORATION or node.get("mode") in (_MUTED, _BYPASSED):
                continue
            if node["type"] in self._subgraphs:
                yield from self._entries(self._inside(level, node))
                continue
            yield (
                f"{level.path}{node_id}",
                {
                    "class_type": node["type"],
                    "inputs": dict(self._inputs(level, node)),
                    "_meta": {"title": node.get("title") or node["type"]},
                },
            )

    def _inside(self, level: _Level, node: Mapping[str, Any]) -> _Level:
        """The subgraph that a node stands for.

        Raises:
            RequestError: it lies too deep, as one does that contains itself.
        """
        key = level.path, node["id"]
        if key not in self._levels:
            if level.path.count(":") >= _DEEPEST:
                raise _refused(node, f"subgraphs more than {_DEEPEST} deep")
            kind = node["type"]
            if kind not in self._bare:
                self._bare[kind] = _subgraph(self._subgraphs[kind])
            bare = self._bare[kind]
            self._count_steps(bare.slots + len(_proxies(node)))
            self._levels[key] = _placed(bare, node, level)
        return self._levels[key]

    def _count_steps(self, steps: int) -> None:
        self._steps_left -= steps
        if self._steps_left < 0:
            raise RequestError(
                "workflow: its links lead in a circle, or too far through reroutes and subgraphs",
                _REMEDY,
            )

    def _inputs(self, level: _Level, node: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
        signature = self._catalog.nodes.get(node["type"])
        if signature is None:
            raise _refused(node, _why_unknown(str(node["type"])))
        linked = {item["name"]: item for item in node.get("inputs") or ()}
        values = _widget_values(node, signature, linked)
        for name, value in values.items():
            yield name, _as_value(level.values.get((str(node["id"]), name), value))
        for name, item in signature.inputs.items():
            for slot in _slots(name, item, linked):
                source = self._source(level, slot)
                if isinstance(source, _Value):
                    yield slot["name"], _as_value(source.value)
                elif source is not None:
                    yield slot["name"], list(source)

    def _source(self, level: _Level, slot: Mapping[str, Any]) -> _Source:
        """What reaches an input slot."""
        kind = slot.get("type", _ANY)
        link = slot.get("link")
        while link is not None:
            step = self._step(level, link, kind)
            if not isinstance(step, _Onwards):
                return step
            level, link = step.level, step.link
        return None

    def _step(self, level: _Level, link: Any, kind: Any) -> _Source | _Onwards:
        node_id, slot = level.links[link]
        looked_at = level.host if node_id == _INPUT_NODE else level.nodes[node_id]
        self._count_steps(1 + len((looked_at or {}).get("inputs") or ()))
        if node_id == _INPUT_NODE and level.host is not None and level.above is not None:
            found = _from_above(level, level.above, level.host, slot)
            return found or self._of_widget_inside(level, slot)
        node = level.nodes[node_id]
        if node["type"] == _PRIMITIVE:
            return _Value(node["widgets_values"][0])
        if node.get("mode") == _MUTED:
            return None
        if node["type"] == _REROUTE:
            return _Onwards(level, node["inputs"][0].get("link"))
        if node.get("mode") == _BYPASSED:
            return _Onwards(level, _passed_on(node, slot, kind))
        if node["type"] in self._subgraphs:
            inside = self._inside(level, node)
            return _Onwards(inside, inside.ends.get(slot))
        return f"{level.path}{node_id}", slot

    def _of_widget_inside(self, level: _Level, slot: int) -> _Source:
        """The value of the widget that hangs on a subgraph's input; others there get it, too."""
        self._count_steps(level.slots)
        for node in level.nodes.values():
            linked = {item["name"]: item for item in node.get("inputs") or ()}
            for name, item in linked.items():
                hangs = level.links.get(item.get("link")) == (_INPUT_NODE, slot)
                signature = self._catalog.nodes.get(node["type"])
                if hangs and "widget" in item and signature is not None:
                    own = _widget_values(node, signature, linked).get(name)
                    return _Value(level.values.get((str(node["id"]), name), own))
        return None


@dataclass(frozen=True)
class _Onwards:
    """A link that leads to another one."""

    level: _Level
    link: Any


def _level(document: Mapping[str, Any]) -> _Level:
    links = {name: start for name, start, _ in _links(document.get("links") or ())}
    return _Level(_nodes(document), links)


def _nodes(document: Mapping[str, Any]) -> dict[Any, Mapping[str, Any]]:
    """The nodes by id.

    Raises:
        ValueError: an id is longer than it can be.
    """
    nodes = {node["id"]: node for node in document["nodes"]}
    if any(len(str(node_id)) > _LONGEST_ID for node_id in nodes):
        raise ValueError("an id is too long")
    return nodes


def _subgraph(definition: Mapping[str, Any]) -> _Level:
    """A subgraph, wherever it stands."""
    links, nodes = list(_links(definition.get("links") or ())), _nodes(definition)
    return _Level(
        nodes,
        {name: start for name, start, _ in links},
        {slot: name for name, _, (node_id, slot) in links if node_id == _OUTPUT_NODE},
        [item["name"] for item in definition.get("inputs") or ()],
        slots=len(nodes) + sum(len(node.get("inputs") or ()) for node in nodes.values()),
    )


def _placed(bare: _Level, host: Mapping[str, Any], above: _Level) -> _Level:
    """A subgraph in the place of a node."""
    level = replace(bare, host=host, above=above)
    return replace(level, values=_host_values(level, host, above))


def _from_above(
    level: _Level, above: _Level, host: Mapping[str, Any], slot: int
) -> _Source | _Onwards:
    """What a subgraph's input has: its link, or the widget that the host shows for it."""
    name = level.inputs[slot]
    inputs: Sequence[Mapping[str, Any]] = host.get("inputs") or ()
    link = next((item.get("link") for item in inputs if item["name"] == name), None)
    shown_above = (str(host["id"]), name) in above.values and _is_input(above, link)
    if link is not None and not shown_above:
        return _Onwards(above, link)
    if (_OWN_WIDGET, name) in level.values:
        return _Value(level.values[_OWN_WIDGET, name])
    return None


def _is_input(level: _Level, link: Any) -> bool:
    """Whether a link comes from the inputs of the level's subgraph."""
    return link in level.links and level.links[link][0] == _INPUT_NODE


def _host_values(level: _Level, host: Mapping[str, Any], above: _Level) -> dict[_Widget, Any]:
    """The values of the widgets that a host shows; where the host is itself inside a subgraph,
    that one's host goes before."""
    shown = _shown_widgets(level, host)
    given = zip(shown, host.get("widgets_values") or (), strict=False)
    values = {widget: value for widget, value in given if value is not None}
    own = {name: value for (at, name), value in above.values.items() if at == str(host["id"])}
    return values | {widget: own[widget[1]] for widget in shown if widget[1] in own}


def _shown_widgets(level: _Level, host: Mapping[str, Any]) -> list[_Widget]:
    """The widgets that a host shows, in the order of its values."""
    proxies = _proxies(host)
    if proxies:
        return [(str(entry[0]), str(entry[1])) for entry in proxies]
    linked = {
        level.inputs[level.links[item["link"]][1]]
        for node in level.nodes.values()
        for item in node.get("inputs") or ()
        if "widget" in item and _is_input(level, item.get("link"))
    }
    return [(_OWN_WIDGET, name) for name in level.inputs if name in linked]


def _proxies(host: Mapping[str, Any]) -> Sequence[Any]:
    """The widgets of nodes inside that a host shows as its own; each is node and name."""
    return (host.get("properties") or {}).get("proxyWidgets") or ()


def _passed_on(node: Mapping[str, Any], slot: int, kind: Any) -> Any:
    """The link that a bypassed node passes on: of the same place if its type fits, or the first
    that fits."""
    inputs = node.get("inputs") or []
    given = node["outputs"][slot]["type"]

    def fits(item: Mapping[str, Any]) -> bool:
        return all(_connects(item["type"], other) for other in (given, kind))

    if kind == _ANY:
        return inputs[slot if len(inputs) > slot else 0].get("link") if inputs else None
    if slot < len(inputs) and fits(inputs[slot]):
        return inputs[slot].get("link")
    exact = next((item for item in inputs if item["type"] == kind), None)
    found = exact or next((item for item in inputs if fits(item)), None)
    return found.get("link") if found else None


def _connects(one: Any, other: Any) -> bool:
    """Whether the editor lets two types be connected; a type may be a list with commas."""
    if _ANY in (one, other):
        return True
    texts = str(one), str(other)
    if max(map(len, texts)) > _LONGEST_TYPE:
        raise ValueError("a type is too long")
    first, second = (text.lower().split(",") for text in texts)
    return not set(first).isdisjoint(second)


def _slots(name: str, item: InputSignature, linked: _Linked) -> Iterable[Mapping[str, Any]]:
    """The slots of an input: its own, and those of its parts."""
    return [linked[key] for key in linked if key == name or _is_part(key, name, item)]


def _is_part(key: str, name: str, item: InputSignature) -> bool:
    return item.type in (_DYNAMIC, _GROWING) and key.startswith(f"{name}.")


def _widget_values(
    node: Mapping[str, Any], signature: NodeSignature, linked: _Linked
) -> dict[str, Any]:
    """The values of a node's widgets by input; the signature's default where there is none, as in
    a workflow that is older than the widget.

    Raises:
        RequestError: a value that neither the workflow nor the signature tells.
    """
    names = list(_widget_names(node, signature, linked))
    values = node.get("widgets_values") or []
    if isinstance(values, Mapping):
        return {name: values[name] for name in names if name in values}
    rest, found = deque(values), {}
    if node["type"] == _CUSTOM_COMBO:
        names += ["index", *(f"option{number}" for number in range(1, len(rest) - 1))]
    for index, name in enumerate(names):
        item = signature.inputs.get(name)
        if rest:
            found[name] = rest.popleft()
        else:
            found[name] = _default(node, name, item)
        following = signature.inputs.get(names[index + 1]) if index + 1 < len(names) else None
        if rest and item and _is_followed(name, item, following, rest[0]):
            rest.popleft()
    return found


def _widget_names(
    node: Mapping[str, Any], signature: NodeSignature, linked: _Linked
) -> Iterator[str]:
    """The inputs of a node that are widgets, in the order of its values."""
    for name, item in signature.inputs.items():
        if not _is_widget(item, linked.get(name)):
            continue
        if item.type == _DYNAMIC and name not in linked:
            raise _refused(node, f"whose input {name} has parts that depend on its value")
        yield name
        for key, slot in linked.items():
            if _is_part(key, name, item) and "widget" in slot:
                yield key


def _default(node: Mapping[str, Any], name: str, item: InputSignature | None) -> Any:
    """What the editor shows in a widget for which a workflow has no value."""
    if item is not None and item.default is not None:
        return item.default
    if item is not None and item.options:
        return item.options[0]
    raise _refused(node, f"which has no value for its input {name}")


def _is_followed(
    name: str, item: InputSignature, following: InputSignature | None, value: Any
) -> bool:
    """Whether a value says what the editor does with the one before it after each run."""
    if value not in _AFTER_GENERATE:
        return False
    if name in _SEEDS or following is None:
        return True
    could_be_its_own = following.type == "STRING" or value in following.options
    return item.type in ("INT", "COMBO") and not could_be_its_own


def _as_value(value: Any) -> Any:
    """A widget's value in a graph, where a bare list would be a link."""
    return {"__value__": value} if isinstance(value, list) else value


def _why_unknown(kind: str) -> str:
    if kind.startswith(_GROUP_NODE):
        return "a group node: convert it to a subgraph or to nodes"
    return "which the server does not have"


def _links(entries: Sequence[Any]) -> Iterator[tuple[Any, tuple[Any, int], tuple[Any, int]]]:
    """Links with where they come from and lead to; lists in old files, objects in new ones."""
    for entry in entries:
        if isinstance(entry, Mapping):
            start = entry["origin_id"], entry["origin_slot"]
            yield entry["id"], start, (entry["target_id"], entry["target_slot"])
        else:
            yield entry[0], (entry[1], entry[2]), (entry[3], entry[4])


def _is_widget(item: InputSignature, slot: Mapping[str, Any] | None) -> bool:
    """Whether an input is a widget: its slot tells, where it has one."""
    return item.type in _WIDGETS if slot is None else "widget" in slot


def _refused(node: Mapping[str, Any], why: str) -> RequestError:
    return RequestError(
        f"workflow: this is the editor's format, with node {node['id']} ({node['type']}), {why}",
        _REMEDY,
    )
