"""A job's life: routed by its shape, held to its limits, run, and answered exactly once.

The handler awaits `Jobs.run`, which never raises anything but `asyncio.CancelledError`: every other
end is an answer. What blocks runs in a thread pool; while a job waits for ComfyUI it holds none of
its threads.
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
import threading
from collections.abc import Awaitable, Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any, Protocol, TypeVar

from translator import Catalog, Options, Translation, TranslationError, translate
from worker import limits
from worker.comfyui import collect
from worker.comfyui.collect import Output
from worker.comfyui.connection import FRAME_NODE, Bytes, Comfy, Run, RunResult
from worker.comfyui.uploads import UploadStore
from worker.errors import (
    FileGone,
    ImagesLost,
    JobError,
    PromptRefused,
    RequestError,
    RunLost,
    TimeLimit,
    scrub,
)
from worker.logs import Stages
from worker.models.catalog import CatalogSource
from worker.options import OptionSource
from worker.pictures import delivery, incoming
from worker.pictures.delivery import Answer, Picture
from worker.pictures.storage import Bucket
from worker.progress import Progress, Send
from worker.routes import direct
from worker.settings import Settings

log = logging.getLogger(__name__)

_T = TypeVar("_T")

_REPEATS = 2
"""How often a run is repeated whose images got lost on the way."""
_FILE_INPUTS = {"filename_prefix": "ComfyUI"}
_SECRET_KEYS = ("accessId", "accessSecret", "comfy_org_api_key")
_SYNC_PREFIX = "sync-"
_CLEANERS = 4
_CATALOG_AGE_S = 5.0


class Restarter(Protocol):
    """What a job needs of the supervisor: an end to a ComfyUI that hangs."""

    def restart(self, reason: str) -> None: ...


@dataclass
class Context:
    """One job under way.

    Attributes:
        job: as RunPod gave it.
        request: its input.
        progress: sends its progress.
        stages: times its stages.
        warnings: for its answer.
        runs: its submissions, the last one the current.
        facts: for its line in the log.
    """

    job: Mapping[str, Any]
    request: Mapping[str, Any]
    progress: Progress
    stages: Stages = field(default_factory=Stages)
    warnings: list[str] = field(default_factory=list)
    runs: list[Run] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)
    _closed: bool = False
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def id(self) -> str:
        return str(self.job.get("id", ""))

    def adopt(self, run: Run) -> None:
        """Take a submission as this job's.

        Raises:
            JobError: the job is over; nobody waits for the run.
        """
        with self._lock:
            if self._closed:
                raise JobError("the job is over")
            self.runs.append(run)

    def close(self) -> list[Run]:
        """The job is over; its submissions."""
        with self._lock:
            self._closed = True
            return list(self.runs)


@dataclass(frozen=True)
class Made:
    """A translation that was run.

    Attributes:
        images: what its graph gave out.
        outputs: output node id -> everything it answered.
    """

    translation: Translation
    images: Mapping[Output, Bytes]
    outputs: Mapping[str, Mapping[str, Any]]

    @property
    def pictures(self) -> list[Picture]:
        """The images of the translation's outputs, in order, in the format of the answer."""
        how = self.translation.answer
        if not how.send_images:
            return []
        texts: Iterable[str | None] = how.infotexts
        if not how.enable_pnginfo:
            texts = [None] * len(self.translation.outputs)
        pairs = zip(self.translation.outputs, texts, strict=True)
        return [self._picture(output, text) for output, text in pairs]

    def _picture(self, output: Mapping[str, Any], text: str | None) -> Picture:
        if "node" in output:
            how = self.translation.answer
            data = self.images[Output(str(output["node"]), int(output["index"]))]
            return delivery.a1111_picture(data, how.samples_format, how.jpeg_quality, text)
        sent = {upload["name"]: upload for upload in self.translation.uploads}
        return delivery.detected_map_picture(_upload_bytes(sent[output["upload"]]))


class Jobs:
    """Runs jobs.

    Args:
        settings: limits and habits.
        comfy: the connection.
        catalog: what ComfyUI has.
        uploads: what it holds for us.
        send_progress: RunPod's ``progress_update``.
        supervisor: restarts a ComfyUI that hangs; None where it is somebody else's.
    """

    def __init__(
        self,
        settings: Settings,
        comfy: Comfy,
        catalog: CatalogSource,
        uploads: UploadStore,
        send_progress: Send,
        supervisor: Restarter | None = None,
    ) -> None:
        self.settings = settings
        self.comfy = comfy
        self.catalog = catalog
        self.options = OptionSource(settings)
        self._uploads = uploads
        self._send_progress = send_progress
        self._supervisor = supervisor
        # A job blocks at most one thread at a time; submissions may wait long for a server that
        # is down, and must not keep other jobs from failing in time.
        self._threads = ThreadPoolExecutor(4 * settings.concurrency + 8, "job")
        self._cleaners = ThreadPoolExecutor(_CLEANERS, "job-cleaner")

    def use_supervisor(self, supervisor: Restarter) -> None:
        """Let a ComfyUI that hangs be restarted by something else than our own supervisor."""
        self._supervisor = supervisor

    def close(self) -> None:
        """Wait for the cleaning up behind finished jobs."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._cleaners.shutdown(wait=True)

    async def run(self, job: Mapping[str, Any]) -> Any:
        """Run a job; the answer, or ``{"error": ...}``.

        Raises:
            asyncio.CancelledError: RunPod stopped the job; its prompt is stopped too.
        """
        context = Context(job, {}, self._progress_of(job))
        outcome, error = "cancelled", ""
        try:
            answer = await self._within_limit(context)
            outcome = "done"
        except JobError as failure:
            outcome, error = type(failure).__name__, str(failure)
        except TranslationError as failure:
            outcome, error = "TranslationError", str(failure)
        except Exception as failure:
            log.exception("job %s", context.id)
            outcome = "internal"
            error = (
                f"internal error ({type(failure).__name__} while in stage "
                f"{context.stages.current}); see the worker's log for job {context.id}"
            )
        finally:
            self._finish(context, outcome, error)
        if context.progress.sending:
            await self.in_thread(context.progress.close)
        else:
            context.progress.close()
        if error:
            answer = {"error": self.clean(error, job)}
        if self.settings.refresh_worker and isinstance(answer, dict):
            answer["refresh_worker"] = True
        return answer

    async def in_thread(self, work: Callable[..., _T], *args: Any) -> _T:
        """Run blocking work in the pool."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, partial(work, *args))

    def clean(self, text: str, job: Mapping[str, Any]) -> str:
        """A message as it may leave the worker."""
        secrets = [*self.settings.secrets]
        for holder in (job.get("s3Config"), job.get("input")):
            if isinstance(holder, Mapping):
                secrets += [str(holder[key]) for key in _SECRET_KEYS if holder.get(key)]
        return scrub(text, keep=self.settings.model_prefixes, secrets=secrets)

    # Routing

    async def _within_limit(self, context: Context) -> Any:
        limit = self._time_limit(context.job)
        timer = asyncio.timeout(limit)
        try:
            async with timer:
                return await self._route(context)
        except TimeoutError:
            if not timer.expired():
                raise
            raise TimeLimit(
                f"the job took longer than its limit of {limit:g} s and was stopped in stage "
                f"{self._stage(context)}",
                "ask for less, or raise JOB_TIMEOUT_S or the job's policy.executionTimeout",
            ) from None

    async def _route(self, context: Context) -> Any:
        from worker.routes import table

        request = context.job.get("input")
        if isinstance(request, str):
            try:
                request = json.loads(request)
            except ValueError:
                raise RequestError("input: a text that is not JSON") from None
        if not isinstance(request, dict):
            raise RequestError("input: an object is expected")
        context.request = request
        if "api" in request:
            return await table.answer(self, context)
        if "workflow" in request:
            return await self._direct(context)
        raise RequestError(
            "input: neither api nor workflow is there",
            'send {"api": {"method", "endpoint"}, "payload"} for A1111\'s API, or {"workflow"} for '
            "a ComfyUI graph",
        )

    def _time_limit(self, job: Mapping[str, Any]) -> float:
        policy = job.get("policy")
        own = policy.get("executionTimeout") if isinstance(policy, Mapping) else None
        if isinstance(own, int | float) and own > 0:
            return min(self.settings.job_timeout_s, own / 1000)
        return self.settings.job_timeout_s

    def _stage(self, context: Context) -> str:
        if context.stages.current != "run" or not context.runs:
            return context.stages.current
        run = context.runs[-1]
        if run.node is None:
            return "run, before its first node" if run.started else "run, in ComfyUI's queue"
        return f"run, in node {run.node} ({run.node_class(run.node)})"

    # A1111

    async def generate(self, context: Context, endpoint: str) -> Answer:
        """txt2img or img2img: translate, run, answer as A1111 does."""
        made = await self.make(context, endpoint)
        with context.stages("answer"):
            return await self.in_thread(self._a1111_answer, context, made)

    async def make(self, context: Context, endpoint: str) -> Made:
        """Translate the payload of one of `translator.ENDPOINTS` and run its graph."""
        payload = context.request.get("payload")
        if not isinstance(payload, dict):
            raise RequestError("payload: an object with the request's fields is missing")
        with context.stages("translate"):
            translation = await self.in_thread(self._translate, context, endpoint, payload)
        limits.check_enlarged(translation.graph, self.settings)
        context.warnings += translation.warning_texts
        wanted = [
            Output(str(output["node"]), int(output["index"]))
            for output in translation.outputs
            if "node" in output
        ]
        names = [upload["name"] for upload in translation.uploads]

        def gather(run: Run, result: RunResult) -> Made:
            found = collect.wanted_images(self.comfy, run, result, wanted)
            return Made(translation, found, result.outputs)

        with self._uploads.hold(names):
            return await self._execute(
                context,
                translation.graph,
                _without_frames(translation.graph),
                {
                    upload["name"]: partial(incoming.checked_upload, upload, payload, self.settings)
                    for upload in translation.uploads
                },
                gather,
            )

    def deliver(self, context: Context, pictures: list[Picture], rest: Answer) -> list[str]:
        """Pictures as they stand in an answer of A1111's API: base64, or URLs.

        Args:
            rest: the answer without them.

        Raises:
            ResultTooLarge: they do not fit.
        """
        return self._deliver(context, pictures, rest, upload_by_default=False).values

    def _translate(
        self, context: Context, endpoint: str, payload: Mapping[str, Any]
    ) -> Translation:
        limits.check_request(payload, self.settings)
        payload = incoming.with_fetched(payload, self.settings)
        catalog = self.current_catalog()
        options = self._translation_options(context, catalog)
        try:
            return translate(payload, endpoint, catalog, options=options)
        except TranslationError as error:
            # A file may have come to the model folders since the catalog was read.
            missing = any(problem.kind == "missing" for problem in error.problems)
            if not missing or not self.catalog.refresh(older_than_s=_CATALOG_AGE_S):
                raise
            return translate(payload, endpoint, self.catalog.current(), options=options)

    def _translation_options(self, context: Context, catalog: Catalog) -> Options:
        return self.options.for_request(
            context.request.get("options"),
            labels_frames=self._takes_frames(catalog),
            draw_seed=_draw_seed,
            now=datetime.now(),
        )

    def _a1111_answer(self, context: Context, made: Made) -> Answer:
        translation = made.translation
        answer = delivery.a1111_answer([], translation.parameters, translation.info, [])
        answer["images"] = self.deliver(context, made.pictures, answer)
        return delivery.with_warnings(answer, context.warnings)

    # Direct submission

    async def _direct(self, context: Context) -> Answer:
        with context.stages("read"):
            submission = await self.in_thread(direct.read, context.request, self.settings)
            catalog = await self.in_thread(self.current_catalog)
        context.warnings += submission.warnings
        graph: Mapping[str, Any] = submission.graph
        prefixes: Mapping[str, str] = {}
        if self.settings.workflow_output == "auto" and self._takes_frames(catalog):
            graph, prefixes = direct.over_websocket(submission.graph)
        expected = _output_nodes(graph, catalog)
        with self._uploads.hold(submission.uploads):
            found, warnings = await self._execute(
                context,
                graph,
                _without_frames(submission.graph),
                {name: partial(bytes, data) for name, data in submission.uploads.items()},
                lambda run, result: collect.all_images(self.comfy, run, result, expected, prefixes),
            )
        context.warnings += warnings
        made_by = json.dumps(submission.graph) if prefixes else None
        with context.stages("answer"):
            return await self.in_thread(self._workflow_answer, context, found, made_by)

    def _takes_frames(self, catalog: Catalog) -> bool:
        """Whether images can come over the websocket, with the name of the node they are of."""
        return self.comfy.labels_frames and catalog.has(FRAME_NODE)

    def current_catalog(self) -> Catalog:
        """The catalog; at a cold start it waits for ComfyUI."""
        if not self.catalog.is_known:
            self.comfy.wait_ready(self.settings.patience_s)
        return self.catalog.current()

    def _workflow_answer(
        self, context: Context, found: list[tuple[str, Bytes]], made_by: str | None
    ) -> Answer:
        pictures: list[Picture] = []
        while found:  # each frame is let go as soon as its picture is made
            name, data = found.pop(0)
            pictures.append(delivery.workflow_picture(name, data, made_by))
            del data
        delivered = self._deliver(context, pictures, {}, upload_by_default=True)
        return delivery.workflow_answer(delivered, context.warnings)

    def result_limit(self, context: Context) -> int:
        """Bytes that RunPod takes as the answer of a job."""
        if context.id.startswith(_SYNC_PREFIX):
            return self.settings.result_limit_sync
        return self.settings.result_limit

    def _deliver(
        self, context: Context, pictures: list[Picture], rest: Answer, *, upload_by_default: bool
    ) -> delivery.Delivered:
        settings = self.settings
        bucket = Bucket.of(settings, context.job)
        habit = settings.upload_results
        upload = bool(context.job.get("s3Config")) or habit == "always"
        upload = upload or (habit == "auto" and upload_by_default)
        delivered = delivery.deliver(
            pictures,
            rest=len(json.dumps(rest)) + sum(map(len, context.warnings)),
            limit=self.result_limit(context),
            settings=settings,
            bucket=bucket,
            upload=upload,
            job_id=context.id,
        )
        context.warnings += delivered.warnings
        if delivered.uploaded and not upload:
            context.warnings.append("the answer was too large; its images are URLs of the bucket")
        context.facts["images"] = len(delivered.values)
        return delivered

    # Running a graph

    async def _execute(
        self,
        context: Context,
        graph: Mapping[str, Any],
        without_frames: Mapping[str, Any],
        files: Mapping[str, Callable[[], bytes]],
        gather: Callable[[Run, RunResult], _T],
    ) -> _T:
        """Upload, submit, wait and gather; submit again where the run was lost, within reason.

        Args:
            without_frames: the graph that leaves files, which a broken socket does not lose; for
                the second attempt where the frames of the first got lost.
        """
        lives, repeats = self.settings.resubmissions, _REPEATS
        stale = reuploaded = False
        while True:
            try:
                with context.stages("submit"):
                    run = await self.in_thread(self._submit, context, graph, files)
                with context.stages("run"):
                    result = await self.comfy.wait(run)
                with context.stages("collect"):
                    found = await self.in_thread(gather, run, result)
                run.frames.clear()  # the log and the cleaning up need the run, not its images
                return found
            except RunLost as lost:
                # One that only waited is no suspect: it may be moved as often as the time allows.
                lives -= lost.started
                if isinstance(lost, ImagesLost):
                    repeats -= 1
                    graph = without_frames
                if lives < 0 or repeats < 0:
                    raise
                log.warning("job %s is submitted again: %s", context.id, lost.message)
                await self.in_thread(self.comfy.cancel, context.runs[-1])
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

    def _submit(
        self,
        context: Context,
        graph: Mapping[str, Any],
        files: Mapping[str, Callable[[], bytes]],
    ) -> Run:
        """Upload what the graph loads, and queue it."""
        known = sum(self._uploads.ensure(name, data) for name, data in files.items())
        context.facts["uploads"], context.facts["uploads_known"] = len(files), known
        key = context.request.get("comfy_org_api_key") or self.settings.comfy_org_api_key
        extra = {"api_key_comfy_org": key} if key else {}
        return self.comfy.submit(graph, context.adopt, listener=context.progress, extra=extra)

    # The end of a job

    def _finish(self, context: Context, outcome: str, error: str) -> None:
        runs = context.close()
        if runs:
            self._cleaners.submit(self._clean_up, runs)
        line: dict[str, Any] = {
            "job": context.id,
            "outcome": outcome,
            "ms": context.stages.total_ms,
            "stages": context.stages.times,
            "submissions": len(runs),
            **context.facts,
        }
        if runs:
            line["nodes"] = len(runs[-1].graph)
            line["nodes_cached"] = len(runs[-1].cached)
        if error:
            line["error"] = self.clean(error, context.job)
        level = logging.INFO if outcome == "done" else logging.WARNING
        log.log(level, "job %s: %s", context.id, outcome, extra={"fields": line})

    def _clean_up(self, runs: list[Run]) -> None:
        """Leave nothing on the server: no run, no queue entry, no history."""
        for run in runs:
            if not self.comfy.stop(run, self.settings.interrupt_grace_s):
                log.error("node %s does not heed the interrupt", run.node)
                if self._supervisor is not None:
                    self._supervisor.restart("a node hangs")
            self.comfy.release(run)

    def _progress_of(self, job: Mapping[str, Any]) -> Progress:
        return Progress(
            job,
            self._send_progress,
            self.settings.progress_interval_s,
            preview=self.settings.progress_preview,
        )


def _output_nodes(graph: Mapping[str, Any], catalog: Catalog) -> list[str] | None:
    """Ids of the nodes that answer something, or None where a class is not known."""
    if not catalog.has(*(node["class_type"] for node in graph.values())):
        return None
    return [name for name, node in graph.items() if catalog.nodes[node["class_type"]].output_node]


Endpoint = Callable[[Jobs, Context], Awaitable[Any]]
"""What answers one route of the ``api`` envelope."""


def _draw_seed() -> int:
    """A random seed as A1111 draws one."""
    return random.randrange(4294967294)


def _upload_bytes(upload: Mapping[str, str]) -> bytes:
    return incoming.plain_base64(upload["data"])


def _without_frames(graph: Mapping[str, Any]) -> dict[str, Any]:
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
