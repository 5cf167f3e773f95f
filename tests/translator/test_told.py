"""What is used otherwise than sent, or stood in for, is told: one request of each kind."""

from __future__ import annotations

from typing import Any

import pytest

from tests.translator.control_requests import picture
from translator import DETECT, EXTRA_SINGLE, TXT2IMG, Translation, TranslationError, translate
from translator.comfy.catalog import Catalog

NO_FILES = Catalog(Catalog.bundled().nodes, {})

LINES = "prompts from file or textbox"


def lines(line: str) -> dict[str, Any]:
    return {"prompt": "a", "script_name": LINES, "script_args": [False, False, "start", line]}


def leniently(payload: dict[str, Any], endpoint: str) -> Translation:
    return translate(payload, endpoint, options={"unsupported": "warn"})


@pytest.mark.parametrize("unsupported", ["error", "warn"])
def test_sliders_out_of_range_become_their_defaults(unsupported: str) -> None:
    payload = {
        "controlnet_module": "canny",
        "controlnet_input_images": [picture()],
        "controlnet_processor_res": -100,
        "controlnet_threshold_a": 9999,
    }
    made = translate(payload, DETECT, options={"unsupported": unsupported})
    resolution, threshold = made.warning_texts
    assert "-100 is not within 64..2048" in resolution and "default 512" in resolution
    assert "9999 is not within 1..255" in threshold and "default 100" in threshold
    inputs = [node["inputs"] for node in made.graph.values()]
    assert not [value for item in inputs for value in item.values() if value in (-100, 9999)]


def test_a_module_that_cannot_run_is_refused_even_leniently() -> None:
    """There is nothing else to answer, and no empty graph is submitted."""
    payload = {"controlnet_module": "oneformer_coco", "controlnet_input_images": [picture()]}
    with pytest.raises(TranslationError, match="Module not supported") as caught:
        translate(payload, DETECT, NO_FILES, options={"unsupported": "warn"})
    assert "oneformer_coco_swin_large" in str(caught.value)


def test_ldsr_is_stood_in_for_at_the_size_that_was_asked_for() -> None:
    payload = {"image": picture(), "upscaler_1": "LDSR", "upscaling_resize": 2}
    with pytest.raises(TranslationError, match="LDSR"):
        translate(payload, EXTRA_SINGLE)
    made = leniently(payload, EXTRA_SINGLE)
    assert "Lanczos enlarges the picture" in made.warning_texts[0]
    assert any("Scale" in node["class_type"] for node in made.graph.values())


@pytest.mark.parametrize("name", ["Nope", "DPM++ 2M Karras"])
def test_a_line_s_sampler_that_a1111_would_not_find(name: str) -> None:
    payload = lines(f'--prompt "x" --sampler_name "{name}"')
    with pytest.raises(TranslationError, match=r"script_args\[3\]: --sampler_name"):
        translate(payload)
    made = leniently(payload, TXT2IMG)
    assert "DPM++ 2M is used with the request's scheduler" in made.warning_texts[0]
    assert "Sampler: DPM++ 2M," in made.info["infotexts"][0]
