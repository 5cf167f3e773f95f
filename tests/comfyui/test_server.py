"""A1111's API in front of a real ComfyUI: progress, previews, interrupt and skip."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from PIL import Image

from server.flags import Flags
from tests.comfyui import models
from tests.comfyui.pictures import decoded
from tests.comfyui.server import Checkout, ComfyServer
from tests.server.conftest import Running, local

FIELDS: dict[str, Any] = {
    "prompt": "a photo of a cat",
    "seed": 7,
    "width": 128,
    "height": 128,
    "sampler_name": "Euler a",
    "override_settings": {"sd_model_checkpoint": "synth_sd15"},
}


@pytest.fixture(scope="module")
def comfyui(checkout: Checkout) -> Iterator[ComfyServer]:
    roots = [models.lab_models(checkout)]
    previews = ("--preview-method", "latent2rgb")
    with ComfyServer(checkout, models.CACHE / "run-server", roots, arguments=previews) as server:
        yield server


@pytest.fixture(scope="module")
def server(comfyui: ComfyServer, checkout: Checkout) -> Iterator[Running]:
    roots = (models.lab_models(checkout),)
    backend = local(
        comfyui.url,
        model_roots=roots,
        hash_models=False,
        silence_s=5.0,
        ping_s=20.0,
        http_timeout_s=30.0,  # a CPU that samples answers late
    )
    running = Running(backend, Flags(), patience_s=300.0)
    running.post("sdapi/v1/txt2img", {**FIELDS, "steps": 1})  # loads the model
    yield running
    running.close()


def sampling(told: dict[str, Any]) -> bool:
    return bool(told["state"]["sampling_step"] >= 4)


def until_passed(server: Running, passes: int) -> dict[str, Any]:
    return server.until(lambda told: told["state"]["job_no"] == passes and sampling(told))


def is_picture(image: str) -> bool:
    return float(np.asarray(decoded(image).convert("L"), np.float64).std()) > 1.0


def ask(server: Running, **fields: Any) -> Any:
    return server.in_background(**{**FIELDS, **fields})


def test_progress_and_previews_come_from_the_sampler(server: Running) -> None:
    server.post("sdapi/v1/options", {"show_progress_every_n_steps": 2})
    request = ask(server, steps=200)
    told = server.until(lambda told: told["current_image"] is not None)
    assert told["state"]["sampling_steps"] == 200
    assert 0.01 < told["progress"] < 1
    assert told["eta_relative"] > 0
    preview = Image.open(BytesIO(base64.b64decode(told["current_image"])))
    assert preview.format == "PNG"
    assert preview.size[0] == preview.size[1] >= 16
    server.post("sdapi/v1/interrupt")
    assert request.reply().status_code == 200


@pytest.mark.parametrize("sampler", ["Euler a", "DPM++ 2M SDE", "DDIM", "UniPC"])
def test_an_interrupted_request_answers_the_pass_as_far_as_it_got(
    server: Running, sampler: str
) -> None:
    request = ask(server, steps=200, sampler_name=sampler, n_iter=3, seed=50)
    server.until(sampling)
    server.post("sdapi/v1/interrupt")
    reply = request.reply()
    assert reply.status_code == 200
    answer = reply.json()
    assert len(answer["images"]) == 1, "no batch that had not begun"
    assert is_picture(answer["images"][0])
    assert len(json.loads(answer["info"])["infotexts"]) == 1


def test_skip_leaves_the_batch_and_goes_on(server: Running) -> None:
    request = ask(server, steps=60, n_iter=2, seed=60)
    server.until(sampling)
    assert server.post("sdapi/v1/skip").json() is None
    until_passed(server, 1)
    server.post("sdapi/v1/skip")
    answer = request.reply().json()
    assert len(answer["images"]) == 2
    assert all(is_picture(image) for image in answer["images"])


def test_what_was_ended_early_is_sampled_anew(server: Running) -> None:
    request = ask(server, steps=20, seed=70)
    server.until(lambda told: bool(told["state"]["sampling_step"] >= 2))
    server.post("sdapi/v1/interrupt")
    early = request.reply().json()["images"][0]
    whole = ask(server, steps=20, seed=70).reply().json()["images"][0]
    again = ask(server, steps=20, seed=70).reply().json()["images"][0]
    assert early != whole
    assert whole == again


def test_an_interrupted_hires_fix_answers_the_first_pass_enlarged(server: Running) -> None:
    request = ask(server, steps=150, enable_hr=True, hr_scale=2, denoising_strength=0.5, seed=80)
    server.until(sampling)
    server.post("sdapi/v1/interrupt")
    answer = request.reply().json()
    assert len(answer["images"]) == 1
    assert decoded(answer["images"][0]).size == (256, 256)
    assert is_picture(answer["images"][0])
