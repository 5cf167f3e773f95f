"""Prompt matrix with hires fix."""

from __future__ import annotations

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
