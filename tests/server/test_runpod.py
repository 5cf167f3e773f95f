"""The server in front of a RunPod endpoint."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.server import free_port, wait_for
from devserver import DevServer
from server.exchange import WARNINGS_HEADER
from server.runpod import RunPodBackend
from server.runpod_api import Endpoint
from tests.server.conftest import SMALL, Running, settings
from tests.server.runpod_stand_in import RunPodApi
from tests.worker.graphs import marks, picture
from worker.runpod import Jobs
from worker.service import Service

ROOT = Path(__file__).parents[2]
QUICK_PROGRESS = {"progress_interval_s": 0.02, "progress_preview": True}


@pytest.fixture
def runpod(comfyui: DevServer) -> Iterator[RunPodApi]:
    with RunPodApi(comfyui) as api:
        yield api


def front(serve: Callable[..., Running], url: str, **changes: Any) -> Running:
    return serve(RunPodBackend(Endpoint(url, "secret-key"), settings(url, **changes)))


@pytest.fixture
def server(serve: Callable[..., Running], runpod: RunPodApi) -> Running:
    return front(serve, runpod.url)


def test_a_request_becomes_a_job_and_its_answer_a1111s(server: Running, runpod: RunPodApi) -> None:
    reply = server.post("sdapi/v1/txt2img", {**SMALL, "sampler_name": "Nope"})
    assert reply.status_code == 200
    assert list(reply.json()) == ["images", "parameters", "info"]
    assert marks(reply.json()) == [(7, 0)]
    assert "Nope" in reply.headers[WARNINGS_HEADER]
    assert runpod.keys == {"Bearer secret-key"}


def test_pictures_that_come_by_url_are_fetched(server: Running, runpod: RunPodApi) -> None:
    runpod.by_url = True
    answer = server.generate(batch_size=2)
    assert len(runpod.bucket) == 2
    assert marks(answer) == [(7, 0), (8, 0)]


def test_lists_are_asked_once_and_anew_after_a_refresh(server: Running, runpod: RunPodApi) -> None:
    for _ in range(3):
        assert server.get("sdapi/v1/samplers").json()[0]["name"] == "DPM++ 2M"
        assert server.get("controlnet/module_list?alias_names=true").status_code == 200
    assert len(runpod.inputs) == 2
    assert server.post("sdapi/v1/refresh-checkpoints").json() is None
    assert server.post("sdapi/v1/reload-checkpoint").json() == {}
    server.get("sdapi/v1/samplers")
    assert len(runpod.inputs) == 5


def test_options_are_the_servers_and_travel_with_each_request(
    server: Running, runpod: RunPodApi
) -> None:
    changed = {"samples_format": "jpg", "sd_model_checkpoint": "sd_xl_base_1.0.safetensors"}
    assert server.post("sdapi/v1/options", changed).json() is None
    options = server.get("sdapi/v1/options").json()
    assert options["samples_format"] == "jpg"
    answer = server.generate(override_settings={"samples_format": "png"})
    assert json.loads(answer["info"])["sd_model_name"] == "sd_xl_base_1.0"
    assert runpod.inputs[-1]["payload"]["override_settings"] == {
        **changed,
        "samples_format": "png",
    }
    assert server.post("sdapi/v1/options", options).json() is None
    assert server.post("sdapi/v1/options", {"nope": 1}).json()["error"] == "KeyError"


def test_a_workers_error_becomes_a1111s(server: Running) -> None:
    reply = server.post("sdapi/v1/txt2img", {**SMALL, "steps": "many"})
    assert reply.status_code == 422
    assert reply.json()["detail"][0]["loc"] == ["body", "steps"]
    reply = server.post("sdapi/v1/txt2img", {**SMALL, "script_name": "nope"})
    assert (reply.status_code, reply.json()["detail"]) == (422, "Script 'nope' not found")
    reply = server.post("sdapi/v1/png-info", {"image": "no picture"})
    assert reply.status_code == 500
    assert "Invalid encoded image" in reply.text


def test_other_routes_answer_too(server: Running) -> None:
    body = {"image": picture(9, (64, 48)), "upscaler_1": "Lanczos", "upscaling_resize": 2}
    assert server.post("sdapi/v1/extra-single-image", body).status_code == 200
    assert server.post("sdapi/v1/png-info", {"image": picture()}).json()["info"] == ""


@pytest.mark.parametrize(
    ("mode", "word"),
    [
        ("failed", "does not say why"),
        ("timed_out", "executionTimeout"),
        ("garbage", "RunPod"),
        ("forgets", "404"),
        ("nonsense", "makes no sense"),
        ("gone", "502"),
    ],
)
def test_an_endpoint_that_fails_is_told_in_a1111s_shape(
    server: Running, runpod: RunPodApi, mode: str, word: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("server.runpod._LONGEST_PAUSE_S", 0.02)
    monkeypatch.setattr("server.runpod._FIRST_PAUSE_S", 0.01)
    runpod.mode = mode
    reply = server.post("sdapi/v1/txt2img", SMALL)
    assert reply.status_code == 500
    assert {"error", "detail", "body", "errors"} == set(reply.json())
    assert word in reply.json()["errors"]
    runpod.mode = "well"
    assert server.generate()["images"]


def test_nobody_there(serve: Callable[..., Running]) -> None:
    server = front(serve, f"http://127.0.0.1:{free_port()}")
    reply = server.post("sdapi/v1/txt2img", SMALL)
    assert reply.status_code == 500
    assert "cannot be asked" in reply.json()["errors"]
    assert server.get("ping").status_code == 204


def test_progress_previews_and_interrupt(
    serve: Callable[..., Running], slow_comfyui: DevServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.server.runpod_stand_in.settings", _chatty)
    with RunPodApi(slow_comfyui) as runpod:
        server = front(serve, runpod.url)
        server.post("sdapi/v1/options", {"show_progress_every_n_steps": 1})
        request = server.in_background(steps=90, force_task_id="mine")
        told = server.until(lambda told: told["current_image"] is not None)
        assert told["state"]["sampling_steps"] == 90
        assert 0 < told["progress"] < 1
        assert server.post("internal/progress", {"id_task": "mine"}).json()["active"]
        assert server.post("sdapi/v1/interrupt").json() == {}
        reply = request.reply()
        assert reply.status_code == 200
        assert reply.json()["images"] == []
        assert len(runpod.cancelled) == 1


def test_skip_reaches_the_worker_by_a_job_of_its_own(
    serve: Callable[..., Running], slow_comfyui: DevServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.server.runpod_stand_in.settings", _chatty)
    with RunPodApi(slow_comfyui) as runpod:
        server = front(serve, runpod.url)
        stops = slow_comfyui.requests["POST /a1111/stop"]
        request = server.in_background(steps=60, n_iter=2, seed=20)
        server.until(lambda told: bool(told["state"]["sampling_step"] >= 3))
        assert server.post("sdapi/v1/skip").json() is None
        assert marks(request.reply().json()) == [(20, 0), (21, 0)]
        assert runpod.inputs[-1]["payload"] == {"task": "job-1"}
        assert slow_comfyui.requests["POST /a1111/stop"] == stops + 1
        # With nothing under way there is nobody to tell.
        before = len(runpod.inputs)
        assert server.post("sdapi/v1/skip").json() is None
        assert len(runpod.inputs) == before


async def test_a_worker_that_has_not_the_job_says_so(slow_comfyui: DevServer) -> None:
    jobs = Jobs(Service(settings(slow_comfyui.url)), lambda job, update: None)
    jobs.service.start()
    try:
        api = {"method": "POST", "endpoint": "/sdapi/v1/skip"}
        job = {"id": "x", "input": {"api": api, "payload": {"task": "job-of-another"}}}
        assert await jobs.run(job) == {"skipped": False}
    finally:
        jobs.service.close()


def _chatty(url: str, **changes: Any) -> Any:
    return settings(url, **{**changes, **QUICK_PROGRESS})


def test_many_at_once_on_three_workers(server: Running, runpod: RunPodApi) -> None:
    answers: dict[int, Any] = {}
    threads = [
        threading.Thread(
            target=lambda seed=seed: answers.update({seed: server.generate(seed=seed)})
        )
        for seed in range(20)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert {seed: marks(answer) for seed, answer in answers.items()} == {
        seed: [(seed, 0)] for seed in range(20)
    }


def test_against_runpods_own_local_server(
    serve: Callable[..., Running], comfyui: DevServer
) -> None:
    """``handler.py --rp_serve_api``, the SDK's own server, with three requests at once."""
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "handler.py", "--rp_serve_api", "--rp_api_port", str(port)],
        cwd=ROOT,
        env={
            **os.environ,
            "COMFYUI_URL": comfyui.url,
            "COMFYUI_DIR": "",
            "PYTHONPATH": os.pathsep.join(sys.path),
            "LOG_LEVEL": "error",
        },
        stdout=subprocess.DEVNULL,
    )
    try:
        wait_for(f"http://127.0.0.1:{port}/", 40)
        server = front(serve, f"http://127.0.0.1:{port}")
        requests_ = [server.in_background(seed=seed) for seed in (1, 2, 3)]
        replies = [request.reply() for request in requests_]
        assert [marks(reply.json()) for reply in replies] == [[(seed, 0)] for seed in (1, 2, 3)]
        assert "DPM++ 2M" in [row["name"] for row in server.get("sdapi/v1/samplers").json()]
        assert server.post("sdapi/v1/txt2img", {**SMALL, "steps": "x"}).status_code == 422
    finally:
        process.kill()
        process.wait()
