"""The backend that runs on a RunPod endpoint whose workers run our handler.py.

Each request becomes a job in the ``api`` envelope. A1111's options are the server's own: a worker
forgets them, so they travel with every request. Lists are asked once and kept for a while.
"""

from __future__ import annotations

import asyncio
import base64
import logging
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar

import requests

from server.activity import Job
from server.runpod_api import AT_ONCE, Endpoint, EndpointFault
from translator.lists.a1111 import option_texts
from translator.request.a1111_options import option_rows
from worker.api import ApiAnswer, ApiRequest
from worker.failures import Failure, failure_of_text, raised
from worker.options import OptionSource
from worker.routes import refused
from worker.settings import Settings

log = logging.getLogger(__name__)

_T = TypeVar("_T")


_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.2, 2.0
_LOST_AFTER = 10
"""Status questions in a row that get no sensible answer, until a job counts as lost."""
_LIST_LIFE_S = 60.0
_FETCH_S = 60
_SKIP_TRIES = 5

_SKIP = "sdapi/v1/skip"

_OPTIONS = "sdapi/v1/options"
_EMPTY_OBJECT = frozenset(("sdapi/v1/unload-checkpoint", "sdapi/v1/reload-checkpoint"))
_GENERATING = frozenset(("sdapi/v1/txt2img", "sdapi/v1/img2img"))
_WAITING = frozenset(("IN_QUEUE", "IN_PROGRESS"))
_ENDED: Mapping[str, str] = {
    "TIMED_OUT": "the job ran past the endpoint's time limit (executionTimeout)",
    "CANCELLED": "the job was cancelled",
}


@dataclass
class _Kept:
    """A list that a worker answered."""

    answer: ApiAnswer
    at: float


class RunPodBackend:
    """Answers requests by jobs of a RunPod endpoint.

    Args:
        endpoint: where they go.
        settings: A1111_OPTIONS and the file that keeps the options.
    """

    at_once = AT_ONCE

    def __init__(self, endpoint: Endpoint, settings: Settings) -> None:
        self._endpoint = endpoint
        self._source = OptionSource(settings)
        self._lists: dict[tuple[str, str], _Kept] = {}
        self._ids: dict[Job, str] = {}
        self._telling: set[asyncio.Task[None]] = set()
        self._ready = False
        # A question may take long; asyncio's own pool is small.
        self._threads = ThreadPoolExecutor(AT_ONCE, "runpod")
        self._watching: asyncio.Task[None] | None = None

    @property
    def is_ready(self) -> bool:
        return self._ready

    @property
    def options(self) -> Mapping[str, Any]:
        return {name: row.default for name, row in option_rows().items()} | self._source.a1111

    async def start(self) -> None:
        self._watching = asyncio.create_task(self._watch())

    async def close(self) -> None:
        for task in (self._watching, *self._telling):
            if task is not None:
                task.cancel()
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _watch(self) -> None:
        """Learn whether the endpoint answers."""
        while True:
            try:
                await self._in_thread(self._endpoint.health)
                self._ready = True
            except EndpointFault as error:
                # A server that knows no health is there; one that cannot be asked is not.
                self._ready = "cannot be asked" not in str(error)
            await asyncio.sleep(_LIST_LIFE_S if self._ready else _LONGEST_PAUSE_S)

    async def answer(self, request: ApiRequest, job: Job | None) -> ApiAnswer:
        if request.path == _OPTIONS and request.method == "POST":
            return self._set_options(request)
        if request.method == "GET":
            return await self._list(request)
        if job is None and (request.method, request.path) not in refused.REFUSED:
            self._lists.clear()  # a refresh, a checkpoint unloaded: whatever it is, ask anew
        return await self._asked(request, job)

    async def _in_thread(self, work: Callable[..., _T], *args: Any, **how: Any) -> _T:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, partial(work, *args, **how))

    # Options and lists

    def _set_options(self, request: ApiRequest) -> ApiAnswer:
        known: dict[str, Any] = {}
        for name, value in request.body.items():
            if name in option_texts():
                continue
            if name not in option_rows():
                if value is None:
                    continue
                self._source.change_a1111(known)
                failure = raised("KeyError", repr(name))
                text = f"{name}: A1111 1.10.1 has no such option"
                return ApiAnswer(failure.status, failure.body, [], text, "RequestError")
            known[name] = value
        self._source.change_a1111(known)
        return ApiAnswer(200, None)

    async def _list(self, request: ApiRequest) -> ApiAnswer:
        key = (request.path, repr(sorted(request.query.items())))
        kept = self._lists.get(key)
        if kept is None or time.monotonic() - kept.at > _LIST_LIFE_S:
            answer = await self._asked(request, None)
            if answer.error:
                return answer
            kept = self._lists[key] = _Kept(answer, time.monotonic())
        if request.path == _OPTIONS and isinstance(kept.answer.body, dict):
            return replace(kept.answer, body={**kept.answer.body, **self._source.a1111})
        return kept.answer

    # Jobs

    async def _asked(self, request: ApiRequest, job: Job | None) -> ApiAnswer:
        try:
            told = await self._outcome(self._input(request), job)
        except EndpointFault as error:
            return _failed(raised("ConnectionError", str(error)), str(error))
        if job is not None and job.interrupted and told.get("status") != "COMPLETED":
            return ApiAnswer(200, {"images": [], "parameters": request.body, "info": "{}"})
        if told.get("status") != "COMPLETED":
            said = told.get("error") or _ENDED.get(str(told.get("status")))
            text = str(said or "the job failed, and RunPod does not say why")
            return _failed(failure_of_text(text, request.body), text)
        return await self._in_thread(_answer_of, request, told.get("output"))

    def _input(self, request: ApiRequest) -> dict[str, Any]:
        """The job's input: the ``api`` envelope."""
        payload = request.body
        if request.method == "GET":
            payload = dict(request.query)
        elif request.path in _GENERATING and self._source.a1111:
            own = payload.get("override_settings")
            own = own if isinstance(own, dict) else {}
            payload = {**payload, "override_settings": {**self._source.a1111, **own}}
        return {
            "api": {"method": request.method, "endpoint": f"/{request.path}"},
            "payload": payload,
            "options": {"unsupported": "warn", "detected_maps": "all"},
        }

    async def _outcome(self, job_input: Mapping[str, Any], job: Job | None) -> dict[str, Any]:
        """RunPod's last word of a job.

        Raises:
            EndpointFault: it was not taken, or is lost.
        """
        told = await self._in_thread(self._endpoint.run, job_input, sync=job is None)
        job_id = str(told.get("id", ""))
        if job is not None:
            self._ids[job] = job_id
        try:
            return await self._followed(told, job_id, job)
        except asyncio.CancelledError:
            await self._cancel(job_id)
            raise
        finally:
            if job is not None:
                self._ids.pop(job, None)

    async def _followed(self, told: dict[str, Any], job_id: str, job: Job | None) -> dict[str, Any]:
        pause, lost = _FIRST_PAUSE_S, 0
        if job is not None and job.interrupted:
            await self._cancel(job_id)
        while told.get("status") in _WAITING:
            await asyncio.sleep(pause)
            pause = min(pause * 1.3, _LONGEST_PAUSE_S)
            try:
                told = await self._in_thread(self._endpoint.status, job_id)
                lost = 0
            except EndpointFault:
                lost += 1
                if lost == _LOST_AFTER:
                    raise
            if job is not None and told.get("status") == "IN_PROGRESS":
                follow(job, told.get("output"))
        return told

    async def interrupt(self, job: Job) -> None:
        job.interrupted = True
        if job in self._ids:
            await self._cancel(self._ids[job])

    async def skip(self, job: Job) -> None:
        """Send a job of its own that says so: RunPod has no other way into a worker.

        Which worker takes it is RunPod's to say, so it is sent again until the one has it.
        """
        job.skipped = True
        if job in self._ids:
            telling = asyncio.create_task(self._tell_to_skip(self._ids[job]))
            self._telling.add(telling)
            telling.add_done_callback(self._telling.discard)

    async def _tell_to_skip(self, job_id: str) -> None:
        message = {"api": {"method": "POST", "endpoint": f"/{_SKIP}"}, "payload": {"task": job_id}}
        for _ in range(_SKIP_TRIES):
            try:
                told = await self._outcome(message, None)
            except EndpointFault as error:
                log.warning("job %s could not be told to skip a batch: %s", job_id, error)
                return
            if told.get("output") == {"skipped": True}:
                return
        log.warning("job %s: its worker did not take the message to skip a batch", job_id)

    async def _cancel(self, job_id: str) -> None:
        try:
            await self._in_thread(self._endpoint.cancel, job_id)
        except EndpointFault as error:
            log.warning("job %s could not be cancelled: %s", job_id, error)


def follow(job: Job, update: object) -> None:
    """Write a job's progress update, as `worker.progress` sends it, into its state."""
    job.running = True
    if not isinstance(update, Mapping):
        return
    job.text = str(update.get("stage") or "") or None
    job.passes = max(job.passes, 1)
    job.step, job.steps = int(update.get("step") or 0), int(update.get("steps") or 0)
    job.done = float(update.get("percent") or 0.0) / 100
    preview = update.get("preview")
    if isinstance(preview, str):
        job.preview = base64.b64decode(preview)


def _answer_of(request: ApiRequest, output: object) -> ApiAnswer:
    """A worker's output as A1111's answer. Fetches pictures that come by URL: blocks."""
    warnings: list[str] = []
    if isinstance(output, dict):
        output = dict(output)
        told = output.pop("warnings", [])
        warnings = [str(item) for item in told] if isinstance(told, list) else []
        output = output or None
    if output is None:
        return ApiAnswer(200, {} if request.path in _EMPTY_OBJECT else None, warnings)
    if request.path in _GENERATING and not _is_generation(output):
        text = "the worker answered something that makes no sense"
        return _failed(raised("RuntimeError", text), text)
    try:
        return ApiAnswer(200, _with_pictures(output), warnings)
    except requests.RequestException as error:
        text = f"a picture of the answer cannot be fetched ({type(error).__name__})"
        return _failed(raised("ConnectionError", text), text)


def _is_generation(output: object) -> bool:
    return isinstance(output, dict) and isinstance(output.get("images"), list) and "info" in output


def _with_pictures(body: Any) -> Any:
    """The body with base64 in place of a bucket's URLs."""
    if not isinstance(body, dict):
        return body
    fetched = dict(body)
    if isinstance(body.get("images"), list):
        fetched["images"] = [_picture(value) for value in body["images"]]
    if "image" in body:
        fetched["image"] = _picture(body["image"])
    return fetched


def _picture(value: Any) -> Any:
    if not (isinstance(value, str) and value.startswith(("http://", "https://"))):
        return value
    reply = requests.get(value, timeout=_FETCH_S)
    reply.raise_for_status()
    return base64.b64encode(reply.content).decode("ascii")


def _failed(failure: Failure, text: str) -> ApiAnswer:
    return ApiAnswer(failure.status, failure.body, [], text, "RunPod")
