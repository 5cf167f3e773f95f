"""A workflow for the editor, run on the real server, makes the picture of the request's graph."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from tests.comfyui.test_requests import is_picture, likeness, pixels, sd15, sdxl
from tests.comfyui.worker import Worker
from translator import Catalog, translate
from translator.comfy.editor import workflow
from translator.editable import editable

HIRES = {"enable_hr": True, "hr_scale": 1.5, "denoising_strength": 0.6}
EDITED = "a (cat:1.3), [day:night:0.5] [x|y] BREAK (soft) AND a dog :0.6"

REQUESTS = {
    "edits": sd15(prompt=EDITED, steps=4),
    "second order, hires": sd15(prompt=EDITED, sampler_name="Heun", steps=4, **HIRES),
    "brownian": sd15(sampler_name="DPM++ 2M SDE", scheduler="Karras", steps=4, batch_size=2),
    "range": sd15(sampler_name="DPM fast", steps=4),
    "timesteps": sd15(sampler_name="UniPC", steps=6, **HIRES),
    "sdxl, empty negative": sdxl(negative_prompt="", scheduler="Align Your Steps", steps=3),
    "clip skip, no norm": sd15(
        prompt=EDITED,
        override_settings={
            "sd_model_checkpoint": "synth_sd15",
            "CLIP_stop_at_last_layers": 2,
            "emphasis": "No norm",
        },
    ),
}


def images(answer: Mapping[str, Any]) -> list[Any]:
    """The pictures of a workflow submitted directly."""
    assert "error" not in answer, answer
    sent = {"images": [item["data"] for item in answer["images"]]}
    return [pixels(sent, index) for index in range(len(sent["images"]))]


@pytest.mark.parametrize("payload", REQUESTS.values(), ids=REQUESTS)
def test_both_forms_make_the_same_picture(
    worker: Worker,
    object_info: Mapping[str, Any],
    need: Callable[..., None],
    payload: dict[str, Any],
) -> None:
    need("A1111Prompt", "A1111Schedule")
    catalog = Catalog.from_object_info(object_info)
    made = translate(payload, catalog=catalog)
    written = editable(made.graph, made.plans, catalog)
    classes = {node["class_type"] for node in written.values()}
    assert not classes & {"A1111TextEncode", "A1111Sampler", "A1111Sigmas"}
    before = images(worker.run({"workflow": made.graph}))
    after = images(worker.run({"workflow": workflow(written, catalog.nodes)}))
    assert len(before) == len(after) > 0
    for one, other in zip(before, after, strict=True):
        assert is_picture(one)
        assert likeness(one, other) == float("inf")
