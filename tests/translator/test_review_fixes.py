"""Defects that a review from outside found, each held by a test."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.translator.control_requests import face_pair
from translator import Catalog, TranslationError, translate

BUNDLED = Catalog.bundled()


def problems(payload: dict[str, Any], catalog: Catalog | None = None) -> list[str]:
    with pytest.raises(TranslationError) as caught:
        translate(payload, catalog=catalog)
    return [f"{problem.path}: {problem.message}" for problem in caught.value.problems]


def with_units(*units: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {**fields, "alwayson_scripts": {"controlnet": {"args": list(units)}}}


def without(*classes: str) -> Catalog:
    return replace(BUNDLED, nodes={k: v for k, v in BUNDLED.nodes.items() if k not in classes})


def test_problems_of_every_stage_are_told_at_once() -> None:
    unit = {"image": "%%%", "module": "canny", "model": "m", "weight": "heavy"}
    payload = with_units(unit, steps="many", width=-1, sampler_name="no such", styles=["s"])
    assert sorted(text.split(":")[0] for text in problems(payload)) == [
        "alwayson_scripts.controlnet.args[0].image",
        "alwayson_scripts.controlnet.args[0].weight",
        "sampler_name",
        "steps",
        "styles[0]",
        "width",
    ]


def test_a_keypoints_unit_is_not_blamed_for_the_fault_of_its_face() -> None:
    face, keypoints = face_pair()
    payload = with_units({**face, "image": "%%%"}, keypoints)
    told = problems({**payload, "override_settings": {"sd_model_checkpoint": "an_xl_model"}})
    assert [text.split(":")[0] for text in told] == ["alwayson_scripts.controlnet.args[0].image"]


def test_a_missing_pack_is_named_before_the_model_that_only_it_lists() -> None:
    catalog = without("InstantIDModelLoader", "InstantIDAttentionPatch")
    closed = replace(catalog, open=False, folders={"checkpoints": ("x.safetensors",)})
    told = problems(with_units(*face_pair()), closed)
    assert "install ComfyUI_InstantID" in told[0]
    assert "InstantIDModelLoader" in told[0]


XL = {"sd_model_checkpoint": "an_xl_model"}
HIRES = {"enable_hr": True, "denoising_strength": 0.5, "hr_resize_x": 1000, "hr_resize_y": 700}


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        (HIRES, "told the picture's own size 1000x704, A1111 tells it 1000x1000"),
        ({"override_settings": {"sdxl_crop_top": 64}}, "sdxl_crop_top and sdxl_crop_left"),
        (
            {
                "refiner_checkpoint": "xl_refiner",
                "override_settings": {"sdxl_refiner_low_aesthetic_score": 4.0},
            },
            "aesthetic scores",
        ),
    ],
)
def test_core_nodes_tell_what_sdxl_is_not_told(fields: dict[str, Any], said: str) -> None:
    payload = {"seed": 1, **fields}
    payload["override_settings"] = XL | fields.get("override_settings", {})
    told = translate(payload, options={"fidelity": "core"}).warning_texts
    assert any(said in warning for warning in told)
    plain = translate(
        {"seed": 1, "override_settings": XL}, options={"fidelity": "core"}
    ).warning_texts
    assert not any(said in warning for warning in plain)


def test_a_node_that_the_graph_cannot_do_without_is_named() -> None:
    assert problems({"seed": 1}, without("VAEDecode")) == [
        ": this ComfyUI lacks the node VAEDecode; install a current ComfyUI"
    ]


def test_an_unreadable_image_has_the_same_reason_wherever_it_stands() -> None:
    told = problems(with_units(*[{"image": "abc", "module": "canny", "model": "m"}] * 2))
    reasons = {text.split(": ", 1)[1] for text in told}
    assert (len(told), len(reasons)) == (2, 1)
    assert "is not base64" in reasons.pop()


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


def test_keys_beside_a_scripts_args_are_told() -> None:
    scripts = {"controlnet": {"args": [], "enabled": True}}
    warnings = translate({"seed": 1, "alwayson_scripts": scripts}).warning_texts
    assert any(text.startswith("alwayson_scripts.controlnet.enabled: ") for text in warnings)


def test_the_default_checkpoint_may_lie_in_a_subfolder() -> None:
    files = ("other.safetensors", "sd15/v1-5-pruned-emaonly.safetensors")
    catalog = replace(Catalog.bundled(), open=False, folders={"checkpoints": files})
    graph = translate({"seed": 1}, catalog=catalog).graph
    assert graph["1"]["inputs"]["ckpt_name"] == files[1]
