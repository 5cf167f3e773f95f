"""Every request of the corpus through the worker and the development server."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from devserver import DevServer, default_models
from tests.corpus import Case, cases, model_files
from tests.worker.conftest import Worker
from tests.worker.graphs import opened
from translator import Translation
from translator.options import REQUEST_OPTIONS

CASES = cases()
_PICTURES = ("images", "image", "image1", "samples", "latent_image", "pixels", "destination")
"""Inputs through which a picture or a latent comes."""


@pytest.fixture(scope="module")
def generating(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    """A worker on a server that lists every model of the corpus."""
    models = {folder: list(names) for folder, names in default_models().items()}
    for folder, name in sorted(model_files()):
        models.setdefault(folder, []).append(name)
    file = tmp_path_factory.mktemp("corpus") / "styles.csv"
    write_styles(file)
    wildcards = file.parent / "wildcards.json"
    write_wildcards(wildcards)
    with DevServer(models=models) as server:
        worker = Worker(server, styles_file=file, wildcards_dir=file.parent, job_timeout_s=90)
        yield worker
        worker.close()


def write_styles(file: Path) -> None:
    with file.open("w", encoding="utf-8", newline="") as stream:
        rows = csv.writer(stream)
        rows.writerow(["name", "prompt", "negative_prompt"])
        for case in CASES:
            for name, style in case.options.styles.items():
                rows.writerow([name, style.prompt, style.negative_prompt])


def write_wildcards(file: Path) -> None:
    lists: dict[str, list[object]] = {}
    for case in CASES:
        for name, values in case.options.wildcards.items():
            lists[name] = [
                value if isinstance(value, str) else {"text": value[0], "weight": value[1]}
                for value in values
            ]
    file.write_text(json.dumps(lists), "utf-8")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_the_answer_is_what_the_translation_promises(generating: Worker, case: Case) -> None:
    requested = {name: getattr(case.options, name) for name in REQUEST_OPTIONS}
    api = {"method": "POST", "endpoint": case.endpoint}
    answer = await generating.run({"payload": case.payload, "options": requested, "api": api})
    assert "error" not in answer, answer
    promised = case.translate()
    assert len(answer["images"]) == len(promised.outputs)
    info = json.loads(answer["info"])
    assert len(info["infotexts"]) == len(promised.info["infotexts"])
    for image, output in zip(answer["images"], promised.outputs, strict=True):
        if output.kind == "image":
            assert opened({"data": image}).size == size(promised, output.node)


def size(promised: Translation, node_id: str) -> tuple[int, int]:
    """The size of the pictures a node gives, settled by the nearest node above that settles one.

    What an inpainting puts back over its results has the size of the picture it was made from.
    """
    node = promised.graph[node_id]
    inputs = node["inputs"]
    if node["class_type"] == "LoadImage":
        (data,) = (item.data for item in promised.uploads if item.name == inputs["image"])
        width, height = opened({"data": data}).size
        return width, height
    if node["class_type"] == "A1111Overlay" and inputs["covers"]:
        source = inputs["overlay"][0]
        while "overlay" in promised.graph[source]["inputs"]:
            source = promised.graph[source]["inputs"]["overlay"][0]
        if promised.graph[source]["inputs"]["only_masked"]:
            return size(promised, promised.graph[source]["inputs"]["image"][0])
    if node["class_type"].startswith("A1111Detail"):  # width and height are those of a region
        return size(promised, inputs["image"][0])
    if "width" in inputs:
        return inputs["width"] // 8 * 8, inputs["height"] // 8 * 8
    above = next(inputs[name][0] for name in _PICTURES if name in inputs)
    width, height = size(promised, above)
    if node["class_type"] == "A1111EnlargeBy":
        factor = inputs["factor"]
        return int(width * factor // 8 * 8), int(height * factor // 8 * 8)
    if node["class_type"] == "A1111LatentCrop":
        width -= 8 * (inputs["left"] + inputs["right"])
        height -= 8 * (inputs["top"] + inputs["bottom"])
    return width, height
