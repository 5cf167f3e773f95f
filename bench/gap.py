"""How long the GPU waits between two jobs, with the SDK's own loop and a queue that is never empty.

The worker runs as a process of its own against the stand-in for RunPod, whose requests take as
long as a network does. A second websocket sees from ComfyUI's broadcasts when its queue runs dry.
"""

from __future__ import annotations

import contextlib
import json
import os
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import websocket

from bench.jobs import worker_comfyui_folder, workflow_job
from bench.runpod import RunPod
from bench.server import server_process

ROOT = Path(__file__).parents[1]
WANTED_MS = 10.0

_LATENCY_S = 0.05
_STEPS = 13
_PEER_START = (
    "import importlib.util, runpod, sys; sys.path.insert(0, 'src');"
    "spec = importlib.util.spec_from_file_location('other', 'handler.py');"
    "other = importlib.util.module_from_spec(spec); spec.loader.exec_module(other);"
    "other.COMFY_HOST = sys.argv.pop();"
    "runpod.serverless.start({'handler': other.handler})"
)


def rows() -> list[str]:
    """The figures, a line each."""
    found = []
    for seconds, jobs, wanted in ((1.3, 10, f" (wanted: at most {WANTED_MS:g} ms)"), (0.2, 25, "")):
        for name, command, folder, environment in _workers():
            gaps = _gaps(command, folder, environment, seconds, jobs)
            found.append(
                f"idle between jobs of {seconds} s, {name}: "
                f"median {statistics.median(gaps):.1f} ms, longest {max(gaps):.1f} ms"
                f"{wanted if name == 'ours' else ''}"
            )
    return found


def _workers() -> Iterator[tuple[str, Sequence[str], Path, Mapping[str, str]]]:
    ours = [sys.executable, "handler.py"]
    yield "ours", ours, ROOT, {}
    yield "ours with WORKER_CONCURRENCY=1", ours, ROOT, {"WORKER_CONCURRENCY": "1"}
    folder = worker_comfyui_folder()
    if folder is not None:
        yield "worker-comfyui", [sys.executable, "-c", _PEER_START, "$HOST"], folder, {}


def _gaps(
    command: Sequence[str], folder: Path, environment: Mapping[str, str], seconds: float, jobs: int
) -> list[float]:
    """Milliseconds without work between each two jobs."""
    step = f"{seconds / _STEPS}"
    with RunPod(_LATENCY_S) as runpod, server_process("--step-seconds", step) as url:
        started = [part.replace("$HOST", url.removeprefix("http://")) for part in command]
        inherited = {**os.environ, "PYTHONPATH": str(ROOT), "LOG_LEVEL": "error"}
        process = subprocess.Popen(
            started,
            cwd=folder,
            env={**inherited, **runpod.environment, "COMFYUI_URL": url, **environment},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            with _watching(url) as idle:
                runpod.submit(*(workflow_job(n + 1, steps=_STEPS) for n in range(jobs)))
                runpod.wait_for(jobs, 60 + 4 * seconds * jobs)
            # One gap between each two jobs; where the queue never ran dry there was none.
            return [*idle, *[0.0] * (jobs - 1 - len(idle))]
        finally:
            process.kill()
            process.wait()


@contextmanager
def _watching(url: str) -> Iterator[list[float]]:
    """The times in which nothing was queued or running, between the first and the last job."""
    idle: list[float] = []
    socket = websocket.create_connection(f"ws{url.removeprefix('http')}/ws?clientId=watcher")

    def watch() -> None:
        empty_since: float | None = None
        has_begun = False
        with contextlib.suppress(websocket.WebSocketException, OSError):
            while raw := socket.recv():
                message = json.loads(raw)
                if message["type"] != "status":
                    continue
                left = message["data"]["status"]["exec_info"]["queue_remaining"]
                now = time.perf_counter()
                if left and empty_since is not None and has_begun:
                    idle.append((now - empty_since) * 1e3)
                has_begun = has_begun or left > 0
                empty_since = None if left else (empty_since or now)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    yield idle
    socket.close()
    thread.join(timeout=2)


if __name__ == "__main__":
    print("\n".join(rows()))
