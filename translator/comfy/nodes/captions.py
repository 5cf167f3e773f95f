"""Nodes of other packs that tell a picture in words, by a row of ``tables/interrogators.json``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from translator.comfy.catalog import InputSignature
from translator.comfy.graph import Graph, Image, Node, Ref, Text

_WIDGETS = ("INT", "FLOAT", "STRING", "BOOLEAN", "COMBO")


def describer(
    graph: Graph, class_type: str, image: Image, loader: str | None, settings: Mapping[str, Any]
) -> Node:
    """A node that takes a picture, and its model from another node; versions have other inputs.

    Args:
        loader: the class of the node that loads its model, or None where it does so itself.
        settings: values of inputs; those that this version lacks are left out, and those that it
            has besides get their own defaults.
    """
    links: list[Ref] = [image]
    if loader is not None:
        links.append(graph.add(loader, **_inputs(graph, loader, settings, ())).out(Ref))
    return graph.add(class_type, **_inputs(graph, class_type, settings, links))


def shown_text(graph: Graph, text: Text) -> Node:
    """PreviewAny: a text among what ComfyUI answers, under the key "text"."""
    return graph.add("PreviewAny", source=text)


def _inputs(
    graph: Graph, class_type: str, settings: Mapping[str, Any], links: Sequence[Ref]
) -> dict[str, Any]:
    signature = graph.signature(class_type)
    by_type = {link.type: link for link in links}
    given: dict[str, Any] = {}
    for name, item in signature.inputs.items():
        if item.type not in _WIDGETS:
            given[name] = by_type.get(item.type)
        elif name in settings:
            given[name] = settings[name]
        elif item.required:
            given[name] = _first(item)
    return given


def _first(item: InputSignature) -> Any:
    """What ComfyUI's editor would fill in."""
    if item.default is not None:
        return item.default
    return item.options[0] if item.options else {"STRING": "", "BOOLEAN": False}.get(item.type, 0)
