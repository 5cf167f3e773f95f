"""What a node is called where people read it: ``Negative prompt``, ``Hires: RealESRGAN_x4plus``."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from translator.comfy.groups import OUTPUT, Graph, links

_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+[a-z]*")
_PROMPT_NODES = ("CLIPTextEncode", "A1111TextEncode", "A1111Prompt")


def titles(graph: Graph, group_of: Mapping[str, str]) -> dict[str, str]:
    """Node -> its title.

    A title that the translator gave stays; else the node is named by its work and its group.

    Args:
        group_of: node -> the title of its group.
    """
    prompts = _prompts(graph)
    return {
        node: _given(graph[node])
        or prompts.get(node)
        or _by_class(graph[node], group_of.get(node, OUTPUT))
        for node in graph
    }


def _given(node: Mapping[str, Any]) -> str | None:
    title = node.get("_meta", {}).get("title")
    return None if title == node["class_type"] else title


def _prompts(graph: Graph) -> dict[str, str]:
    """Text encoder -> whether it speaks for or against, by the input that it ends in."""
    found: dict[str, str] = {}
    for node in graph:
        for name, source, _ in links(graph, node):
            if name in _SIDES:
                for encoder in _encoders(graph, source):
                    found.setdefault(encoder, _SIDES[name])
    return found


_SIDES = {"positive": "Prompt", "negative": "Negative prompt"}


def _encoders(graph: Graph, node: str) -> Iterator[str]:
    """The text encoders that a conditioning is made of, as far as its sides are not mixed."""
    if graph[node]["class_type"] in _PROMPT_NODES:
        yield node
        return
    sources = tuple(links(graph, node))
    if any(name in _SIDES for name, _, _ in sources):
        return
    for name, source, _ in sources:
        if "conditioning" in name:
            yield from _encoders(graph, source)


def _by_class(node: Mapping[str, Any], group: str) -> str:
    class_type, inputs = node["class_type"], node["inputs"]
    written = _WORDS.get(class_type)
    if written is not None:
        return written(inputs, group)
    words = _WORD.findall(class_type.removeprefix("A1111").removeprefix("ACN_"))
    text = " ".join(word if word.isupper() else word.lower() for word in words)
    text = text.replace("control net", "ControlNet").replace("instant ID", "InstantID")
    return f"{text[:1].upper()}{text[1:]}" or class_type


def _stem(name: Any) -> str:
    return str(name).replace("\\", "/").rsplit("/", 1)[-1].rsplit(".", 1)[0]


def _short(group: str) -> str:
    return group.removesuffix(" pass")


def _file(what: str, name: str) -> Callable[[Mapping[str, Any], str], str]:
    return lambda inputs, group: f"{what} {_stem(inputs[name])}"


_WORDS: Mapping[str, Callable[[Mapping[str, Any], str], str]] = {
    "CheckpointLoaderSimple": _file("Checkpoint", "ckpt_name"),
    "VAELoader": _file("VAE", "vae_name"),
    "A1111Hypernetwork": _file("Hypernetwork", "hypernetwork_name"),
    "HypernetworkLoader": _file("Hypernetwork", "hypernetwork_name"),
    "ControlNetLoader": _file("ControlNet", "control_net_name"),
    "UpscaleModelLoader": lambda inputs, group: f"{_short(group)}: {_stem(inputs['model_name'])}",
    "EmptyLatentImage": lambda inputs, group: f"Size {inputs['width']}x{inputs['height']}",
    "KSampler": lambda inputs, group: f"{_short(group)}: sample, {inputs['steps']} steps",
    "KSamplerAdvanced": lambda inputs, group: f"{_short(group)}: sample",
    "SamplerCustomAdvanced": lambda inputs, group: f"{_short(group)}: sample",
    "A1111Sampler": lambda inputs, group: f"Sampler {inputs['sampler']}",
    "A1111Sigmas": lambda inputs, group: f"{_short(group)}: sigmas",
    "A1111Schedule": lambda inputs, group: (
        f"{_short(group)}: {inputs['sampler']}, {inputs['steps']} steps"
    ),
    "A1111Guider": lambda inputs, group: f"{_short(group)}: CFG {inputs['cfg']:g}",
    "A1111Noise": lambda inputs, group: "Seeds",
    "A1111UpscaleWithModel": lambda inputs, group: (
        f"{_short(group)}: enlarge to {inputs['width']}x{inputs['height']}"
    ),
    "VAEDecode": lambda inputs, group: "Decode" if group == OUTPUT else f"{_short(group)}: decode",
    "A1111VAEEncode": lambda inputs, group: f"{_short(group)}: encode",
    "A1111ControlNetFit": lambda inputs, group: f"Fit to {inputs['width']}x{inputs['height']}",
}
"""Node classes whose titles say what they work on."""
