"""The project's own handler, pointed at a server; its jobs run in one event loop."""

from __future__ import annotations

import asyncio
import importlib
import uuid
from collections.abc import Coroutine, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

import pytest

from tests.comfyui.server import ComfyServer

T = TypeVar("T")

TXT2IMG = "/sdapi/v1/txt2img"


class Worker:
    """Sends jobs to `handler.handler`, as RunPod's SDK would."""

    def __init__(self, runner: asyncio.Runner) -> None:
        self._handler = importlib.import_module("handler").handler
        self._runner = runner

    def run(self, request: Mapping[str, Any]) -> Any:
        """The answer to a job with this ``input``."""
        return self._runner.run(self.job(request))

    def call(self, payload: Any, endpoint: str = TXT2IMG, **options: Any) -> Any:
        """The answer to an A1111 request; `options` go in as ``input.options``."""
        return self.run(a1111(payload, endpoint, **options))

    def generate(self, payload: Mapping[str, Any], **options: Any) -> dict[str, Any]:
        """The answer to a txt2img that must succeed."""
        answer = self.call(payload, **options)
        assert "error" not in answer, answer["error"]
        return dict(answer)

    def drive(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine that uses `job`, in the loop of all jobs."""
        return self._runner.run(work)

    async def job(self, request: Mapping[str, Any]) -> Any:
        return await self._handler({"id": str(uuid.uuid4()), "input": dict(request)})


def a1111(payload: Any, endpoint: str, **options: Any) -> dict[str, Any]:
    """A job's input for an A1111 request."""
    request = {"api": {"method": "POST", "endpoint": endpoint}, "payload": payload}
    return request | ({"options": options} if options else {})


@contextmanager
def worker_at(server: ComfyServer, **environment: str) -> Iterator[Worker]:
    """A worker for a server, set up by environment variables as an operator would."""
    settings = {
        "COMFYUI_URL": server.url,
        "COMFYUI_DIR": "",  # the worker would take it for the place to start a ComfyUI of its own
        "COMFYUI_INPUT_DIR": str(server.input_dir),
        "LOG_LEVEL": "warning",
        "PROGRESS_INTERVAL_S": "0",  # there is no RunPod to tell of progress
        **environment,
    }
    with pytest.MonkeyPatch.context() as patch, asyncio.Runner() as runner:
        for name, value in settings.items():
            patch.setenv(name, value)
        service = importlib.import_module("handler").jobs().service
        try:
            yield Worker(runner)
        finally:
            service.close()
