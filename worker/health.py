"""GET /ping for RunPod's load-balancing endpoints: 200 ready, 204 starting or ComfyUI away."""

from __future__ import annotations

import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

_ADDRESS = "0.0.0.0"


_SILENCE_S = 5.0
"""How long a connection may say nothing."""

_CONNECTIONS = 16
"""Connections at once; further ones are closed."""


class _Server(ThreadingHTTPServer):
    """A thread a connection, but no more than `_CONNECTIONS`."""

    daemon_threads = True

    def __init__(self, *args: Any) -> None:
        self._room = threading.BoundedSemaphore(_CONNECTIONS)
        super().__init__(*args)

    def process_request(self, request: Any, client_address: Any) -> None:
        if self._room.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._room.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A caller that goes away is not worth a traceback."""


class Health:
    """A small HTTP server in a thread.

    Args:
        port: 0 takes a free one; see `port`.
        is_ready: whether jobs can be taken.
    """

    def __init__(self, port: int, is_ready: Callable[[], bool], address: str = _ADDRESS) -> None:
        class Handler(BaseHTTPRequestHandler):
            timeout = _SILENCE_S

            def do_GET(self) -> None:
                if self.path.partition("?")[0] != "/ping":
                    self.send_error(404)
                    return
                ready = is_ready()
                body = b'{"status": "ready"}' if ready else b""
                self.send_response(200 if ready else 204)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                """Health checks are not worth a line each."""

        self._server = _Server((address, port), Handler)
        self._thread = threading.Thread(
            target=self._server.serve_forever, name="health", daemon=True
        )

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
