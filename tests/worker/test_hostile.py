"""Requests that mean harm, or nothing: a clear answer, no internal error, nothing lost."""

from __future__ import annotations

import base64
import io
import json
import socket
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.worker.graphs import txt2img
from worker import logs
from worker.comfyui import collect
from worker.comfyui.http import ComfyApi, ImageFile
from worker.health import Health
from worker.pictures import delivery, metadata
from worker.pictures.delivery import Picture
from worker.settings import Settings

BIG = 10**400


def a1111(**payload: Any) -> dict[str, Any]:
    api = {"method": "POST", "endpoint": "sdapi/v1/txt2img"}
    return {"api": api, "payload": {"prompt": "a", "steps": 2, **payload}}


def nested(depth: int) -> Any:
    value: Any = []
    for _ in range(depth):
        value = [value]
    return value


def graph_with(node: str, **inputs: Any) -> dict[str, Any]:
    graph = txt2img()
    graph[node]["inputs"].update(inputs)
    return {"workflow": graph}


def graph_meta(meta: Any) -> dict[str, Any]:
    graph = txt2img()
    graph["9"]["_meta"] = meta
    return {"workflow": graph, "overrides": {"title.seed": 1}}


HOSTILE: list[tuple[dict[str, Any], str]] = [
    (a1111(width=BIG), "width"),
    (a1111(steps=BIG), "steps"),
    (a1111(cfg_scale=BIG), "cfg_scale"),
    (a1111(steps=float("nan")), "steps"),
    (a1111(enable_hr=True, hr_scale=BIG), "hr_scale"),
    (a1111(script_name="x/y/z plot", script_args=["\ud800"]), "half a character"),
    (a1111(script_args=nested(900)), "nested more than 100 deep"),
    (a1111(alwayson_scripts={"ControlNet": {"args": [{"model": "\udc00"}]}}), "half a character"),
    (graph_with("5", width=BIG), "finite"),
    (graph_with("5", width=10**300, height=10**300), "too large"),
    (graph_with("5", batch_size="999999"), "batch_size"),
    (graph_meta("title"), "_meta"),
    (graph_meta([1]), "_meta"),
    ({"workflow": "x" * 300}, "longer than 200"),
    ({"api": {"method": "POST", "endpoint": "x" * 1_000_000}}, "x"),
]


@pytest.mark.parametrize(("request_", "said"), HOSTILE, ids=lambda item: str(item)[:40])
async def test_is_refused_in_clear_words(worker: Any, request_: dict[str, Any], said: str) -> None:
    answer = await worker.run(request_)
    assert "error" in answer
    assert "internal" not in answer["error"]
    assert said in answer["error"]
    assert len(answer["error"]) < 3000


async def test_a_time_limit_of_400_digits_is_the_workers_own(worker: Any) -> None:
    job = {"id": "j", "input": a1111(), "policy": {"executionTimeout": BIG}}
    assert "images" in await worker.jobs.run(job)


async def test_a_bucket_is_checked_before_anything_is_made(worker: Any, server: Any) -> None:
    for bucket in ({"accessId": "a"}, [1], "x", dict.fromkeys(
        ("endpointUrl", "accessId", "accessSecret", "bucketName"), "nonsense"
    )):  # fmt: skip
        answer = await worker.jobs.run({"id": "j", "input": a1111(), "s3Config": bucket})
        assert "s3Config" in answer["error"]
    assert not server.submissions


async def test_secrets_of_an_input_that_is_text_are_blotted_out(worker: Any) -> None:
    given = {"workflow": "no-such-SECRET-KEY", "comfy_org_api_key": "SECRET-KEY"}
    answer = await worker.jobs.run({"id": "j", "input": json.dumps(given)})
    assert "SECRET-KEY" not in answer["error"]


async def test_a_prompt_too_long_for_exif_is_answered_with_a_warning(worker: Any) -> None:
    how = {"samples_format": "jpg"}
    answer = await worker.run(a1111(prompt="word " * 9000, override_settings=how))
    assert any("EXIF takes" in text for text in answer["warnings"])
    assert "word word" in answer["info"]
    assert base64.b64decode(answer["images"][0]).startswith(b"\xff\xd8")


async def test_a_prefix_of_another_system_gives_no_folder(worker: Any) -> None:
    answer = await worker.run(graph_with("9", filename_prefix="..\\..\\evil"))
    assert answer["images"][0]["filename"] == "evil_00001_.png"


def png(mode: str, size: tuple[int, int] = (8, 8), kind: str = "PNG") -> bytes:
    out = io.BytesIO()
    Image.new(mode, size).save(out, kind)
    return out.getvalue()


def deliver(pictures: list[Picture], limit: int) -> delivery.Delivered:
    return delivery.deliver(
        pictures, rest=0, limit=limit, settings=Settings(), bucket=None, upload=False, job_id="j"
    )


def test_an_oversized_video_is_too_large_and_no_internal_error() -> None:
    with pytest.raises(delivery.ResultTooLarge):
        deliver([Picture(bytes(10_000), "mp4", filename="a.mp4")], 1000)


@pytest.mark.parametrize("mode", ["I;16", "LA", "1", "P", "RGBA", "L"])
def test_pictures_of_any_mode_shrink(mode: str) -> None:
    data = png(mode, (400, 400)) + bytes(100_000)
    small = deliver([Picture(data, "png")], 20_000)
    assert small.pictures[0].extension in ("webp", "jpg")


def test_a_picture_higher_than_webp_takes_is_a_clear_error() -> None:
    with pytest.raises(delivery.NotEncoded, match="WEBP"):
        delivery.a1111_picture(png("RGB", (1, 16_400)), "webp", 80, "text")


def test_cmyk_becomes_png() -> None:
    out = io.BytesIO()
    Image.new("CMYK", (8, 8)).save(out, "TIFF")
    assert delivery.detected_map_picture(out.getvalue()).extension == "png"


def test_exif_takes_just_so_much() -> None:
    assert metadata.fits_exif("a" * metadata.EXIF_CHARACTERS)
    assert not metadata.fits_exif("🎨" * metadata.EXIF_CHARACTERS)
    out = io.BytesIO()
    exif = metadata.exif_user_comment("a" * metadata.EXIF_CHARACTERS)
    Image.new("RGB", (8, 8)).save(out, "JPEG", exif=exif)


# ComfyUI's side


@pytest.mark.parametrize(
    "body",
    [b"[]", b"null", b'{"queue_running": 1}', b'{"queue_running": [1, [], ["a"]]}', b"[" * 5000],
)
def test_a_queue_of_nonsense_is_empty(body: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    api = ComfyApi("http://127.0.0.1:1", 1.0)
    monkeypatch.setattr(api, "_request", lambda *args, **more: (200, body))
    monkeypatch.setattr(api, "_again", lambda call: call())
    try:
        assert api.queue() == ([], [])
    except Exception as error:
        assert "ComfyUI answered queue" in str(error)


def test_names_of_files_lose_their_folders() -> None:
    output = collect.Output("1", 0)
    file = ImageFile("..\\..\\evil.png", "", "output")
    assert collect._filename(output, file, {}) == "evil.png"
    assert collect._filename(output, b"", {"1": "a/b\\c"}) == "c_00001_.png"


# The worker's own doors


def test_silent_connections_take_no_more_threads_than_there_is_room() -> None:
    health = Health(0, lambda: True, "127.0.0.1")
    health.start()
    before = threading.active_count()
    silent = [socket.create_connection(("127.0.0.1", health.port)) for _ in range(60)]
    time.sleep(0.3)
    assert threading.active_count() - before <= 16
    for connection in silent:
        connection.close()
    health.close()


def test_a_line_of_the_log_is_bounded() -> None:
    record = logs.logging.LogRecord("worker", 20, "", 0, "x", (), None)
    record.fields = {"endpoint": "y" * 1_000_000}
    assert len(logs.JsonLines(str).format(record)) < 5000


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """No file can be written any more."""

    def full(*args: Any, **more: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    monkeypatch.setattr(Path, "write_text", full)


async def test_a_full_disk_of_the_worker_costs_no_job(
    make_worker: Any, full_disk: None, tmp_path: Path
) -> None:
    """Neither kept hashes nor kept options are worth one."""
    files = {"hash_cache": tmp_path / "hashes.json", "options_file": tmp_path / "options.json"}
    (tmp_path / "vae").mkdir()
    with (tmp_path / "vae" / "vae-ft-mse-840000-ema-pruned.safetensors").open("wb") as model:
        model.write(bytes(100))
    worker = make_worker(hash_models=True, model_roots=(tmp_path,), **files)
    assert len((await worker.run(a1111()))["images"]) == 1
    api = {"method": "POST", "endpoint": "sdapi/v1/options"}
    answer = await worker.run({"api": api, "payload": {"jpeg_quality": 55}})
    assert "A1111_OPTIONS_FILE cannot be written" in answer["warnings"][0]
    api = {"method": "GET", "endpoint": "sdapi/v1/options"}
    assert (await worker.run({"api": api}))["jpeg_quality"] == 55
    assert not any(file.exists() for file in files.values())


async def test_64_megapixels_are_judged_by_their_header(worker: Any) -> None:
    picture = base64.b64encode(png("1", (9000, 8000))).decode()
    job = {
        "api": {"method": "POST", "endpoint": "sdapi/v1/png-info"},
        "payload": {"image": picture},
    }
    start = time.process_time()
    answer = await worker.run(job)
    assert "MAX_INPUT_PIXELS" in answer["error"]
    assert time.process_time() - start < 2


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["1", "RGB"])
async def test_pictures_of_64_megapixels_are_taken(worker: Any, server: Any, mode: str) -> None:
    """As large as is allowed: in bounded time, and ComfyUI gets it whole."""
    data = png(mode, (8000, 8000))
    picture = base64.b64encode(data).decode()
    api = {"method": "POST", "endpoint": "sdapi/v1/img2img"}
    start = time.perf_counter()
    answer = await worker.run({"api": api, "payload": {"init_images": [picture], "steps": 1}})
    assert len(answer["images"]) == 1, answer
    assert time.perf_counter() - start < 30
    sent = [
        node for node in server.submissions[-1].graph.values() if node["class_type"] == "LoadImage"
    ]
    assert len(sent) == 1


async def test_an_answer_of_64_megapixels_shrinks_to_what_runpod_takes() -> None:
    picture = Picture(png("RGB", (8000, 8000)) + bytes(30_000_000), "png")
    small = deliver([picture], 20_000_000)
    assert len(small.pictures[0].data) * 4 / 3 < 20_000_000
    assert small.pictures[0].extension in ("webp", "jpg")
