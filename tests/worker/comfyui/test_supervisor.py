"""The supervisor of the local ComfyUI, and the health server."""

from __future__ import annotations

import os
import shlex
import signal
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from worker.comfyui.supervisor import Supervisor
from worker.health import Health

SLEEP = shlex.join([sys.executable, "-c", "import time; time.sleep(60)"])


def until(condition: Callable[[], object], timeout_s: float = 10.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


@pytest.fixture
def supervisor() -> Iterator[Supervisor]:
    made = Supervisor(SLEEP, first_pause_s=0.01)
    made.start()
    until(lambda: made.pid)
    yield made
    made.close()


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_child_that_dies_is_started_again(supervisor: Supervisor) -> None:
    first = supervisor.pid
    assert first is not None
    os.kill(first, signal.SIGKILL)
    until(lambda: supervisor.pid not in (None, first))
    assert supervisor.starts == 2


def test_a_child_that_hangs_is_killed_and_started_again(supervisor: Supervisor) -> None:
    first = supervisor.pid
    assert first is not None
    supervisor.restart("test")
    assert not is_alive(first)
    until(lambda: supervisor.pid not in (None, first))


def test_close_ends_the_child_and_starts_no_other(supervisor: Supervisor) -> None:
    pid = supervisor.pid
    assert pid is not None
    supervisor.close()
    assert not is_alive(pid)
    assert supervisor.pid is None
    assert supervisor.starts == 1


def test_what_the_child_started_ends_with_it(tmp_path: Path) -> None:
    note = tmp_path / "pid"
    supervisor = Supervisor(f"sh -c 'sleep 60 & echo $! > {note}; wait'", first_pause_s=0.01)
    supervisor.start()
    until(lambda: note.exists() and note.read_text().strip())
    grandchild = int(note.read_text())
    supervisor.close()
    until(lambda: not is_alive(grandchild))


def test_a_command_that_cannot_start_is_tried_again(tmp_path: Path) -> None:
    program = tmp_path / "comfyui"
    supervisor = Supervisor(str(program), first_pause_s=0.01)
    supervisor.start()
    program.write_text("#!/bin/sh\nexec sleep 60\n")
    program.chmod(0o755)
    until(lambda: supervisor.pid)
    supervisor.close()


def test_ping_tells_whether_jobs_can_be_taken() -> None:
    ready = False
    health = Health(0, lambda: ready, address="127.0.0.1")
    health.start()
    try:
        url = f"http://127.0.0.1:{health.port}/ping"
        with urllib.request.urlopen(url) as reply:
            assert reply.status == 204
        ready = True
        with urllib.request.urlopen(url) as reply:
            assert reply.status == 200
            assert reply.read() == b'{"status": "ready"}'
        with pytest.raises(urllib.error.HTTPError, match="404"):
            urllib.request.urlopen(f"http://127.0.0.1:{health.port}/else")
    finally:
        health.close()
