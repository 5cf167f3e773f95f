"""The ASGI application: A1111's routes over a backend."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response

from server import docs, exchange, openapi, progress
from server.activity import Activity, Job, drawn_task_id
from server.backend import Backend
from server.exchange import BadBody
from server.flags import Flags
from server.middleware import BasicAuth, PathRules, ProcessTime
from translator import page
from worker.api import ApiRequest
from worker.errors import QueryError
from worker.failures import failure_of, raised
from worker.routes import poses, refused, table

log = logging.getLogger(__name__)

Handler = Callable[[Request], Awaitable[Response]]

_GZIP_FROM_BYTES, _GZIP_LEVEL = 1000, 1
"""A1111's least size; the lowest level, as base64 of a picture hardly shrinks further."""

_KINDS = {
    "sdapi/v1/txt2img": "txt2img",
    "sdapi/v1/img2img": "img2img",
    "sdapi/v1/extra-single-image": "extras",
    "sdapi/v1/extra-batch-images": "extras",
    "controlnet/detect": "detect",
    "workflow": "workflow",
}
"""Paths whose requests queue one behind another -> A1111's name for what runs."""

_BODYLESS = frozenset(
    f"sdapi/v1/{name}"
    for name in (
        "refresh-checkpoints",
        "refresh-vae",
        "refresh-loras",
        "refresh-embeddings",
        "unload-checkpoint",
        "reload-checkpoint",
        "interrupt",
        "skip",
    )
) | {poses.PATH}
"""Paths that POST answers without a body, or with one that is no object."""

_NOT_A1111 = ("controlnet/txt2img", "controlnet/img2img")
"""Refused routes that a real A1111 does not have: here they are not there."""

_SKIP = "skip_current_image"
_STOPPING = ("server-kill", "server-restart", "server-stop")

_HOME = """This is an API: stable-diffusion-webui's (A1111), answered by ComfyUI.

/              a page to look at requests, in a browser
/docs          what there is, to try out
/sdapi/v1/...  A1111's routes
/controlnet/.. its ControlNet extension's
"""

_GRADIO_CONFIG = {"version": "3.41.2", "mode": "blocks", "components": [], "dependencies": []}
"""What clients that probe gradio's page find: no controls."""


class Api:
    """The answers of every route.

    Args:
        backend: makes them.
        stop: ends the process; None where the API may not.
    """

    def __init__(self, backend: Backend, stop: Callable[[], None] | None = None) -> None:
        self.backend = backend
        self.activity = Activity(backend.at_once)
        self._stop = stop

    def routes(self) -> dict[tuple[str, str], Handler]:
        """(method, path) -> what answers it."""
        own: dict[tuple[str, str], Handler] = {
            ("GET", "sdapi/v1/progress"): self.progress,
            ("POST", "sdapi/v1/interrupt"): self.interrupt,
            ("POST", "sdapi/v1/skip"): self.skip,
            ("POST", "internal/progress"): self.internal_progress,
            ("GET", "internal/pending-tasks"): self.pending_tasks,
            ("GET", "internal/ping"): self.empty,
            ("GET", "config"): self.gradio_config,
            ("GET", "ping"): self.ping,
            ("GET", ""): self.home,
        }
        if self._stop is not None:
            own |= {("POST", f"sdapi/v1/{name}"): self.stop_server for name in _STOPPING}
        shared = {
            (method, path): partial(self.shared, path)
            for method, path in table.ROUTES
            if not self._is_absent(method, path)
        }
        return {**shared, **own}

    @staticmethod
    def _is_absent(method: str, path: str) -> bool:
        if (method, path) not in refused.REFUSED:
            return False
        return path.startswith(_NOT_A1111) or path.removeprefix("sdapi/v1/") in _STOPPING

    async def shared(self, path: str, request: Request) -> Response:
        """A route of the worker's table."""
        needs_body = request.method == "POST" and path not in _BODYLESS
        asked = await exchange.read(request, path, needs_body=needs_body)
        kind = _KINDS.get(path)
        if kind is None:
            answer = await self.backend.answer(asked, None)
        else:
            answer = await self._generated(asked, kind)
        for note in answer.warnings:
            log.warning("%s: %s", path, note)
        return await exchange.written(answer)

    async def _generated(self, asked: ApiRequest, kind: str) -> Any:
        body = asked.body
        named, batches = body.get("force_task_id"), body.get("n_iter", 1)
        task_id = named if isinstance(named, str) and named else drawn_task_id(kind)
        job = Job(task_id, kind, batches if isinstance(batches, int) else 1)
        async with self.activity.turn(job):
            return await self.backend.answer(asked, job)

    # State

    async def progress(self, request: Request) -> Response:
        skip = table.switch(_SKIP, request.query_params.get(_SKIP, "false"))
        body = await asyncio.to_thread(
            progress.api_progress, self.activity, self.backend.options, skip_current_image=skip
        )
        return exchange.answered(body)

    async def internal_progress(self, request: Request) -> Response:
        asked = await exchange.read(request, "internal/progress", needs_body=True)
        body = await asyncio.to_thread(
            progress.internal_progress, self.activity, self.backend.options, asked.body
        )
        return exchange.answered(body)

    async def pending_tasks(self, request: Request) -> Response:
        return exchange.answered(progress.pending_tasks(self.activity))

    async def interrupt(self, request: Request) -> Response:
        job = self.activity.current
        if job is None:
            self.activity.last.interrupted = True
        else:
            await self.backend.interrupt(job)
        return exchange.answered({})

    async def skip(self, request: Request) -> Response:
        job = self.activity.current
        if job is None:
            self.activity.last.skipped = True
        else:
            await self.backend.skip(job)
        return exchange.answered(None)

    async def stop_server(self, request: Request) -> Response:
        if self._stop is not None:
            asyncio.get_running_loop().call_later(0.1, self._stop)
        return PlainTextResponse("Stopping.")

    # The rest

    async def empty(self, request: Request) -> Response:
        return exchange.answered({})

    async def gradio_config(self, request: Request) -> Response:
        return exchange.answered(_GRADIO_CONFIG)

    async def home(self, request: Request) -> Response:
        """The page for browsers, a few words for everybody else."""
        if "text/html" in request.headers.get("accept", ""):
            return HTMLResponse(page.html())
        return PlainTextResponse(_HOME)

    async def ping(self, request: Request) -> Response:
        """RunPod's load balancer asks: 200 ready, 204 not yet."""
        if self.backend.is_ready:
            return exchange.answered({"status": "ready"})
        return Response(status_code=204)


def create_app(backend: Backend, flags: Flags, stop: Callable[[], None] | None = None) -> FastAPI:
    """The application over a backend, which starts and ends with it."""

    @asynccontextmanager
    async def life(_: FastAPI) -> AsyncIterator[None]:
        await backend.start()
        try:
            yield
        finally:
            await backend.close()

    app = FastAPI(
        title="A1111 on ComfyUI",
        lifespan=life,
        redirect_slashes=False,
        docs_url=None,
        redoc_url=None,
    )
    api = Api(backend, stop if flags.server_stop else None)
    routes = api.routes()
    for (method, path), handler in routes.items():
        app.add_api_route(
            f"/{path}", handler, methods=[method], include_in_schema=False, response_model=None
        )
    root = f"/{flags.subpath}" if flags.subpath else ""
    document = openapi.document(routes, root)
    app.openapi = lambda: document  # type: ignore[method-assign]
    docs.add_page(app, root)
    app.add_exception_handler(BadBody, _bad_body)
    app.add_exception_handler(QueryError, _bad_query)
    app.add_exception_handler(ClientDisconnect, _gone)
    app.add_exception_handler(Exception, _broken)
    _add_middleware(app, flags)
    app.state.api = api
    return app


def _add_middleware(app: FastAPI, flags: Flags) -> None:
    """The last one added sees a request first."""
    if flags.auth:
        app.add_middleware(BasicAuth, users=flags.auth)
    app.add_middleware(GZipMiddleware, minimum_size=_GZIP_FROM_BYTES, compresslevel=_GZIP_LEVEL)
    app.add_middleware(
        CORSMiddleware,
        allow_methods=["*"],
        allow_headers=["*"],
        allow_credentials=True,
        allow_origins=list(flags.cors_origins),
        allow_origin_regex=flags.cors_origin_regex,
        expose_headers=[exchange.WARNINGS_HEADER],
    )
    app.add_middleware(ProcessTime)
    app.add_middleware(PathRules, subpath=flags.subpath)


async def _bad_body(request: Request, error: Exception) -> Response:
    assert isinstance(error, BadBody)
    return exchange.failed(error.failure)


async def _bad_query(request: Request, error: Exception) -> Response:
    asked = ApiRequest(request.method, request.url.path.strip("/"))
    return exchange.failed(failure_of(error, asked))


async def _gone(request: Request, error: Exception) -> Response:
    """The client has hung up in the middle of its body; nobody reads this."""
    return Response(status_code=400)


async def _broken(request: Request, error: Exception) -> Response:
    return exchange.failed(raised(type(error).__name__, str(error)))
