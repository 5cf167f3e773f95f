"""What a ComfyUI has: nodes with their signatures, model files, and what is known of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from translator.tables import read_table

VERSIONS = ("0.3.64", "0.8.0", "0.33.0")
"""ComfyUI's versions whose node signatures are bundled, the oldest first."""

OLDEST, NEWEST = VERSIONS[0], VERSIONS[-1]
"""The versions that are supported and tested: the oldest, and the one that the image pins."""

OUR_PACK = "signatures-a1111-pack"
"""The bundled signatures of our own pack, the same on every version."""


def signature_files(version: str = OLDEST) -> tuple[str, ...]:
    """The tables that describe a ComfyUI of a bundled version with the packs of custom_nodes.txt.

    Raises:
        ValueError: no signatures of that version are bundled.
    """
    if version not in VERSIONS:
        raise ValueError(f"no signatures of ComfyUI {version}; there are {', '.join(VERSIONS)}")
    return f"signatures-{version}", OUR_PACK


@dataclass(frozen=True, slots=True)
class InputSignature:
    """One input of a node.

    Attributes:
        type: ``INT``, ``FLOAT``, ``STRING``, ``BOOLEAN``, ``COMBO``, or the type of a
            link such as ``MODEL``. ``*`` takes anything.
        options: the values a COMBO takes; empty where it lists the files of `folder`.
        folder: the model folder (ComfyUI's folder_paths name) whose files a COMBO lists.
        min, max: bounds of an INT or FLOAT, both inclusive.
        default: what ComfyUI's editor shows at first; None where the node names none.
        multiline: whether a STRING is written in a field of several lines.
    """

    type: str
    required: bool
    options: tuple[Any, ...] = ()
    folder: str | None = None
    min: float | None = None
    max: float | None = None
    default: Any = None
    multiline: bool = False


@dataclass(frozen=True, slots=True)
class NodeSignature:
    """A node class: its inputs by name, the types of its outputs, the pack it comes from.

    Attributes:
        required: names of the inputs that must be set.
    """

    name: str
    pack: str
    inputs: Mapping[str, InputSignature]
    outputs: tuple[str, ...]
    output_node: bool = False
    required: tuple[str, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        required = tuple(name for name, item in self.inputs.items() if item.required)
        object.__setattr__(self, "required", required)


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """What is known of a model file beyond its name.

    Attributes:
        architecture: what a checkpoint's tensors show, see `models.families.of_header`; None where
            the file was not read.
        sha256: of the whole file, lower-case hexadecimal.
        short_hash: A1111's old model hash: the first 8 hexadecimal digits of the SHA-256 of the
            65,536 bytes at offset 1 MiB.
        alias: another name of a LoRA (``ss_output_name`` of its metadata).
        v_prediction: True for a model that predicts v, None where it is not known.
        addnet_hash: A1111's hash of a LoRA (SHA-256 of the tensor data) for ``Lora hashes``.
        picture_channels: channels of a picture that a checkpoint's UNet takes beside its latent: 5
            for inpainting, 4 for instruct-pix2pix, 0 for others; None where it is not known.
        has_config: whether a checkpoint's own configuration (.yaml) lies beside it.
    """

    architecture: str | None = None
    sha256: str | None = None
    short_hash: str | None = None
    alias: str | None = None
    v_prediction: bool | None = None
    addnet_hash: str | None = None
    picture_channels: int | None = None
    has_config: bool = False


NO_FACTS = ModelFacts()


@dataclass(frozen=True)
class Catalog:
    """What one ComfyUI has.

    Attributes:
        nodes: node class -> signature.
        folders: model folder -> file names relative to it, in the server's order. A folder that is
            not named has no files, unless the catalog is `open`.
        open: the lists of model files are not known: any name is taken as it is.
        facts: (folder, file name) -> what is known of the file.
    """

    nodes: Mapping[str, NodeSignature]
    folders: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    open: bool = False
    facts: Mapping[tuple[str, str], ModelFacts] = field(default_factory=dict)

    @classmethod
    def bundled(cls, version: str = OLDEST) -> Catalog:
        """The catalog for work without a ComfyUI: bundled signatures, open lists of files.

        What the oldest version accepts, the newer ones accept too (tests hold the corpus against
        all of them), so that is the one where none is named.
        """
        return _bundled(version)

    @classmethod
    def from_object_info(
        cls,
        object_info: Mapping[str, Any],
        facts: Mapping[tuple[str, str], ModelFacts] | None = None,
        extra_folders: Mapping[str, Iterable[str]] | None = None,
    ) -> Catalog:
        """The catalog of a running ComfyUI.

        Args:
            object_info: the answer of ``GET /object_info``.
            facts: what was read from the model files.
            extra_folders: files of folders that no node lists, such as ``embeddings``
                (``GET /embeddings``).

        Types, bounds and values are the server's own, whatever its version. Which input lists which
        folder is taken from the bundled signatures, since a server does not say.
        """
        known_folders = folder_inputs()
        nodes: dict[str, NodeSignature] = {}
        folders: dict[str, tuple[str, ...]] = {}
        for name, info in object_info.items():
            nodes[name] = _from_server(name, info, known_folders, folders)
        for folder, files in (extra_folders or {}).items():
            folders[folder] = tuple(files)
        return cls(nodes=nodes, folders=folders, facts=dict(facts or {}))

    def has(self, *classes: str) -> bool:
        """Whether every one of the node classes is there."""
        return all(name in self.nodes for name in classes)

    def files(self, folder: str) -> Sequence[str] | None:
        """The files of a model folder, or None where the catalog is open and any name will do."""
        if self.open and folder not in self.folders:
            return None
        return self.folders.get(folder, ())

    def options(self, node: str, input_name: str) -> tuple[Any, ...]:
        """The values a COMBO input takes; empty where node or input is unknown."""
        signature = self.nodes.get(node)
        if signature is None or input_name not in signature.inputs:
            return ()
        return signature.inputs[input_name].options

    def facts_of(self, folder: str, name: str) -> ModelFacts:
        """What is known of a model file; an empty `ModelFacts` where nothing is."""
        return self.facts.get((folder, name), NO_FACTS)


@cache
def _bundled(version: str) -> Catalog:
    nodes: dict[str, NodeSignature] = {}
    for name in signature_files(version):
        nodes.update(read_signatures(read_table(name)))
    return Catalog(nodes=nodes, open=True)


_OF_OPTIONAL_PACKS: Mapping[tuple[str, str], str] = {("PulidModelLoader", "pulid_file"): "pulid"}
"""(node, input) -> folder, of nodes whose packs the image does not bring along."""


@cache
def folder_inputs() -> Mapping[tuple[str, str], str]:
    """(node, input) -> the model folder whose files it lists, of every bundled version."""
    return {
        **_OF_OPTIONAL_PACKS,
        **{
            (node.name, name): item.folder
            for version in VERSIONS
            for node in _bundled(version).nodes.values()
            for name, item in node.inputs.items()
            if item.folder is not None
        },
    }


def read_signatures(document: Mapping[str, Any]) -> dict[str, NodeSignature]:
    """Node signatures from a signature file as ``python -m translator capture`` writes it."""
    return {name: _from_file(name, node) for name, node in document["nodes"].items()}


def _from_file(name: str, node: Mapping[str, Any]) -> NodeSignature:
    inputs: dict[str, InputSignature] = {}
    for group in ("required", "optional"):
        for input_name, item in node["inputs"].get(group, {}).items():
            folders = item.get("folders")
            inputs[input_name] = InputSignature(
                type=item["type"],
                required=group == "required",
                options=tuple(item.get("options", ())),
                folder=folders[0] if folders else None,
                min=item.get("min"),
                max=item.get("max"),
                default=item.get("default"),
                multiline=bool(item.get("multiline")),
            )
    outputs = tuple(output["type"] for output in node["outputs"])
    return NodeSignature(name, node["pack"], inputs, outputs, node["output_node"])


def _from_server(
    name: str,
    info: Mapping[str, Any],
    known_folders: Mapping[tuple[str, str], str],
    folders: dict[str, tuple[str, ...]],
) -> NodeSignature:
    """A node of ``/object_info``; lists of files that it holds are added to `folders`."""
    inputs: dict[str, InputSignature] = {}
    for group in ("required", "optional"):
        for input_name, spec in (info["input"].get(group) or {}).items():
            folder = known_folders.get((name, input_name))
            item = input_from_spec(spec, required=group == "required", folder=folder)
            if folder is not None:
                folders.setdefault(folder, item.options)
            inputs[input_name] = item
    return NodeSignature(
        name,
        info.get("python_module", ""),
        inputs,
        tuple(type_name(output) for output in info["output"]),
        bool(info.get("output_node")),
    )


def input_from_spec(
    spec: Sequence[Any], *, required: bool, folder: str | None = None
) -> InputSignature:
    """An input as ComfyUI's INPUT_TYPES and ``/object_info`` write it: ``[type, settings]``."""
    kind = spec[0]
    settings: Mapping[str, Any] = spec[1] if len(spec) > 1 and isinstance(spec[1], dict) else {}
    options = kind if isinstance(kind, list | tuple) else settings.get("options", ())
    return InputSignature(
        type=type_name(kind),
        required=required,
        options=tuple(options),
        folder=folder,
        min=settings.get("min"),
        max=settings.get("max"),
        default=settings.get("default"),
        multiline=bool(settings.get("multiline")),
    )


def type_name(kind: Any) -> str:
    """The type of an input or output as signatures name it: ``COMBO`` for a list of choices."""
    return "COMBO" if isinstance(kind, list | tuple) else str(kind)
