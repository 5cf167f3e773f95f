"""What can go wrong between a job and ComfyUI: one clear answer each time, nothing left behind."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest

from devserver import DevServer, Durations, HttpFault, NodeFault, SocketFault, out_of_memory
from devserver.faults import disk_full
from tests.worker.conftest import Worker
from tests.worker.graphs import FILE, marks, txt2img

pytestmark = pytest.mark.slow

SLOW = Durations(step=0.05)


@pytest.fixture
def server() -> Any:
    with DevServer(durations=SLOW) as running:
        yield running


async def leaves_nothing(worker: Any, server: DevServer) -> None:
    """Neither runs here nor queue entries or history there."""
    await worker.settled()
    api = worker.service.comfy.api
    assert api.queue() == ([], [])
    assert api.get("/history") == {}


@pytest.mark.parametrize("action", ["close", "reset", "silence", "half_open"])
@pytest.mark.parametrize("of", ["execution_start", "progress", "executed", "execution_success"])
async def test_the_socket_breaks_at_a_message(
    worker: Any, server: DevServer, action: Any, of: str
) -> None:
    worker.service.comfy.wait_ready(3)
    server.faults.add(SocketFault(action, of=of))
    answer = await worker.graph(txt2img(seed=11, steps=6, batch=2))
    assert marks(answer) == [(11, 0), (11, 1)]
    # and the connection is whole again
    assert marks(await worker.graph(txt2img(seed=12))) == [(12, 0)]
    await leaves_nothing(worker, server)


@pytest.mark.parametrize("action", ["close", "silence"])
async def test_frames_that_got_lost_are_sent_again(
    worker: Any, server: DevServer, action: Any
) -> None:
    worker.service.comfy.wait_ready(3)
    server.faults.add(SocketFault(action, of="binary"))
    answer = await worker.graph(txt2img(seed=21, batch=3, output="SaveImageWebsocket"))
    assert marks(answer) == [(21, 0), (21, 1), (21, 2)]
    await leaves_nothing(worker, server)


@pytest.mark.parametrize(
    "frame",
    [
        "{",
        '["a"]',
        '{"type": "executing", "data": 5}',
        b"",
        b"\0\0\0\1",
        b"\0\0\0\4\xff\xff\xff\xff",
    ],
)
async def test_a_malformed_frame_is_passed_over(
    worker: Any, server: DevServer, frame: str | bytes
) -> None:
    worker.service.comfy.wait_ready(3)
    server.faults.add(SocketFault("malformed", of="progress", frame=frame))
    assert marks(await worker.graph(txt2img(seed=13))) == [(13, 0)]


@pytest.mark.parametrize("path", ["/prompt", "/view", "/history", "/queue"])
@pytest.mark.parametrize("action", ["status", "drop", "drop_answer", "garbage"])
async def test_one_failing_request_does_not_lose_the_job(
    worker: Any, server: DevServer, path: str, action: Any
) -> None:
    worker.service.comfy.wait_ready(3)
    server.faults.add(HttpFault(path, action=action))
    answer = await worker.graph(txt2img(seed=14))
    assert marks(answer) == [(14, 0)]
    await worker.settled()


async def test_comfyui_is_down(make_worker: Any, server: DevServer) -> None:
    worker = make_worker(wait_s=1.0)
    server.stop()
    start = time.monotonic()
    answer = await worker.graph(txt2img())
    assert "does not answer" in answer["error"]
    assert "COMFYUI_URL" in answer["error"]
    assert time.monotonic() - start < 6


async def test_comfyui_goes_away_in_mid_job(make_worker: Any, server: DevServer) -> None:
    worker = make_worker(wait_s=1.0)
    server.faults.add(SocketFault("die", of="progress"))
    answer = await worker.graph(txt2img(steps=6))
    assert list(answer) == ["error"]
    assert "went away" in answer["error"]


async def test_comfyui_is_started_again_in_mid_job(
    worker: Any, server: DevServer, revive: Callable[[int], None]
) -> None:
    server.faults.add(SocketFault("die", of="progress", after=2))
    revive(1)
    answer = await worker.graph(txt2img(seed=15, steps=6))
    assert marks(answer) == [(15, 0)]
    assert len(server.submissions) == 2


async def test_a_job_that_kills_comfyui_twice_is_not_tried_a_third_time(
    worker: Any, server: DevServer, revive: Callable[[int], None]
) -> None:
    server.faults.add(SocketFault("die", of="progress", times=2))
    revive(2)
    answer = await worker.graph(txt2img(steps=6))
    assert list(answer) == ["error"]
    assert "lost the job" in answer["error"]


async def test_a_history_that_was_evicted_is_a_lost_run() -> None:
    """The run ends while the socket is away, and the server does not keep what came of it."""
    with DevServer(durations=SLOW, history_limit=0) as server:
        worker = Worker(server)
        try:
            worker.service.comfy.wait_ready(3)
            server.faults.add(SocketFault("close", of="progress"))
            assert marks(await worker.graph(txt2img(seed=16, steps=4))) == [(16, 0)]
            assert len(server.submissions) == 2
        finally:
            worker.close()


class Restarter:
    """Stands for the supervisor."""

    def __init__(self, server: DevServer) -> None:
        self.reasons: list[str] = []
        self._server = server

    def restart(self, reason: str) -> None:
        self.reasons.append(reason)
        self._server.restart()


async def test_a_node_that_hangs_is_interrupted_then_comfyui_is_killed(
    make_worker: Any, server: DevServer
) -> None:
    worker = make_worker(interrupt_grace_s=0.3)
    restarter = Restarter(server)
    worker.service.runner.use_supervisor(restarter)
    server.faults.add(NodeFault("VAEDecode", "hang", obeys_interrupt=False))
    hangs = {"workflow": txt2img(seed=17)}
    hanging = asyncio.create_task(worker.run(hangs, "hangs", policy={"executionTimeout": 1500}))
    await asyncio.sleep(1.0)
    # A job that waits behind it outlives the restart.
    waiting = await worker.graph(txt2img(seed=18), "waits")
    assert "in node 8 (VAEDecode)" in (await hanging)["error"]
    assert restarter.reasons == ["a node hangs"]
    assert marks(waiting) == [(18, 0)]
    await leaves_nothing(worker, server)


async def test_a_submission_whose_answer_got_lost_cannot_block_the_server(
    make_worker: Any, server: DevServer
) -> None:
    """It was taken all the same, and hangs: the job's next attempt waits behind it."""
    worker = make_worker(interrupt_grace_s=0.3)
    restarter = Restarter(server)
    worker.service.runner.use_supervisor(restarter)
    worker.service.comfy.wait_ready(3)
    server.faults.add(
        HttpFault("/prompt", "POST", action="drop_answer"),
        NodeFault("KSampler", "hang", obeys_interrupt=False),
    )
    request = {"workflow": txt2img(seed=19)}
    answer = await worker.run(request, "first", policy={"executionTimeout": 1500})
    assert "in ComfyUI's queue" in answer["error"]
    assert marks(await worker.graph(txt2img(seed=20), "second")) == [(20, 0)]
    assert restarter.reasons == ["a node hangs"]


async def test_a_node_that_fails_is_named(worker: Any, server: DevServer) -> None:
    server.faults.add(
        NodeFault("KSampler", message="bad '/srv/comfy/secret/x.py'", kind="ValueError")
    )
    answer = await worker.graph(txt2img())
    assert answer == {
        "error": "Job processing failed: node 3 (KSampler) failed: ValueError: bad 'x.py'",
        "details": [
            "Workflow execution error: Node Type: KSampler, Node ID: 3, Message: bad 'x.py'"
        ],
    }
    await leaves_nothing(worker, server)


async def test_out_of_memory_says_what_to_do(worker: Any, server: DevServer) -> None:
    server.faults.add(out_of_memory("KSampler"))
    answer = await worker.graph(txt2img())
    assert "node 3 (KSampler) ran out of GPU memory" in answer["error"]
    assert "smaller" in answer["error"]


async def test_a_full_disk_says_what_to_do(make_worker: Any, server: DevServer) -> None:
    worker = make_worker(workflow_output="keep")
    server.faults.add(disk_full())
    answer = await worker.graph(txt2img())
    assert "node 9 (SaveImage) found no room" in answer["error"]


async def test_an_error_whose_message_got_lost_is_no_half_result(
    worker: Any, server: DevServer
) -> None:
    """The image is there, and a later node fails: the job fails."""
    worker.service.comfy.wait_ready(3)
    graph = txt2img()
    graph["20"] = {"class_type": "ImageInvert", "inputs": {"image": ["8", 0]}}
    graph["21"] = {
        "class_type": "SaveImage",
        "inputs": {"images": ["20", 0], "filename_prefix": "b"},
    }
    server.faults.add(NodeFault("ImageInvert"), SocketFault("silence", of="executing", after=1))
    answer = await worker.graph(graph)
    assert "node 20 (ImageInvert) failed: RuntimeError: injected fault" in answer["error"]
    assert "images" not in answer


async def test_an_interrupt_from_elsewhere_is_an_error(worker: Any) -> None:
    job = asyncio.create_task(worker.graph(txt2img(steps=150)))
    while not any(update["stage"] == "KSampler" for _, update in worker.updates):
        await asyncio.sleep(0.01)
    worker.service.comfy.api.post("/interrupt", {})
    answer = await job
    assert "interrupted on the server in node 3 (KSampler)" in answer["error"]


async def test_the_time_limit_names_the_node_and_stops_the_run(
    make_worker: Any, server: DevServer
) -> None:
    worker = make_worker(job_timeout_s=1.0, max_steps=2000)
    worker.service.comfy.wait_ready(3)
    start = time.monotonic()
    answer = await worker.graph(txt2img(steps=1500))
    assert time.monotonic() - start < 10
    assert "limit of 1 s" in answer["error"]
    assert "node 3 (KSampler)" in answer["error"]
    await leaves_nothing(worker, server)


async def test_the_jobs_own_policy_may_be_shorter(worker: Any) -> None:
    request = {"workflow": txt2img(steps=150)}
    answer = await worker.run(request, policy={"executionTimeout": 300})
    assert "limit of 0.3 s" in answer["error"]


async def test_a_cancelled_job_is_interrupted_and_its_neighbour_is_not(
    worker: Any, server: DevServer
) -> None:
    first = asyncio.create_task(worker.graph(txt2img(seed=31, steps=100), "a"))
    await asyncio.sleep(0.3)
    second = asyncio.create_task(worker.graph(txt2img(seed=32, steps=4), "b"))
    await asyncio.sleep(0.2)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    assert marks(await second) == [(32, 0)]
    await leaves_nothing(worker, server)


async def test_a_cancelled_job_in_the_queue_is_taken_out(worker: Any, server: DevServer) -> None:
    first = asyncio.create_task(worker.graph(txt2img(seed=41, steps=20), "a"))
    await asyncio.sleep(0.3)
    second = asyncio.create_task(worker.graph(txt2img(seed=42, steps=20), "b"))
    await asyncio.sleep(0.2)
    second.cancel()
    with pytest.raises(asyncio.CancelledError):
        await second
    assert marks(await first) == [(41, 0)]
    await leaves_nothing(worker, server)
    assert server.jobs_executed == 1


async def test_interleaved_jobs_get_their_own_images(worker: Any, server: DevServer) -> None:
    outputs = ["SaveImage", "SaveImageWebsocket", FILE]
    answers = await asyncio.gather(
        *(
            worker.graph(txt2img(seed=100 + n, batch=2, output=outputs[n % 3]), f"job-{n}")
            for n in range(9)
        )
    )
    assert [marks(answer) for answer in answers] == [[(100 + n, 0), (100 + n, 1)] for n in range(9)]
    await leaves_nothing(worker, server)


async def test_two_jobs_wait_while_the_socket_is_replaced(worker: Any, server: DevServer) -> None:
    worker.service.comfy.wait_ready(3)
    server.faults.add(SocketFault("close", of="progress", after=2))
    answers = await asyncio.gather(
        *(worker.graph(txt2img(seed=50 + n, steps=5), f"job-{n}") for n in range(3))
    )
    assert [marks(answer) for answer in answers] == [[(50, 0)], [(51, 0)], [(52, 0)]]
    await leaves_nothing(worker, server)


async def test_progress_is_throttled_and_ends_before_the_answer(
    make_worker: Any, server: DevServer
) -> None:
    worker = make_worker(progress_interval_s=0.1)
    await worker.graph(txt2img(steps=20), "p")
    told = len(worker.updates)
    await asyncio.sleep(0.3)
    assert len(worker.updates) == told
    assert 3 <= told <= 12
    assert {job for job, _ in worker.updates} == {"p"}
    percents = [update["percent"] for _, update in worker.updates]
    assert percents == sorted(percents)
    assert worker.updates[-1][1]["stage"] == "KSampler"
    assert worker.updates[-1][1]["steps"] == 20
