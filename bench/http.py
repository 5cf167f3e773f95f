"""What the HTTP server adds to a request, over the handler's own time."""

from __future__ import annotations

import asyncio
import itertools
import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import requests
import uvicorn

from bench.jobs import Ours, a1111_job
from bench.server import free_port, server_process
from server.app import create_app
from server.flags import Flags
from server.local import LocalBackend
from worker.service import Service
from worker.settings import Settings

_ROUNDS, _JOBS, _LISTS = 5, 30, 200
_WANTED_MS = 3.0


def rows() -> list[str]:
    """The figures, a line each."""
    with server_process() as url, _http(url) as address:
        ours = Ours(url)
        numbers = itertools.count(1, 7)
        handler: list[float] = []
        over_http: list[float] = []
        with requests.Session() as session:
            _time(session, address, next(numbers))  # reads the catalog
            for _ in range(_ROUNDS):  # in turns, so that the machine's other work hits all alike
                handler += ours.time([a1111_job(next(numbers)) for _ in range(_JOBS)])
                over_http += [_time(session, address, next(numbers)) for _ in range(_JOBS)]
            lists = [_time_list(session, address) for _ in range(_LISTS)]
        ours.close()
    added = (statistics.median(over_http) - statistics.median(handler)) * 1e3
    return [
        f"txt2img over HTTP, beyond the handler: {added:.1f} ms (wanted: under {_WANTED_MS:g})",
        f"GET samplers: {statistics.median(lists) * 1e3:.1f} ms",
    ]


@contextmanager
def _http(url: str) -> Iterator[str]:
    """The server in a thread."""
    port = free_port()
    backend = LocalBackend([Service(Settings(comfyui_url=url, log_level="error"))])
    app = create_app(backend, Flags())
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_level="error", access_log=False))
    thread = threading.Thread(target=lambda: asyncio.run(server.serve()))
    thread.start()
    while not server.started:
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{port}/sdapi/v1"
    finally:
        server.should_exit = True
        thread.join()


def _time(session: requests.Session, address: str, seed: int) -> float:
    payload: Any = a1111_job(seed)["input"]["payload"]
    start = time.perf_counter()
    reply = session.post(f"{address}/txt2img", json=payload, timeout=60)
    spent = time.perf_counter() - start
    if reply.status_code != 200:
        raise RuntimeError(f"a measured request failed: {reply.text[:300]}")
    return spent


def _time_list(session: requests.Session, address: str) -> float:
    start = time.perf_counter()
    session.get(f"{address}/samplers", timeout=60).raise_for_status()
    return time.perf_counter() - start


if __name__ == "__main__":
    print("\n".join(rows()))
