"""The workflows that come with the worker: accepted, run by name, and what they say they are."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from devserver import default_models
from tests.corpus import ROOT, picture, seed_workflow
from tests.corpus.signatures import bundled, faults
from tests.worker.graphs import opened

FOLDER = ROOT / "workflows"
SEED = "seed-txt2img-instantid"
RESULTS = {
    SEED: [(1536, 2048), (1536, 2048)],
    "sdxl-txt2img": [(1024, 1024)],
    "sdxl-instantid": [(1016, 1016)],
}
"""Workflow -> sizes of the pictures it answers."""

FACE = [{"name": "face.jpg", "image": picture("face.jpg")}]


def workflow(name: str) -> dict[str, Any]:
    graph: dict[str, Any] = json.loads((FOLDER / f"{name}.json").read_text("utf-8"))
    return graph


def test_the_folder_holds_these_workflows() -> None:
    assert {file.stem for file in FOLDER.glob("*.json")} == set(RESULTS)


@pytest.mark.parametrize("name", RESULTS)
def test_the_signatures_accept_it(name: str) -> None:
    assert faults(workflow(name), bundled()) == []


@pytest.mark.parametrize("name", RESULTS)
async def test_it_runs_by_its_name(make_worker: Callable[..., Any], name: str) -> None:
    graph = workflow(name)
    worker = make_worker(workflows_dir=FOLDER)
    images = FACE if any(node["class_type"] == "LoadImage" for node in graph.values()) else []
    answer = await worker.run({"workflow": name, "images": images})
    assert [opened(image).size for image in answer["images"]] == RESULTS[name]


async def test_overrides_name_nodes_by_title(make_worker: Callable[..., Any]) -> None:
    worker = make_worker(workflows_dir=FOLDER)
    overrides = {"Size.width": 512, "Size.batch_size": 2, "Sampler.seed": 5}
    answer = await worker.run({"workflow": "sdxl-txt2img", "overrides": overrides})
    assert [opened(image).size for image in answer["images"]] == [(512, 1024)] * 2


def test_the_seeds_workflow_is_its_request_translated() -> None:
    """Written by ``python -m tests.corpus --write``; the picture goes by a name of its own."""
    assert workflow(SEED) == seed_workflow()


def test_the_development_server_lists_every_model_they_load() -> None:
    listed = {name for names in default_models().values() for name in names}
    for name in RESULTS:
        for node in workflow(name).values():
            loaded = [
                value
                for value in node["inputs"].values()
                if isinstance(value, str) and value.endswith((".safetensors", ".bin", ".pth"))
            ]
            assert set(loaded) <= listed
