"""Starts the local ComfyUI, watches it, and starts it again when it ends or hangs."""

from __future__ import annotations

import logging
import os
import shlex
import signal
import subprocess
import threading
import time
from pathlib import Path

log = logging.getLogger(__name__)

_TERMINATE_S = 10.0
_SHORT_LIFE_S = 10.0
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.5, 30.0


class Supervisor:
    """One child process, kept alive.

    The child gets a session of its own, so that a signal to the worker's group does not end it
    before the jobs that still need it.

    Args:
        command: its command line.
        folder: its working directory; None for the worker's.
        first_pause_s: pause before it is started again; doubled each time it lives only briefly.
    """

    def __init__(
        self, command: str, folder: Path | None = None, first_pause_s: float = _FIRST_PAUSE_S
    ) -> None:
        self._command = shlex.split(command)
        self._folder = folder
        self._first_pause = first_pause_s
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None
        self._started = False
        self._thread = threading.Thread(target=self._watch, name="comfyui-supervisor", daemon=True)
        self.starts = 0

    def start(self) -> None:
        """Start the child and the thread that watches it; nothing where that has been done."""
        if not self._started:
            self._started = True
            self._thread.start()

    def restart(self, reason: str) -> None:
        """Kill the child; the watching thread starts it again. Returns when it is dead."""
        with self._lock:
            process = self._process
        if process is not None and process.poll() is None:
            log.error("ComfyUI is killed: %s", reason)
            _signal(process, signal.SIGKILL)
            process.wait()

    def close(self) -> None:
        """End the child for good: SIGTERM, after a while SIGKILL."""
        self._closing.set()
        with self._lock:
            process = self._process
        if process is not None and process.poll() is None:
            _signal(process, signal.SIGTERM)
            try:
                process.wait(_TERMINATE_S)
            except subprocess.TimeoutExpired:
                _signal(process, signal.SIGKILL)
        if self._thread.is_alive():
            self._thread.join()

    @property
    def pid(self) -> int | None:
        """The child's process id while it runs."""
        with self._lock:
            process = self._process
        return process.pid if process is not None and process.poll() is None else None

    def _watch(self) -> None:
        pause = self._first_pause
        while not self._closing.is_set():
            started = time.monotonic()
            status = self._run_once()
            if self._closing.is_set():
                return
            lived = time.monotonic() - started
            pause = self._first_pause if lived > _SHORT_LIFE_S else min(pause * 2, _LONGEST_PAUSE_S)
            log.error("ComfyUI ended with %s after %.1f s; starting it again", status, lived)
            self._closing.wait(pause)

    def _run_once(self) -> int | str:
        try:
            with self._lock:
                if self._closing.is_set():
                    return "shutdown"
                self._process = subprocess.Popen(
                    self._command, cwd=self._folder, start_new_session=True
                )
                self.starts += 1
        except OSError as error:
            return f"{type(error).__name__}: {error.strerror}"
        log.info("ComfyUI started, process %d", self._process.pid)
        return self._process.wait()


def _signal(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    """Signal the child and what it started."""
    try:
        os.killpg(process.pid, number)
    except ProcessLookupError:
        log.debug("process %d is already gone", process.pid)
