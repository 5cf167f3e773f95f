"""The worker as one object: everything it holds for its life, and the answer to every request."""

from __future__ import annotations

import asyncio
import logging
import threading
from functools import partial
from typing import Any

from translator import TranslationError, translate
from translator.shape import faults
from worker import logs
from worker.api import ApiAnswer, ApiRequest
from worker.comfyui.connection import Comfy
from worker.comfyui.supervisor import Supervisor
from worker.comfyui.uploads import UploadStore
from worker.doctor.checks import examine
from worker.doctor.report import in_few_lines
from worker.errors import JobError, RequestError, TimeLimit, scrub
from worker.failures import failure_of
from worker.health import Health
from worker.models.catalog import CatalogSource
from worker.options import OptionSource
from worker.resources import Resources
from worker.routes import table
from worker.routes.call import Call
from worker.running import Runner, Task
from worker.settings import Settings

log = logging.getLogger(__name__)

_SHOWN = 200
"""Characters of a method or path that the log holds."""


class Service:
    """Starts the parts, answers requests, ends the parts.

    Args:
        settings: what an operator has set.
        options: A1111's options and the translator's, where several services share them.
        supervisor: of a ComfyUI that was started before; None starts that of the settings.
    """

    def __init__(
        self,
        settings: Settings,
        options: OptionSource | None = None,
        supervisor: Supervisor | None = None,
    ) -> None:
        logs.configure(settings.log_level, settings.secrets)
        self.settings = settings
        self.supervisor = supervisor
        if supervisor is None and settings.comfyui_command:
            self.supervisor = Supervisor(settings.comfyui_command, settings.comfyui_dir)
        self.comfy = Comfy(settings, on_connect=self._connected, on_gone=self._gone)
        self.catalog = CatalogSource(self.comfy.api, settings)
        self.uploads = UploadStore(self.comfy.api, settings.stored_uploads, settings.input_dir)
        self.runner = Runner(settings, self.comfy, self.uploads, self.supervisor)
        self.options = options or OptionSource(settings)
        self.resources = Resources(settings, self.comfy, self.catalog, self.options, self.runner)
        self._warm = threading.Event()
        self._health = (
            Health(settings.health_port, lambda: self.is_ready) if settings.health_port else None
        )

    def start(self) -> None:
        """Start ComfyUI (if it is ours), the connection and the health server."""
        if self.supervisor is not None:
            self.supervisor.start()
        self.comfy.start()
        if self._health is not None:
            self._health.start()

    def close(self) -> None:
        """End everything, the running tasks' clean-up first."""
        self.runner.close()
        if self._health is not None:
            self._health.close()
        self.catalog.close()
        self.comfy.close()
        if self.supervisor is not None:
            self.supervisor.close()

    async def answer(
        self, request: ApiRequest, task: Task | None = None, limit_s: float | None = None
    ) -> ApiAnswer:
        """Answer a request. Every end but a cancellation is an answer.

        Args:
            task: how it is named and who listens to its progress.
            limit_s: its time limit; None for none.

        Raises:
            asyncio.CancelledError: the caller is gone; what ran for it is stopped too.
        """
        task = task or Task("")
        call = Call(self.resources, request, task)
        task.facts["endpoint"] = f"{request.method[:_SHOWN]} /{request.path[:_SHOWN]}"
        answer = ApiAnswer(0, None, outcome="cancelled")
        try:
            _check_shape(request)
            answer = ApiAnswer(200, await _within(limit_s, call), call.warnings)
            if answer.pictures:
                task.facts["images"] = len(answer.pictures)
        except (JobError, TranslationError) as error:
            answer = self._failed(call, error, str(error), type(error).__name__)
        except Exception as error:
            log.exception("job %s", task.id)
            said = (
                f"internal error ({type(error).__name__} while in stage {task.stages.current}); "
                f"see the worker's log for job {task.id}"
            )
            answer = self._failed(call, error, said, "internal")
        finally:
            self._log(task, answer, self.runner.finish(task))
        return answer

    async def warm_up(self, request: ApiRequest | None = None) -> None:
        """Wait until ComfyUI answers, and run a request so that models load.

        The catalog is read meanwhile; a job that comes before it is there waits for it.

        Args:
            request: what is run; None for nothing.

        Raises:
            JobError: ComfyUI does not come, or the request fails.
        """
        # Tables and model files are read while ComfyUI starts, not in the first job.
        await self.runner.in_thread(translate, {})
        await self.runner.in_thread(self.catalog.read_ahead)
        await self.runner.in_thread(self.comfy.wait_ready, self.settings.startup_timeout_s)
        self.runner.in_background(self._log_what_is_missing)
        if request is not None:
            answer = await self.answer(request, Task("warm-up"), self.settings.job_timeout_s)
            if answer.error:
                raise JobError(f"WARMUP_REQUEST: {answer.error}")
        self._warm.set()

    def _log_what_is_missing(self) -> None:
        """Where the volume can be seen, say in few lines what it lacks."""
        if not self.settings.model_roots:
            return
        try:
            nodes = self.catalog.current().nodes.keys()
        except JobError as error:
            log.warning("what is missing is not known: %s", error)
            return
        for line in in_few_lines(examine(self.settings.model_roots, nodes)):
            log.info("%s", line)

    @property
    def is_ready(self) -> bool:
        """Whether requests can be taken."""
        return self.comfy.ready and (self._warm.is_set() or not self.settings.warmup_request)

    def _failed(self, call: Call, error: Exception, said: str, outcome: str) -> ApiAnswer:
        secrets = (*self.settings.secrets, *call.task.secrets)
        clean = partial(scrub, keep=self.settings.model_prefixes, secrets=secrets)
        failure = failure_of(error, call.request).cleaned(clean)
        return ApiAnswer(failure.status, failure.body, call.warnings, clean(said), outcome, error)

    def _log(self, task: Task, answer: ApiAnswer, runs: list[Any]) -> None:
        line: dict[str, Any] = {
            "job": task.id,
            "outcome": answer.outcome,
            "ms": task.stages.total_ms,
            "stages": task.stages.times,
            "submissions": len(runs),
            **task.facts,
        }
        if runs:
            line["nodes"] = len(runs[-1].graph)
            line["nodes_cached"] = len(runs[-1].cached)
        if answer.error:
            line["error"] = answer.error
        level = logging.WARNING
        if answer.outcome == "done":
            level = logging.DEBUG if task.quiet else logging.INFO
        log.log(level, "job %s: %s", task.id, answer.outcome, extra={"fields": line})

    def _connected(self) -> None:
        """A ComfyUI that was started again may have other nodes and files, and no uploads."""
        if self.settings.input_dir is None:
            self.uploads.clear()
        self.catalog.try_refresh()

    def _gone(self) -> None:
        """A ComfyUI of our own that runs and does not answer hangs as a whole."""
        if self.supervisor is not None:
            self.supervisor.restart("it does not answer")


def _check_shape(request: ApiRequest) -> None:
    """Refuse what nothing behind has to expect: half characters, endless nesting, huge numbers.

    Raises:
        RequestError: naming where and what; the first faults.
    """
    found = [
        fault
        for part, name in ((request.body, ""), (request.query, ""), (request.options, "options"))
        for fault in faults(part, name)
    ]
    if found:
        raise RequestError(
            "\n".join(f"{path}: {message}" if path else message for path, message in found)
        )


async def _within(limit_s: float | None, call: Call) -> Any:
    timer = asyncio.timeout(limit_s)
    try:
        async with timer:
            return await table.answer(call)
    except TimeoutError:
        if not timer.expired():
            raise
        raise TimeLimit(
            f"the job took longer than its limit of {limit_s:g} s and was stopped in stage "
            f"{call.task.stage}",
            "ask for less, or raise JOB_TIMEOUT_S or the job's policy.executionTimeout",
        ) from None
