"""The files that features need, and the features: data of files.json, features.json and the tables.

docs/models.md is written from the same (tools/models_tables.py).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from translator.tables import read_table


@dataclass(frozen=True)
class ModelFile:
    """A file, or a folder of Hugging Face's cache, that some feature needs.

    Attributes:
        id: what features call it.
        name: its usual name.
        mb: its size in megabytes, about.
        home: where it is published, by name.
        places: folders of the volume in which it is looked for, the recommended one first.
        names: patterns of other names that serve as well.
        link: folder below ComfyUI's base directory in which its reader looks; None where ComfyUI's
            own search path (docker/extra_model_paths.yaml) finds it in its places.
        is_snapshot: a folder of Hugging Face's cache, with a snapshot in it.
    """

    id: str
    name: str
    mb: int
    home: str
    places: tuple[str, ...]
    names: tuple[str, ...] = ()
    link: str | None = None
    is_snapshot: bool = False

    @property
    def target(self) -> str:
        """Where to put it, relative to the volume."""
        return f"{self.places[0]}/{self.name}"


@dataclass(frozen=True)
class Feature:
    """Something a caller may ask for.

    Attributes:
        group: ``base``, ``faces``, ``preprocessor`` or ``upscaler``.
        nodes: node classes that ComfyUI must have.
        files: ids of the files it needs, all of them.
    """

    name: str
    group: str
    nodes: tuple[str, ...]
    files: tuple[str, ...]


@cache
def model_files() -> Mapping[str, ModelFile]:
    """Every file by its id.

    Raises:
        ValueError: an id stands twice.
    """
    rows = [_file(row) for row in _read("files.json")["files"]]
    found = {row.id: row for row in rows}
    if len(found) != len(rows):
        raise ValueError("files.json: an id stands twice")
    return found


@cache
def features() -> Sequence[Feature]:
    """Every feature, by group.

    Raises:
        KeyError: a feature names a file that files.json has not.
    """
    listed = [
        Feature(row["feature"], row["group"], tuple(row["nodes"]), tuple(row["files"]))
        for row in _read("features.json")["features"]
    ]
    every = (*listed, *_preprocessors(), *_upscalers())
    known = model_files()
    for feature in every:
        for file in feature.files:
            known[file]
    return every


def users(file: ModelFile) -> list[str]:
    """The features that need a file."""
    return [feature.name for feature in features() if file.id in feature.files]


def module_file_ids(told: Iterable[str]) -> tuple[str, ...]:
    """The ids of what modules.json calls its files."""
    named = _read("features.json")["module_files"]
    return tuple(id for text in told for id in named.get(text, (text,)))


def _preprocessors() -> Iterator[Feature]:
    """ControlNet's modules whose preprocessor needs weights."""
    for name, row in read_table("modules")["modules"].items():
        own = row.get("own_nodes", ())
        work = own if "weights" in row else row["nodes"] or own
        if work and row["files"]:
            nodes = tuple(dict.fromkeys(node["class"] for node in work))
            yield Feature(name, "preprocessor", nodes, module_file_ids(row["files"]))


def _upscalers() -> Iterator[Feature]:
    nodes = ("UpscaleModelLoader",)
    for row in read_table("upscalers")["model"]:
        yield Feature(row["name"], "upscaler", nodes, (f"upscaler {row['name']}",))


def _file(row: Mapping[str, Any]) -> ModelFile:
    return ModelFile(
        id=row["id"],
        name=row["name"],
        mb=row["mb"],
        home=row["home"],
        places=tuple(row["places"]),
        names=tuple(row.get("names", ())),
        link=row.get("link"),
        is_snapshot=row.get("kind") == "snapshot",
    )


@cache
def _read(name: str) -> Any:
    return json.loads((resources.files("worker.doctor") / name).read_text("utf-8"))
