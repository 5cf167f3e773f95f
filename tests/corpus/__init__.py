"""Real-world requests, and the graphs they become.

``requests/`` holds RunPod jobs as clients send them, each with a line that says what it is about;
``options`` in it are `translator.Options`. A text such as ``"@photo.jpg"`` stands for that picture
of ``pictures/`` in base64. The jobs of ``examples/`` belong to the corpus too.

``graphs/`` holds what becomes of each: reviewed once by eye, then held against every change. The
``.txt`` is what to read in a review, one line a node; the ``.json`` holds every digit.
``python -m tests.corpus --write`` writes them anew.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

from devserver import default_models
from tests.corpus.signatures import bundled
from translator import Catalog, Options, Translation, translate
from translator.comfy.text import graph_text
from translator.options import Style

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
GRAPHS = HERE / "graphs"
SEED_WORKFLOW = ROOT / "workflows" / "seed-txt2img-instantid.json"

_REQUESTS = (ROOT / "examples", HERE / "requests")
_PICTURES = (ROOT / "examples", HERE / "pictures")
_PLACEHOLDER = "base64 encoded image content"
_PICTURE = re.compile(r"(data:[^,]*,)?@([\w-]+\.\w+)")
_SEED = 1234567890
_NOW = datetime(2026, 1, 2, 3, 4, 5)


@dataclass(frozen=True)
class Case:
    """One request of the corpus.

    Attributes:
        name: of its file, without extension.
        about: what it stands for.
        endpoint: where it is sent.
        payload: the A1111 request, pictures in place.
        options: those of its file, with a fixed random source and clock.
        fidelities: in which ways its graph is kept in ``graphs/``.
    """

    name: str
    about: str
    endpoint: str
    payload: Mapping[str, Any]
    options: Options
    fidelities: tuple[str, ...]

    def translate(self, fidelity: str = "exact", catalog: Catalog | None = None) -> Translation:
        """Translate it; in ``core`` what core nodes cannot do is left out with a warning."""
        options = replace(self.options, fidelity=fidelity)  # type: ignore[arg-type]
        if fidelity == "core":
            options = replace(options, unsupported="warn")
        return translate(self.payload, self.endpoint, catalog, options=options)

    def graph_file(self, fidelity: str) -> Path:
        """Where its graph is kept."""
        suffix = "" if fidelity == "exact" else f".{fidelity}"
        return GRAPHS / f"{self.name}{suffix}.json"

    def text_file(self, fidelity: str) -> Path:
        """Where its graph is kept for people."""
        return self.graph_file(fidelity).with_suffix(".txt")


@cache
def cases() -> Sequence[Case]:
    """Every request, by name."""
    files = [file for folder in _REQUESTS for file in folder.glob("*.json")]
    return tuple(_read(file) for file in sorted(files, key=lambda file: file.stem))


def snapshot(translation: Translation) -> dict[str, Any]:
    """What is kept of a translation: all but the pictures' content and the echo of the request."""
    return {
        "graph": translation.graph,
        "outputs": [output.to_json() for output in translation.outputs],
        "uploads": [upload.name for upload in translation.uploads],
        "infotexts": translation.info["infotexts"],
        "warnings": translation.warning_texts,
    }


def spelled(document: Mapping[str, Any]) -> str:
    """A snapshot as its file has it."""
    return json.dumps(document, ensure_ascii=False, indent=1) + "\n"


def readable(translation: Translation) -> str:
    """A snapshot for people: the graph one line a node, and what is told beside it."""
    graph = graph_text(translation.graph, Catalog.bundled().nodes)
    outputs = [
        f"{item.kind}: {f'node {item.node}' if item.node else item.upload}, picture {item.index}"
        for item in translation.outputs
    ]
    warnings = [f"warning: {text}" for text in translation.warning_texts]
    return f"{graph}\n" + "".join(f"{line}\n" for line in (*outputs, *warnings))


def seed_workflow() -> dict[str, Any]:
    """The seed request's graph for direct submission, its picture under the name ``face.jpg``.

    Model files are those of the development server, named as they are downloaded.
    """
    (case,) = (case for case in cases() if case.name == "txt2img-instantid")
    folders = {folder: tuple(names) for folder, names in default_models().items()}
    translation = case.translate(catalog=Catalog(nodes=Catalog.bundled().nodes, folders=folders))
    (upload,) = translation.uploads
    graph: dict[str, Any] = json.loads(
        json.dumps(translation.graph).replace(upload.name, "face.jpg")
    )
    return graph


def model_files() -> set[tuple[str, str]]:
    """(folder, file name) of every model that a graph of the corpus loads.

    A ComfyUI accepts the corpus if its folders list these names; validation opens no file.
    """
    nodes = bundled()
    return {
        (item["folders"][0], node["inputs"][input_name])
        for case in cases()
        for fidelity in ("exact", "core")
        for node in case.translate(fidelity).graph.values()
        for input_name, item in _inputs(nodes[node["class_type"]])
        if input_name in node["inputs"] and item.get("folders", ["input"])[0] != "input"
    }


def _inputs(signature: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for group in ("required", "optional"):
        yield from signature["inputs"].get(group, {}).items()


def _read(file: Path) -> Case:
    document = json.loads(file.read_text("utf-8"))
    given = dict(document.get("options", {}))
    styles = {name: Style(**style) for name, style in given.pop("styles", {}).items()}
    return Case(
        name=file.stem,
        about=document.get("about", "an example of the README"),
        endpoint=document["input"]["api"]["endpoint"],
        payload=_with_pictures(document["input"]["payload"]),
        options=Options(**given, styles=styles, draw_seed=lambda: _SEED, now=_NOW),
        fidelities=tuple(document.get("fidelities", ("exact",))),
    )


def _with_pictures(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _with_pictures(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_with_pictures(item) for item in value]
    if value == _PLACEHOLDER:
        return picture("face.jpg")
    found = _PICTURE.fullmatch(value) if isinstance(value, str) else None
    return f"{found[1] or ''}{picture(found[2])}" if found else value


@cache
def picture(name: str) -> str:
    """A picture of the corpus in base64."""
    file = next(folder / name for folder in _PICTURES if (folder / name).is_file())
    return base64.b64encode(file.read_bytes()).decode()
