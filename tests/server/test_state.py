"""Progress, previews, the queue, interrupt, skip, and the options that last."""

from __future__ import annotations

import base64
import json
import time
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image

from devserver import DevServer
from server.activity import Job
from tests.server.conftest import SMALL, Running, local
from tests.translator.lists.test_a1111 import recorded
from tests.worker.graphs import marks


def sampling(told: dict[str, Any]) -> bool:
    return bool(told["state"]["sampling_step"] >= 3)


def test_progress_tells_of_the_pass_under_way(slow: Running) -> None:
    request = slow.in_background(steps=40, n_iter=2)
    told = slow.until(sampling)
    assert list(told) == list(recorded()["progress"])
    assert list(told["state"]) == list(recorded()["progress"]["state"])
    state = told["state"]
    assert state["sampling_steps"] == 40
    assert state["job_count"] == 2
    assert state["job"] == "Batch 1 out of 2"
    assert len(state["job_timestamp"]) == 14
    wanted = 0.01 + state["sampling_step"] / 40 / 2
    assert abs(told["progress"] - wanted) < 1e-9
    assert told["eta_relative"] > 0
    later = slow.until(lambda told: told["state"]["job_no"] == 1 and sampling(told))
    assert later["progress"] > 0.5
    assert request.reply().status_code == 200
    idle = slow.get("sdapi/v1/progress").json()
    assert (idle["progress"], idle["eta_relative"], idle["current_image"]) == (0, 0, None)
    assert (idle["state"]["job"], idle["state"]["job_count"]) == ("", 0)


def test_hires_fix_is_a_pass_of_its_own(slow: Running) -> None:
    request = slow.in_background(steps=20, enable_hr=True, denoising_strength=0.7)
    told = slow.until(lambda told: told["state"]["job_no"] == 1)
    assert told["state"]["job_count"] == 2
    assert told["state"]["job"] == "scripts_txt2img"
    request.reply()


def test_the_current_image_follows_a1111s_options(slow: Running) -> None:
    slow.post("sdapi/v1/options", {"show_progress_every_n_steps": 5})
    request = slow.in_background(steps=60)
    slow.until(sampling)
    told = slow.until(lambda told: told["current_image"] is not None)
    assert told["state"]["sampling_step"] >= 5
    image = Image.open(BytesIO(base64.b64decode(told["current_image"])))
    assert image.format == "PNG"
    hidden = slow.get("sdapi/v1/progress?skip_current_image=true").json()
    assert hidden["current_image"] is None
    slow.post("sdapi/v1/interrupt")
    request.reply()


def test_internal_progress_tells_queued_from_active(slow: Running) -> None:
    slow.post("sdapi/v1/options", {"live_previews_image_format": "jpeg"})

    def ask(task: str, **fields: Any) -> Any:
        return slow.post("internal/progress", {"id_task": task, **fields}).json()

    requests_ = [slow.in_background(steps=60, force_task_id=f"t{n}") for n in range(1)]
    slow.until(sampling)
    requests_ += [slow.in_background(steps=4, force_task_id=f"t{n}") for n in (1, 2)]
    while slow.get("internal/pending-tasks").json()["size"] < 2:
        time.sleep(0.01)
    active, queued = ask("t0"), ask("t1")
    assert (active["active"], active["queued"], active["completed"]) == (True, False, False)
    assert 0 < active["progress"] <= 1
    assert (queued["active"], queued["queued"]) == (False, True)
    assert queued["textinfo"].startswith("In queue: ")
    assert ask("nobody")["textinfo"] == "Waiting..."
    while ask("t0")["live_preview"] is None:
        time.sleep(0.01)
    shown = ask("t0")
    assert shown["live_preview"].startswith("data:image/jpeg;base64,")
    slow.post("sdapi/v1/interrupt")
    for request in requests_:
        assert request.reply().status_code == 200
    assert all(ask(f"t{n}")["completed"] for n in range(3))


def test_lists_answer_while_a_picture_is_made(slow: Running) -> None:
    request = slow.in_background(steps=150)
    slow.until(sampling)
    for route in ("samplers", "sd-models", "options", "progress"):
        assert slow.get(f"sdapi/v1/{route}").status_code == 200
    assert not request.is_done
    slow.post("sdapi/v1/interrupt")
    request.reply()


def test_an_interrupted_request_answers_what_it_has(slow: Running) -> None:
    request = slow.in_background(steps=60, n_iter=3, seed=20)
    slow.until(lambda told: told["state"]["job_no"] == 1 and sampling(told))
    start = time.monotonic()
    assert slow.post("sdapi/v1/interrupt").json() == {}
    assert time.monotonic() - start < 0.5
    reply = request.reply()
    assert reply.status_code == 200
    assert marks(reply.json()) == [(20, 0), (21, 0)]
    assert slow.get("sdapi/v1/progress").json()["state"]["interrupted"]
    assert marks(slow.generate(seed=3)) == [(3, 0)]
    assert not slow.get("sdapi/v1/progress").json()["state"]["interrupted"]


def test_skip_goes_on_with_the_next_batch(slow: Running) -> None:
    request = slow.in_background(steps=60, n_iter=2, seed=20)
    slow.until(sampling)
    start = time.monotonic()
    assert slow.post("sdapi/v1/skip").json() is None
    slow.until(lambda told: told["state"]["job_no"] == 1)
    assert time.monotonic() - start < 1
    assert marks(request.reply().json()) == [(20, 0), (21, 0)]


def test_options_are_complete_and_may_be_sent_back(server: Running) -> None:
    everything = server.get("sdapi/v1/options").json()
    assert set(recorded()["options"]) <= set(everything)
    texts = [name for name in everything if name.endswith(("_explanation", "settings_in_ui"))]
    assert len(texts) == 4
    assert {name: everything[name] for name in texts} == {
        name: recorded()["options"][name] for name in texts
    }
    reply = server.post("sdapi/v1/options", {**everything, "settings_in_ui": "text"})
    assert (reply.status_code, reply.json()) == (200, None)
    assert server.get("sdapi/v1/options").json() == everything


def test_an_unknown_option_is_a1111s_key_error(server: Running) -> None:
    reply = server.post("sdapi/v1/options", {"nope": 1})
    assert reply.status_code == 500
    assert reply.json()["error"] == "KeyError"
    reply = server.post("sdapi/v1/options", {"sd_model_checkpoint": "nope"})
    assert reply.status_code == 500
    assert reply.json()["error"] == "RuntimeError"
    assert "not found" in reply.json()["errors"]


def test_options_outlast_the_server(serve: Any, comfyui: DevServer, tmp_path: Path) -> None:
    file = tmp_path / "config.json"
    file.write_text(json.dumps({"samples_format": "jpg", "of_another_program": 1}))
    server = serve(local(comfyui.url, options_file=file))
    assert server.get("sdapi/v1/options").json()["samples_format"] == "jpg"
    server.post("sdapi/v1/options", {"samples_format": "webp", "CLIP_stop_at_last_layers": 2})
    again = serve(local(comfyui.url, options_file=file))
    options = again.get("sdapi/v1/options").json()
    assert (options["samples_format"], options["CLIP_stop_at_last_layers"]) == ("webp", 2)
    assert json.loads(file.read_text())["of_another_program"] == 1
    assert opened_format(again.generate()["images"][0]) == "WEBP"


def opened_format(image: str) -> str | None:
    return Image.open(BytesIO(base64.b64decode(image))).format


def test_a_request_whose_client_is_gone_leaves_the_queue(slow: Running) -> None:
    import contextlib

    import requests

    with contextlib.suppress(requests.exceptions.ReadTimeout):
        body = {**SMALL, "steps": 30}
        requests.post(f"{slow.url}/sdapi/v1/txt2img", json=body, timeout=0.3)
    assert slow.generate(seed=9)["images"]


def test_a_picture_is_shown_every_some_steps() -> None:
    job = Job("t", "txt2img")
    job.begin()
    job.passes, job.steps = 2, 20
    for job.step in range(10):
        job.preview = bytes([job.step])
        job.show(5)
    assert job.shown == bytes([5])
    job.passed, job.step, job.preview = 1, 0, b"end"
    job.show(5)
    assert job.shown == bytes([5])
    other = Job("t", "txt2img", passes=2)
    other.preview = b"first"
    other.show(-1)
    assert other.shown is None
    other.passed = 1
    other.show(-1)
    assert other.shown == b"first"
