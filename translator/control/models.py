"""Control models: names as the extension matches them, and what a name says of a model."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from enum import Enum
from functools import cache

from translator.comfy.catalog import Catalog
from translator.control.modules import Module, Vision, Weights, find
from translator.control.units import ControlUnit
from translator.models import families
from translator.models.families import Family
from translator.models.names import EXTENSIONS, ModelFile, stem, without_hash
from translator.report import Report
from translator.tables import read_table

FOLDERS = ("controlnet", "instantid", "ipadapter")
"""ComfyUI's folders for what A1111 keeps in ``models/ControlNet``."""

_HASH = re.compile(r"\[([0-9a-fA-F]{8,64})\]\s*$")

WITHOUT_UNITS = "the picture is made without any unit, as A1111 makes it"
"""What becomes of a request where the extension fails to prepare one of its units."""

INSTALL_HINT = "put it into models/ControlNet"

_VISION: Mapping[Vision, tuple[str, re.Pattern[str]]] = {
    "H": ("CLIP-ViT-H-14-laion2B-s32B-b79K", re.compile(r"vit[-_]?h|clip[-_]?h$|sd1\.?5")),
    "G": ("CLIP-ViT-bigG-14-laion2B-39B-b160k", re.compile(r"vit[-_]?(big)?g|clip[-_]?g$|sdxl")),
    "L": ("clip-vit-large-patch14", re.compile(r"vit[-_]?l|clip[-_]?l$")),
}
"""CLIP vision model -> its usual file, and what tells it in the name of another."""


class Kind(Enum):
    """What a control model is, as far as its name tells."""

    CONTROLNET = "ControlNet"
    UNION = "ControlNet union"
    T2I_ADAPTER = "T2I-Adapter"
    STYLE_ADAPTER = "T2I style adapter"
    INSTANT_ID = "InstantID ControlNet"
    INSTANT_ID_ADAPTER = "InstantID adapter"
    IP_ADAPTER = "IP-Adapter"
    LLLITE = "ControlLLLite"
    SPARSECTRL = "SparseCtrl"


_KINDS: Sequence[tuple[re.Pattern[str], Kind]] = (
    (
        re.compile(r"ip[-_]?adapter.*instant[-_]?id|instant[-_]?id.*ip[-_]?adapter"),
        Kind.INSTANT_ID_ADAPTER,
    ),
    (re.compile(r"instant[-_]?id"), Kind.INSTANT_ID),
    (re.compile(r"ip[-_]?adapter|pulid"), Kind.IP_ADAPTER),
    (re.compile(r"t2i[-_]?adapter.*style|style.*t2i[-_]?adapter"), Kind.STYLE_ADAPTER),
    (re.compile(r"t2i[-_]?adapter|t2iadapter|^t2i"), Kind.T2I_ADAPTER),
    (re.compile(r"lllite"), Kind.LLLITE),
    (re.compile(r"sparse[-_]?ctrl"), Kind.SPARSECTRL),
    (re.compile(r"union|promax"), Kind.UNION),
)


def kind_of(name: str) -> Kind:
    """What a model is by its name; a ControlNet (control-LoRA among them) where nothing else fits.

    The extension looks into the weights, except for InstantID, FaceID and PuLID.
    """
    lowered = stem(without_hash(name)).lower()
    return next((kind for pattern, kind in _KINDS if pattern.search(lowered)), Kind.CONTROLNET)


def pools_globally(stem: str, kind: Kind, family: Family) -> bool:
    """Whether residuals are averaged over the picture and steer the prompt only: shuffle models.

    The extension never does so for SDXL.

    Args:
        stem: of the model's file.
    """
    return "shuffle" in stem.lower() and kind is Kind.CONTROLNET and family.class_width is None


def own_pooling(model: ModelFile | None, kind: Kind, family: Family) -> bool | None:
    """Whether a model pools, where ComfyUI, which goes by the end of its name, does otherwise."""
    if model is None or kind is not Kind.CONTROLNET:
        return None
    pools = pools_globally(model.stem, kind, family)
    return None if pools == model.stem.endswith(("_shuffle", "_shuffle_fp16")) else pools


def architecture_hint(units: Iterable[ControlUnit]) -> str | None:
    """The checkpoint's architecture that the units are certain of, or None.

    InstantID, PuLID and revision exist for SDXL only. A model whose name tells a version is refused
    by the extension on another architecture, so names that agree tell it as well.
    """
    sure = ("instant_id_embedding", "instant_id_keypoints", "pulid", "revision")
    units = tuple(units)
    if any(unit.module.role in sure for unit in units):
        return families.SDXL.name
    named = {families.control_version(unit.model) for unit in units if unit.model} - {None}
    return named.pop() if len(named) == 1 else None


def folder_of(module: Module, name: str) -> str:
    """The ComfyUI folder in which the model of a unit is looked up."""
    kind = kind_of(name)
    if module.role == "pulid":
        return "pulid"
    if module.role == "instant_id_embedding" or kind is Kind.INSTANT_ID_ADAPTER:
        return "instantid"
    if module.is_ip_adapter or kind is Kind.IP_ADAPTER:
        return "ipadapter"
    if module.role == "style" or kind is Kind.STYLE_ADAPTER:
        return "style_models"
    return "controlnet"


def resolve(
    name: str, folder: str, catalog: Catalog, path: str, report: Report
) -> ModelFile | None:
    """The file of a control model, matched as the extension does.

    ``stem [hash]`` and ``stem`` match a file of that stem, whatever the case; otherwise the file
    with the shortest stem that contains the text. A hash must be the file's, where that is known.

    Returns:
        None where nothing matches; the report then has it.
    """
    files = catalog.files(folder)
    if files is None:
        return _file(catalog, folder, _taken_as_is(name, report))
    matching = _match(name, files)
    short_hash = _hash_in(name)
    known = {item: catalog.facts_of(folder, item).short_hash for item in matching}
    agreeing = [
        item for item in matching if short_hash is None or known[item] in (short_hash, None)
    ]
    if short_hash is not None:
        agreeing.sort(key=lambda item: known[item] is None)
    if agreeing:
        return _file(catalog, folder, agreeing[0])
    if matching:
        what = (
            f'"{name}" names hash {short_hash}, the file here has {known[matching[0]]}: another '
            "model; leave the hash out to take it all the same"
        )
    else:
        what = (
            f'no control model "{name}" in this ComfyUI'
            f"{report.did_you_mean(stem(without_hash(name)), list(map(stem, files)))}; "
            f"{INSTALL_HINT} (ComfyUI's folder {folder})"
        )
    report.missing(path, what, instead=WITHOUT_UNITS, value=name)
    return None


def _match(name: str, files: Sequence[str]) -> list[str]:
    """The files of that stem, else the one with the shortest stem that contains it."""
    wanted = stem(without_hash(name)).lower()
    equal = [item for item in files if stem(item).lower() == wanted]
    containing = [item for item in files if wanted in stem(item).lower()]
    return equal or sorted(containing, key=lambda item: len(stem(item)))[:1]


def _hash_in(name: str) -> str | None:
    """The hash that a name ends with in brackets."""
    found = _HASH.search(name)
    return found[1].lower() if found else None


def _file(catalog: Catalog, folder: str, name: str) -> ModelFile:
    return ModelFile(folder, name, catalog.facts_of(folder, name))


def _taken_as_is(name: str, report: Report) -> str:
    report.warn("", "no list of model files is known: names of models were not checked")
    plain = without_hash(name)
    return plain if plain.lower().endswith(EXTENSIONS) else f"{plain}.safetensors"


def vision_model(vision: Vision, catalog: Catalog, path: str, report: Report) -> ModelFile | None:
    """The file of a CLIP vision model; None where there is none, and the report has it."""
    usual, pattern = _VISION[vision]
    files = catalog.files("clip_vision")
    if files is None:
        return _file(catalog, "clip_vision", _taken_as_is(usual, report))
    named = [item for item in files if stem(item).lower() == usual.lower()]
    alike = [item for item in files if pattern.search(stem(item).lower())]
    if not (named or alike):
        report.missing(
            path,
            f"no CLIP vision model {usual} in this ComfyUI; put it into models/clip_vision",
            instead="the unit is left out",
        )
        return None
    return _file(catalog, "clip_vision", (named or alike)[0])


def weights_file(weights: Weights, catalog: Catalog) -> ModelFile | None:
    """The file of a preprocessor's network; None where there is none."""
    files = catalog.files(weights.folder)
    if files is None:
        return _file(catalog, weights.folder, weights.file)
    named = [item for item in files if item == weights.file]
    alike = [item for item in files if weights.pattern in item.lower()]
    found = named or alike
    return _file(catalog, weights.folder, found[0]) if found else None


def preset_module(name: str) -> Module | None:
    """The module that ip-adapter-auto stands for, by the exact stem of the model; None without."""
    module = _presets().get(stem(without_hash(name)))
    return find(module) if module else None


@cache
def _presets() -> Mapping[str, str]:
    presets: Mapping[str, str] = read_table("ip_adapter_presets")["presets"]
    return presets
