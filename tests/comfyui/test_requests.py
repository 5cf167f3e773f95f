"""A1111's requests through the handler, on the real server: the pictures that must come back."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest

from tests.comfyui import graphs
from tests.comfyui.pictures import as_base64, decoded, photo
from tests.comfyui.server import REPO
from tests.comfyui.worker import Worker
from translator.schedules.samplers import samplers, schedulers

SD15 = {"override_settings": {"sd_model_checkpoint": "synth_sd15"}}
SDXL = {"override_settings": {"sd_model_checkpoint": "synth_sdxl"}}
SMALL: Mapping[str, Any] = {
    "prompt": "a photo of a cat",
    "negative_prompt": "blurry",
    "seed": 7,
    "steps": 2,
    "width": 64,
    "height": 64,
    "cfg_scale": 5,
    "sampler_name": "Euler",
}
STEPS = {"UniPC": 3}
"""Samplers that A1111 refuses to run for 2 steps: UniPC's order is 3 and needs as many."""
NEAR_DB = 60.0


def sd15(**fields: Any) -> dict[str, Any]:
    return {**SMALL, **SD15, **fields}


def sdxl(**fields: Any) -> dict[str, Any]:
    return {**SMALL, **SDXL, **fields}


def pixels(answer: Mapping[str, Any], index: int = 0) -> np.ndarray[Any, Any]:
    return np.asarray(decoded(answer["images"][index]).convert("RGB"), np.float64)


def likeness(one: np.ndarray[Any, Any], other: np.ndarray[Any, Any]) -> float:
    """Peak signal-to-noise ratio in dB; equal pictures give infinity."""
    error = float(np.mean((one - other) ** 2))
    return float("inf") if error == 0 else 10 * float(np.log10(255**2 / error))


def sizes(answer: Mapping[str, Any]) -> list[tuple[int, int]]:
    return [decoded(image).size for image in answer["images"]]


def is_picture(image: np.ndarray[Any, Any]) -> bool:
    """Neither flat nor black, as not-a-number would be."""
    return float(image.std()) > 1.0


@pytest.mark.parametrize("payload", [sd15(), sdxl()], ids=["sd15", "sdxl"])
def test_txt2img(worker: Worker, payload: dict[str, Any]) -> None:
    answer = worker.generate(payload)
    assert sizes(answer) == [(64, 64)]
    assert is_picture(pixels(answer))
    info = json.loads(answer["info"])
    assert (info["seed"], info["all_seeds"], info["steps"]) == (7, [7], 2)
    text = decoded(answer["images"][0]).info["parameters"]
    assert text == info["infotexts"][0]
    assert text.startswith("a photo of a cat\nNegative prompt: blurry\nSteps: 2, Sampler: Euler,")


def test_the_same_request_is_the_same_picture(worker: Worker) -> None:
    first, second, other = (pixels(worker.generate(sd15(seed=seed))) for seed in (11, 11, 12))
    assert likeness(first, second) == float("inf")
    assert likeness(first, other) < 40


@pytest.mark.parametrize("name", [sampler.name for sampler in samplers()])
def test_every_sampler(worker: Worker, name: str) -> None:
    answer = worker.generate(sd15(sampler_name=name, steps=STEPS.get(name, 2)))
    assert is_picture(pixels(answer))
    assert json.loads(answer["info"])["sampler_name"] == name


@pytest.mark.parametrize("label", [scheduler.label for scheduler in schedulers()])
def test_every_scheduler(worker: Worker, label: str) -> None:
    answer = worker.generate(sd15(scheduler=label))
    assert is_picture(pixels(answer))
    assert sizes(answer) == [(64, 64)]


@pytest.mark.parametrize(
    "upscaler", ["Latent", "Latent (bicubic antialiased)", "Nearest", "Lanczos"]
)
def test_hires_without_a_model(worker: Worker, upscaler: str) -> None:
    fields = {"enable_hr": True, "hr_scale": 1.5, "denoising_strength": 0.6}
    answer = worker.generate(sd15(hr_upscaler=upscaler, **fields))
    assert sizes(answer) == [(96, 96)]
    assert is_picture(pixels(answer))


def test_hires_by_esrgan(worker: Worker) -> None:
    fields = {"enable_hr": True, "hr_resize_x": 128, "hr_resize_y": 96, "denoising_strength": 0.4}
    by_model = worker.generate(sdxl(hr_upscaler="R-ESRGAN 4x+", **fields))
    assert sizes(by_model) == [(128, 96)]
    assert is_picture(pixels(by_model))
    by_filter = worker.generate(sdxl(hr_upscaler="Lanczos", **fields))
    assert likeness(pixels(by_model), pixels(by_filter)) < NEAR_DB


def test_a_lora_acts_by_its_weight(worker: Worker) -> None:
    plain, weak, strong = (
        pixels(worker.generate(sd15(prompt=f"a cat{tag}")))
        for tag in ("", " <lora:synth_lora_sd15:0.2>", " <lora:synth_lora_sd15:1>")
    )
    assert likeness(plain, strong) < likeness(plain, weak) < NEAR_DB


ONES = ",".join(["1"] * 26)
HALVES = ",".join(["0.5"] * 26)
UNET_HALVES = ",".join(["1", *["0.5"] * 25])


@pytest.mark.parametrize(
    ("tag", "same"),
    [
        ("1:lbw=" + HALVES, "0.5"),
        ("1:lbw=" + UNET_HALVES, "te=1:unet=0.5"),
        ("1:lbw=NONE", "0"),
        ("1:start=1", "1"),
        ("1:stop=1", "te=1:unet=0"),
        ("0.8@0,0.8@1", "0.8"),
    ],
)
def test_block_weights_and_windows_are_the_strength_they_come_to(
    worker: Worker, tag: str, same: str
) -> None:
    extended, plain, none = (
        pixels(worker.generate(sd15(prompt=f"a cat <lora:synth_lora_sd15:{text}>")))
        for text in (tag, same, "0")
    )
    assert likeness(extended, plain) >= NEAR_DB
    assert same == "0" or likeness(extended, none) < NEAR_DB


def test_a_lora_acts_in_its_steps_and_blocks(worker: Worker) -> None:
    """Each differs from the LoRA as a whole and from none; the other LoRA's picture stays."""
    tags = ("1", "0", "1:stop=3", "1:start=3", "1:lbw=OUTALL", "1:lbw=OUTALL:stop=3")
    made = [
        pixels(worker.generate(sd15(prompt=f"a cat <lora:synth_lora_sd15:{tag}>", steps=5)))
        for tag in tags
    ]
    for index, one in enumerate(made):
        for other in made[index + 1 :]:
            assert likeness(one, other) < NEAR_DB
    again = pixels(worker.generate(sd15(prompt="a cat <lora:synth_lora_sd15:1>", steps=5)))
    assert likeness(made[0], again) == float("inf")


def test_an_embedding_is_its_vectors(worker: Worker) -> None:
    """Two names of one file give one picture; words that name no file give another."""
    one, alias, words = (
        pixels(worker.generate(sd15(prompt=f"a cat, {name}")))
        for name in ("synth_ti_sd15", "synth_ti_alias", "synth_ti_none")
    )
    assert likeness(one, alias) == float("inf")
    assert likeness(one, words) < NEAR_DB


def test_a_vae_override(worker: Worker) -> None:
    settings = {**SD15["override_settings"], "sd_vae": "synth_vae_full"}
    own = pixels(worker.generate(sd15()))
    other = pixels(worker.generate(sd15(override_settings=settings)))
    assert likeness(own, other) < 30
    assert is_picture(other)


def test_a_batch_is_its_single_runs(worker: Worker) -> None:
    batch = worker.generate(sd15(batch_size=3, seed=40))
    assert json.loads(batch["info"])["all_seeds"] == [40, 41, 42]
    assert len(batch["images"]) == 3
    for index in range(3):
        single = worker.generate(sd15(seed=40 + index))
        assert likeness(pixels(batch, index), pixels(single)) >= NEAR_DB, f"image {index}"


def test_iterations_follow_in_order(worker: Worker) -> None:
    answer = worker.generate(sd15(n_iter=2, batch_size=2, seed=40))
    assert json.loads(answer["info"])["all_seeds"] == [40, 41, 42, 43]
    last = worker.generate(sd15(seed=43))
    assert likeness(pixels(answer, 3), pixels(last)) >= NEAR_DB


def canny(**fields: Any) -> dict[str, Any]:
    unit = {
        "image": as_base64(photo()),
        "module": "canny",
        "model": "synth_control_sd15_canny",
        "processor_res": 64,
        "weight": 1.0,
    }
    return {"alwayson_scripts": {"controlnet": {"args": [{**unit, **fields}]}}}


def test_controlnet_with_a_preprocessor(worker: Worker, need: Callable[..., None]) -> None:
    need("CannyEdgePreprocessor")
    answer = worker.generate(sd15(**canny()))
    assert sizes(answer) == [(64, 64), (64, 64)], "the picture, then its detected map"
    edges = pixels(answer, 1)
    assert set(np.unique(edges)) == {0.0, 255.0}, "canny draws white on black"
    assert likeness(pixels(worker.generate(sd15())), pixels(answer)) < NEAR_DB
    weak = worker.generate(sd15(**canny(weight=0.3)))
    assert likeness(pixels(weak), pixels(answer)) < NEAR_DB
    assert likeness(pixels(weak, 1), edges) == float("inf")


def test_controlnet_on_sdxl_with_hires(worker: Worker, need: Callable[..., None]) -> None:
    need("CannyEdgePreprocessor")
    unit = canny(model="synth_control_sdxl_canny", resize_mode="Crop and Resize")
    hires = {"enable_hr": True, "hr_scale": 2, "hr_upscaler": "Latent", "denoising_strength": 0.7}
    answer = worker.generate(sdxl(**unit, **hires))
    assert sizes(answer) == [(128, 128), (128, 128)]


def seed_request(image: bytes | None = None, **fields: Any) -> dict[str, Any]:
    """The request this project exists for, at a size that random weights run on two cores."""
    example = REPO / "examples" / "txt2img-instantid.json"
    payload: dict[str, Any] = json.loads(example.read_text("utf-8"))["input"]["payload"]
    for unit in payload["alwayson_scripts"]["controlnet"]["args"]:
        unit["image"] = as_base64(image or photo(192, 160))
        unit["model"] = unit["model"].partition(" [")[0]  # the lab's files have other hashes
    return {**payload, "seed": 5, "width": 80, "height": 120, "steps": 2, **fields}


def test_the_seed_request(worker: Worker, need: Callable[..., None]) -> None:
    need("InstantIDModelLoader", "InstantIDFaceAnalysis", "FaceKeypointsPreprocessor")
    answer = worker.generate(seed_request())
    assert sizes(answer) == [(128, 192), (192, 160), (128, 192)], "result, face, keypoints"
    assert is_picture(pixels(answer))
    keypoints = pixels(answer, 2)
    assert 0 < float((keypoints > 0).mean()) < 0.5, "coloured limbs on black"
    weaker = seed_request()
    weaker["alwayson_scripts"]["controlnet"]["args"][0]["weight"] = 0.2
    assert likeness(pixels(worker.generate(weaker)), pixels(answer)) < NEAR_DB


def test_a_direct_submission(worker: Worker) -> None:
    graph = graphs.with_controlnet("face.png")
    answer = worker.run(
        {
            "workflow": graph,
            "images": [{"name": "face.png", "image": as_base64(photo())}],
            "overrides": {"5.seed": 99},
        }
    )
    assert "error" not in answer, answer
    (image,) = answer["images"]
    assert image["type"] == "base64"
    assert image["filename"].startswith("lab_")
    assert decoded(image["data"]).size == (64, 64)
