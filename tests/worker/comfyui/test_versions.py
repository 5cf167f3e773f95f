"""The worker on the oldest and on the newest ComfyUI: the newer ways where the server has them."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from devserver import DevServer, Durations
from devserver.dialect import DIALECTS
from tests.devserver.graphs import node, txt2img
from worker.comfyui.http import UNKNOWN_JOB, ComfyApi

OLDEST, NEWEST = DIALECTS
PAYLOAD = {"prompt": "a cat", "steps": 2, "width": 64, "height": 64, "sampler_name": "Euler a"}


@pytest.fixture(params=[OLDEST, NEWEST])
def version(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def server(version: str) -> Iterator[DevServer]:
    with DevServer(version=version, durations=Durations(step=0.05)) as server:
        yield server


@pytest.fixture
def api(server: DevServer) -> Iterator[ComfyApi]:
    api = ComfyApi(server.url, 5.0)
    yield api
    api.close()


def queued(api: ComfyApi, steps: int, seed: int = 1) -> str:
    prompt_id = str(uuid.uuid4())
    api.prompt(txt2img(seed, steps=steps), prompt_id, "client", {})
    return prompt_id


def until(check: Callable[[], bool]) -> None:
    for _ in range(200):
        if check():
            return
        asyncio.run(asyncio.sleep(0.02))
    raise AssertionError("it did not come")


async def test_a_request_is_answered(worker: Any) -> None:
    answer = await worker.run(
        {"api": {"method": "POST", "endpoint": "/sdapi/v1/txt2img"}, "payload": PAYLOAD}
    )
    assert len(answer["images"]) == 1, answer


def test_cancelling_stops_what_runs_and_what_waits(api: ComfyApi, server: DevServer) -> None:
    running, waiting = queued(api, 400), queued(api, 400, seed=2)
    until(lambda: running in api.queue()[0])
    api.cancel(waiting)
    assert waiting not in api.queue()[1]
    assert running in api.queue()[0]
    api.cancel(running)
    until(lambda: api.history(running) is not None)
    assert server.requests["POST /interrupt"] == (1 if server.settings.version == OLDEST else 0)


def test_a_status_is_told_by_the_newest_alone(api: ComfyApi, version: str) -> None:
    running, waiting = queued(api, 400), queued(api, 400, seed=2)
    until(lambda: running in api.queue()[0])
    told = [api.job_status(item) for item in (running, waiting, str(uuid.uuid4()))]
    new = ["in_progress", "pending", UNKNOWN_JOB]
    assert told == (new if version == NEWEST else [None, None, None])


async def test_a_missing_node_is_refused_with_what_to_do(worker: Any) -> None:
    answer = await worker.graph({"1": node("NoSuchNode"), "2": node("PreviewImage")})
    assert "NoSuchNode" in answer["error"]
    assert "install the pack" in answer["error"]


async def test_a_cycle_is_refused(worker: Any, version: str) -> None:
    graph = {
        "a": node("ImageInvert", image=["b", 0]),
        "b": node("ImageInvert", image=["a", 0]),
        "c": node("SaveImage", images=["a", 0], filename_prefix="x"),
    }
    answer = await worker.graph(graph)
    assert "error" in answer
    assert ("cycle" in answer["error"]) == (version == NEWEST)
