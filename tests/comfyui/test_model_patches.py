"""Always-on scripts that change the model, on the real server: each does what it says."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.comfyui.test_requests import is_picture, likeness, pixels, sd15
from tests.comfyui.worker import Worker

NEAR_DB = 60.0
SIZE = {"width": 128, "height": 128, "steps": 3}
TILES = [True, "MultiDiffusion", False, True, 1024, 1024, 16, 16, 8, 4]


def scripted(worker: Worker, title: str, args: list[Any], **fields: Any) -> Any:
    return worker.call(sd15(**{**SIZE, **fields}, alwayson_scripts={title: {"args": args}}))


@pytest.mark.parametrize(
    ("title", "args"),
    [
        ("Self Attention Guidance", [True, 0.75]),
        ("SelfAttentionGuidance Integrated (SD 1.x, SD 2.x, SDXL)", [True, 0.5, 2]),
        ("PerturbedAttentionGuidance Integrated", [True, 3]),
        ("CFG Rescale Extension", [0.7]),
        ("Kohya HRFix Integrated", [True, 3, 2, 0, 1]),
        ("Dynamic Thresholding (CFG Scale Fix)", [True, 3, 0.9]),
        ("Tiled Diffusion", [*TILES[:6], 16, 16, 4]),
        ("Tiled Diffusion", [True, "Mixture of Diffusers", *TILES[2:6], 16, 16, 8]),
        ("MultiDiffusion Integrated", [True, "Mixture of Diffusers", 64, 64, 32]),
    ],
)
def test_the_script_changes_the_picture(worker: Worker, title: str, args: list[Any]) -> None:
    size = {"width": 192, "height": 128} if "Diffusi" in title else {}
    plain = pixels(worker.generate(sd15(**{**SIZE, **size})))
    answer = scripted(worker, title, args, **size)
    if "needs the node pack" in str(answer):
        pytest.skip(f"the server lacks the pack of {title}")
    changed = pixels(answer)
    assert is_picture(changed) and changed.shape == plain.shape
    assert likeness(changed, plain) < NEAR_DB
    assert likeness(changed, pixels(scripted(worker, title, args, **size))) == np.inf


@pytest.mark.parametrize(
    ("title", "args"),
    [
        ("FreeU", [{"enable": True, "version": "1"}]),
        ("FreeU Integrated (SD 1.x, SD 2.x, SDXL)", [True, 1.3, 1.4, 0.9, 0.2]),
    ],
)
def test_free_u_runs(worker: Worker, title: str, args: list[Any]) -> None:
    """It scales layers of 640 and 1280 channels, which the stand-ins' UNet does not have."""
    assert is_picture(pixels(scripted(worker, title, args)))


def test_a_hires_pass_is_not_cut_into_tiles(worker: Worker) -> None:
    """One tile holds the first pass, and the second one is left alone: nothing happens."""
    hires = {"enable_hr": True, "hr_scale": 2, "hr_upscaler": "Latent", "denoising_strength": 0.6}
    small = {"width": 64, "height": 64, **hires}
    answer = scripted(worker, "Tiled Diffusion", [*TILES[:6], 16, 16, 4], **small)
    assert likeness(pixels(answer), pixels(worker.generate(sd15(**{**SIZE, **small})))) == np.inf
