"""GET /ping for RunPod's load-balancing endpoints: 200 ready, 204 starting or ComfyUI away."""

from __future__ import annotations

import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

_ADDRESS = "0.0.0.0"


class Health:
    """A small HTTP server in a thread.

    Args:
        port: 0 takes a free one; see `port`.
        is_ready: whether jobs can be taken.
    """

    def __init__(self, port: int, is_ready: Callable[[], bool], address: str = _ADDRESS) -> None:
        class Handler(BaseHTTPRequestHandler):
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

        self._server = ThreadingHTTPServer((address, port), Handler)
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
