"""A stand-in for RunPod's side of a worker: it hands out jobs and takes results, over HTTP.

The worker's process gets `environment`, so that the SDK runs its own loop as it does on RunPod.
"""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections import deque
from collections.abc import Mapping
from types import TracebackType
from typing import Any

from aiohttp import web

_POLL_S = 5.0
_WORKER = "worker-1"


class RunPod:
    """Jobs out, results in.

    Args:
        latency_s: how long each request takes on its way.

    Attributes:
        results: job id -> (time of arrival by the monotonic clock, the result).
        updates: (job id, progress) in order of arrival.
        first_poll: when the worker first asked for a job, by the monotonic clock.
    """

    def __init__(self, latency_s: float = 0.0) -> None:
        self.results: dict[str, tuple[float, dict[str, Any]]] = {}
        self.updates: list[tuple[str, Any]] = []
        self.late_updates: list[str] = []
        self.first_poll: float | None = None
        self.url = ""
        self._latency = latency_s
        self._jobs: deque[dict[str, Any]] = deque()
        self._stops: deque[str] = deque()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._ready = threading.Event()
        self._stop = asyncio.Event()

    def __enter__(self) -> RunPod:
        self._thread.start()
        self._ready.wait()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    @property
    def environment(self) -> Mapping[str, str]:
        """What RunPod sets for a worker, pointing here; the SDK's machine checks are off."""
        return {
            "RUNPOD_WEBHOOK_GET_JOB": f"{self.url}/job-take/$ID?gpu=none",
            "RUNPOD_WEBHOOK_POST_OUTPUT": f"{self.url}/job-done/$RUNPOD_POD_ID/$ID?gpu=none",
            "RUNPOD_POD_ID": _WORKER,
            "RUNPOD_SKIP_AUTO_SYSTEM_CHECKS": "true",
            "RUNPOD_SKIP_GPU_CHECK": "true",
            "RUNPOD_LOG_LEVEL": "ERROR",
        }

    def submit(self, *jobs: dict[str, Any]) -> None:
        """Queue jobs, each with ``id`` and ``input``."""
        self._jobs.extend(jobs)

    def cancel(self, job_id: str) -> None:
        """Tell the worker to stop a job."""
        self._stops.append(job_id)

    def wait_for(self, count: int, timeout_s: float) -> None:
        """Wait for so many results.

        Raises:
            TimeoutError: they did not come.
        """
        deadline = time.monotonic() + timeout_s
        while len(self.results) < count:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{len(self.results)} of {count} results came")
            time.sleep(0.005)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._serve())

    async def _serve(self) -> None:
        app = web.Application(client_max_size=1 << 30)
        app.router.add_get("/job-take/{worker}", self._take_one)
        app.router.add_get("/job-take-batch/{worker}", self._take_batch)
        app.router.add_get("/job-stop/{worker}", self._take_stops)
        app.router.add_post("/job-done/{worker}/{job}", self._done)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.0)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        self._ready.set()
        await self._stop.wait()
        await runner.cleanup()

    async def _take_one(self, request: web.Request) -> web.Response:
        jobs = await self._take(1)
        return web.json_response(jobs[0]) if jobs else web.Response(status=204)

    async def _take_batch(self, request: web.Request) -> web.Response:
        jobs = await self._take(int(request.query["batch_size"]))
        return web.json_response(jobs) if jobs else web.Response(status=204)

    async def _take(self, most: int) -> list[dict[str, Any]]:
        """Hold the request open until there is a job, as RunPod does."""
        if self.first_poll is None:
            self.first_poll = time.monotonic()
        await asyncio.sleep(self._latency)
        deadline = time.monotonic() + _POLL_S
        while not self._jobs and time.monotonic() < deadline and not self._stop.is_set():
            await asyncio.sleep(0.01)
        return [self._jobs.popleft() for _ in range(min(most, len(self._jobs)))]

    async def _take_stops(self, request: web.Request) -> web.Response:
        deadline = time.monotonic() + _POLL_S
        while not self._stops and time.monotonic() < deadline and not self._stop.is_set():
            await asyncio.sleep(0.01)
        if not self._stops:
            return web.Response(status=204)
        stops = list(self._stops)
        self._stops.clear()
        return web.json_response({"jobsToStop": stops})

    async def _done(self, request: web.Request) -> web.Response:
        result = json.loads(await request.read())
        await asyncio.sleep(self._latency)
        job_id = request.match_info["job"]
        if result.get("status") == "IN_PROGRESS":
            self.updates.append((job_id, result["output"]))
            if job_id in self.results:
                self.late_updates.append(job_id)
        else:
            self.results[job_id] = (time.monotonic(), result)
        return web.Response()
