"""Large bodies over real HTTP: 100 MB in bounded memory, and what is refused."""

from __future__ import annotations

import http.client
import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from bench.server import free_port
from devserver import DevServer
from server import exchange
from server.exchange import MAX_BODY_BYTES
from tests.server.conftest import SMALL, Running

MEGABYTE = 1_000_000
BODY = 100 * MEGABYTE
MOST_GROWTH = 3.5
"""Times the body's size that the process may grow by."""


def status_of(pid: int, field: str) -> int:
    """A size of ``/proc/PID/status`` in bytes."""
    text = Path(f"/proc/{pid}/status").read_text("ascii")
    found = re.search(rf"^{field}:\s+(\d+) kB", text, re.MULTILINE)
    assert found is not None
    return int(found[1]) * 1024


@contextmanager
def process(comfyui: str) -> Iterator[tuple[int, int]]:
    """A server as operators start it: its port and its process."""
    port = free_port()
    environment = {**os.environ, "COMFYUI_URL": comfyui, "LOG_LEVEL": "warning"}
    command = [sys.executable, "-m", "server", "--port", str(port)]
    with subprocess.Popen(command, env=environment) as running:
        try:
            wait_for(port)
            yield port, running.pid
        finally:
            running.terminate()


def wait_for(port: int) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=1):
                return
        except OSError:
            assert time.monotonic() < deadline
            time.sleep(0.05)


def sent(port: int, pieces: Iterator[bytes], length: int | None) -> tuple[int, Any]:
    """The answer to a txt2img whose body is sent piece by piece, whole or chunked."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    headers = {} if length is None else {"Content-Length": str(length)}
    try:
        connection.request(
            "POST", "/sdapi/v1/txt2img", pieces, headers, encode_chunked=length is None
        )
        reply = connection.getresponse()
        return reply.status, json.loads(reply.read())
    finally:
        connection.close()


def padded(size: int) -> Iterator[bytes]:
    """A small request in pieces, with a member that makes it so large."""
    start, end = json.dumps(SMALL)[:-1].encode() + b', "filler": "', b'"}'
    left = size - len(start) - len(end)
    yield start
    while left > 0:
        yield b"x" * min(left, MEGABYTE)
        left -= MEGABYTE
    yield end


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="measures by Linux's /proc")
def test_a_body_of_100_mb_is_taken_in_bounded_memory(comfyui: DevServer) -> None:
    with process(comfyui.url) as (port, pid):
        assert sent(port, padded(10_000), 10_000)[0] == 200
        before = status_of(pid, "VmRSS")
        status, body = sent(port, padded(BODY), BODY)
        assert (status, len(body["images"])) == (200, 1)
        assert "filler" not in body["parameters"]
        assert status_of(pid, "VmHWM") - before < MOST_GROWTH * BODY
        chunked, body = sent(port, padded(BODY), None)
        assert (chunked, len(body["images"])) == (200, 1)
        assert status_of(pid, "VmHWM") - before < MOST_GROWTH * BODY, "nothing of it is kept"


def test_a_body_that_announces_too_much_is_refused_before_it_comes(server: Running) -> None:
    head = (
        "POST /sdapi/v1/txt2img HTTP/1.1\r\nHost: here\r\n"
        f"Content-Length: {MAX_BODY_BYTES + 1}\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
        connection.sendall(head.encode())
        answer = connection.recv(65536)
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"512,000,000 bytes" in answer
    assert server.generate()["images"], "the server goes on"


def test_a_body_that_turns_out_too_large_is_refused(
    server: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exchange, "MAX_BODY_BYTES", 100_000)
    status, body = sent(server.port, padded(150_000), None)
    assert status == 413
    assert "too large" in body["detail"]
    assert sent(server.port, padded(90_000), None)[0] == 200
