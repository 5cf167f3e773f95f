"""Hires fix: scales, strengths and tiles."""

from __future__ import annotations

import pytest

from tests.translator.control_requests import picture
from tests.translator.refusals import problems
from translator import translate


@pytest.mark.parametrize("sampler", ["DDIM", "DDIM CFG++", "PLMS", "UniPC"])
def test_timestep_samplers_cannot_start_from_no_noise_at_all(sampler: str) -> None:
    payload = {"sampler_name": sampler, "steps": 4, "enable_hr": True, "denoising_strength": 0}
    discards = {"override_settings": {"always_discard_next_to_last_sigma": True}}
    for told in (problems(payload), problems(payload | discards)):
        assert [text.split(":")[0] for text in told] == ["denoising_strength"]


@pytest.mark.parametrize("scale", [0, -1, 1e308])
def test_a_scale_without_a_size_is_refused(scale: float) -> None:
    told = problems({"enable_hr": True, "denoising_strength": 0.5, "hr_scale": scale})
    assert told == [f"hr_scale: {float(scale)} is not above 0 and at most 1024"]


HIRES_NUMBERS = ("denoising_strength", "hr_scale", "hr_second_pass_steps", "hr_resize_x")


def test_numbers_of_the_hires_pass_count_only_where_there_is_one() -> None:
    payload = {"seed": 1, "steps": 2, **dict.fromkeys(HIRES_NUMBERS, -1)}
    assert translate(payload).graph
    told = problems({**payload, "enable_hr": True})
    assert {text.split(":")[0] for text in told} == set(HIRES_NUMBERS) - {"hr_scale"}


@pytest.mark.parametrize(
    ("upscaler", "options", "tile"),
    [
        ("R-ESRGAN 4x+", {}, (192, 8)),
        ("R-ESRGAN 4x+", {"ESRGAN_tile": 64, "DAT_tile": 32}, (64, 8)),
        ("DAT x2", {"DAT_tile": 64}, (64, 8)),
        ("ScuNET GAN", {}, (256, 8)),
        ("SwinIR 4x", {"SWIN_tile_overlap": 4}, (192, 4)),
    ],
)
def test_tiles_in_the_graph_go_by_the_family_of_upscalers(
    upscaler: str, options: dict[str, int], tile: tuple[int, int]
) -> None:
    payload = {"seed": 1, "enable_hr": True, "denoising_strength": 0.5, "hr_upscaler": upscaler}
    graph = translate({**payload, "override_settings": options}).graph.values()
    [node] = [item["inputs"] for item in graph if item["class_type"] == "A1111UpscaleWithModel"]
    assert (node["tile"], node["tile_overlap"]) == tile


@pytest.mark.parametrize(
    ("sides", "named"),
    [
        ({"hr_resize_x": 512}, ["hr_resize_y"]),
        ({"hr_resize_y": 512}, ["hr_resize_x"]),
        ({"hr_resize_x": 512, "hr_resize_y": 512}, []),
        ({"hr_scale": 2}, []),
    ],
)
def test_one_hires_side_beside_controlnet_is_told(sides: dict[str, int], named: list[str]) -> None:
    unit = {"image": picture(), "module": "canny", "model": "control_v11p_sd15_canny"}
    payload = {"seed": 1, "steps": 2, "enable_hr": True, "denoising_strength": 0.5, **sides}
    plain = translate({**payload, "hr_upscaler": "Latent"})
    assert not any("ControlNet" in text for text in plain.warning_texts)
    told = translate({**payload, "alwayson_scripts": {"controlnet": {"args": [unit]}}})
    assert [item.path for item in told.warnings if "A1111's ControlNet" in item.message] == named
