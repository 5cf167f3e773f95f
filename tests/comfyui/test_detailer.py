"""ADetailer on the real server, with stand-in detectors whose boxes are known."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tests.comfyui.pictures import as_base64, black, photo
from tests.comfyui.test_requests import SD15, likeness, pixels, sd15, sizes
from tests.comfyui.worker import Worker

pytestmark = pytest.mark.usefixtures("detailing_nodes")

IMG2IMG = "/sdapi/v1/img2img"
HAND = {"ad_model": "hand_yolov8n.pt", "ad_inpaint_only_masked_padding": 0, "ad_mask_blur": 0}
SIZE = {"width": 128, "height": 128}
HANDS = ((69, 60, 121, 117), (12, 17, 52, 55))
"""What the stand-in finds on 128x128, the best first: left, top, right, bottom."""


@pytest.fixture
def detailing_nodes(need: Callable[..., None]) -> None:
    need("A1111DetectRegions", "A1111DetailRegions", "A1111DetailEachRegion")


def detailed(*units: dict[str, Any], skip: bool = False, **fields: Any) -> dict[str, Any]:
    script = {"ADetailer": {"args": [True, skip, *units]}}
    return sd15(**SIZE, **fields) | {"alwayson_scripts": script}


def changed(one: np.ndarray[Any, Any], other: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Which pixels differ."""
    different: np.ndarray[Any, Any] = np.abs(one - other).max(2) > 0
    return different


def test_only_the_regions_change(worker: Worker) -> None:
    plain = pixels(worker.generate(sd15(**SIZE)))
    answer = worker.generate(detailed({**HAND, "ad_dilate_erode": 0}))
    different = changed(plain, pixels(answer))
    inside = np.zeros_like(different)
    for left, top, right, bottom in HANDS:
        region = np.s_[top : bottom + 1, left : right + 1]
        inside[region] = True
        assert different[region].mean() > 0.5
    assert not different[~inside].any()
    info = json.loads(answer["info"])
    assert "ADetailer model: hand_yolov8n.pt" in info["infotexts"][0]


def test_the_regions_follow_the_units_settings(worker: Worker) -> None:
    plain = pixels(worker.generate(sd15(**SIZE)))
    best = changed(plain, pixels(worker.generate(detailed({**HAND, "ad_confidence": 0.7}))))
    assert best[80:100, 80:110].any()
    assert not best[20:50, 15:50].any()
    nothing = worker.generate(detailed({**HAND, "ad_confidence": 0.95}))
    assert np.array_equal(pixels(nothing), plain)
    skipped = worker.generate(detailed({**HAND, "ad_prompt": "[SKIP]"}))
    assert np.array_equal(pixels(skipped), plain)


def test_a_repeated_request_is_the_same_picture(worker: Worker) -> None:
    first = worker.generate(detailed(HAND, seed=21))
    again = worker.generate(detailed(HAND, seed=21))
    other = worker.generate(detailed({**HAND, "ad_prompt": "a green dog"}, seed=21))
    assert np.array_equal(pixels(first), pixels(again))
    assert not np.array_equal(pixels(first), pixels(other))


def test_each_picture_of_a_batch_is_the_one_it_would_be_alone(worker: Worker) -> None:
    batch = worker.generate(detailed(HAND, seed=30, batch_size=2))
    assert sizes(batch) == [(128, 128)] * 2
    alone = worker.generate(detailed(HAND, seed=31))
    assert likeness(pixels(batch, 1), pixels(alone)) > 40


def test_whole_pictures_come_out_in_the_pass_size(worker: Worker) -> None:
    unit = {**HAND, "ad_inpaint_only_masked": False, "ad_use_inpaint_width_height": True}
    unit |= {"ad_inpaint_width": 96, "ad_inpaint_height": 80}
    assert sizes(worker.generate(detailed(unit))) == [(96, 80)]


def test_a_controlnet_acts_in_every_region(worker: Worker) -> None:
    unit = {**HAND, "ad_controlnet_model": "synth_control_sd15_canny"}
    unit |= {"ad_controlnet_module": "canny"}
    with_control = pixels(worker.generate(detailed(unit)))
    without = pixels(worker.generate(detailed(HAND)))
    different = changed(with_control, without)
    for left, top, right, bottom in HANDS:
        assert different[top:bottom, left:right].any()


def test_lama_fills_in_every_region(worker: Worker, need: Callable[..., None]) -> None:
    """Noise, guider and filled picture are made anew for each: both hands change, apart."""
    need("A1111ControlNetLama", "A1111NoiseOverLatent")
    unit = {**HAND, "ad_controlnet_model": "synth_control_sd15_canny"}
    unit["ad_denoising_strength"] = 1.0  # from which the noise alone is the start
    plain = pixels(worker.generate(sd15(**SIZE)))
    made = {
        module: pixels(worker.generate(detailed({**unit, "ad_controlnet_module": module})))
        for module in ("inpaint_only", "inpaint_only+lama")
    }
    lama = made["inpaint_only+lama"]
    for left, top, right, bottom in HANDS:
        region = np.s_[top + 4 : bottom - 3, left + 4 : right - 3]
        assert changed(plain, lama)[region].mean() > 0.5
        assert changed(made["inpaint_only"], lama)[region].any()


def test_hypertile_acts_inside(worker: Worker) -> None:
    tiles = {**SD15["override_settings"], "hypertile_enable_unet": True}
    tiles |= {"hypertile_max_tile_unet": 64}
    outside = {**tiles, "hypertile_enable_unet": False, "hypertile_enable_unet_secondpass": True}
    untiled = worker.generate(detailed(HAND, override_settings=outside))
    assert np.array_equal(pixels(untiled), pixels(worker.generate(detailed(HAND))))
    skipped = {**HAND, "ad_prompt": "[SKIP]"}
    plain = pixels(worker.generate(detailed(skipped, override_settings=tiles)))
    tiled = pixels(worker.generate(detailed(HAND, override_settings=tiles)))
    for left, top, right, bottom in HANDS:
        region = np.s_[top + 4 : bottom - 3, left + 4 : right - 3]
        assert changed(plain, tiled)[region].mean() > 0.5


def test_skip_img2img_details_the_sent_picture(worker: Worker) -> None:
    fields = {"init_images": [as_base64(photo(96, 80))], "denoising_strength": 0.5}
    answer = worker.call(detailed(HAND, skip=True, **fields), IMG2IMG)
    assert "error" not in answer
    assert sizes(answer) == [(96, 80)]


def from_picture(**fields: Any) -> dict[str, Any]:
    return {"init_images": [as_base64(photo(128, 128))], "denoising_strength": 0.3} | fields


def test_soft_inpainting_acts_inside(worker: Worker) -> None:
    hard = detailed({**HAND, "ad_mask_blur": 4}, **from_picture())
    scripts = {"Soft Inpainting": {"args": [True, 1, 0.5, 4, 0, 0.5, 2]}}
    soft = {**hard, "alwayson_scripts": {**hard["alwayson_scripts"], **scripts}}
    plain = pixels(worker.call(sd15(**SIZE, **from_picture()), IMG2IMG))
    one, other = (pixels(worker.call(payload, IMG2IMG)) for payload in (hard, soft))
    different = changed(one, other)
    for left, top, right, bottom in HANDS:
        assert different[top : bottom + 1, left : right + 1].any()
    assert not changed(plain, other)[:30, 80:].any()


def test_an_empty_mask_turns_it_off(worker: Worker) -> None:
    fields = from_picture(mask=as_base64(black(128, 128)))
    plain = worker.call(sd15(**SIZE, **fields), IMG2IMG)
    answer = worker.call(detailed(HAND, **fields), IMG2IMG)
    assert np.array_equal(pixels(answer), pixels(plain))
    assert "ADetailer" not in answer["info"]
    assert any("ADetailer is off" in text for text in answer["warnings"])
