"""What a job's ``input`` may be: the envelope, a bare payload (raw tests/cases), a workflow."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.worker.graphs import marks, opened, txt2img
from worker import envelope
from worker.errors import RequestError

CASES = Path(__file__).parents[1] / "cases"
RAW = {
    file.stem: case["request"]
    for file in sorted(CASES.glob("*.json"))
    if (case := json.loads(file.read_text("utf-8")))["endpoint"] == "raw"
}


def test_there_are_three() -> None:
    assert list(RAW) == ["69k-official-runpod-worker", "90-direct-input", "90b-direct-with-batch"]


@pytest.mark.parametrize("name", list(RAW))
async def test_a_bare_payload_makes_its_picture(worker: Any, name: str) -> None:
    request = RAW[name]
    answer = await worker.run(request)
    (image,) = answer["images"]
    assert opened(image).size == (request["width"], request["height"])
    info = json.loads(answer["info"])
    assert (info["seed"], info["prompt"]) == (1, request["prompt"])
    assert info["sampler_name"] == request.get("sampler_name", "Euler")
    assert answer["parameters"]["steps"] == 2


async def test_a_bare_payload_is_the_enveloped_one(worker: Any) -> None:
    payload = {"prompt": "a cat", "steps": 2, "width": 64, "height": 64, "seed": 5, "batch_size": 2}
    api = {"method": "POST", "endpoint": "sdapi/v1/txt2img"}
    bare, enveloped = await worker.run(payload), await worker.run({"api": api, "payload": payload})
    assert bare["parameters"] == enveloped["parameters"]
    assert marks(bare) == marks(enveloped) == [(5, 0), (6, 0)]


@pytest.mark.parametrize(
    ("given", "path"),
    [
        ({"prompt": ""}, "sdapi/v1/txt2img"),
        ({"prompt": None, "steps": 3}, "sdapi/v1/txt2img"),
        ({"workflow": {}, "prompt": "a cat"}, "workflow"),
        ({"api": {"method": "get", "endpoint": "//sdapi/v1/samplers/"}}, "sdapi/v1/samplers"),
        (json.dumps({"prompt": "a cat"}), "sdapi/v1/txt2img"),
    ],
)
def test_the_route_of_an_input(given: Any, path: str) -> None:
    request, warnings = envelope.read(given)
    assert (request.path, warnings) == (path, [])


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"steps": 3}, ["Missing 'workflow' parameter", "neither api nor workflow", "payload"]),
        ({"api": "txt2img"}, ["api", "method"]),
        ({"api": {"method": "POST"}}, ["api.endpoint"]),
        (3, ["input", "object"]),
        ([], ["input", "object"]),
        ("[" * 100_000, ["Invalid JSON format in input"]),
    ],
)
def test_an_input_that_makes_no_sense_says_what_is_expected(given: Any, words: list[str]) -> None:
    with pytest.raises(RequestError) as caught:
        envelope.read(given)
    for word in words:
        assert word in str(caught.value)


async def test_an_option_beside_a_workflow_or_a_payload_is_read_or_told(worker: Any) -> None:
    answer = await worker.run({"workflow": txt2img(seed=3), "extra": 1})
    assert answer["warnings"] == ["extra: not a field of this request"]
