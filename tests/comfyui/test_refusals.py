"""What must end in one clear error on the real server, and leave it ready for the next job."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.comfyui import graphs
from tests.comfyui.exchange import Client
from tests.comfyui.pictures import as_base64, black
from tests.comfyui.test_requests import canny, sd15, seed_request
from tests.comfyui.worker import TXT2IMG, Worker, a1111

LONG = {"steps": 150, "width": 128, "height": 128}
_POLL_S = 0.05


@pytest.fixture(autouse=True)
def _ready_for_the_next_job(client: Client, worker: Worker) -> Iterator[None]:
    yield
    deadline = time.monotonic() + 30
    while client.get("/prompt")["exec_info"]["queue_remaining"]:
        assert time.monotonic() < deadline, "something is left in the queue"
        time.sleep(_POLL_S)
    assert "error" not in worker.call(sd15())


def submissions(client: Client) -> int:
    """How many prompts the server has taken so far: it numbers them."""
    reply = client.submit(graphs.txt2img()).reply
    assert reply is not None
    return int(reply["number"])


def test_no_face_in_the_picture(worker: Worker, need: Callable[..., None]) -> None:
    need("InstantIDModelLoader")
    error = worker.call(seed_request(image=black()))["error"]
    assert "face" in error.lower()
    assert "Traceback" not in error


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"override_settings": {"sd_model_checkpoint": "no_such_model"}}, "sd_model_checkpoint"),
        ({"sampler_name": "DPM++ 9M"}, "sampler_name"),
        ({"width": 0}, "width"),
        ({"height": -64}, "height"),
        ({"steps": 100_000}, "steps"),
        ({"cfg_scale": "much"}, "cfg_scale"),
        ({"batch_size": 0}, "batch_size"),
        ({"enable_hr": True, "hr_upscaler": "4x_none"}, "hr_upscaler"),
        ({"prompt": "a cat <lora:no_such_lora:1>"}, "no_such_lora"),
        (canny(model="no_such_controlnet"), "alwayson_scripts.controlnet.args[0].model"),
        (canny(image="????"), "alwayson_scripts.controlnet.args[0].image"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_refusal_names_the_field_and_submits_nothing(
    worker: Worker, client: Client, change: dict[str, Any], named: str
) -> None:
    before = submissions(client)
    answer = worker.call(sd15(**change))
    assert named in answer["error"]
    assert "images" not in answer
    assert submissions(client) == before + 1


def test_a_picture_beside_the_input_folder(worker: Worker, client: Client) -> None:
    """ComfyUI itself would load it: its check of the name follows every ``..``."""
    before = submissions(client)
    for name in ("../output/a.png", "../../../../etc/hostname", "x/../../a.png [output]"):
        graph = graphs.txt2img()
        graph["n40"] = graphs.node("LoadImage", image=name)
        error = worker.run({"workflow": graph})["error"]
        assert error.startswith("workflow.n40.inputs.image: the file does not lie in ComfyUI")
    assert submissions(client) == before + 1


def test_a_workflow_that_comfyui_refuses(worker: Worker) -> None:
    graph = graphs.changed(graphs.txt2img(), graphs.SAMPLER, steps=0, sampler_name="eule")
    error = worker.run({"workflow": graph})["error"]
    assert "KSampler" in error
    assert "steps" in error
    assert "sampler_name" in error


def test_a_workflow_with_an_unknown_node(worker: Worker) -> None:
    graph = graphs.also(graphs.txt2img(), n8=graphs.node("NoSuchNode", images=["6", 0]))
    assert "NoSuchNode" in worker.run({"workflow": graph})["error"]


def test_a_half_valid_workflow_answers_no_half_result(worker: Worker) -> None:
    graph = graphs.partly_invalid("face.png")
    images = [{"name": "face.png", "image": as_base64(black())}]
    answer = worker.run({"workflow": graph, "images": images})
    assert "control_net_name" in answer["error"]
    assert "images" not in answer


def test_a_node_that_fails(worker: Worker) -> None:
    """An SDXL ControlNet on an SD1.5 model: valid, and an exception when it runs."""
    graph = graphs.with_controlnet("face.png", "synth_control_sdxl_canny.safetensors")
    images = [{"name": "face.png", "image": as_base64(black())}]
    error = worker.run({"workflow": graph, "images": images})["error"]
    assert "KSampler" in error
    assert "Traceback" not in error


def test_an_interrupt_from_outside(worker: Worker, client: Client) -> None:
    async def interrupted() -> Any:
        job = asyncio.create_task(worker.job(a1111(sd15(seed=81, **LONG), TXT2IMG)))
        await sampling(client)
        await asyncio.to_thread(client.post, "/interrupt", {})
        return await job

    assert "interrupted" in worker.drive(interrupted())["error"]


def test_a_cancelled_job_stops_on_the_server(worker: Worker, client: Client) -> None:
    async def cancelled() -> None:
        job = asyncio.create_task(worker.job(a1111(sd15(seed=82, **LONG), TXT2IMG)))
        await sampling(client)
        job.cancel()
        with pytest.raises(asyncio.CancelledError):
            await job
        async with asyncio.timeout(10):
            while await running(client):
                await asyncio.sleep(_POLL_S)

    worker.drive(cancelled())


async def running(client: Client) -> bool:
    queue = await asyncio.to_thread(client.get, "/queue")
    return bool(queue["queue_running"])


async def sampling(client: Client) -> None:
    """Wait until the server works on a job, and a moment more, so that its sampler has begun."""
    async with asyncio.timeout(60):
        while not await running(client):
            await asyncio.sleep(_POLL_S)
    await asyncio.sleep(1.0)
