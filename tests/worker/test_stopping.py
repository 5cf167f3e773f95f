"""Interrupt and skip: what a request answers that is ended early."""

from __future__ import annotations

import asyncio
import json
import uuid
from typing import Any

import pytest

from devserver import DevServer, Durations
from tests.worker.conftest import Worker
from tests.worker.graphs import marks, txt2img
from tests.worker.routes.test_txt2img import request
from worker.comfyui.runs import ENCODING_NODE, Run
from worker.errors import Interrupted
from worker.running import Runner, Task
from worker.settings import Settings
from worker.stopping import passes_under_way

POST = {"method": "POST"}


@pytest.fixture
def server() -> Any:
    with DevServer(durations=Durations(step=0.03)) as running:
        yield running


async def at_step(worker: Worker, job: dict[str, Any], action: str, batch: int = 0) -> Any:
    """Run a job; act on it once the pass of a batch has made some steps."""
    running = asyncio.create_task(worker.run(job))
    tasks = worker.service.runner
    while True:
        assert not running.done(), running.result()
        runs = [run for task in tasks.tasks for run in task.runs]
        if runs and runs[-1].step >= 3 and len(_sampled(runs[-1])) == batch:
            break
        await asyncio.sleep(0.005)
    answer = await worker.run(
        {"api": {**POST, "endpoint": f"sdapi/v1/{action}"}, "payload": {}}, "other"
    )
    assert answer in ({}, None)
    return await asyncio.wait_for(running, 10)


def _sampled(run: Any) -> list[str]:
    return [name for name in run.done if run.node_class(name) == "SamplerCustomAdvanced"]


async def test_an_interrupted_request_answers_the_pictures_so_far(worker: Any) -> None:
    job = request(steps=150, n_iter=3, batch_size=2, seed=10)
    answer = await at_step(worker, job, "interrupt", batch=1)
    assert marks(answer) == [(10, 0), (11, 0), (12, 0), (13, 0)]
    assert len(json.loads(answer["info"])["infotexts"]) == 4
    await worker.settled()


async def test_a_skipped_batch_stays_at_what_it_has_reached(worker: Any) -> None:
    answer = await at_step(worker, request(steps=150, n_iter=2, seed=10), "skip")
    assert marks(answer) == [(10, 0), (11, 0)]
    assert answer["info"].count("Steps: 150") == 2


async def test_what_was_ended_early_is_not_answered_again_from_the_cache(
    worker: Any, server: DevServer
) -> None:
    job = request(steps=150, seed=10)
    assert len((await at_step(worker, job, "interrupt"))["images"]) == 1
    await worker.settled()
    before = server.submissions[-1]
    seen: list[int] = []
    running = asyncio.create_task(worker.run(job))
    while not running.done():
        seen += [run.steps for task in worker.service.runner.tasks for run in task.runs]
        await asyncio.sleep(0.005)
    assert len((await running)["images"]) == 1
    assert server.submissions[-1] is not before
    assert 150 in seen, "the pass was sampled again"


async def test_without_the_node_pack_the_finished_pictures_are_answered(make_worker: Any) -> None:
    worker = make_worker(fidelity="core")
    job = request(steps=150, n_iter=2, seed=10, sampler_name="Euler")
    running = asyncio.create_task(worker.run(job))
    while True:
        assert not running.done(), running.result()
        runs = [run for task in worker.service.runner.tasks for run in task.runs]
        if runs and runs[-1].encoded and runs[-1].step >= 3:
            break
        await asyncio.sleep(0.005)
    await worker.run({"api": {**POST, "endpoint": "sdapi/v1/interrupt"}, "payload": {}}, "other")
    assert marks(await running) == [(10, 0)]


async def test_a_request_in_the_queue_answers_no_picture(worker: Any) -> None:
    first = asyncio.create_task(worker.run(request(steps=150, seed=1), "a"))
    await asyncio.sleep(0.3)
    second = asyncio.create_task(worker.run(request(steps=150, seed=2), "b"))
    runner = worker.service.runner
    while len([run for task in runner.tasks for run in task.runs]) < 2:
        await asyncio.sleep(0.005)
    (waiting,) = [task for task in runner.tasks if task.id == "b"]
    await asyncio.to_thread(runner.interrupt, waiting)
    assert (await second)["images"] == []
    assert marks(await first) == [(1, 0)]


async def test_an_interrupt_leaves_the_prompts_of_others_alone(
    worker: Worker, server: DevServer
) -> None:
    """ComfyUI's own interrupt would end whatever runs."""
    worker.service.comfy.wait_ready(5)
    api = worker.service.comfy.api
    other = str(uuid.uuid4())
    api.prompt(txt2img(seed=1, steps=40), other, "somebody else", {})
    while other not in api.queue()[0]:
        await asyncio.sleep(0.01)
    assert await worker.run({"api": {**POST, "endpoint": "sdapi/v1/interrupt"}}) == {}
    await asyncio.sleep(0.3)
    entry = api.history(other)
    assert entry is None or entry["status"]["status_str"] == "success"
    assert other in api.queue()[0] or entry is not None


def test_the_passes_under_way_are_those_of_one_batch() -> None:
    def node(kind: str, *links: str) -> dict[str, Any]:
        return {"class_type": kind, "inputs": {f"i{n}": [link, 0] for n, link in enumerate(links)}}

    sampler = "SamplerCustomAdvanced"
    graph = {
        "1": node("CheckpointLoaderSimple"),
        "2": node(sampler, "1"),
        "3": node("VAEDecode", "2"),
        "4": node(sampler, "3", "1"),
        "5": node(sampler, "1"),
        "6": node("A1111ImageGrid", "4", "5"),
    }
    assert passes_under_way(graph, "1", []) == []
    assert passes_under_way(graph, None, ["1"]) == []
    assert passes_under_way(graph, "2", ["1"]) == ["2", "4"]
    assert passes_under_way(graph, "3", ["1", "2"]) == ["2", "4"]
    assert passes_under_way(graph, "4", ["1", "2", "3"]) == ["2", "4"]
    assert passes_under_way(graph, "5", ["1", "2", "3", "4"]) == ["5"]


async def test_files_that_are_still_being_encoded_are_waited_for() -> None:
    """Our output node encodes in a thread of its own; its files may come after the interruption."""
    run = Run("p", "c", {"9": {"class_type": ENCODING_NODE, "inputs": {}}})
    run.announced["9"] = 1
    run.fail(Interrupted("ended"))
    runner = Runner(Settings(), _Ended(run), None)  # type: ignore[arg-type]
    waiting = asyncio.create_task(runner._wait(Task("t", interrupted=True), run))
    await asyncio.sleep(0.1)
    assert not waiting.done()
    run.add_encoded("9", 0, b"late")
    result = await waiting
    assert result.partial
    assert result.frames == {"9": [b"late"]}
    runner.close()


class _Ended:
    """A connection whose run has ended."""

    def __init__(self, run: Run) -> None:
        self._run = run

    async def wait(self, run: Run) -> Any:
        return self._run.future.result()
