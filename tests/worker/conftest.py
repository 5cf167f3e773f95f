"""A worker's service on a development server, with delays short enough for tests."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from devserver import DevServer
from worker.runpod import Jobs
from worker.service import Service
from worker.settings import Settings

QUICK: dict[str, Any] = {
    "wait_s": 10.0,
    "http_timeout_s": 3.0,
    "silence_s": 0.15,
    "ping_s": 0.3,
    "reconnect_delay_s": 0.02,
    "interrupt_grace_s": 1.0,
    "job_timeout_s": 20.0,
    "log_level": "error",
}
"""Settings of a worker that notices within tenths of a second what takes seconds in service."""


class Worker:
    """A service with the progress it sent, and a shorthand to run one job."""

    def __init__(self, server: DevServer, **changes: Any) -> None:
        self.server = server
        self.updates: list[tuple[str, dict[str, Any]]] = []
        settings = Settings(**{**QUICK, "comfyui_url": server.url, **changes})
        self.service = Service(settings)
        self.jobs = Jobs(self.service, self._on_progress)
        self.service.start()

    def _on_progress(self, job: Any, progress: Any) -> None:
        self.updates.append((job["id"], progress))

    async def run(self, request: Any, job_id: str = "job-1", **job: Any) -> Any:
        return await self.jobs.run({"id": job_id, "input": request, **job})

    async def graph(self, graph: dict[str, Any], job_id: str = "job-1", **request: Any) -> Any:
        return await self.run({"workflow": graph, **request}, job_id)

    async def settled(self, timeout_s: float = 5.0) -> None:
        """Wait until nothing of a finished job is left here."""
        deadline = time.monotonic() + timeout_s
        while self.service.comfy.active_runs and time.monotonic() < deadline:
            await asyncio.sleep(0.01)
        assert self.service.comfy.active_runs == 0

    def close(self) -> None:
        self.service.close()


@pytest.fixture
def server() -> Iterator[DevServer]:
    with DevServer() as running:
        yield running


@pytest.fixture
def make_worker(server: DevServer) -> Iterator[Callable[..., Worker]]:
    made: list[Worker] = []

    def make(**changes: Any) -> Worker:
        made.append(Worker(server, **changes))
        return made[-1]

    yield make
    for worker in made:
        worker.close()


@pytest.fixture
def worker(make_worker: Callable[..., Worker]) -> Worker:
    return make_worker()


@pytest.fixture
def revive(server: DevServer) -> Iterator[Callable[[int], None]]:
    """Start the server again after it has died, so many times."""
    done = threading.Event()
    threads: list[threading.Thread] = []

    def watch(times: int) -> None:
        while times and not done.wait(0.05):
            if not server.alive:
                server.restart()
                times -= 1

    def start(times: int) -> None:
        threads.append(threading.Thread(target=watch, args=(times,)))
        threads[-1].start()

    yield start
    done.set()
    for thread in threads:
        thread.join()
