"""The server as a whole: speed, memory, times, pictures, command line."""

from __future__ import annotations

import gc
import io
import json
import re
import signal
import socket
import statistics
import subprocess
import sys
import time
import tracemalloc
from pathlib import Path

import pytest
import requests
from PIL import Image

from devserver import DevServer, Durations, read_mark
from devserver.draw import encode_png, render
from devserver.values import Picture
from tests.devserver.client import Client, play
from tests.devserver.conftest import png, upload, view
from tests.devserver.graphs import node, over_socket, txt2img

JOB_MS = 15.0
"""CPU time of a trivial job, server and client together; measured 3.5 ms."""


def test_a_trivial_job_is_quick(server: DevServer) -> None:
    """Measured in CPU time, which other work on the machine does not change."""
    session = requests.Session()
    times = []
    with Client(server.url) as client:
        client.receive()
        for seed in range(40):
            begin = time.process_time()
            body = {"prompt": over_socket(seed), "client_id": client.client_id}
            session.post(f"{server.url}/prompt", json=body, timeout=5)
            client.until("executing", None)
            times.append(1000 * (time.process_time() - begin))
    assert statistics.median(times) < JOB_MS


@pytest.mark.parametrize("route", ["prompt", "queue", "interrupt"])
def test_a_client_that_hangs_up_within_its_body_leaves_no_word(
    route: str, server: DevServer, caplog: pytest.LogCaptureFixture
) -> None:
    with socket.create_connection((server.host, server.port)) as connection:
        head = f"POST /{route} HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n"
        connection.sendall(head.encode() + b'{"prompt": ')
        while not server.requests[f"POST /{route}"]:
            time.sleep(0.01)
    for _ in range(20):
        assert requests.get(f"{server.url}/queue", timeout=5).status_code == 200
    assert not caplog.records


@pytest.mark.slow
def test_memory_is_flat() -> None:
    """Histories are deleted by the client, as the worker does; nothing else may pile up."""
    session = requests.Session()
    with DevServer(keep_submissions=10) as server, Client(server.url) as client:

        def jobs(first: int, count: int) -> None:
            for seed in range(first, first + count):
                body = {"prompt": over_socket(seed), "client_id": client.client_id}
                answer = session.post(f"{server.url}/prompt", json=body, timeout=5).json()
                client.until("executing", None)
                gone = {"delete": [answer["prompt_id"]]}
                session.post(f"{server.url}/history", json=gone, timeout=5)
                for kept in (client.messages, client.raw, client.frames):
                    kept.clear()

        jobs(0, 30)
        tracemalloc.start()
        gc.collect()
        before, _ = tracemalloc.get_traced_memory()
        jobs(30, 150)
        gc.collect()
        after, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert after - before < 200_000


@pytest.mark.slow
def test_simulated_times() -> None:
    durations = Durations(load=0.2, step=0.1, vae=0.05, speed=2.0)
    with DevServer(durations=durations) as server:
        begin = time.monotonic()
        play(server.url, txt2img(steps=3))
        cold = time.monotonic() - begin
        begin = time.monotonic()
        play(server.url, txt2img(seed=9, steps=3))
        warm = time.monotonic() - begin
    assert 0.1 + 0.15 + 0.025 <= cold < 0.6
    assert 0.15 + 0.025 <= warm < cold


def test_seeds_are_in_the_pictures(server: DevServer) -> None:
    graph = txt2img(2**64 - 1)
    graph["4"]["inputs"]["batch_size"] = 2
    entries = play(server.url, graph).outputs["7"]["images"]
    assert [entry["filename"] for entry in entries] == ["test_00001_.png", "test_00002_.png"]
    marks = [read_mark(view(server.url, entry)) for entry in entries]
    assert marks == [(2**64 - 1, 0), (2**64 - 1, 1)]


def test_numbers_of_files_go_on(server: DevServer) -> None:
    names = [
        play(server.url, txt2img(seed)).outputs["7"]["images"][0]["filename"] for seed in range(2)
    ]
    server.restart()
    names.append(play(server.url, txt2img(7)).outputs["7"]["images"][0]["filename"])
    assert names == ["test_00001_.png", "test_00002_.png", "test_00003_.png"]


def test_loaded_pictures_keep_their_pixels(server: DevServer) -> None:
    upload(server.url, "a.png", png((60, 40), (1, 2, 3)))
    graph = {
        "a": node("LoadImage", image="a.png"),
        "b": node("ImageScaleBy", image=["a", 0], upscale_method="area", scale_by=0.5),
        "c": node("ImageInvert", image=["b", 0]),
        "s": node("PreviewImage", images=["b", 0]),
        "t": node("PreviewImage", images=["c", 0]),
    }
    outputs = play(server.url, graph).outputs
    scaled, inverted = (view(server.url, outputs[name]["images"][0]) for name in "st")
    assert scaled.size == inverted.size == (30, 20)
    assert scaled.convert("RGB").getcolors() == [(600, (1, 2, 3))]
    assert inverted.convert("RGB").getcolors() != [(600, (1, 2, 3))]


def test_photos_weigh_what_photos_weigh() -> None:
    size = (512, 512)
    flat = encode_png(render(Picture(seed=1), size, "SaveImage"), 4)
    photo = encode_png(render(Picture(seed=1), size, "SaveImage", "photo"), 4)
    assert len(flat) < 20_000
    assert 1.0 < len(photo) / (512 * 512) < 2.5
    assert read_mark(Image.open(io.BytesIO(photo))) == (1, 0)


def test_no_mark_where_none_was_written() -> None:
    assert read_mark(Image.new("RGB", (50, 50))) is None
    assert read_mark(Image.new("RGB", (2, 2))) is None


def test_starting_twice_is_refused(server: DevServer) -> None:
    with pytest.raises(RuntimeError, match="running already"):
        server.start()


def test_settings_change_at_a_restart(server: DevServer) -> None:
    server.restart(models={"checkpoints": ["other.safetensors"]}, missing=frozenset({"VAEDecode"}))
    listed = requests.get(f"{server.url}/models/checkpoints", timeout=5).json()
    assert listed == ["other.safetensors"]
    answer = requests.post(f"{server.url}/prompt", json={"prompt": txt2img()}, timeout=5)
    assert "VAEDecode does not exist" in answer.json()["error"]["message"]


def test_taken_port_is_reported(server: DevServer) -> None:
    other = DevServer(port=server.port)
    with pytest.raises(RuntimeError, match="did not start"):
        other.start()
    other.close()


def test_files_are_removed_only_where_they_are_temporary(tmp_path: Path) -> None:
    with DevServer(root=tmp_path) as server:
        play(server.url, txt2img())
    assert (tmp_path / "output" / "test_00001_.png").exists()
    with DevServer() as server:
        root = server.root
    assert not root.exists()


def test_command_line(tmp_path: Path) -> None:
    models = tmp_path / "models.json"
    models.write_text(json.dumps({"checkpoints": ["mine.safetensors"]}))
    command = [sys.executable, "-m", "devserver", "--port", "0", "--step-seconds", "0.01"]
    process = subprocess.Popen(
        [*command, "--models", str(models), "--missing", "VAELoader"],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        found = re.search(r"http://\S+", line)
        assert found, line
        url = found[0]
        listed = requests.get(f"{url}/models/checkpoints", timeout=5).json()
        assert listed == ["mine.safetensors"]
        assert requests.get(f"{url}/object_info/VAELoader", timeout=5).json() == {}
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
    finally:
        process.kill()
        process.wait()
