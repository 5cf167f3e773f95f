"""A development server in a process of its own: it must not share the measured one's lock."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

_START_S = 30.0


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def command(port: int, *options: str) -> list[str]:
    """The command line of a development server."""
    return [sys.executable, "-m", "devserver", "--port", str(port), *options]


@contextmanager
def server_process(*options: str) -> Iterator[str]:
    """A server with command-line options; gives its URL."""
    port = free_port()
    process = subprocess.Popen(command(port, *options), stdout=subprocess.DEVNULL)
    try:
        url = f"http://127.0.0.1:{port}"
        wait_for(f"{url}/queue", _START_S)
        yield url
    finally:
        process.terminate()
        process.wait()


def wait_for(url: str, timeout_s: float) -> float:
    """Wait until a URL answers 200; the seconds it took.

    Raises:
        TimeoutError: it did not within `timeout_s`.
    """
    start = time.perf_counter()
    while time.perf_counter() - start < timeout_s:
        try:
            with urllib.request.urlopen(url, timeout=1) as reply:
                if reply.status == 200:
                    return time.perf_counter() - start
        except OSError:
            pass  # not there yet
        time.sleep(0.005)
    raise TimeoutError(f"{url} does not answer")
