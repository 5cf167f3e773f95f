"""ComfyUI's HTTP routes and websocket, over the parts that do the work."""

from __future__ import annotations

import asyncio
import io
import json
import mimetypes
import os
import sys
import time
import uuid
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiohttp import WSMsgType, web
from PIL import Image, PngImagePlugin

from devserver.dialect import Dialect
from devserver.executor import Executor
from devserver.faults import Faults
from devserver.files import Files, OutsideFolder, free_upload_name
from devserver.jobs import Job, JobQueue
from devserver.jobs_api import JobsApi, bad_id
from devserver.settings import Settings
from devserver.signatures import NodeSpec
from devserver.sockets import Client, Sockets, abort
from devserver.validation import Graph, Validator

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_FORCED_DOWNLOADS = frozenset(
    {"text/html", "text/html-sandboxed", "application/xhtml+xml", "text/javascript", "text/css"}
)
_GIBIBYTE = 1024**3


_NEWER_FEATURES: Mapping[str, Any] = {
    "assets": False,
    "extension": {"manager": {"supports_v4": True}},
    "node_replacements": True,
    "supports_model_type_tags": True,
}
"""What newer versions say of themselves besides."""


@dataclass(frozen=True)
class Submission:
    """An accepted ``POST /prompt``."""

    prompt_id: str
    graph: Graph
    extra_data: dict[str, Any]

    @property
    def client_id(self) -> str | None:
        return self.extra_data.get("client_id")


class ComfyApp:
    """One life of the server: what a restart loses is in here, what is on disk is in `files`.

    Attributes:
        submissions: the last accepted submissions.
        requests: "METHOD /route" -> how many came in.
    """

    def __init__(
        self,
        specs: dict[str, NodeSpec],
        dialect: Dialect,
        files: Files,
        settings: Settings,
        faults: Faults,
        submissions: deque[Submission],
        requests: Counter[str],
        die: Callable[[], None],
    ) -> None:
        self.specs = specs
        self.dialect = dialect
        self.files = files
        self.settings = settings
        self.faults = faults
        self.submissions = submissions
        self.requests = requests
        self.sockets = Sockets(faults, die)
        self.queue = JobQueue(self._queue_changed, settings.history_limit)
        self.executor = Executor(specs, files, settings, self.queue, self.sockets, faults, die)
        self._validator = Validator(specs, dialect, files)
        self._number = 0

    def build(self) -> web.Application:
        """The aiohttp application, with every route also under ``/api``."""
        app = web.Application(
            client_max_size=self.settings.max_upload_bytes, middlewares=[self._middleware()]
        )
        for method, path, handler in (
            ("GET", "/", self.get_root),
            ("GET", "/ws", self.websocket),
            ("GET", "/prompt", self.get_prompt),
            ("POST", "/prompt", self.post_prompt),
            ("GET", "/queue", self.get_queue),
            ("POST", "/queue", self.post_queue),
            ("GET", "/history", self.get_history),
            ("GET", "/history/{prompt_id}", self.get_history_of),
            ("POST", "/history", self.post_history),
            ("POST", "/interrupt", self.post_interrupt),
            ("POST", "/free", self.post_free),
            ("POST", "/a1111/stop", self.post_a1111_stop),
            ("GET", "/object_info", self.get_object_info),
            ("GET", "/object_info/{node_class}", self.get_object_info_of),
            ("GET", "/system_stats", self.get_system_stats),
            ("GET", "/features", self.get_features),
            ("GET", "/embeddings", self.get_embeddings),
            ("GET", "/models", self.get_models),
            ("GET", "/models/{folder}", self.get_models_of),
            ("GET", "/view", self.get_view),
            ("POST", "/upload/image", self.post_upload_image),
            ("POST", "/upload/mask", self.post_upload_mask),
        ):
            for prefix in ("", "/api"):
                app.router.add_route(method, prefix + path, handler)
        if self.dialect.jobs_api:
            jobs = JobsApi(self.queue, self.executor.interrupt.set)
            app.router.add_get("/api/jobs/{job_id}", jobs.get)
            app.router.add_post("/api/jobs/{job_id}/cancel", jobs.cancel)
        app.cleanup_ctx.append(self._background)
        return app

    async def _background(self, _: web.Application) -> Any:
        """Execute jobs and send messages for as long as the application runs."""
        tasks = [asyncio.create_task(work()) for work in (self.executor.run, self.sockets.publish)]
        yield
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _middleware(self) -> Any:
        @web.middleware
        async def count_and_fail(request: web.Request, handler: Handler) -> web.StreamResponse:
            path = request.path.removeprefix("/api")
            self.requests[f"{request.method} {_route(request)}"] += 1
            fault = self.faults.on_request(request.method, path)
            if fault is None:
                return await _answer(request, handler)
            match fault.action:
                case "status":
                    return web.Response(status=fault.status, text="injected fault")
                case "garbage":
                    return web.Response(text="<html>injected fault</html>")
                case "drop":
                    abort(request)
                    return web.Response(status=500)
                case "drop_answer":
                    response = await _answer(request, handler)
                    abort(request)
                    return response
                case "delay":
                    await asyncio.sleep(fault.seconds)
            return await _answer(request, handler)

        return count_and_fail

    def _queue_changed(self) -> None:
        self.sockets.send("status", {"status": self._queue_info()}, None)

    def _queue_info(self) -> dict[str, Any]:
        return {"exec_info": {"queue_remaining": self.queue.remaining}}

    # Websocket

    async def websocket(self, request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        sid = request.query.get("clientId", "") or uuid.uuid4().hex
        client = Client(socket, request)
        self.sockets.clients[sid] = client
        try:
            await self.sockets.greet(client, "status", {"status": self._queue_info(), "sid": sid})
            if self.executor.client_id == sid and self.executor.last_node is not None:
                await self.sockets.greet(client, "executing", {"node": self.executor.last_node})
            await self._listen(client)
        finally:
            # As in ComfyUI whoever holds the id now is forgotten, also a socket opened meanwhile.
            self.sockets.clients.pop(sid, None)
        return socket

    async def _listen(self, client: Client) -> None:
        first = True
        async for message in client.socket:
            if message.type is not WSMsgType.TEXT:
                continue
            try:
                data = json.loads(message.data)
            except json.JSONDecodeError:
                continue
            if first and isinstance(data, dict) and data.get("type") == "feature_flags":
                client.features = data.get("data", {})
                await self.sockets.greet(client, "feature_flags", self._features())
            first = False

    # Jobs

    async def get_root(self, _: web.Request) -> web.Response:
        """The page by which workers tell that the server is there."""
        return web.Response(text="development ComfyUI", content_type="text/html")

    async def get_prompt(self, _: web.Request) -> web.Response:
        return web.json_response(self._queue_info())

    async def post_prompt(self, request: web.Request) -> web.Response:
        body = await request.json()
        if "prompt" not in body:
            text = "No prompt provided"
            error = {"type": "no_prompt", "message": text, "details": text, "extra_info": {}}
            return web.json_response({"error": error, "node_errors": {}}, status=400)
        number = self._take_number(body)
        graph: Graph = body["prompt"]
        wanted_id = body.get("prompt_id")
        if self.dialect.strict_ids and wanted_id is not None and (refused := bad_id(wanted_id)):
            return web.json_response(refused, status=400)
        prompt_id = str(uuid.uuid4() if wanted_id is None else wanted_id)
        verdict = self._validator.check(graph, body.get("partial_execution_targets"))
        if verdict.error is not None:
            answer = {"error": verdict.error, "node_errors": verdict.node_errors}
            return web.json_response(answer, status=400)
        extra_data = body.get("extra_data", {})
        if "client_id" in body:
            extra_data["client_id"] = body["client_id"]
        if self.dialect.jobs_api:
            extra_data["create_time"] = int(time.time() * 1000)
        self.submissions.append(Submission(prompt_id, graph, extra_data))
        self.queue.put(Job(number, prompt_id, graph, extra_data, verdict.outputs))
        return web.json_response(
            {"prompt_id": prompt_id, "number": number, "node_errors": verdict.node_errors}
        )

    def _take_number(self, body: dict[str, Any]) -> float:
        if "number" in body:
            return float(body["number"])
        number = -self._number if body.get("front") else self._number
        self._number += 1
        return number

    async def get_queue(self, _: web.Request) -> web.Response:
        running = self.queue.running
        return web.json_response(
            {
                "queue_running": [] if running is None else [running.as_list()],
                "queue_pending": [job.as_list() for job in self.queue.pending],
            }
        )

    async def post_queue(self, request: web.Request) -> web.Response:
        body = await request.json()
        if body.get("clear"):
            self.queue.clear()
        for prompt_id in body.get("delete", ()):
            self.queue.delete(prompt_id)
        return web.Response()

    async def get_history(self, request: web.Request) -> web.Response:
        max_items = request.query.get("max_items")
        offset = int(request.query.get("offset", -1))
        recent = self.queue.recent(None if max_items is None else int(max_items), offset)
        return web.json_response(recent)

    async def get_history_of(self, request: web.Request) -> web.Response:
        prompt_id = request.match_info["prompt_id"]
        entry = self.queue.history.get(prompt_id)
        return web.json_response({} if entry is None else {prompt_id: entry})

    async def post_history(self, request: web.Request) -> web.Response:
        body = await request.json()
        if body.get("clear"):
            self.queue.history.clear()
        for prompt_id in body.get("delete", ()):
            self.queue.history.pop(prompt_id, None)
        return web.Response()

    async def post_interrupt(self, request: web.Request) -> web.Response:
        try:
            body = await request.json()
        except json.JSONDecodeError:
            body = {}
        prompt_id, running = body.get("prompt_id"), self.queue.running
        if not prompt_id or (running is not None and running.prompt_id == prompt_id):
            self.executor.interrupt.set()
        return web.Response()

    async def post_a1111_stop(self, request: web.Request) -> web.Response:
        """Our node pack's route: passes end early, with what they have reached."""
        body = await request.json()
        try:
            nodes = frozenset(map(str, body["nodes"]))
            self.executor.stop(str(body["prompt_id"]), nodes, bool(body.get("drop_others")))
        except (KeyError, TypeError):
            return web.json_response({"error": "prompt_id and nodes are expected"}, status=400)
        return web.Response()

    async def post_free(self, request: web.Request) -> web.Response:
        body = await request.json()
        if body.get("free_memory"):
            self.executor.free()
        return web.Response()

    # What the server has

    async def get_object_info(self, _: web.Request) -> web.Response:
        listed = {name: spec.describe(self.files.names) for name, spec in self.specs.items()}
        return web.json_response(listed)

    async def get_object_info_of(self, request: web.Request) -> web.Response:
        spec = self.specs.get(request.match_info["node_class"])
        listed = {} if spec is None else {spec.name: spec.describe(self.files.names)}
        return web.json_response(listed)

    async def get_system_stats(self, _: web.Request) -> web.Response:
        memory = 24 * _GIBIBYTE
        system = {
            "os": os.name,
            "ram_total": memory,
            "ram_free": memory,
            "comfyui_version": self.dialect.version,
            "required_frontend_version": "0",
            "installed_templates_version": "0",
            "required_templates_version": "0",
            "python_version": sys.version,
            "pytorch_version": "none (development server)",
            "embedded_python": False,
            "argv": ["devserver"],
        }
        if self.dialect.jobs_api:
            system |= {"comfy_package_versions": [], "deploy_environment": "development server"}
        device = {"name": "none (development server)", "type": "cpu", "index": None}
        sizes = ("vram_total", "vram_free", "torch_vram_total", "torch_vram_free")
        devices = [device | dict.fromkeys(sizes, memory)]
        return web.json_response({"system": system, "devices": devices})

    def _features(self) -> dict[str, Any]:
        limit = self.settings.max_upload_bytes
        newer = _NEWER_FEATURES if self.dialect.jobs_api else {}
        return {"supports_preview_metadata": True, "max_upload_size": limit, **newer}

    async def get_features(self, _: web.Request) -> web.Response:
        return web.json_response(self._features())

    async def get_embeddings(self, _: web.Request) -> web.Response:
        names = self.files.names("embeddings")
        return web.json_response([str(Path(name).with_suffix("")) for name in names])

    async def get_models(self, _: web.Request) -> web.Response:
        return web.json_response(list(self.files.models))

    async def get_models_of(self, request: web.Request) -> web.Response:
        folder = request.match_info["folder"]
        if folder not in self.files.models:
            return web.Response(status=404)
        return web.json_response(list(self.files.names(folder)))

    # Files

    async def get_view(self, request: web.Request) -> web.StreamResponse:
        name = request.query.get("filename")
        if name is None:
            return web.Response(status=404)
        kind = request.query.get("type", "output")
        if not name or name[0] == "/" or ".." in name or self.files.folder(kind) is None:
            return web.Response(status=400)
        try:
            path = self.files.inside(kind, request.query.get("subfolder", ""), Path(name).name)
        except OutsideFolder:
            return web.Response(status=403)
        if not path.is_file():
            return web.Response(status=404)
        disposition = {"Content-Disposition": f'filename="{path.name}"'}
        if "preview" in request.query:
            body, content_type = _preview_of(path, request.query["preview"])
            return web.Response(body=body, content_type=content_type, headers=disposition)
        content_type = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
        if content_type in _FORCED_DOWNLOADS:
            content_type = "application/octet-stream"
        # Not FileResponse: in asyncio's sendfile a connection that is cut meanwhile ends in an
        # InvalidStateError of the transport, which nobody can catch.
        body = await asyncio.to_thread(path.read_bytes)
        return web.Response(body=body, headers=disposition | {"Content-Type": content_type})

    async def post_upload_image(self, request: web.Request) -> web.Response:
        return self._store(await request.post(), lambda data: data)

    async def post_upload_mask(self, request: web.Request) -> web.Response:
        """Store a loaded picture with the uploaded picture's alpha."""
        form = await request.post()
        reference = json.loads(str(form.get("original_ref", "{}")))
        name = reference.get("filename", "")
        kind = reference.get("type", "output")
        if not name or name[0] == "/" or ".." in name or self.files.folder(kind) is None:
            return web.Response(status=400)
        try:
            original = self.files.inside(kind, reference.get("subfolder", ""), name)
        except OutsideFolder:
            return web.Response(status=403)
        return self._store(form, lambda data: _with_alpha_of(original, data))

    def _store(self, form: Any, convert: Callable[[bytes], bytes]) -> web.Response:
        image = form.get("image")
        kind = form.get("type") or "input"
        if not isinstance(image, web.FileField) or not image.filename:
            return web.Response(status=400)
        name, subfolder = image.filename, str(form.get("subfolder", ""))
        try:
            folder = self.files.inside(kind, subfolder)
            self.files.inside(kind, subfolder, name)
        except OutsideFolder:
            return web.Response(status=400)
        folder.mkdir(parents=True, exist_ok=True)
        data = image.file.read()
        is_there = False
        if form.get("overwrite") not in ("true", "1"):
            name, is_there = free_upload_name(folder, name, data)
        if not is_there:
            (folder / name).write_bytes(convert(data))
        return web.json_response({"name": name, "subfolder": subfolder, "type": kind})


async def _answer(request: web.Request, handler: Handler) -> web.StreamResponse:
    """A handler's answer; where the client hangs up in the middle of its body nobody reads it."""
    try:
        return await handler(request)
    except (ConnectionError, RuntimeError):
        if request.transport is not None and not request.transport.is_closing():
            raise
        return web.Response(status=400)


def _route(request: web.Request) -> str:
    """The route a request came in on, such as ``/history/{prompt_id}``."""
    resource = request.match_info.route.resource
    return "unknown" if resource is None else resource.canonical.removeprefix("/api")


def _preview_of(path: Path, wanted: str) -> tuple[bytes, str]:
    """A picture as ``preview=webp;90`` or ``jpeg;75`` asks for it: bytes and content type."""
    form, _, quality = wanted.partition(";")
    form = form if form in ("webp", "jpeg") else "webp"
    buffer = io.BytesIO()
    with Image.open(path) as image:
        picture = image.convert("RGB") if form == "jpeg" else image
        picture.save(buffer, form, quality=int(quality) if quality.isdigit() else 90)
    return buffer.getvalue(), f"image/{form}"


def _with_alpha_of(original: Path, mask: bytes) -> bytes:
    """`original` with the alpha of the picture in `mask`, as a PNG that keeps its text."""
    with Image.open(original) as source, Image.open(io.BytesIO(mask)) as drawn:
        info = PngImagePlugin.PngInfo()
        for key, text in getattr(source, "text", {}).items():
            info.add_text(key, text)
        picture = source.convert("RGBA")
        picture.putalpha(drawn.convert("RGBA").getchannel("A"))
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", compress_level=4, pnginfo=info)
    return buffer.getvalue()
