"""ControlNet on the real server: modules that need no download, modes, regions, several faces."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw

from tests.comfyui.pictures import as_base64, photo, png
from tests.comfyui.test_requests import (
    NEAR_DB,
    is_picture,
    likeness,
    pixels,
    sd15,
    sdxl,
    sizes,
)
from tests.comfyui.worker import Worker

EXACT_DB = float("inf")

MODEL_FREE = (
    "none",
    "invert",
    "canny",
    "scribble_xdog",
    "lineart_standard",
    "color",
    "shuffle",
    "threshold",
    "blur_gaussian",
    "tile_resample",
    "tile_colorfix",
    "tile_colorfix+sharp",
    "recolor_luminance",
    "recolor_intensity",
    "inpaint",
    "inpaint_only",
    "reference_only",
    "reference_adain",
    "reference_adain+attn",
)
"""Modules whose preprocessor needs no downloaded model."""

HIRES = {"enable_hr": True, "hr_scale": 1.5, "hr_upscaler": "Latent", "denoising_strength": 0.6}


def half_mask(width: int = 96, height: int = 80) -> str:
    """White on the left."""
    mask = Image.new("L", (width, height))
    ImageDraw.Draw(mask).rectangle((0, 0, width // 2 - 1, height), fill=255)
    return as_base64(png(mask))


def unit(**fields: Any) -> dict[str, Any]:
    return {
        "image": as_base64(photo()),
        "module": "canny",
        "model": "synth_control_sd15_canny",
        "processor_res": 64,
        **fields,
    }


def controlled(*units: dict[str, Any]) -> dict[str, Any]:
    return {"alwayson_scripts": {"controlnet": {"args": list(units)}}}


def face_pair(image: bytes, **fields: Any) -> list[dict[str, Any]]:
    shared = {"image": as_base64(image), "processor_res": 192, **fields}
    return [
        {
            **shared,
            "module": "instant_id_face_embedding",
            "model": "ip-adapter_instant_id_sdxl",
        },
        {
            **shared,
            "module": "instant_id_face_keypoints",
            "model": "control_instant_id_sdxl",
        },
    ]


@pytest.mark.parametrize("module", MODEL_FREE)
def test_a_module_without_a_model_of_its_own(
    worker: Worker, need: Callable[..., None], module: str
) -> None:
    need("CannyEdgePreprocessor", "ACN_ReferenceControlNet", "A1111ControlNetFit")
    mask = {"mask": half_mask()} if "inpaint" in module else {}
    answer = worker.generate(sd15(**controlled(unit(module=module, **mask))))
    assert sizes(answer) == [(64, 64), (64, 64)]
    assert is_picture(pixels(answer))
    assert likeness(pixels(worker.generate(sd15())), pixels(answer)) < NEAR_DB


def test_inpaint_only_leaves_the_rest_of_the_picture_alone(
    worker: Worker, need: Callable[..., None]
) -> None:
    need("InpaintPreprocessor", "A1111ControlNetPaste")
    square = as_base64(photo(64, 64))
    held = unit(module="inpaint_only", image=square, mask=half_mask(64, 64))
    answer = worker.generate(sd15(**controlled(held)))
    source = pixels({"images": [square]})
    right = np.s_[:, 48:]
    assert np.abs(pixels(answer)[right] - source[right]).max() <= 1
    assert likeness(pixels(answer), source) < NEAR_DB


def test_recolor_keeps_the_light_of_the_map(worker: Worker, need: Callable[..., None]) -> None:
    need("A1111ControlNetRecolor")
    answer = worker.generate(sd15(**controlled(unit(module="recolor_intensity"))))
    assert np.abs(pixels(answer).max(axis=2) - pixels(answer, 1)[..., 0]).max() <= 1


@pytest.mark.parametrize("mode", ["My prompt is more important", "ControlNet is more important"])
def test_control_modes_change_the_picture(
    worker: Worker, need: Callable[..., None], mode: str
) -> None:
    need("ACN_AdvancedControlNetApply_v2")
    balanced = worker.generate(sd15(**controlled(unit())))
    soft = worker.generate(sd15(**controlled(unit(control_mode=mode))))
    assert is_picture(pixels(soft))
    assert likeness(pixels(balanced), pixels(soft)) < NEAR_DB


def test_soft_weights_are_those_written_out_block_by_block(
    worker: Worker, need: Callable[..., None]
) -> None:
    need("ACN_AdvancedControlNetApply_v2")
    soft = worker.generate(sd15(**controlled(unit(control_mode=1, weight=0.8))))
    series = [0.8 * 0.825 ** (12 - i) for i in range(13)]
    written = worker.generate(sd15(**controlled(unit(advanced_weighting=series))))
    assert likeness(pixels(soft), pixels(written)) >= NEAR_DB


def test_sdxls_soft_weights_are_the_first_ten_of_thirteen(
    worker: Worker, need: Callable[..., None]
) -> None:
    need("ACN_AdvancedControlNetApply_v2")
    model = {"model": "synth_control_sdxl_canny"}
    soft = worker.generate(sdxl(**controlled(unit(control_mode=1, **model))))
    series = [0.825 ** (12 - i) for i in range(10)]
    written = worker.generate(sdxl(**controlled(unit(advanced_weighting=series, **model))))
    assert likeness(pixels(soft), pixels(written)) >= NEAR_DB


def test_equal_weights_for_all_blocks_are_the_plain_weight(
    worker: Worker, need: Callable[..., None]
) -> None:
    need("ACN_AdvancedControlNetApply_v2")
    plain = worker.generate(sd15(**controlled(unit(weight=0.6))))
    blocks = worker.generate(sd15(**controlled(unit(advanced_weighting=[0.6] * 13))))
    assert likeness(pixels(plain), pixels(blocks)) >= NEAR_DB


def test_a_region_of_everything_is_no_region_and_of_half_is_one(
    worker: Worker, need: Callable[..., None]
) -> None:
    need("ACN_AdvancedControlNetApply_v2")
    everywhere = as_base64(png(Image.new("L", (96, 80), 255)))
    plain = worker.generate(sd15(**controlled(unit())))
    full = worker.generate(sd15(**controlled(unit(effective_region_mask=everywhere))))
    half = worker.generate(sd15(**controlled(unit(effective_region_mask=half_mask()))))
    assert likeness(pixels(plain), pixels(full)) >= NEAR_DB
    assert likeness(pixels(plain), pixels(half)) < NEAR_DB


def test_a_range_that_ends_before_it_begins_to_act_changes_nothing(worker: Worker) -> None:
    plain = worker.generate(sd15())
    late = worker.generate(sd15(**controlled(unit(module="none", guidance_start=0.9))))
    assert likeness(pixels(plain), pixels(late)) == EXACT_DB
    assert sizes(late) == [(64, 64), (64, 64)]


def test_hr_option_leaves_out_a_pass(worker: Worker) -> None:
    def generate(option: str) -> Any:
        only = unit(module="none", hr_option=option)
        return pixels(worker.generate(sd15(**controlled(only), **HIRES)))

    both, low, high = (generate(name) for name in ("Both", "Low res only", "High res only"))
    assert likeness(both, low) < NEAR_DB
    assert likeness(both, high) < NEAR_DB
    assert likeness(low, high) < NEAR_DB


def test_two_faces_in_soft_modes_with_hires(worker: Worker, need: Callable[..., None]) -> None:
    need("InstantIDModelLoader", "ACN_ControlNetLoaderAdvanced", "A1111InstantIDControlNet")
    first, second = photo(192, 160), photo(128, 128)
    units = [
        *face_pair(first, weight=0.9, control_mode="My prompt is more important"),
        *face_pair(second, weight=0.5, control_mode="ControlNet is more important"),
    ]
    small = {"width": 64, "height": 96, "steps": 2, **HIRES}
    small["override_settings"] = {
        "sd_model_checkpoint": "synth_sdxl",
        "control_net_unit_count": 4,
    }
    two = worker.generate(sdxl(**{**small, **controlled(*units)}))
    assert sizes(two) == [(96, 144), (192, 160), (96, 144), (128, 128), (96, 144)]
    assert is_picture(pixels(two))
    one = worker.generate(sdxl(**{**small, **controlled(*units[:2])}))
    assert likeness(pixels(one), pixels(two)) < NEAR_DB
    again = worker.generate(sdxl(**{**small, **controlled(*units)}))
    assert likeness(pixels(two), pixels(again)) == EXACT_DB, "no weight is left from run to run"


def test_a_face_beside_another_controlnet(worker: Worker, need: Callable[..., None]) -> None:
    need("InstantIDModelLoader", "A1111InstantIDControlNet")
    face = face_pair(photo(192, 160))
    small = {"width": 64, "height": 96}
    canny = unit(model="synth_control_sdxl_canny")
    both = worker.generate(sdxl(**small, **controlled(*face, canny)))
    alone = worker.generate(sdxl(**small, **controlled(*face)))
    silent = worker.generate(sdxl(**small, **controlled(*face, {**canny, "weight": 0})))
    assert likeness(pixels(both), pixels(alone)) < NEAR_DB
    assert likeness(pixels(silent), pixels(alone)) >= NEAR_DB
