"""The backend that runs on ComfyUI servers of this machine or network."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from typing import Any

from server.activity import Job
from translator.models.names import stem
from translator.request.a1111_options import option_rows
from worker import stopping
from worker.api import ApiAnswer, ApiRequest
from worker.comfyui.runs import Run
from worker.errors import JobError
from worker.running import Task
from worker.service import Service

log = logging.getLogger(__name__)

_READ_OPTIONS = (
    "samples_format",
    "live_previews_enable",
    "live_previews_image_format",
    "show_progress_every_n_steps",
)
_DEFAULT = "the worker's own"
"""Stands for the checkpoint of requests that name none."""
_PREVIEWS = {"preview_method": "auto"}
"""Asks a newer ComfyUI for previews of this prompt, whatever it was started with."""


class _Lane:
    """One ComfyUI with the jobs that were sent to it.

    Attributes:
        jobs: those under way.
        model: the one that it will have loaded when it has done them; empty before the first.
    """

    def __init__(self, service: Service) -> None:
        self.service = service
        self.jobs = 0
        self.model = ""

    def cost(self, model: str) -> float:
        """How many jobs another one would wait for, others' included; loading a model instead of
        the one that is warm counts as one."""
        if not self.service.comfy.ready:
            return float("inf")
        waiting = max(self.jobs, self.service.comfy.queue_length)
        return waiting + (self.model not in ("", model))


class LocalBackend:
    """Answers requests on one or several services.

    Args:
        services: one for each ComfyUI; they share their A1111 options.
    """

    def __init__(self, services: Sequence[Service]) -> None:
        self._lanes = [_Lane(service) for service in services]
        self._tasks: dict[Job, tuple[Service, Task]] = {}
        self._warming: asyncio.Task[None] | None = None

    @property
    def at_once(self) -> int:
        return sum(lane.service.settings.concurrency for lane in self._lanes)

    @property
    def is_ready(self) -> bool:
        return any(lane.service.is_ready for lane in self._lanes)

    @property
    def options(self) -> Mapping[str, Any]:
        given, rows = self._lanes[0].service.options.a1111, option_rows()
        return {name: given.get(name, rows[name].default) for name in _READ_OPTIONS}

    async def start(self) -> None:
        for lane in self._lanes:
            lane.service.start()
        self._warming = asyncio.create_task(self._warm_up())

    async def _warm_up(self) -> None:
        for lane in self._lanes:
            try:
                await lane.service.warm_up()
            except JobError as error:
                log.warning("%s", error)

    async def close(self) -> None:
        if self._warming is not None:
            self._warming.cancel()
        for lane in self._lanes:
            await asyncio.to_thread(lane.service.close)

    async def answer(self, request: ApiRequest, job: Job | None) -> ApiAnswer:
        if job is None:
            return await self._idlest().service.answer(request, Task("list", quiet=True))
        model = self._model_of(request)
        lane = min(self._lanes, key=lambda lane: (lane.cost(model), lane.model != model))
        lane.jobs, lane.model = lane.jobs + 1, model
        task = Task(job.task_id, lambda run: follow(job, run), extra=_PREVIEWS)
        self._tasks[job] = (lane.service, task)
        try:
            if job.interrupted:
                task.interrupted = True
            return await lane.service.answer(request, task)
        finally:
            lane.jobs -= 1
            del self._tasks[job]

    def _idlest(self) -> _Lane:
        return min(self._lanes, key=lambda lane: lane.cost(lane.model))

    def _model_of(self, request: ApiRequest) -> str:
        """The checkpoint that a request names, or the one in force, however it is written."""
        body = request.body if isinstance(request.body, dict) else {}
        overrides = body.get("override_settings")
        named = overrides.get("sd_model_checkpoint") if isinstance(overrides, dict) else None
        named = named or self._lanes[0].service.options.a1111.get("sd_model_checkpoint")
        return stem(str(named or _DEFAULT).partition(" [")[0]).lower()

    async def interrupt(self, job: Job) -> None:
        job.interrupted = True
        if job in self._tasks:
            service, task = self._tasks[job]
            await service.runner.in_thread(service.runner.interrupt, task)

    async def skip(self, job: Job) -> None:
        job.skipped = True
        if job in self._tasks:
            service, task = self._tasks[job]
            if not await service.runner.in_thread(service.runner.skip, task):
                log.warning("%s: nothing that can be skipped is being sampled", job.task_id)


def follow(job: Job, run: Run) -> None:
    """Write a run's step or node into its job; called in the websocket's thread."""
    job.running = run.started
    if job.passes < 0:
        job.passes = len(stopping.sampling_nodes(run.graph))
    node = run.node
    if stopping.samples(run.graph, node):
        job.step, job.steps, job.text = max(0, run.step - 1), run.steps, None
        if run.preview is not job.preview and run.preview is not None:
            job.preview = run.preview
    else:
        job.text = run.node_class(node) or None
    passed = sum(stopping.samples(run.graph, name) for name in run.done)
    if passed != job.passed:
        job.passed, job.step = passed, 0
