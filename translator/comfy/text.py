"""A graph as text for people: one line a node, links by number and name.

    1  CheckpointLoaderSimple  ckpt_name=sd15.safetensors
    2  A1111TextEncode "Prompt"  clip=1.CLIP prompt=`a (cat:1.1)` emphasis=Original ...

Nothing is left out, so that two graphs with the same text are the same but for the last digits of
sigmas.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from translator.comfy.catalog import NodeSignature

Graph = Mapping[str, Mapping[str, Any]]
"""A graph in ComfyUI's API format."""

_DIGITS = 6


def graph_text(graph: Graph, nodes: Mapping[str, NodeSignature]) -> str:
    """A graph, one line a node, in the graph's order.

    Args:
        nodes: signatures, for the names of outputs; a node without one has numbers for them.
    """
    return "".join(f"{line}\n" for line in _lines(graph, nodes))


def node_text(node: Mapping[str, Any], graph: Graph, nodes: Mapping[str, NodeSignature]) -> str:
    """A node without its number: class, title where it has one of its own, inputs."""
    class_type = node["class_type"]
    title = node.get("_meta", {}).get("title", class_type)
    head = class_type if title == class_type else f'{class_type} "{title}"'
    inputs = [
        f"{name}={value_text(name, value, graph, nodes)}" for name, value in node["inputs"].items()
    ]
    return f"{head}  {' '.join(inputs)}".rstrip()


def value_text(name: str, value: Any, graph: Graph, nodes: Mapping[str, NodeSignature]) -> str:
    """The value of an input: a link as ``4.IMAGE``, JSON that our nodes take in words."""
    if is_link(value, graph):
        return link_text(value, graph, nodes)
    if not isinstance(value, str):
        return json.dumps(value)
    return _WORDS.get(name, _quoted)(value)


def is_link(value: Any, graph: Graph) -> bool:
    """Whether an input's value is a link, ``[node id, output]``."""
    return isinstance(value, list) and len(value) == 2 and value[0] in graph


def link_text(value: Sequence[Any], graph: Graph, nodes: Mapping[str, NodeSignature]) -> str:
    """A link as node and output: ``1.CLIP``; the output's number where two have one type."""
    node, index = value
    signature = nodes.get(graph[node]["class_type"])
    outputs = signature.outputs if signature else ()
    if index < len(outputs) and outputs.count(outputs[index]) == 1:
        return f"{node}.{outputs[index]}"
    return f"{node}.{index}"


def prompt_text(spelled: str) -> str:
    """The prompt of an A1111TextEncode in words, see `prompt.node_input`.

    Parts are joined by AND, what is said from which step on by ``|``, weights are in brackets.
    """
    try:
        parts = json.loads(spelled)["parts"]
        return " AND ".join(map(_part, parts))
    except (KeyError, TypeError, ValueError):
        return spelled


def _lines(graph: Graph, nodes: Mapping[str, NodeSignature]) -> Iterator[str]:
    width = max((len(number) for number in graph), default=0)
    for number, node in graph.items():
        yield f"{number:>{width}}  {node_text(node, graph, nodes)}"


def _part(part: Mapping[str, Any]) -> str:
    schedule = part["schedule"]
    texts = [_segments(segments) for _, segments in schedule]
    ends = [f"to step {end}: " if len(schedule) > 1 else "" for end, _ in schedule]
    text = " | ".join(f"{end}{text}" for end, text in zip(ends, texts, strict=True))
    return text if part["weight"] == 1.0 else f"{text} :{part['weight']:g}"


def _segments(segments: Sequence[Sequence[Any]]) -> str:
    return "".join(
        " BREAK " if weight == -1 else text if weight == 1.0 else f"({text}:{weight:.6g})"
        for text, weight in segments
    )


def _prompt(spelled: str) -> str:
    return f"`{prompt_text(spelled)}`"


def _numbers(spelled: str) -> str:
    """A JSON list of numbers, rounded."""
    try:
        numbers = json.loads(spelled)
        return f"[{' '.join(f'{number:.{_DIGITS}g}' for number in numbers)}]"
    except (TypeError, ValueError):
        return _quoted(spelled)


def _whole_numbers(spelled: str) -> str:
    try:
        return f"[{' '.join(map(str, json.loads(spelled)))}]"
    except (TypeError, ValueError):
        return _quoted(spelled)


def _quoted(text: str) -> str:
    """A text as it is where it is one word, else in quotes."""
    plain = text and not any(letter.isspace() or letter in "\"`'=" for letter in text)
    return text if plain else json.dumps(text, ensure_ascii=False)


_WORDS = {
    "prompt": _prompt,
    "sigmas": _numbers,
    "seeds": _whole_numbers,
    "subseeds": _whole_numbers,
    "timesteps": _whole_numbers,
}
"""Inputs that hold JSON -> how it is said in words."""
