"""The server on a development server, over real HTTP."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests
import uvicorn

from bench.server import free_port
from devserver import DevServer, Durations
from server.app import create_app
from server.backend import Backend
from server.flags import PROFILE, Flags
from server.local import LocalBackend
from tests.worker.conftest import QUICK
from worker.options import OptionSource
from worker.service import Service
from worker.settings import Settings

SMALL = {"prompt": "a cat", "steps": 4, "seed": 7, "width": 64, "height": 64}


class Running:
    """A server in a thread, and a shorthand to ask it."""

    def __init__(self, backend: Backend, flags: Flags, patience_s: float = 20.0) -> None:
        self._patience = patience_s
        self.backend = backend
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.app = create_app(backend, flags, self._stop)
        config = uvicorn.Config(self.app, port=self.port, log_level="warning")
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run)
        self._thread.start()
        while not self._server.started:
            time.sleep(0.01)

    def _stop(self) -> None:
        self._server.should_exit = True

    def get(self, path: str, **how: Any) -> requests.Response:
        return requests.get(f"{self.url}/{path}", timeout=self._patience, **how)

    def post(self, path: str, body: Any = None, **how: Any) -> requests.Response:
        return requests.post(f"{self.url}/{path}", json=body, timeout=self._patience, **how)

    def generate(self, **fields: Any) -> Any:
        """The answer to a txt2img that must succeed."""
        reply = self.post("sdapi/v1/txt2img", {**SMALL, **fields})
        assert reply.status_code == 200, reply.text
        return reply.json()

    def in_background(self, **fields: Any) -> Background:
        return Background(lambda: self.post("sdapi/v1/txt2img", {**SMALL, **fields}))

    def until(self, condition: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Ask for progress until it is so."""
        deadline = time.monotonic() + self._patience
        while True:
            told: dict[str, Any] = self.get("sdapi/v1/progress").json()
            if condition(told):
                return told
            assert time.monotonic() < deadline, told
            time.sleep(0.01)

    def close(self) -> None:
        self._stop()
        self._thread.join()


class Background:
    """A request that is answered while others are asked."""

    def __init__(self, work: Callable[[], requests.Response]) -> None:
        self._replies: list[requests.Response] = []
        self._thread = threading.Thread(target=lambda: self._replies.append(work()))
        self._thread.start()

    @property
    def is_done(self) -> bool:
        return not self._thread.is_alive()

    def reply(self) -> requests.Response:
        self._thread.join()
        return self._replies[0]


def settings(url: str, **changes: Any) -> Settings:
    return Settings(
        **{
            **QUICK,
            "comfyui_url": url,
            "unsupported": PROFILE["UNSUPPORTED"],
            "detected_maps": PROFILE["CONTROLNET_DETECTED_MAPS"],
            "image_urls": True,
            "log_level": "critical",
            **changes,
        }
    )


def local(*urls: str, **changes: Any) -> LocalBackend:
    options = OptionSource(settings(urls[0], **changes))
    return LocalBackend([Service(settings(url, **changes), options) for url in urls])


@pytest.fixture(scope="session")
def comfyui() -> Iterator[DevServer]:
    with DevServer() as running:
        yield running


@pytest.fixture(scope="session")
def slow_comfyui() -> Iterator[DevServer]:
    with DevServer(durations=Durations(step=0.03), previews=True) as running:
        yield running


@pytest.fixture
def serve() -> Iterator[Callable[..., Running]]:
    made: list[Running] = []

    def start(backend: Backend, **flags: Any) -> Running:
        made.append(Running(backend, Flags(**flags)))
        return made[-1]

    yield start
    for running in made:
        running.close()


@pytest.fixture
def server(serve: Callable[..., Running], comfyui: DevServer) -> Running:
    return serve(local(comfyui.url))


@pytest.fixture
def slow(serve: Callable[..., Running], slow_comfyui: DevServer) -> Running:
    return serve(local(slow_comfyui.url))
