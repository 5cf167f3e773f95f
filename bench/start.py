"""How long the worker takes to start: its imports, and a cold start beside bare ComfyUI's.

The ComfyUI of ``COMFYUI_DIR``, on the CPU, where that is set; else a development server that sleeps
first for as long as a real one starts at least.
"""

from __future__ import annotations

import os
import shlex
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from bench.jobs import workflow_job
from bench.pulse import Pulse
from bench.runpod import RunPod
from bench.server import command, free_port, wait_for

ROOT = Path(__file__).parents[1]
IMPORT_RATIO = 1.15
LATER_S = 0.3
"""What is wanted: the first job is asked for that much after bare ComfyUI would answer."""

_IMPORTS, _COLD_STARTS = 5, 3
_OURS = ("handler.py", "worker", "translator")
_STAND_IN_S = 12.0
_LONGEST_S = 180.0
"""How long a start is waited for."""


def rows() -> list[str]:
    """The figures, a line each. The worker's code is compiled before, as it is in the image."""
    subprocess.run([sys.executable, "-m", "compileall", "-q", *_OURS], cwd=ROOT, check=True)
    return [_imports(), *_cold()]


def _imports() -> str:
    times: dict[str, list[float]] = {"runpod": [], "handler": []}
    for _ in range(_IMPORTS):
        for name, found in times.items():
            found.append(_import_seconds(name))
    runpod, handler = (statistics.median(found) for found in times.values())
    return (
        f"import handler: {handler:.2f} s of the processor, {handler / runpod:.2f} times those of "
        f"import runpod ({runpod:.2f} s; wanted: at most {IMPORT_RATIO})"
    )


def _import_seconds(name: str) -> float:
    code = f"import time; t = time.process_time(); import {name}; print(time.process_time() - t)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return float(done.stdout)


@dataclass(frozen=True)
class _Comfy:
    """A ComfyUI to start.

    Attributes:
        name: for the figures.
        line: its command line, to be completed with the port.
        folder: its working directory.
    """

    name: str
    line: str
    folder: Path

    def at(self, port: int) -> str:
        return self.line.replace("PORT", str(port))


def _comfy() -> _Comfy:
    named = os.environ.get("COMFYUI_DIR", "").strip()
    if not named:
        stand_in = shlex.join(command(0)).replace("--port 0", "--port PORT")
        line = f"sh -c {shlex.quote(f'sleep {_STAND_IN_S}; exec {stand_in}')}"
        return _Comfy("a stand-in for ComfyUI", line, ROOT)
    folder = Path(named).resolve()
    python = os.environ.get("COMFYUI_PYTHON") or str(folder / ".venv" / "bin" / "python")
    return _Comfy("ComfyUI", f"{python} main.py --cpu --port PORT", folder)


def _cold() -> list[str]:
    """Bare ComfyUI until it answers, and the worker until it asks for a job, in turns."""
    comfy = _comfy()
    bare: list[float] = []
    ours: list[float] = []
    pulse = Pulse()
    try:
        for _ in range(_COLD_STARTS):
            bare.append(_bare_start(comfy))
            ours.append(_worker_start(comfy))
    except TimeoutError as error:
        return [f"cold start: not within {_LONGEST_S:g} s ({error})"]
    finally:
        withheld = pulse.close()
    later = statistics.median(mine - alone for mine, alone in zip(ours, bare, strict=True))
    return [
        f"cold start: {comfy.name} answers after {statistics.median(bare):.2f} s, the worker asks "
        f"for its first job after {statistics.median(ours):.2f} s; other work of the machine "
        f"withheld {withheld:.0%} of the time",
        f"asking for the first job, later than bare {comfy.name} answers: {max(0.0, later):.2f} s "
        f"(wanted: at most {LATER_S} s)",
    ]


def _bare_start(comfy: _Comfy) -> float:
    """Seconds from the start of ComfyUI's process to its first answer."""
    port = free_port()
    process = subprocess.Popen(
        shlex.split(comfy.at(port)),
        cwd=comfy.folder,
        env=_environment({}),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        return wait_for(f"http://127.0.0.1:{port}/queue", _LONGEST_S)
    finally:
        os.killpg(process.pid, 15)
        process.wait()


def _worker_start(comfy: _Comfy) -> float:
    """Seconds from the start of the worker's process to the first job that it asks for."""
    port = free_port()
    with RunPod() as runpod:
        runpod.submit(workflow_job(1))
        begun = time.monotonic()
        process = subprocess.Popen(
            [sys.executable, "handler.py"],
            cwd=ROOT,
            env=_environment(
                {
                    **runpod.environment,
                    "LOG_LEVEL": "error",
                    "COMFYUI_URL": f"http://127.0.0.1:{port}",
                    "COMFYUI_COMMAND": comfy.at(port),
                    "COMFYUI_DIR": str(comfy.folder),
                }
            ),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            while runpod.first_poll is None:
                if time.monotonic() - begun > _LONGEST_S:
                    raise TimeoutError("the worker asks for no job")
                time.sleep(0.005)
        finally:
            process.terminate()
            process.wait()
    return runpod.first_poll - begun


def _environment(changes: Mapping[str, str]) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), **changes}


if __name__ == "__main__":
    print("\n".join(rows()))
