"""The development server in a thread of its own, for tests and the demo."""

from __future__ import annotations

import asyncio
import socket
import struct
import tempfile
import threading
from collections import Counter, deque
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any

from aiohttp import web

from devserver.app import ComfyApp, Submission
from devserver.dialect import DIALECTS
from devserver.faults import Faults
from devserver.files import Files
from devserver.settings import Settings
from devserver.signatures import bundled_documents, read_specs

_START_SECONDS = 30.0
_NO_LINGER = struct.pack("ii", 1, 0)
"""SO_LINGER on with no time: closing sends a reset at once."""


class DevServer:
    """A development ComfyUI that can be started, killed and restarted.

    Use it as a context manager, or call `start` and `close`::

        with DevServer(durations=Durations(step=0.05)) as server:
            requests.post(server.url + "/prompt", json={"prompt": graph})

    Args:
        settings: what the server has and how it behaves.
        signatures: signature files (as the translator's catalog bundles them, the default).
        faults: what goes wrong; also reachable as `faults` afterwards.
        root: folder for input, output and temp; a temporary one, removed by `close`, by default.
        host, port: where to listen; port 0 takes a free one and keeps it over restarts.
        changes: single fields of `settings`.

    Attributes:
        submissions: the last accepted submissions, over restarts.
        requests: "METHOD /route", as ``GET /view``, -> how many came in, over restarts.
    """

    def __init__(
        self,
        settings: Settings | None = None,
        *,
        signatures: Iterable[Mapping[str, Any]] | None = None,
        faults: Faults | None = None,
        root: Path | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
        **changes: Any,
    ) -> None:
        self.settings = replace(settings or Settings(), **changes)
        self.faults = faults or Faults()
        self.host, self.port = host, port
        self.submissions: deque[Submission] = deque(maxlen=self.settings.keep_submissions)
        self.requests: Counter[str] = Counter()
        version = self.settings.version
        self._dialect = DIALECTS[version]
        self._documents = list(signatures) if signatures is not None else bundled_documents(version)
        self._temporary = tempfile.TemporaryDirectory(prefix="devserver-") if root is None else None
        self.root = Path(self._temporary.name) if self._temporary else Path(root or ".")
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._app: ComfyApp | None = None

    @property
    def url(self) -> str:
        """``http://host:port``."""
        return f"http://{self.host}:{self.port}"

    @property
    def alive(self) -> bool:
        """Whether the server runs; False after `stop` or a fault that killed it."""
        return self._thread is not None and self._thread.is_alive()

    @property
    def jobs_executed(self) -> int:
        """Jobs executed since the last start."""
        return self._app.executor.finished if self._app is not None else 0

    @property
    def sockets_open(self) -> int:
        """Websockets that are open now."""
        return len(self._app.sockets.clients) if self.alive and self._app is not None else 0

    def start(self, **changes: Any) -> None:
        """Start listening; returns when the port answers.

        Args:
            changes: fields of `settings` that are different from now on.

        Raises:
            RuntimeError: it runs already, or the port is taken.
        """
        if self.alive:
            raise RuntimeError("the development server is running already")
        self.settings = replace(self.settings, **changes)
        ready = threading.Event()
        failures: list[BaseException] = []
        self._thread = threading.Thread(
            target=self._run, args=(ready, failures), name="devserver", daemon=True
        )
        self._thread.start()
        if not ready.wait(_START_SECONDS) or failures:
            raise RuntimeError(f"the development server did not start: {failures}")

    def stop(self) -> None:
        """Kill the server: every connection is cut, jobs, history and cache are lost."""
        self._ask_to_stop()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def restart(self, **changes: Any) -> None:
        """Kill the server and start it again on the same port; files stay.

        Args:
            changes: as for `start`.
        """
        self.stop()
        self.start(**changes)

    def wait(self) -> None:
        """Wait until the server ends."""
        if self._thread is not None:
            self._thread.join()

    def close(self) -> None:
        """Kill the server and remove its files, where they are temporary."""
        self.stop()
        if self._temporary is not None:
            self._temporary.cleanup()

    def __enter__(self) -> DevServer:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _ask_to_stop(self) -> None:
        loop, stop = self._loop, self._stop
        if self.alive and loop is not None and stop is not None:
            loop.call_soon_threadsafe(stop.set)

    def _run(self, ready: threading.Event, failures: list[BaseException]) -> None:
        try:
            asyncio.run(self._serve(ready))
        except BaseException as error:
            failures.append(error)
        finally:
            ready.set()

    async def _serve(self, ready: threading.Event) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = stop = asyncio.Event()
        self._app = ComfyApp(
            read_specs(
                self._documents,
                missing=self.settings.missing,
                checks_v3=self._dialect.checks_v3,
            ),
            self._dialect,
            Files(self.root, self.settings.models),
            self.settings,
            self.faults,
            self.submissions,
            self.requests,
            die=stop.set,
        )
        runner = web.AppRunner(self._app.build(), access_log=None, shutdown_timeout=0.0)
        await runner.setup()
        try:
            await web.TCPSite(runner, self.host, self.port).start()
            self.port = self._bound_port(runner)
            ready.set()
            await stop.wait()
        finally:
            _cut_connections(runner)
            await runner.cleanup()

    @staticmethod
    def _bound_port(runner: web.AppRunner) -> int:
        port: int = runner.addresses[0][1]
        return port


def _cut_connections(runner: web.AppRunner) -> None:
    """End every connection as a killed process does, without a goodbye."""
    for handler in runner.server.connections if runner.server is not None else ():
        transport = handler.transport
        if transport is not None:
            sock = transport.get_extra_info("socket")
            if sock is not None:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
            transport.abort()
