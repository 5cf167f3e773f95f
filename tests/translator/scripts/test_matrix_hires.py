"""Prompt matrix with hires fix, and beside ControlNet."""

from __future__ import annotations

from tests.translator.control_requests import picture
from translator import translate


def test_a_prompt_matrix_with_hires_fix_has_one_info() -> None:
    payload = {
        "seed": 1,
        "prompt": "a|b",
        "enable_hr": True,
        "denoising_strength": 0.5,
        "script_name": "Prompt matrix",
        "script_args": [False, False, "positive", "comma", 0],
    }
    info = translate(payload).info
    assert info["all_prompts"] == ["a", "a, b"]
    assert all("Hires upscale: 2.0" in text for text in info["infotexts"])
    assert not any("Hires prompt" in text for text in info["infotexts"])


def test_a_prompt_matrix_beside_a_unit_that_draws_is_told_to_be_near() -> None:
    """A1111 runs all combinations as one generation, and encodes a reference picture once."""
    for module, near in (("reference_only", True), ("canny", False)):
        model = "None" if near else "control_v11p_sd15_canny"
        unit = {"module": module, "model": model, "image": picture()}
        payload = {
            "seed": 1,
            "prompt": "a|b",
            "alwayson_scripts": {"controlnet": {"args": [unit]}},
            "script_name": "Prompt matrix",
            "script_args": [False, False, "positive", "comma", 0],
        }
        told = translate(payload).warning_texts
        assert any("anew for each image" in warning for warning in told) is near
