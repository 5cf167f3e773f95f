"""What the server is doing: A1111's one queue and its shared state."""

from __future__ import annotations

import asyncio
import random
import string
import time
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

_REMEMBERED = 16
"""Finished tasks that A1111 remembers (``modules/progress.py``)."""
_FIRST_PROGRESS = 0.01
_NAMES = {"txt2img": "scripts_txt2img", "img2img": "scripts_img2img"}
"""What A1111 calls a job of that kind."""


@dataclass(eq=False)
class Job:
    """One request that makes pictures, with its part of A1111's ``shared.state``.

    Attributes:
        task_id: ``force_task_id``, or one that A1111 would draw.
        kind: ``txt2img``, ``img2img``, ``extras`` or ``detect``.
        batches: the request's ``n_iter``.
        passes: sampling passes in all; -1 until they are known (A1111's ``job_count``).
        passed: those that are over (``job_no``).
        step, steps: of the pass under way, from 0 (``sampling_step``).
        preview: the sampler's latest picture, JPEG or PNG.
        shown: the picture that progress answers, which follows `preview` only every some steps.
        shown_number: counts the pictures shown (``id_live_preview``).
        text: what it is busy with beside sampling.
        running: whether it is being executed, and waits no more.
        done: share that is done, where somebody else has worked it out.
    """

    task_id: str
    kind: str
    batches: int = 1
    passes: int = -1
    passed: int = 0
    step: int = 0
    steps: int = 0
    interrupted: bool = False
    skipped: bool = False
    preview: bytes | memoryview | None = None
    shown: bytes | memoryview | None = None
    shown_number: int = 0
    text: str | None = None
    running: bool = False
    done: float | None = None
    started_at: float | None = None
    timestamp: str = "0"
    encoded: dict[str, str] = field(default_factory=dict)
    _shown_step: int = 0
    _shown_pass: int = 0

    def begin(self) -> None:
        """Its turn has come."""
        self.started_at = time.monotonic()
        self.timestamp = datetime.now().strftime("%Y%m%d%H%M%S")

    @property
    def elapsed_s(self) -> float:
        return time.monotonic() - self.started_at if self.started_at else 0.0

    @property
    def progress(self) -> float:
        """Share that is done, by A1111's own arithmetic (``progressapi``)."""
        if self.done is not None:
            return min(1.0, max(_FIRST_PROGRESS, self.done))
        done = _FIRST_PROGRESS
        if self.passes > 0:
            done += self.passed / self.passes
            if self.steps > 0:
                done += self.step / self.steps / self.passes
        return min(done, 1.0)

    def show(self, every: int) -> None:
        """Take the latest preview for progress.

        Args:
            every: steps between two pictures; -1 for one a pass.
        """
        if self.passed != self._shown_pass:
            self._shown_pass, self._shown_step = self.passed, 0
            due = every == -1
        else:
            due = every != -1 and self.step - self._shown_step >= every
        if due and self.preview is not None and self.preview is not self.shown:
            self.shown, self._shown_step = self.preview, self.step
            self.shown_number += 1
            self.encoded.clear()

    def state(self) -> dict[str, Any]:
        """A1111's ``state``."""
        name = _NAMES.get(self.kind, self.kind)
        if self.batches > 1 and self.passes > 0:
            batch = self.passed * self.batches // self.passes
            name = f"Batch {min(batch + 1, self.batches)} out of {self.batches}"
        return {
            "skipped": self.skipped,
            "interrupted": self.interrupted,
            "stopping_generation": False,
            "job": name,
            "job_count": self.passes,
            "job_timestamp": self.timestamp,
            "job_no": self.passed,
            "sampling_step": self.step,
            "sampling_steps": self.steps,
        }


class Activity:
    """Jobs one behind another.

    Args:
        at_once: jobs that are under way together: one samples while the next one is translated
            and waits in ComfyUI's queue.
    """

    def __init__(self, at_once: int) -> None:
        self._turns = asyncio.Semaphore(at_once)
        self._jobs: list[Job] = []
        self._finished: deque[str] = deque(maxlen=_REMEMBERED)
        self._last = Job("", "")
        self._last.passes = 0

    @property
    def current(self) -> Job | None:
        """The job that A1111 would be at: the oldest that has begun."""
        return next((job for job in self._jobs if job.started_at is not None), None)

    def find(self, task_id: str) -> Job | None:
        """A job that is not over."""
        return next((job for job in self._jobs if job.task_id == task_id), None)

    @property
    def last(self) -> Job:
        """The job that ended last; one that never was where none has."""
        return self._last

    @property
    def waiting(self) -> list[Job]:
        """Those whose turn is still to come, the next first."""
        current = self.current
        return [job for job in self._jobs if job is not current and not job.running]

    def has_finished(self, task_id: str) -> bool:
        return task_id in self._finished

    @asynccontextmanager
    async def turn(self, job: Job) -> AsyncIterator[None]:
        """Wait for the job's turn, and end it after its work."""
        self._jobs.append(job)
        try:
            async with self._turns:
                job.begin()
                yield
        finally:
            self._jobs.remove(job)
            if job.started_at is not None:
                self._last = job
            self._finished.append(job.task_id)

    def idle_state(self) -> dict[str, Any]:
        """A1111's ``state`` while nothing runs: what the last job left, without its name."""
        return {**self._last.state(), "job": "", "job_count": 0}


def drawn_task_id(kind: str) -> str:
    """A task's id as A1111 draws one."""
    letters = random.choices(string.ascii_uppercase + string.digits, k=7)
    return f"task({kind}-{''.join(letters)})"
