"""A stand-in for RunPod's API for callers: it runs jobs as handler.py does, and can misbehave."""

from __future__ import annotations

import asyncio
import base64
import threading
import uuid
from typing import Any

from aiohttp import web

from devserver import DevServer
from tests.server.conftest import settings
from worker.runpod import Jobs
from worker.service import Service


class RunPodApi:
    """One endpoint with some workers.

    Args:
        comfyui: what the workers run on.
        workers: jobs under way together.

    Attributes:
        mode: ``well``, or how it misbehaves: ``failed``, ``timed_out``, ``garbage``, ``gone``,
            ``forgets``.
        inputs: of the jobs taken.
        bucket: pictures that are answered as URLs.
    """

    def __init__(self, comfyui: DevServer, workers: int = 3) -> None:
        self.mode = "well"
        self.by_url = False
        self.inputs: list[dict[str, Any]] = []
        self.keys: set[str] = set()
        self.bucket: dict[str, bytes] = {}
        self.cancelled: list[str] = []
        self.url = ""
        self._comfyui = comfyui
        self._workers = workers
        self._loop = asyncio.new_event_loop()
        self._ready, self._stop = threading.Event(), asyncio.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> RunPodApi:
        self._thread.start()
        self._ready.wait()
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    def _run(self) -> None:
        self._loop.run_until_complete(self._serve())

    async def _serve(self) -> None:
        service = Service(settings(self._comfyui.url, unsupported="error", detected_maps="result"))
        service.start()
        self._jobs = Jobs(service, self._progress)
        self._tasks: dict[str, asyncio.Task[Any]] = {}
        self._updates: dict[str, Any] = {}
        self._turns = asyncio.Semaphore(self._workers)
        app = web.Application()
        app.router.add_post("/run", self._submit)
        app.router.add_post("/runsync", self._submit_and_wait)
        app.router.add_get("/status/{job}", self._status)
        app.router.add_post("/cancel/{job}", self._cancel)
        app.router.add_get("/health", self._health)
        app.router.add_get("/bucket/{name}", self._picture)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        server: Any = site._server
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        self._ready.set()
        await self._stop.wait()
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)
        await runner.cleanup()
        await asyncio.to_thread(service.close)

    def _progress(self, job: Any, update: Any) -> None:
        self._updates[job["id"]] = update

    async def _job(self, job_id: str, job_input: Any) -> Any:
        async with self._turns:
            self._updates[job_id] = None
            output = await self._jobs.run({"id": job_id, "input": job_input})
        if self.by_url and isinstance(output, dict) and "images" in output:
            output["images"] = [self._uploaded(image) for image in output["images"]]
        return output

    def _uploaded(self, image: str) -> str:
        name = uuid.uuid4().hex
        self.bucket[name] = base64.b64decode(image)
        return f"{self.url}/bucket/{name}"

    async def _take(self, request: web.Request) -> str:
        if self.mode == "gone":
            raise web.HTTPBadGateway
        body = await request.json()
        self.keys.add(request.headers["Authorization"])
        self.inputs.append(body["input"])
        job_id = f"job-{len(self.inputs)}"
        self._tasks[job_id] = asyncio.create_task(self._job(job_id, body["input"]))
        return job_id

    async def _submit(self, request: web.Request) -> web.Response:
        return web.json_response({"id": await self._take(request), "status": "IN_QUEUE"})

    async def _submit_and_wait(self, request: web.Request) -> web.Response:
        job_id = await self._take(request)
        await asyncio.wait({self._tasks[job_id]})
        return web.json_response(self._told(job_id))

    async def _status(self, request: web.Request) -> web.Response:
        match self.mode:
            case "garbage":
                return web.Response(text="<html>no</html>")
            case "forgets":
                raise web.HTTPNotFound
            case "timed_out":
                return web.json_response({"id": "x", "status": "TIMED_OUT"})
            case "failed":
                return web.json_response({"id": "x", "status": "FAILED"})
            case "nonsense":
                return web.json_response({"id": "x", "status": "COMPLETED", "output": [1]})
        return web.json_response(self._told(request.match_info["job"]))

    def _told(self, job_id: str) -> dict[str, Any]:
        task = self._tasks[job_id]
        if task.cancelled():
            return {"id": job_id, "status": "CANCELLED"}
        if not task.done():
            if job_id not in self._updates:
                return {"id": job_id, "status": "IN_QUEUE"}
            return {"id": job_id, "status": "IN_PROGRESS", "output": self._updates[job_id]}
        output = task.result()
        if isinstance(output, dict) and "error" in output:
            return {"id": job_id, "status": "FAILED", "error": output["error"]}
        return {"id": job_id, "status": "COMPLETED", "output": output}

    async def _cancel(self, request: web.Request) -> web.Response:
        job_id = request.match_info["job"]
        self.cancelled.append(job_id)
        self._tasks[job_id].cancel()
        return web.json_response({"id": job_id, "status": "CANCELLED"})

    async def _health(self, _: web.Request) -> web.Response:
        return web.json_response({"workers": {"idle": self._workers}})

    async def _picture(self, request: web.Request) -> web.Response:
        return web.Response(body=self.bucket[request.match_info["name"]])
