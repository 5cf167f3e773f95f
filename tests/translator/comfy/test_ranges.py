"""A number out of a node's range is told by the field that set it."""

from __future__ import annotations

from typing import Any

import pytest

from tests.translator.control_requests import picture
from translator import EXTRA_SINGLE, TranslationError, translate

HIRES = {"enable_hr": True, "denoising_strength": 0.5}
REFINED = {"refiner_checkpoint": "sd_xl_refiner_1.0", "refiner_switch_at": 0.8}
XL = {"sd_model_checkpoint": "sd_xl_base_1.0"}


def told(payload: dict[str, Any], **arguments: Any) -> set[str]:
    """The paths of a request's problems."""
    with pytest.raises(TranslationError) as caught:
        translate({"seed": 1, **payload}, **arguments)
    return {problem.path for problem in caught.value.problems}


@pytest.mark.parametrize(
    ("payload", "paths"),
    [
        ({"cfg_scale": 1e9}, {"cfg_scale"}),
        ({"sampler_name": "Euler a", "eta": 1e6}, {"eta"}),
        (
            {**HIRES, "hr_upscaler": "DAT x4", "override_settings": {"DAT_tile": 99999}},
            {"override_settings.DAT_tile"},
        ),
        (
            {**HIRES, "hr_upscaler": "SwinIR 4x", "override_settings": {"SWIN_tile_overlap": 9999}},
            {"override_settings.SWIN_tile_overlap"},
        ),
        (
            {
                **REFINED,
                "override_settings": {**XL, "sdxl_refiner_low_aesthetic_score": 1e6},
            },
            {"override_settings.sdxl_refiner_low_aesthetic_score"},
        ),
        (
            {
                **REFINED,
                "override_settings": {**XL, "sdxl_refiner_high_aesthetic_score": 1e6},
            },
            {"override_settings.sdxl_refiner_high_aesthetic_score"},
        ),
        (
            {"sampler_name": "Euler a", "override_settings": {"eta_ancestral": 1e6}},
            {"override_settings.eta_ancestral"},
        ),
        (
            {"sampler_name": "DDIM", "override_settings": {"eta_ddim": 1e6}},
            {"override_settings.eta_ddim"},
        ),
        (
            {"sampler_name": "Euler", "s_noise": 2, "override_settings": {"s_noise": 1e6}},
            {"override_settings.s_noise"},
        ),
        ({**HIRES, "hr_prompt": "a <lora:x:1000>"}, {"hr_prompt"}),
        (
            {**HIRES, "override_settings": {"token_merging_ratio_hr": 5}},
            {"override_settings.token_merging_ratio_hr"},
        ),
    ],
)
def test_the_field_that_set_a_number_is_told(payload: dict[str, Any], paths: set[str]) -> None:
    assert told(payload) == paths


def test_an_option_of_the_server_is_told_as_one() -> None:
    options = {"a1111_options": {"ESRGAN_tile": 99999}}
    payload = {**HIRES, "hr_upscaler": "R-ESRGAN 4x+"}
    assert told(payload, options=options) == {"options.a1111_options.ESRGAN_tile"}
    extras = {"image": picture(), "upscaler_1": "R-ESRGAN 4x+"}
    assert told(extras, endpoint=EXTRA_SINGLE, options=options) == {
        "options.a1111_options.ESRGAN_tile"
    }
