"""The queue of submitted graphs and the history of those that ran."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from devserver.validation import Graph


@dataclass(frozen=True)
class Job:
    """A graph that was accepted.

    Attributes:
        number: its place in the queue; lower goes first.
        outputs: the output nodes to execute.
    """

    number: float
    prompt_id: str
    graph: Graph
    extra_data: dict[str, Any]
    outputs: list[str]

    def as_list(self) -> list[Any]:
        """The job as ``/queue`` and ``/history`` show it."""
        return [self.number, self.prompt_id, self.graph, self.extra_data, self.outputs]


@dataclass
class Outcome:
    """How a job ended.

    Attributes:
        messages: the events that ``/history`` keeps, as [type, data].
        outputs: node id -> what it showed.
        meta: node id -> where that came from.
    """

    success: bool = True
    messages: list[list[Any]] = field(default_factory=list)
    outputs: dict[str, Any] = field(default_factory=dict)
    meta: dict[str, Any] = field(default_factory=dict)

    def as_history(self, job: Job) -> dict[str, Any]:
        status = {
            "status_str": "success" if self.success else "error",
            "completed": self.success,
            "messages": self.messages,
        }
        return {
            "prompt": job.as_list(),
            "outputs": self.outputs,
            "status": status,
            "meta": self.meta,
        }


class JobQueue:
    """Jobs that wait, run and ran. All of it lives in the server's event loop.

    Args:
        changed: called after each change of the number of jobs left.
        history_limit: finished jobs kept.
    """

    def __init__(self, changed: Callable[[], None], history_limit: int) -> None:
        self._changed = changed
        self._history_limit = history_limit
        self._pending: list[tuple[float, int, Job]] = []
        self._order: Iterator[int] = itertools.count()
        self._arrival = asyncio.Event()
        self.running: Job | None = None
        self.history: dict[str, dict[str, Any]] = {}

    @property
    def remaining(self) -> int:
        """Jobs waiting or running."""
        return len(self._pending) + (self.running is not None)

    @property
    def pending(self) -> list[Job]:
        """Jobs waiting, the next first."""
        return [job for _, _, job in sorted(self._pending)]

    def put(self, job: Job) -> None:
        heapq.heappush(self._pending, (job.number, next(self._order), job))
        self._changed()
        self._arrival.set()

    async def take(self) -> Job:
        """Wait for the next job; it counts as running from now on."""
        while not self._pending:
            self._arrival.clear()
            await self._arrival.wait()
        _, _, job = heapq.heappop(self._pending)
        self.running = job
        self._changed()
        return job

    def finish(self, job: Job, outcome: Outcome) -> None:
        self.running = None
        self.history[job.prompt_id] = outcome.as_history(job)
        while len(self.history) > self._history_limit:
            del self.history[next(iter(self.history))]
        self._changed()

    def clear(self) -> None:
        """Drop every job that waits."""
        self._pending.clear()
        self._changed()

    def delete(self, prompt_id: str) -> None:
        """Drop a job that waits; one that runs or is unknown is left alone."""
        kept = [item for item in self._pending if item[2].prompt_id != prompt_id]
        if len(kept) == len(self._pending):
            return
        heapq.heapify(kept)
        if not kept:
            # ComfyUI wipes the queue here and so announces it twice.
            self.clear()
        self._pending = kept
        self._changed()

    def recent(self, max_items: int | None, offset: int) -> dict[str, dict[str, Any]]:
        """Finished jobs by id, oldest first; without an offset the last `max_items`."""
        if offset < 0 and max_items is not None:
            offset = len(self.history) - max_items
        end = None if max_items is None else max(offset, 0) + max_items
        return dict(itertools.islice(self.history.items(), max(offset, 0), end))
