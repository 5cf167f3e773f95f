"""Runs graphs on ComfyUI: uploads, submits, waits, collects, and submits again what got lost.

Nothing here knows an endpoint, A1111 or RunPod.
"""

from __future__ import annotations

import asyncio
import logging
import random
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol, TypeVar

from worker import stopping
from worker.comfyui.connection import Comfy
from worker.comfyui.runs import FRAME_NODE, Run, RunResult
from worker.comfyui.uploads import UploadStore
from worker.errors import (
    ComfyError,
    FileGone,
    ImagesLost,
    Interrupted,
    JobError,
    PromptRefused,
    RunLost,
)
from worker.logs import Stages
from worker.settings import Settings

log = logging.getLogger(__name__)

_T = TypeVar("_T")

_REPEATS = 2
"""How often a run is repeated whose images got lost on the way."""
_FILE_INPUTS = {"filename_prefix": "ComfyUI"}
_CLEANERS = 4
_OUTSIDE_THREADS = 8
"""Threads for what waits for servers that are neither ComfyUI nor ours."""
_LAST_FILES_S, _FILE_PAUSE_S = 10.0, 0.01
"""How long an interrupted run's announced files are waited for, and between two looks."""


class Restarter(Protocol):
    """What a run needs of the supervisor: an end to a ComfyUI that hangs."""

    def restart(self, reason: str) -> None: ...


@dataclass(eq=False)
class Task:
    """One request under way.

    Attributes:
        id: names it in the log.
        listener: called at every step and node of its runs, in the websocket's thread.
        stages: times its stages.
        runs: its submissions, the last one the current.
        facts: for its line in the log.
        secrets: what must appear in no message about it.
        interrupted: whether it is to end with what it has made.
        extra: ComfyUI's ``extra_data`` for its submissions.
        quiet: whether its line in the log is one for debugging.
        skipped: whether a batch of it was left at what it had reached.
    """

    id: str
    listener: Callable[[Run], None] | None = None
    secrets: tuple[str, ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict)
    quiet: bool = False
    interrupted: bool = False
    skipped: bool = False
    stages: Stages = field(default_factory=Stages)
    runs: list[Run] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)
    _closed: bool = False
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def register(self, run: Run) -> None:
        """Take a submission as this task's.

        Raises:
            JobError: the task is over; nobody waits for the run.
        """
        with self._lock:
            if self._closed:
                raise JobError("the job is over")
            self.runs.append(run)

    def close(self) -> list[Run]:
        """The task is over; its submissions."""
        with self._lock:
            self._closed = True
            return list(self.runs)

    @property
    def stage(self) -> str:
        """Where it is, in words."""
        if self.stages.current != "run" or not self.runs:
            return self.stages.current
        run = self.runs[-1]
        if run.node is None:
            return "run, before its first node" if run.started else "run, in ComfyUI's queue"
        return f"run, in node {run.node} ({run.node_class(run.node)})"


@dataclass(frozen=True)
class Submission:
    """A graph to be run.

    Attributes:
        graph: in API format.
        files: name -> what makes the bytes of an image that the graph loads.
        file_graph: the graph that leaves files, which a broken socket does not lose: for the
            second attempt where the frames of the first got lost.
        extra: ComfyUI's ``extra_data``, such as the key for API nodes.
    """

    graph: Mapping[str, Any]
    files: Mapping[str, Callable[[], bytes]]
    file_graph: Mapping[str, Any]
    extra: Mapping[str, Any] = field(default_factory=dict)


class Runner:
    """Runs submissions on one ComfyUI.

    Args:
        settings: limits and habits.
        comfy: the connection.
        uploads: what the server holds for us.
        supervisor: restarts a ComfyUI that hangs; None where it is somebody else's.
    """

    def __init__(
        self,
        settings: Settings,
        comfy: Comfy,
        uploads: UploadStore,
        supervisor: Restarter | None = None,
    ) -> None:
        self._settings = settings
        self._comfy = comfy
        self._uploads = uploads
        self._supervisor = supervisor
        self._lock = threading.Lock()
        self._tasks: dict[Task, None] = {}
        # A task blocks at most one thread at a time; submissions may wait long for a server that
        # is down, and must not keep other tasks from failing in time.
        self._threads = ThreadPoolExecutor(4 * settings.concurrency + 8, "job")
        self._cleaners = ThreadPoolExecutor(_CLEANERS, "job-cleaner")
        self._outside = ThreadPoolExecutor(_OUTSIDE_THREADS, "outside")

    def use_supervisor(self, supervisor: Restarter) -> None:
        """Let a ComfyUI that hangs be restarted by something else than our own supervisor."""
        self._supervisor = supervisor

    def close(self) -> None:
        """Wait for the cleaning up behind finished tasks."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._outside.shutdown(wait=False, cancel_futures=True)
        self._cleaners.shutdown(wait=True)

    async def in_thread(self, work: Callable[..., _T], *args: Any) -> _T:
        """Run blocking work in the pool."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, partial(work, *args))

    async def outside(self, work: Callable[..., _T], *args: Any) -> _T:
        """Run work that waits for others' servers: however slow they are, jobs have their pool."""
        return await asyncio.get_running_loop().run_in_executor(self._outside, partial(work, *args))

    def in_background(self, work: Callable[[], None]) -> None:
        """Run work in the pool that nobody waits for."""
        self._threads.submit(work)

    async def run(
        self, task: Task, submission: Submission, gather: Callable[[Run, RunResult], _T]
    ) -> _T:
        """Upload, submit, wait and gather; submit again where the run was lost, within reason.

        Args:
            gather: makes the result from a run that ended; called in the pool.

        Raises:
            JobError: how it failed.
        """
        with self._lock:
            self._tasks[task] = None
        with self._uploads.hold(submission.files):
            return await self._run(task, submission, gather)

    async def _run(
        self, task: Task, submission: Submission, gather: Callable[[Run, RunResult], _T]
    ) -> _T:
        graph, files = submission.graph, submission.files
        lives, repeats = self._settings.resubmissions, _REPEATS
        stale = reuploaded = False
        while True:
            try:
                with task.stages("submit"):
                    run = await self.in_thread(self._submit, task, graph, submission)
                with task.stages("run"):
                    result = await self._wait(task, run)
                with task.stages("collect"):
                    found = await self.in_thread(gather, run, result)
                run.drop_images()
                return found
            except RunLost as lost:
                # One that only waited is no suspect: it may be moved as often as the time allows.
                lives -= lost.started
                if isinstance(lost, ImagesLost):
                    repeats -= 1
                    graph = submission.file_graph
                if lives < 0 or repeats < 0:
                    raise
                log.warning("job %s is submitted again: %s", task.id, lost.message)
                await self.in_thread(self._comfy.cancel, task.runs[-1])
            except FileGone as gone:
                if stale:
                    raise
                stale, graph = True, _uncached(graph, gone.nodes)
            except PromptRefused as refused:
                unknown = set(refused.missing_files) & set(files)
                if reuploaded or not unknown:
                    raise
                reuploaded = True
                self._uploads.forget(unknown)

    async def _wait(self, task: Task, run: Run) -> RunResult:
        try:
            return await self._comfy.wait(run)
        except Interrupted:
            if not task.interrupted:
                raise
        # Files that are still being encoded come after the prompt's end.
        deadline = time.monotonic() + _LAST_FILES_S
        while not run.has_all_encoded and time.monotonic() < deadline:
            await asyncio.sleep(_FILE_PAUSE_S)
        return run.so_far

    def _submit(self, task: Task, graph: Mapping[str, Any], submission: Submission) -> Run:
        """Upload what the graph loads, and queue it."""
        files = submission.files
        known = sum(self._uploads.ensure(name, data) for name, data in files.items())
        task.facts["uploads"], task.facts["uploads_known"] = len(files), known
        run = self._comfy.submit(
            graph,
            task.register,
            listener=task.listener,
            extra={**task.extra, **submission.extra},
        )
        if task.interrupted:
            self.interrupt(task)
        return run

    def interrupt(self, task: Task) -> None:
        """End a task with the pictures so far, the one under way as far as it got. Blocks.

        Where the sampler does not heed that, with those that are finished.
        """
        task.interrupted = True
        if not task.runs:
            return
        run = task.runs[-1]
        nodes = stopping.passes_under_way(run.graph, run.node, run.done)
        if nodes and stopping.heeds(run.graph) and self._stop_passes(run, nodes, drop_others=True):
            return
        was_queued = not run.started
        self._comfy.cancel(run)
        if was_queued:
            run.fail(Interrupted("the job was interrupted in ComfyUI's queue", "send it again"))

    def skip(self, task: Task) -> bool:
        """Leave the batch under way at what it has reached; the next one follows. Blocks.

        Returns:
            False where the sampler does not heed that, or nothing is being sampled.
        """
        if not task.runs:
            return False
        run = task.runs[-1]
        nodes = stopping.passes_under_way(run.graph, run.node, run.done)
        if not nodes or not stopping.heeds(run.graph):
            return False
        task.skipped = self._stop_passes(run, nodes, drop_others=False)
        return task.skipped

    def _stop_passes(self, run: Run, nodes: list[str], *, drop_others: bool) -> bool:
        try:
            return self._comfy.api.stop_passes(run.prompt_id, nodes, drop_others=drop_others)
        except ComfyError as error:
            log.warning("could not end %s early: %s", run.prompt_id, error)
            return False

    @property
    def tasks(self) -> list[Task]:
        """The tasks that have submitted something and are not over, oldest first."""
        with self._lock:
            return list(self._tasks)

    def finish(self, task: Task) -> list[Run]:
        """The task is over: leave nothing of it on the server. Its submissions."""
        runs = task.close()
        with self._lock:
            self._tasks.pop(task, None)
        if runs:
            self._cleaners.submit(self._clean_up, runs)
        return runs

    def _clean_up(self, runs: list[Run]) -> None:
        """Leave no run, no queue entry, no history."""
        for run in runs:
            if not self._comfy.stop(run, self._settings.interrupt_grace_s):
                log.error("node %s does not heed the interrupt", run.node)
                if self._supervisor is not None:
                    self._supervisor.restart("a node hangs")
            self._comfy.release(run)


def without_frames(graph: Mapping[str, Any]) -> dict[str, Any]:
    """The graph with files in place of websocket frames."""
    return {
        name: {**node, "class_type": "SaveImage", "inputs": {**node["inputs"], **_FILE_INPUTS}}
        if node["class_type"] == FRAME_NODE
        else node
        for name, node in graph.items()
    }


def _uncached(graph: Mapping[str, Any], nodes: Iterable[str]) -> dict[str, Any]:
    """The graph with output nodes that ComfyUI's cache does not know.

    An input that a node does not have is part of its cache key and otherwise ignored.
    """
    again = dict(graph)
    for name in nodes:
        node = dict(again[name])
        node["inputs"] = {**node["inputs"], "run_again": random.getrandbits(63)}
        again[name] = node
    return again
