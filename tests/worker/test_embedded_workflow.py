"""PNGs that carry their graph for ComfyUI's editor."""

from __future__ import annotations

import base64
import io
import json
from typing import Any

import pytest
from PIL import Image

from tests.worker.conftest import Worker

PAYLOAD = {"prompt": "a cät", "steps": 4, "seed": 7, "width": 64, "height": 64}


def texts(answer: dict[str, Any]) -> dict[str, str]:
    with Image.open(io.BytesIO(base64.b64decode(answer["images"][0]))) as picture:
        picture.load()
        return dict(picture.text) if picture.format == "PNG" else {}  # type: ignore[attr-defined]


def job(**options: Any) -> dict[str, Any]:
    return {
        "api": {"method": "POST", "endpoint": "/sdapi/v1/txt2img"},
        "payload": PAYLOAD,
        "options": options,
    }


async def test_the_graph_is_in_the_picture_where_it_is_asked_for(worker: Worker) -> None:
    found = texts(await worker.run(job(embed_workflow=True)))
    assert set(found) == {"parameters", "prompt", "workflow"}
    graph, workflow = json.loads(found["prompt"]), json.loads(found["workflow"])
    kinds = {node["type"] for node in workflow["nodes"]}
    assert {"A1111Prompt", "A1111Schedule"} <= kinds
    assert not {"A1111TextEncode", "A1111Sigmas"} & kinds
    assert {"A1111TextEncode", "A1111Sigmas"} <= {node["class_type"] for node in graph.values()}
    again = await worker.run({"workflow": workflow})
    assert len(again["images"]) == 1
    assert "a cät" in found["parameters"]


async def test_it_is_not_there_otherwise(worker: Worker) -> None:
    assert set(texts(await worker.run(job()))) == {"parameters"}


@pytest.mark.parametrize("value", ("yes", 1, None))
async def test_it_is_true_or_false(worker: Worker, value: Any) -> None:
    answer = await worker.run(job(embed_workflow=value))
    assert "options.embed_workflow" in answer["error"]
