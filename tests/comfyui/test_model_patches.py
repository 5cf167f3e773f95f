"""Always-on scripts that change the model, on the real server: each does what it says."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.comfyui.pictures import as_base64, photo
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
        ("PerturbedAttentionGuidance Integrated", [True, 3, 10, 0, 0.4]),
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
        ("FreeU", [{"stage_infos": [{"backbone_factor": 1.2}], "transition_smoothness": 0.5}]),
        ("FreeU", [True, 0.2, 0.8, 0.5, "2", 1.2, 0.9, 0, 0.5, 0.1, 0.9]),
        ("FreeU Integrated (SD 1.x, SD 2.x, SDXL)", [True, 1.3, 1.4, 0.9, 0.2, 0.2, 0.8]),
        ("FreeU Integrated (SD 1.x, SD 2.x, SDXL)", [True, 1.3, 1.4, 0.9, 0.2]),
    ],
)
def test_free_u_runs(worker: Worker, title: str, args: list[Any]) -> None:
    """It scales layers of 640 and 1280 channels, which the stand-ins' UNet does not have."""
    assert is_picture(pixels(scripted(worker, title, args)))


def test_free_u_acts_in_its_range_on_the_stand_ins_own_layers(worker: Worker) -> None:
    """Their UNet has 320 channels throughout, which the extension's third stage scales."""
    plain = pixels(worker.generate(sd15(**SIZE)))

    def made(**more: Any) -> Any:
        stages = [{}, {}, {"backbone_factor": 1.4, "skip_factor": 0.6}]
        return pixels(scripted(worker, "FreeU", [{"stage_infos": stages, **more}]))

    whole, first, none = made(), made(stop_ratio=1), made(start_ratio=3, stop_ratio=9)
    assert likeness(whole, plain) < NEAR_DB and likeness(first, plain) < NEAR_DB
    assert likeness(whole, first) < NEAR_DB
    assert likeness(none, plain) == np.inf


def test_perturbed_attention_acts_in_its_range(worker: Worker) -> None:
    title = "PerturbedAttentionGuidance Integrated"
    whole, core = (pixels(scripted(worker, title, [True, 3, 0.0, start, 1])) for start in (1e-9, 0))
    assert likeness(whole, core) < NEAR_DB, "the first step's counter is 0"
    late = pixels(scripted(worker, title, [True, 3, 0, 0.9, 1]))
    assert likeness(late, pixels(worker.generate(sd15(**SIZE)))) == np.inf, "no step comes so far"


def test_a_hires_pass_is_not_cut_into_tiles(worker: Worker) -> None:
    """One tile holds the first pass, and the second one is left alone: nothing happens."""
    hires = {"enable_hr": True, "hr_scale": 2, "hr_upscaler": "Latent", "denoising_strength": 0.6}
    small = {"width": 64, "height": 64, **hires}
    answer = scripted(worker, "Tiled Diffusion", [*TILES[:6], 16, 16, 4], **small)
    assert likeness(pixels(answer), pixels(worker.generate(sd15(**{**SIZE, **small})))) == np.inf


REGIONS = [
    *(True, "MultiDiffusion", False, True, 1024, 1024, 16, 16, 8, 4, "None", 2, False, 10, 1, 1),
    *(64, False, True, True, False),
]


def test_regions_of_tiled_diffusion_have_their_prompts(worker: Worker) -> None:
    """A region over everything, without tiles, has its prompt alone; a foreground lies over."""
    size = {"width": 192, "height": 128, "prompt": "a cat"}
    everywhere = [True, 0.0, 0.0, 1.0, 1.0, "a dog"]
    alone = [*REGIONS[:19], False, False, *everywhere]
    dog = pixels(worker.generate(sd15(**{**SIZE, **size, "prompt": "a cat, a dog"})))
    assert likeness(pixels(scripted(worker, "Tiled Diffusion", alone, **size)), dog) > NEAR_DB
    over = [*REGIONS, *everywhere, "", "Foreground", 0.0]
    assert likeness(pixels(scripted(worker, "Tiled Diffusion", over, **size)), dog) > NEAR_DB
    half = [*REGIONS, True, 0.0, 0.0, 0.5, 1.0, "a dog", "a bird", "Foreground", 0.5]
    mixed = pixels(scripted(worker, "Tiled Diffusion", half, **size))
    tiles = pixels(scripted(worker, "Tiled Diffusion", REGIONS[:10], **size))
    assert is_picture(mixed)
    assert likeness(mixed, dog) < NEAR_DB and likeness(mixed, tiles) < NEAR_DB


def test_a_control_net_acts_beside_tiles(worker: Worker) -> None:
    unit = {
        "image": as_base64(photo()),
        "module": "canny",
        "model": "synth_control_sd15_canny",
        "processor_res": 64,
    }
    size = {"width": 192, "height": 128}

    def made(tile: int, **changed: Any) -> Any:
        args = [*REGIONS[:6], tile, tile, *REGIONS[8:10]]
        scripts = {
            "Tiled Diffusion": {"args": args},
            "ControlNet": {"args": [{**unit, **changed}]},
        }
        return pixels(worker.generate(sd15(**{**SIZE, **size}, alwayson_scripts=scripts)))

    tiles = pixels(scripted(worker, "Tiled Diffusion", REGIONS[:10], **size))
    steered = made(16)
    assert is_picture(steered) and likeness(steered, tiles) < NEAR_DB
    assert likeness(made(16, weight=0), tiles) > NEAR_DB
    soft = made(16, control_mode="My prompt is more important")
    assert is_picture(soft) and likeness(soft, steered) < NEAR_DB
    assert likeness(steered, made(32)) < NEAR_DB, "one tile is no tile"


def test_noise_inversion_starts_from_the_pictures_own_noise(worker: Worker) -> None:
    """Without new noise at its details another seed makes no other picture."""
    fields = {"init_images": [as_base64(photo())], "denoising_strength": 0.6, **SIZE}
    fields |= {"width": 192, "height": 128, "sampler_name": "Euler"}

    def made(strength: float, seed: int) -> Any:
        args = [*REGIONS[:3], False, *REGIONS[4:12], True, 4, 1.5, strength, 8]
        scripts = {"Tiled Diffusion": {"args": args}}
        request = sd15(**{**fields, "seed": seed}, alwayson_scripts=scripts)
        return pixels(worker.generate(request, endpoint="/sdapi/v1/img2img"))

    own = made(0, 1)
    assert is_picture(own) and likeness(own, made(0, 2)) > NEAR_DB
    assert likeness(made(1, 1), made(1, 2)) < NEAR_DB
