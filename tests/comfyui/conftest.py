"""The suite against a real ComfyUI: one server for all tests, with the lab's models.

``COMFYUI_DIR`` names the checkout; without it every test here is skipped, and one line says so.
"""

from __future__ import annotations

import asyncio
import importlib
import uuid
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import pytest

from tests.comfyui import models
from tests.comfyui.exchange import Client
from tests.comfyui.server import Checkout, ComfyServer

T = TypeVar("T")
Handler = Callable[[dict[str, Any]], Awaitable[Any]]

HERE = Path(__file__).parent
SKIPPED = "COMFYUI_DIR is not set: the tests against a real ComfyUI are skipped (docs/testing.md)"
RUN_DIR = models.CACHE / "run"

_figures: list[str] = []


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.comfyui)
            if Checkout.from_env() is None:
                item.add_marker(pytest.mark.skip(reason=SKIPPED))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for line in _figures if Checkout.from_env() else [SKIPPED]:
        terminalreporter.write_line(line)


@pytest.fixture(scope="session")
def checkout() -> Checkout:
    found = Checkout.from_env()
    assert found is not None, "tests that need a checkout are skipped without one"
    return found


@pytest.fixture(scope="session")
def comfy(checkout: Checkout) -> Iterator[ComfyServer]:
    """The running server. Its time and memory are printed at the end."""
    roots = [models.lab_models(checkout)]
    server = ComfyServer(checkout, RUN_DIR, roots, insightface=models.insightface(checkout))
    with server:
        version = Client(server.url).get("/system_stats")["system"]["comfyui_version"]
        started = server.seconds
        yield server
    _figures.append(
        f"ComfyUI {version}: started in {started:.1f} s, ran {server.seconds:.0f} s, "
        f"peak memory {server.peak_memory / 1e9:.1f} GB"
    )


@pytest.fixture(scope="session")
def client(comfy: ComfyServer) -> Client:
    return Client(comfy.url)


@pytest.fixture(scope="session")
def object_info(client: Client) -> Mapping[str, Any]:
    info: Mapping[str, Any] = client.get("/object_info")
    return info


@pytest.fixture
def need(object_info: Mapping[str, Any]) -> Callable[..., None]:
    """Skips the test unless the server has these node classes."""

    def check(*classes: str) -> None:
        missing = [name for name in classes if name not in object_info]
        if missing:
            pytest.skip(f"this ComfyUI has no {', '.join(missing)}")

    return check


class Worker:
    """The project's own handler, pointed at the server; every job runs in one event loop."""

    def __init__(self, handler: Handler, runner: asyncio.Runner) -> None:
        self._handler = handler
        self._runner = runner

    def run(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """The answer to a job with this ``input``."""
        return self._runner.run(self.job(request))

    def call(
        self, payload: Mapping[str, Any], endpoint: str = "/sdapi/v1/txt2img", **options: Any
    ) -> dict[str, Any]:
        """The answer to an A1111 request; `options` go in as ``input.options``."""
        return self.run(a1111(payload, endpoint, **options))

    def paint(self, payload: Mapping[str, Any], **options: Any) -> dict[str, Any]:
        """The answer to a txt2img that must succeed."""
        answer = self.call(payload, **options)
        assert "error" not in answer, answer["error"]
        return answer

    async def job(self, request: Mapping[str, Any]) -> dict[str, Any]:
        answer = await self._handler({"id": str(uuid.uuid4()), "input": dict(request)})
        assert isinstance(answer, dict)
        return answer

    def drive(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine that uses `job` in the worker's loop."""
        return self._runner.run(work)


def a1111(payload: Mapping[str, Any], endpoint: str, **options: Any) -> dict[str, Any]:
    """A job's input for an A1111 request."""
    request: dict[str, Any] = {
        "api": {"method": "POST", "endpoint": endpoint},
        "payload": dict(payload),
    }
    return request | ({"options": options} if options else {})


@pytest.fixture(scope="session")
def worker(comfy: ComfyServer, checkout: Checkout) -> Iterator[Worker]:
    environment = {
        "COMFYUI_URL": comfy.url,
        "COMFYUI_DIR": "",  # the worker would take it for the place to start a ComfyUI of its own
        "COMFYUI_INPUT_DIR": str(comfy.input_dir),
        "MODEL_ROOTS": str(models.lab_models(checkout)),
        "HASH_MODELS": "false",  # gigabytes of random weights, on two cores
        "LOG_LEVEL": "warning",
    }
    with pytest.MonkeyPatch.context() as patch, asyncio.Runner() as runner:
        for name, value in environment.items():
            patch.setenv(name, value)
        module = importlib.import_module("handler")
        yield Worker(module.handler, runner)
        module.service().close()
