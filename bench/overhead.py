"""What a job costs beside ComfyUI's own work, for us and for worker-comfyui."""

from __future__ import annotations

import json
import statistics
import time
import urllib.request
import uuid
from collections.abc import Iterator

import websocket

from bench.jobs import Ours, WorkerComfyUI, a1111_job, graph, worker_comfyui_folder, workflow_job
from bench.server import server_process

_ROUNDS, _JOBS = 5, 40
_PHOTO_JOBS = 4


def rows() -> list[str]:
    """The figures, a line each."""
    return [*_small(), *_photos()]


def _small() -> list[str]:
    with server_process() as url:
        ours, other = Ours(url), _worker_comfyui(url)
        numbers = _numbers()
        alone, direct, a1111, theirs = [], [], [], []
        for _ in range(_ROUNDS):  # in turns, so that the machine's other work hits all alike
            alone += [_execution(url, next(numbers)) for _ in range(_JOBS)]
            direct += ours.time([workflow_job(next(numbers)) for _ in range(_JOBS)])
            a1111 += ours.time([a1111_job(next(numbers)) for _ in range(_JOBS)])
            if other is not None:
                theirs += other.time([workflow_job(next(numbers)) for _ in range(_JOBS)])
        ours.close()
    execution = statistics.median(alone)
    found = [
        f"one 64x64 image, ComfyUI's own execution: {execution * 1e3:.1f} ms (subtracted below)",
        f"overhead of direct submission: {_over(direct, execution):.1f} ms",
        f"overhead of txt2img by A1111's API: {_over(a1111, execution):.1f} ms",
    ]
    if theirs:
        theirs_ms = _over(theirs, execution)
        found.append(
            f"overhead of worker-comfyui: {theirs_ms:.1f} ms; ours is "
            f"{_over(direct, execution) / theirs_ms:.2f} of it (wanted: at most 0.5)"
        )
    return found


def _photos() -> list[str]:
    with server_process("--pictures", "photo") as url:
        ours, other = Ours(url), _worker_comfyui(url)
        numbers = _numbers()
        mine, theirs = [], []
        for _ in range(_PHOTO_JOBS):
            mine += ours.time([workflow_job(next(numbers), size=1024, batch=4)])
            if other is not None:
                theirs += other.time([workflow_job(next(numbers), size=1024, batch=4)])
        ours.close()
    found = [f"four 1024x1024 photos out: {statistics.median(mine):.2f} s"]
    if theirs:
        ratio = statistics.median(mine) / statistics.median(theirs)
        found.append(
            f"four photos out of worker-comfyui: {statistics.median(theirs):.2f} s; ours take "
            f"{ratio:.2f} of it (wanted: at most 0.25)"
        )
    return found


def _execution(url: str, seed: int) -> float:
    """Seconds between execution_start and execution_success, without a worker."""
    client = uuid.uuid4().hex
    socket = websocket.create_connection(f"ws{url.removeprefix('http')}/ws?clientId={client}")
    body = json.dumps({"prompt": graph(seed), "client_id": client}).encode()
    request = urllib.request.Request(
        f"{url}/prompt", body, {"Content-Type": "application/json"}, method="POST"
    )
    with urllib.request.urlopen(request):
        pass
    times = {}
    while "execution_success" not in times:
        kind = json.loads(socket.recv())["type"]
        times[kind] = time.perf_counter()
    socket.close()
    return times["execution_success"] - times["execution_start"]


def _over(times: list[float], execution: float) -> float:
    return (statistics.median(times) - execution) * 1e3


def _worker_comfyui(url: str) -> WorkerComfyUI | None:
    folder = worker_comfyui_folder()
    return WorkerComfyUI(folder, url) if folder is not None else None


def _numbers() -> Iterator[int]:
    """Seeds that no job has had, so that nothing is answered from cache."""
    return iter(range(1, 1_000_000_000, 7))


if __name__ == "__main__":
    print("\n".join(rows()))
