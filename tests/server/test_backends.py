"""Several ComfyUI behind one server: where a request goes, and that none is lost."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import pytest
import requests

from devserver import DevServer, Durations
from tests.server.conftest import Running, local
from tests.worker.graphs import marks, txt2img

SD1, SDXL = "v1-5-pruned-emaonly.safetensors", "sd_xl_base_1.0.safetensors"


@pytest.fixture
def pair() -> Iterator[tuple[DevServer, DevServer]]:
    durations = Durations(step=0.02)
    with DevServer(durations=durations) as first, DevServer(durations=durations) as second:
        yield first, second


@pytest.fixture
def server(serve: Callable[..., Running], pair: tuple[DevServer, DevServer]) -> Running:
    running = serve(local(pair[0].url, pair[1].url, silence_s=3.0, ping_s=6.0))
    for lane in running.backend._lanes:  # type: ignore[attr-defined]
        lane.service.comfy.wait_ready(10)
    return running


def model(name: str) -> dict[str, Any]:
    return {"override_settings": {"sd_model_checkpoint": name}}


def loaded(comfyui: DevServer) -> list[str]:
    """The checkpoints of the prompts that a ComfyUI was given, in order."""
    return [
        node["inputs"]["ckpt_name"]
        for submission in comfyui.submissions
        for node in submission.graph.values()
        if node["class_type"] == "CheckpointLoaderSimple"
    ]


def test_each_model_stays_where_it_is_warm(server: Running, pair: Any) -> None:
    for name in (SD1, SDXL, SD1, SDXL, SDXL, SD1):
        server.generate(steps=2, **model(name))
    assert [set(loaded(comfyui)) for comfyui in pair] == [{SD1}, {SDXL}]
    assert [len(comfyui.submissions) for comfyui in pair] == [3, 3]


def test_a_model_is_the_same_however_it_is_written(server: Running, pair: Any) -> None:
    names = (SDXL, "sd_xl_base_1.0", f"{SDXL} [31e35c80fc]", "SD_XL_BASE_1.0.safetensors")
    for name in names:
        server.generate(steps=2, **model(name))
    assert [len(comfyui.submissions) for comfyui in pair] == [len(names), 0]


def test_a_shorter_queue_is_worth_loading_the_model(server: Running, pair: Any) -> None:
    server.generate(steps=2, **model(SD1))
    server.generate(steps=2, **model(SDXL))
    long = [server.in_background(steps=60, seed=seed, **model(SD1)) for seed in (1, 2)]
    while len(pair[0].submissions) < 3:
        assert not all(request.is_done for request in long)
    server.generate(steps=2, seed=3, **model(SD1))
    assert loaded(pair[1]) == [SDXL, SD1]
    for request in long:
        assert request.reply().status_code == 200


def test_what_others_have_queued_counts(server: Running, pair: Any) -> None:
    for seed in range(3):
        body = {"prompt": txt2img(seed=seed, steps=60)}
        assert requests.post(f"{pair[0].url}/prompt", json=body, timeout=5).status_code == 200
    lanes = server.backend._lanes  # type: ignore[attr-defined]
    while lanes[0].service.comfy.queue_length < 3:
        pass
    before = len(pair[0].submissions)
    server.generate(steps=2)
    assert (len(pair[0].submissions), len(pair[1].submissions)) == (before, 1)


def test_one_that_is_away_gets_nothing(server: Running, pair: Any) -> None:
    pair[0].stop()
    lanes = server.backend._lanes  # type: ignore[attr-defined]
    while lanes[0].service.comfy.ready:
        pass
    assert server.get("sdapi/v1/sd-models").json()
    assert marks(server.generate(seed=4)) == [(4, 0)]
    assert server.get("ping").status_code == 200


def test_twenty_clients_are_shared_and_lose_nothing(server: Running, pair: Any) -> None:
    answers: dict[int, Any] = {}

    def ask(seed: int) -> None:
        answers[seed] = server.generate(seed=seed, **model((SD1, SDXL)[seed % 2]))

    threads = [threading.Thread(target=ask, args=(seed,)) for seed in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert {seed: marks(answer) for seed, answer in answers.items()} == {
        seed: [(seed, 0)] for seed in range(20)
    }
    shares = [len(comfyui.submissions) for comfyui in pair]
    assert sum(shares) == 20
    assert min(shares) >= 6, "neither stands still"
    changes = [sum(a != b for a, b in pairwise(loaded(comfyui))) for comfyui in pair]
    assert sum(changes) < 10, [loaded(comfyui) for comfyui in pair]


def test_options_are_shared(server: Running) -> None:
    server.post("sdapi/v1/options", {"jpeg_quality": 33})
    assert server.get("sdapi/v1/options").json()["jpeg_quality"] == 33
