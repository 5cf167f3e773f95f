"""How long the worker takes to start: its imports, and a cold start beside ComfyUI's."""

from __future__ import annotations

import os
import shlex
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path

from bench.jobs import workflow_job
from bench.runpod import RunPod
from bench.server import command, free_port, wait_for

ROOT = Path(__file__).parents[1]
IMPORT_RATIO = 1.15

_ROUNDS = 7
_COMFYUI_START_S = 6.0
"""How long the stand-in for ComfyUI takes to start: less than any real one."""


def rows() -> list[str]:
    """The figures, a line each."""
    return [_imports(), _cold()]


def _imports() -> str:
    times: dict[str, list[float]] = {"runpod": [], "handler": []}
    for _ in range(_ROUNDS):
        for name, found in times.items():
            found.append(_import_seconds(name))
    runpod, handler = (statistics.median(found) for found in times.values())
    return (
        f"import handler: {handler:.2f} s, {handler / runpod:.2f} of import runpod "
        f"({runpod:.2f} s; wanted: at most {IMPORT_RATIO})"
    )


def _import_seconds(name: str) -> float:
    code = f"import time; t = time.perf_counter(); import {name}; print(time.perf_counter() - t)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return float(done.stdout)


def _cold() -> str:
    """From the start of the process to ComfyUI's first answer, and to the first job taken."""
    port = free_port()
    comfyui = f"sleep {_COMFYUI_START_S}; exec {shlex.join(command(port))}"
    with RunPod() as runpod:
        runpod.submit(workflow_job(1))
        begun = time.monotonic()
        process = subprocess.Popen(
            [sys.executable, "handler.py"],
            cwd=ROOT,
            env={
                **os.environ,
                **runpod.environment,
                "LOG_LEVEL": "error",
                "PYTHONPATH": str(ROOT),
                "COMFYUI_URL": f"http://127.0.0.1:{port}",
                "COMFYUI_COMMAND": f"sh -c {shlex.quote(comfyui)}",
            },
            stdout=subprocess.DEVNULL,
        )
        answers: list[float] = []
        thread = threading.Thread(
            target=lambda: answers.append(wait_for(f"http://127.0.0.1:{port}/queue", 60))
        )
        thread.start()
        try:
            runpod.wait_for(1, 60)
            thread.join()
        finally:
            process.terminate()
            process.wait()
    taken = (runpod.first_poll or begun) - begun
    return (
        f"cold start: ComfyUI answers after {answers[0]:.2f} s, the worker asks for its first job "
        f"{(taken - answers[0]) * 1e3:+.0f} ms later"
    )


if __name__ == "__main__":
    print("\n".join(rows()))
