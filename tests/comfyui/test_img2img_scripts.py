"""The img2img tab's scripts on the real server, against single requests that do one of their steps.

A step that is not the first is encoded with a draw of the VAE's posterior that a request of its own
has not, so those are near, not equal.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.comfyui.pictures import as_base64, decoded, photo, png
from tests.comfyui.test_requests import likeness, pixels, sd15, sizes
from tests.comfyui.worker import Worker

pytestmark = pytest.mark.usefixtures("script_nodes")

IMG2IMG = "/sdapi/v1/img2img"
NEAR_DB = 40.0


@pytest.fixture
def script_nodes(need: Callable[..., None]) -> None:
    need("A1111JoinTiles", "A1111EnlargeBy", "A1111OutpaintNoise")


def picture_of(width: int, height: int) -> Image.Image:
    return decoded(as_base64(photo(width, height))).convert("RGB")


def img2img(worker: Worker, picture: Image.Image, **fields: Any) -> dict[str, Any]:
    payload = sd15(init_images=[as_base64(png(picture))], **{"denoising_strength": 0.75, **fields})
    answer: dict[str, Any] = worker.call(payload, IMG2IMG)
    assert "error" not in answer, answer
    return answer


def scripted(
    worker: Worker, picture: Image.Image, name: str, args: list[Any], **fields: Any
) -> dict[str, Any]:
    return img2img(worker, picture, script_name=name, script_args=args, **fields)


def test_sd_upscale_samples_tiles_and_fades_them(worker: Worker) -> None:
    wide = picture_of(112, 64)
    joined = pixels(scripted(worker, wide, "SD upscale", [None, 16, "None", 2]))
    assert joined.shape == (64, 112, 3)
    first = pixels(img2img(worker, wide.crop((0, 0, 64, 64)), seed=7))
    second = pixels(img2img(worker, wide.crop((48, 0, 112, 64)), seed=8))
    assert likeness(joined[:, :48], first[:, :48]) == float("inf")
    assert likeness(joined[:, 64:], second[:, 16:]) > NEAR_DB
    low, high = np.minimum(first[:, 48:], second[:, :16]), np.maximum(first[:, 48:], second[:, :16])
    faded = joined[:, 48:64]
    assert (faded >= low - 4).all()
    assert (faded <= high + 4).all()


def test_sd_upscale_enlarges_first(worker: Worker) -> None:
    small = picture_of(48, 40)
    answer = scripted(worker, small, "SD upscale", [None, 16, "Lanczos", 2], batch_size=2)
    assert sizes(answer) == [(96, 80)]
    info = json.loads(answer["info"])
    assert "SD upscale overlap: 16, SD upscale upscaler: Lanczos" in info["infotexts"][0]
    enlarged = small.resize((96, 80), Image.Resampling.LANCZOS)
    first = pixels(img2img(worker, enlarged.crop((0, 0, 64, 64)), seed=7))
    assert likeness(pixels(answer)[:16, :32], first[:16, :32]) > NEAR_DB


def test_adetailer_acts_on_every_tile(worker: Worker, need: Callable[..., None]) -> None:
    need("A1111DetectRegions", "A1111DetailRegions")
    unit = {"ad_model": "hand_yolov8n.pt", "ad_inpaint_only_masked_padding": 0}
    args = [None, 16, "None", 2]
    plain = scripted(worker, picture_of(112, 64), "SD upscale", args)
    script = {"ADetailer": {"args": [True, False, unit]}}
    detailed = scripted(worker, picture_of(112, 64), "SD upscale", args, alwayson_scripts=script)
    differs = np.abs(pixels(plain) - pixels(detailed)).max(2) > 0
    assert differs[:, :48].any()
    assert differs[:, 64:].any()


def test_loops_go_on_from_the_picture_before(worker: Worker) -> None:
    answer = scripted(worker, picture_of(64, 64), "Loopback", [2, 0.5, "Linear", "None"])
    assert sizes(answer) == [(128, 64), (64, 64), (64, 64)]
    first = img2img(worker, picture_of(64, 64))
    assert likeness(pixels(answer, 1), pixels(first)) == float("inf")
    start = decoded(answer["images"][1]).convert("RGB")
    second = img2img(worker, start, denoising_strength=0.5, seed=8)
    assert likeness(pixels(answer, 2), pixels(second)) > NEAR_DB
    assert "Seed: 8" in decoded(answer["images"][2]).info["parameters"]


def test_poor_mans_outpainting_keeps_the_picture(worker: Worker) -> None:
    picture = picture_of(96, 64)
    answer = scripted(worker, picture, "Poor man's outpainting", [32, 2, 0, ["left"]])
    assert sizes(answer) == [(128, 64)]
    made = pixels(answer)
    kept = made[:, 64:] - np.asarray(picture, np.float64)[:, 32:]
    assert np.abs(kept).max() == 0
    assert made[:, :24].std() > 1


def test_outpainting_mk2_keeps_the_picture(worker: Worker) -> None:
    picture = picture_of(96, 96)
    args = [None, 32, 2, ["right", "down"], 1, 0.05]
    answer = scripted(worker, picture, "Outpainting mk2", args, width=96, height=96)
    assert sizes(answer) == [(128, 128)]
    made = pixels(answer)
    kept = made[:64, :64] - np.asarray(picture, np.float64)[:64, :64]
    assert np.abs(kept).max() <= 2  # a byte through 0..1, twice
    assert made[:, 104:].std() > 1
    assert made[104:].std() > 1


def test_the_noise_behind_a_picture_leads_back_to_it(
    worker: Worker, need: Callable[..., None]
) -> None:
    """Back and forth with one prompt is the picture through the VAE; drawn noise is not."""
    need("A1111ReversedNoise", "A1111ReversingSampler")
    picture = picture_of(64, 64)
    through_vae = pixels(img2img(worker, picture, denoising_strength=0, cfg_scale=1, steps=20))
    likenesses = []
    for randomness in (0.0, 1.0):
        args = ["", True, True, "a cat", "", True, 100, True, 1.0, randomness, True]
        answer = scripted(worker, picture, "img2img alternative test", args, cfg_scale=1)
        assert sizes(answer) == [(64, 64)]
        likenesses.append(likeness(pixels(answer), through_vae))
    assert likenesses[0] > likenesses[1] + 3
