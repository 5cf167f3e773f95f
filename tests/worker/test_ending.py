"""SIGTERM at any moment: what was begun is answered, and neither process nor ComfyUI is left."""

from __future__ import annotations

import os
import shlex
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bench.runpod import RunPod
from bench.server import command, free_port, wait_for
from tests.worker.graphs import marks
from tests.worker.test_handler import job, worker_process

pytestmark = pytest.mark.slow


@pytest.fixture
def runpod() -> Iterator[RunPod]:
    with RunPod() as stand_in:
        yield stand_in


def until(condition: Callable[[], object], timeout_s: float = 60.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def noted(note: Path, line: str) -> str:
    """A command line that first writes its process id to a file."""
    return f"sh -c {shlex.quote(f'echo $$ > {note}; exec {line}')}"


def test_in_the_middle_of_a_job_it_is_answered_and_comfyui_ended(
    runpod: RunPod, tmp_path: Path
) -> None:
    port, note = free_port(), tmp_path / "pid"
    with worker_process(
        runpod,
        f"http://127.0.0.1:{port}",
        COMFYUI_COMMAND=noted(note, shlex.join(command(port, "--step-seconds", "0.05"))),
        PROGRESS_INTERVAL_S="0.05",
    ) as process:
        runpod.submit(job("last", seed=5, steps=60))
        until(lambda: any(name == "last" for name, _ in runpod.updates))
        comfyui = int(note.read_text())
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
        assert marks(runpod.results["last"][1]["output"]) == [(5, 0)]
        assert not is_alive(comfyui)
    with pytest.raises(TimeoutError):
        wait_for(f"http://127.0.0.1:{port}/queue", 0.2)


def test_while_comfyui_starts_nothing_is_left_of_it(runpod: RunPod, tmp_path: Path) -> None:
    """Also before the SDK listens to signals, and while a thread waits for ComfyUI."""
    note = tmp_path / "pid"
    sleeping = shlex.join([sys.executable, "-c", "import time; time.sleep(600)"])
    for pause_s in (0.0, 6.0):
        with worker_process(
            runpod, f"http://127.0.0.1:{free_port()}", COMFYUI_COMMAND=noted(note, sleeping)
        ) as process:
            until(lambda: note.exists() and note.read_text().strip())
            comfyui = int(note.read_text())
            note.unlink()
            time.sleep(pause_s)
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 128 + signal.SIGTERM
            until(lambda pid=comfyui: not is_alive(pid), 10)
    assert runpod.first_poll is None
