"""The nodes that the server offers, as ComfyUI's ``INPUT_TYPES`` describe them."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

OUR_PACK = "signatures-a1111-pack.json"
"""The signature file of our own pack, the same for every version of ComfyUI."""

FileLister = Callable[[str], Sequence[str]]
"""Model folder (or ``input``) -> the file names it lists."""

V3_MODULES = frozenset(
    {
        "comfy_extras.nodes_advanced_samplers",
        "comfy_extras.nodes_align_your_steps",
        "comfy_extras.nodes_compositing",
        "comfy_extras.nodes_latent",
        "comfy_extras.nodes_model_downscale",
        "comfy_extras.nodes_post_processing",
        "comfy_extras.nodes_sd3",
        "comfy_extras.nodes_upscale_model",
    }
)
"""Modules of ComfyUI 0.3.64 whose nodes are written in its V3 style, as far as they are supported.

Such a node's COMBO is known by the type name ``COMBO``, and 0.3.64 compares a value with the
options only where the type is a list: the values of these nodes are not checked at submission.
"""

_NOT_SETTINGS = frozenset({"type", "options", "folders", "choices", "template"})


@dataclass(frozen=True, slots=True)
class InputSpec:
    """One input of a node.

    Attributes:
        type: ``INT``, ``FLOAT``, ``STRING``, ``BOOLEAN``, ``COMBO`` or the type of a link.
        settings: default, min, max and the like, as ``/object_info`` shows them.
        options: the fixed values of a COMBO; they follow the files of `folders`.
        folders: the model folders whose files a COMBO lists.
        checked: whether a COMBO's value is checked; False for a V3 node of the oldest version.
        dynamic: of an input that brings further inputs, what they are (`devserver.dynamic`).
    """

    name: str
    required: bool
    type: str
    settings: Mapping[str, Any]
    options: tuple[Any, ...]
    folders: tuple[str, ...]
    checked: bool
    dynamic: Mapping[str, Any] | None = None

    def choices(self, files: FileLister) -> list[Any]:
        """What a COMBO lists: the files of its folders, then its fixed values."""
        listed: list[Any] = [name for folder in self.folders for name in files(folder)]
        return listed + list(self.options)

    def config(self, files: FileLister) -> list[Any]:
        """The input as ComfyUI writes it: ``[type or list of values, settings]``."""
        if self.dynamic is not None:
            return [self.type, {**self.settings, **_dynamic_config(self, files)}]
        if self.type != "COMBO":
            return [self.type, dict(self.settings)]
        if self.checked:
            return [self.choices(files), dict(self.settings)]
        return ["COMBO", {**self.settings, "options": self.choices(files)}]


@dataclass(frozen=True, slots=True)
class NodeSpec:
    """A node class: inputs in their declared order, outputs as (type, name)."""

    name: str
    pack: str
    category: str
    output_node: bool
    inputs: Mapping[str, InputSpec]
    outputs: tuple[tuple[str, str], ...]

    def describe(self, files: FileLister) -> dict[str, Any]:
        """The node's entry in ``/object_info``."""
        groups: dict[str, dict[str, Any]] = {"required": {}, "optional": {}}
        for spec in self.inputs.values():
            groups["required" if spec.required else "optional"][spec.name] = spec.config(files)
        inputs: dict[str, dict[str, Any]] = {name: group for name, group in groups.items() if group}
        return {
            "input": inputs,
            "input_order": {name: list(group) for name, group in inputs.items()},
            "output": [kind for kind, _ in self.outputs],
            "output_is_list": [False] * len(self.outputs),
            "output_name": [name for _, name in self.outputs],
            "name": self.name,
            "display_name": self.name,
            "description": "",
            "python_module": self.pack,
            "category": self.category,
            "output_node": self.output_node,
        }


def bundled_documents(version: str) -> list[Mapping[str, Any]]:
    """The signature files of a version of ComfyUI with the packs, and of our own pack.

    They are found without importing the translator, which a ComfyUI has nothing to do with.

    Raises:
        FileNotFoundError: no signatures of that version are bundled.
    """
    package = importlib.util.find_spec("translator")
    if package is None or package.origin is None:
        raise FileNotFoundError("the translator package with the signature files is not installed")
    tables = Path(package.origin).parent / "tables"
    names = (f"signatures-{version}.json", OUR_PACK)
    return [json.loads((tables / name).read_text("utf-8")) for name in names]


def read_specs(
    documents: Iterable[Mapping[str, Any]],
    supported: Collection[str] | None = None,
    missing: Collection[str] = (),
    *,
    checks_v3: bool = False,
) -> dict[str, NodeSpec]:
    """Node class -> spec for the nodes of the signature files.

    Args:
        documents: signature files as ``python -m translator capture`` writes them.
        supported: only these node classes; None takes all.
        checks_v3: the server compares values of V3 nodes with their options, as newer ones do.
        missing: packs (the last part of ``python_module``) and node classes to leave out, so that
            a test can run against a server without them.
    """
    specs = {
        name: _spec(name, node, checks_v3)
        for document in documents
        for name, node in document["nodes"].items()
        if supported is None or name in supported
    }
    return {
        name: spec
        for name, spec in specs.items()
        if name not in missing and spec.pack.rpartition(".")[2] not in missing
    }


def _spec(name: str, node: Mapping[str, Any], checks_v3: bool) -> NodeSpec:
    checked = checks_v3 or node["pack"] not in V3_MODULES
    inputs = {
        input_name: read_input(input_name, item, required=group == "required", checked=checked)
        for group in ("required", "optional")
        for input_name, item in node["inputs"].get(group, {}).items()
    }
    return NodeSpec(
        name=name,
        pack=node["pack"],
        category=node["category"],
        output_node=node["output_node"],
        inputs=inputs,
        outputs=tuple((output["type"], output["name"]) for output in node["outputs"]),
    )


def _dynamic_config(spec: InputSpec, files: FileLister) -> dict[str, Any]:
    """What a dynamic input brings, in ``/object_info``'s form."""
    assert spec.dynamic is not None
    if "choices" in spec.dynamic:
        options = [
            {"key": choice["key"], "inputs": _configs(spec, choice["inputs"], files)}
            for choice in spec.dynamic["choices"]
        ]
        return {"options": options}
    template = spec.dynamic["template"]
    return {"template": {**template, "input": _configs(spec, template["input"], files)}}


def _configs(spec: InputSpec, groups: Mapping[str, Any], files: FileLister) -> dict[str, Any]:
    return {
        group: {
            name: read_input(name, item, required=True, checked=spec.checked).config(files)
            for name, item in items.items()
        }
        for group, items in groups.items()
    }


def read_input(name: str, item: Mapping[str, Any], *, required: bool, checked: bool) -> InputSpec:
    """An input as a signature file has it."""
    dynamic = {key: item[key] for key in ("choices", "template") if key in item}
    return InputSpec(
        name=name,
        required=required,
        type=item["type"],
        settings={key: value for key, value in item.items() if key not in _NOT_SETTINGS},
        options=tuple(item.get("options", ())),
        folders=tuple(item.get("folders", ())),
        checked=checked,
        dynamic=dynamic or None,
    )
