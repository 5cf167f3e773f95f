"""The suite against a real ComfyUI: one server for all tests, with the lab's models.

``COMFYUI_DIR`` names the checkout; without it every test here is skipped.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.comfyui import models
from tests.comfyui.exchange import Client
from tests.comfyui.server import Checkout, ComfyServer
from tests.comfyui.worker import Worker, worker_at

HERE = Path(__file__).parent
NO_CHECKOUT = (
    "COMFYUI_DIR is not set: the tests against a real ComfyUI are skipped (docs/testing.md)"
)
PARALLEL = "the tests against a real ComfyUI share one server: run them by make test-comfyui"
Serve = Callable[..., AbstractContextManager[ComfyServer]]

_figures: list[str] = []


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    reason = skipped()
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.comfyui)
            if reason:
                item.add_marker(pytest.mark.skip(reason=reason))


def skipped() -> str:
    """Why nothing here can run, or an empty text."""
    if Checkout.from_env() is None:
        return NO_CHECKOUT
    return PARALLEL if "PYTEST_XDIST_WORKER" in os.environ else ""


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for line in _figures:
        terminalreporter.write_line(line)


@pytest.fixture(scope="session")
def checkout() -> Checkout:
    found = Checkout.from_env()
    assert found is not None, "tests that need a checkout are skipped without one"
    return found


@pytest.fixture(scope="session")
def serve(checkout: Checkout) -> Serve:
    """Starts a server under a name; its time and memory are printed at the end of the session."""

    @contextmanager
    def start(name: str, *roots: Path) -> Iterator[ComfyServer]:
        faces = models.insightface(checkout)
        server = ComfyServer(checkout, models.CACHE / f"run-{name}", roots, insightface=faces)
        with server:
            version = Client(server.url).get("/system_stats")["system"]["comfyui_version"]
            started = server.seconds
            yield server
        _figures.append(
            f"ComfyUI {version}, {name}: started in {started:.1f} s, ran {server.seconds:.0f} s, "
            f"peak memory {server.peak_memory / 1e9:.1f} GB"
        )

    return start


@pytest.fixture(scope="session")
def comfy(serve: Serve, checkout: Checkout) -> Iterator[ComfyServer]:
    """The server that the tests share."""
    with serve("shared", *_roots(checkout)) as server:
        yield server


def _roots(checkout: Checkout) -> tuple[Path, ...]:
    """A1111 root folders with the lab's models."""
    return (
        models.lab_models(checkout),
        models.control_kinds(checkout),
        models.preprocessors(checkout),
        models.detectors(checkout),
        models.picture_models(checkout),
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


@pytest.fixture(scope="session")
def worker(comfy: ComfyServer, checkout: Checkout) -> Iterator[Worker]:
    roots = os.pathsep.join(map(str, _roots(checkout)))
    # Nothing here looks at hashes, and there are gigabytes of random weights.
    with worker_at(comfy, MODEL_ROOTS=roots, HASH_MODELS="false") as worker:
        yield worker
