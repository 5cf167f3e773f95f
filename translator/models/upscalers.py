"""A1111's upscalers by name -> how a picture or a latent is enlarged.

The rows lie in ``tables/upscalers.json``. A name is matched exactly, as A1111 does. Beyond the
table, the stem of every file in ComfyUI's ``upscale_models`` folder is a name, as the stems of
``models/ESRGAN`` are in A1111.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NotRequired, TypedDict, cast

from translator.comfy.catalog import Catalog
from translator.models.names import ModelFile, stem
from translator.plan.starts import ImageUpscale, LatentUpscale
from translator.report import Report
from translator.request.a1111_options import A1111Options
from translator.tables import read_table

DEFAULT = "Latent"
"""What A1111 takes where hr_upscaler is null."""

FOLDER = "upscale_models"
"""ComfyUI's folder of upscale models."""


class _LatentRow(TypedDict):
    name: str
    mode: str
    antialias: bool


class _ResizeRow(TypedDict):
    name: str
    method: str


class _ModelRow(TypedDict):
    name: str
    files: list[str]
    scale: int
    tile_option: str
    only_without_others: NotRequired[bool]


class _ImpossibleRow(TypedDict):
    name: str
    reason: str


class _Table(TypedDict):
    source: str
    latent: list[_LatentRow]
    resize: list[_ResizeRow]
    model: list[_ModelRow]
    impossible: list[_ImpossibleRow]


def find(
    name: str, catalog: Catalog, a1111_options: A1111Options | None = None
) -> LatentUpscale | ImageUpscale | None:
    """How the upscaler of this name enlarges; None where it cannot be used, see `obstacle`.

    Args:
        a1111_options: for the tiles a model works in; None for A1111's defaults.
    """
    table = _table()
    for latent in table["latent"]:
        if latent["name"] == name:
            return LatentUpscale(latent["mode"], latent["antialias"])
    for resize in table["resize"]:
        if resize["name"] == name:
            return ImageUpscale(resize["method"], None)
    if any(impossible["name"] == name for impossible in table["impossible"]):
        return None
    row = next((row for row in table["model"] if row["name"] == name), None)
    file = _file_of_row(row, catalog) if row else _file_of_stem(name, catalog)
    if file is None:
        return None
    tiles = a1111_options or A1111Options.with_defaults()
    option = f"{row['tile_option'] if row else 'ESRGAN'}_tile"
    overlap = f"{option}_overlap"
    return ImageUpscale(
        "lanczos", file, getattr(tiles, option), getattr(tiles, overlap), (option, overlap)
    )


def obstacle(name: str, catalog: Catalog) -> str | None:
    """Why an upscaler that A1111 knows cannot be used here; None where it can or is unknown."""
    table = _table()
    for impossible in table["impossible"]:
        if impossible["name"] == name:
            return impossible["reason"]
    for row in table["model"]:
        if row.get("only_without_others") and catalog.files(FOLDER):
            continue  # A1111 knows the name only while there is no other model
        if row["name"] == name and _file_of_row(row, catalog) is None:
            return f"it needs {' or '.join(row['files'])} in ComfyUI's {FOLDER} folder"
    return None


def remedy(name: str, catalog: Catalog, report: Report) -> str:
    """What a sentence on a name that `find` and `obstacle` do not know ends with."""
    files = {stem(file): row["name"] for row in _table()["model"] for file in row["files"]}
    written = {item.replace("_", " "): item for item in files.values()}
    meant = files.get(name) or written.get(name.replace("_", " "))
    if meant and meant != name:
        return f', did you mean "{meant}"?'
    file = f"put its file into ComfyUI's {FOLDER} folder, or " if name else ""
    like = report.did_you_mean(name, names(catalog))
    return like or f"; {file}name one of GET sdapi/v1/upscalers"


def names(catalog: Catalog) -> list[str]:
    """The names that `find` takes with this catalog, A1111's order first."""
    return list(dict.fromkeys([*latent_names(), *resize_names(), *model_names(catalog)]))


def latent_names() -> list[str]:
    """The upscalers that enlarge the latent."""
    return [row["name"] for row in _table()["latent"]]


def resize_names() -> list[str]:
    """The upscalers that enlarge a picture without a model."""
    return [row["name"] for row in _table()["resize"]]


def model_names(catalog: Catalog) -> list[str]:
    """The upscalers whose model this catalog has: A1111's names, then the files' own."""
    rows = [row["name"] for row in _table()["model"] if _file_of_row(row, catalog)]
    return list(dict.fromkeys(rows + [stem(file) for file in catalog.files(FOLDER) or ()]))


def listed(catalog: Catalog) -> list[str]:
    """The upscalers of pictures in the order in which A1111 numbers and lists them."""
    plain = resize_names()
    models = {name for name in model_names(catalog) if name not in plain}
    return [*plain, *sorted(models, key=str.lower)]


def _file_of_row(row: _ModelRow, catalog: Catalog) -> ModelFile | None:
    """The first of the row's files that is there, in any subfolder."""
    files = catalog.files(FOLDER)
    if files is None:
        return _model_file(row["files"][-1], catalog)
    there = {re.split(r"[\\/]", file)[-1]: file for file in reversed(files)}
    return next((_model_file(there[name], catalog) for name in row["files"] if name in there), None)


def _file_of_stem(name: str, catalog: Catalog) -> ModelFile | None:
    """The first file whose name without folder and extension this is."""
    files = catalog.files(FOLDER)
    if files is None:
        return _model_file(f"{name}.pth", catalog) if name else None
    return next((_model_file(file, catalog) for file in files if stem(file) == name), None)


def _model_file(name: str, catalog: Catalog) -> ModelFile:
    return ModelFile(FOLDER, name, catalog.facts_of(FOLDER, name))


@lru_cache(maxsize=1)
def _table() -> _Table:
    return cast(_Table, read_table("upscalers"))
