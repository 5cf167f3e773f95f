"""The extension's GET routes, answered from the module table and the catalog.

Shapes: sd-webui-controlnet v1.1.455, facts ``controlnet.md`` section 10.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from translator.comfy.catalog import Catalog
from translator.control import modules
from translator.control.models import FOLDERS
from translator.control.modules import Module, Slider
from translator.models.names import stem

API_VERSION = 3

NO_MODEL = "None"
_ALL = "All"

_MODEL_FILTERS: Mapping[str, Sequence[str]] = {
    "instructp2p": ("ip2p",),
    "segmentation": ("seg",),
    "normalmap": ("normal",),
    "t2i-adapter": ("t2i_adapter", "t2iadapter", "t2ia"),
    "ip-adapter": ("ip_adapter", "ipadapter"),
    "openpose": ("openpose", "densepose"),
    "instant-id": ("instant_id", "instantid"),
    "scribble": ("sketch",),
    "tile": ("blur",),
}
"""Control type, lower case -> further texts that a model's name may hold to belong to it."""

_UNION_TYPES = frozenset(
    (
        "openpose",
        "depth",
        "softedge",
        "scribble",
        "canny",
        "lineart",
        "mlsd",
        "normalmap",
        "segmentation",
        "inpaint",
        "tile",
    )
)
"""Control types that a union model takes."""


def version() -> dict[str, Any]:
    """GET /controlnet/version"""
    return {"version": API_VERSION}


def settings(unit_count: int) -> dict[str, Any]:
    """GET /controlnet/a1111_options; `unit_count` is option control_net_unit_count."""
    return {"control_net_unit_count": unit_count}


def model_list(catalog: Catalog) -> dict[str, Any]:
    """GET /controlnet/model_list: ``stem [hash]``, without hash where the file was not read."""
    return {"model_list": _models(catalog)}


def module_list(*, alias_names: bool = False) -> dict[str, Any]:
    """GET /controlnet/module_list

    Args:
        alias_names: whether modules are named by their labels.
    """
    rows = modules.table().values()
    named = {(row.label if alias_names else row.name): row for row in rows}
    return {
        "module_list": list(named),
        "module_detail": {name: _detail(row) for name, row in named.items()},
    }


def control_types(catalog: Catalog) -> dict[str, Any]:
    """GET /controlnet/control_types: modules and models by the kind of control."""
    rows = list(modules.table().values())
    tags = sorted({tag for row in rows for tag in row.tags})
    available = [NO_MODEL, *_models(catalog)]
    every = _control_type([row.label for row in rows], available, "none", NO_MODEL)
    return {"control_types": {_ALL: every, **{tag: _of_tag(tag, rows, available) for tag in tags}}}


def _of_tag(tag: str, rows: Sequence[Module], available: Sequence[str]) -> dict[str, Any]:
    labels = [row.label for row in rows if tag in row.tags or row.name == "none"]
    fitting = [name for name in available if name == NO_MODEL or _belongs(name, tag)]
    return _control_type(labels, fitting, labels[min(1, len(labels) - 1)], _default_model(fitting))


def _control_type(
    labels: list[str], models: Sequence[str], option: str, model: str
) -> dict[str, Any]:
    return {
        "module_list": labels,
        "model_list": list(models),
        "default_option": option,
        "default_model": model,
    }


def _belongs(model: str, tag: str) -> bool:
    """Whether a model's name says that it is for a control type."""
    wanted = tag.lower()
    texts = [wanted, *_MODEL_FILTERS.get(wanted, ())]
    if wanted in _UNION_TYPES:
        texts.append("union")
    return any(text in model.lower() for text in texts)


def _default_model(fitting: Sequence[str]) -> str:
    """The first model, but one of version 1.1 before others."""
    named = [name for name in fitting if name != NO_MODEL]
    newest = [name for name in named if "11" in name.split("[")[0]]
    return (newest or named or [NO_MODEL])[0]


def _models(catalog: Catalog) -> list[str]:
    """The control models of every folder, by name; a file that several folders list, once."""
    names: dict[str, str] = {}
    for folder in FOLDERS:
        for file in catalog.files(folder) or ():
            short_hash = catalog.facts_of(folder, file).short_hash
            name = stem(file)
            names[f"{name} [{short_hash}]" if short_hash else name] = name
    return sorted(names, key=names.__getitem__)


def _detail(row: Module) -> dict[str, Any]:
    shown = (row.resolution, row.threshold_a, row.threshold_b)
    return {
        "model_free": row.model_free,
        "sliders": [_slider(slider) for slider in shown if slider is not None],
    }


def _slider(slider: Slider) -> dict[str, Any]:
    return {
        "name": slider.label,
        "value": slider.default,
        "min": slider.low,
        "max": slider.high,
        "step": slider.step,
    }
