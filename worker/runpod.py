"""RunPod's side: a job's dictionary in, its output out.

`Jobs.run` never raises anything but `asyncio.CancelledError`: every other end is an answer, and a
failure is ``{"error": text}``, as RunPod wants it. What RunPod takes of an answer is limited, so
large pictures shrink or go to a bucket here.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from typing import Any

from worker import envelope, submission
from worker.api import ApiAnswer, ApiRequest
from worker.errors import JobError, ResultTooLarge, scrub
from worker.pictures import delivery
from worker.pictures.storage import UPLOADING_S, Bucket, StorageError
from worker.progress import Progress, Send
from worker.routes import direct
from worker.running import Task
from worker.service import Service

log = logging.getLogger(__name__)

_SECRET_KEYS = ("accessId", "accessSecret", "comfy_org_api_key")
_SYNC_PREFIX = "sync-"


class Jobs:
    """Runs RunPod's jobs on a service.

    Args:
        service: answers their requests.
        send_progress: RunPod's ``progress_update``.
    """

    def __init__(self, service: Service, send_progress: Send) -> None:
        self.service = service
        self._settings = service.settings
        self._send_progress = send_progress

    async def warm_up(self) -> None:
        """`Service.warm_up` with WARMUP_REQUEST, a job's input.

        Raises:
            JobError: ComfyUI does not come, or refuses the warm-up request.
        """
        request: ApiRequest | None = None
        if self._settings.warmup_request:
            job = json.loads(self._settings.warmup_request)
            request, _ = envelope.read(job.get("input", job))
        await self.service.warm_up(request)

    async def run(self, job: Mapping[str, Any]) -> Any:
        """Run a job; the answer, or ``{"error": ...}``.

        Raises:
            asyncio.CancelledError: RunPod stopped the job; its prompt is stopped too.
        """
        job_id = str(job.get("id", ""))
        progress = self._progress_of(job)
        task = Task(job_id, progress, self._secrets_of(job))
        try:
            request, warnings = envelope.read(job.get("input"))
            Bucket.of(self._settings, job)  # a wrong one is found before anything is made
            answer = await self.service.answer(request, task, self._time_limit(job))
            output = await self._output(job, request, answer, warnings)
        except JobError as failure:
            output = {"error": self._clean(str(failure), job)}
            line = {"job": job_id, "outcome": type(failure).__name__, **output}
            log.warning("job %s: %s", job_id, line["outcome"], extra={"fields": line})
        finally:
            if progress.sending:
                await self.service.runner.in_thread(progress.close)
            else:
                progress.close()
        if self._settings.refresh_worker and isinstance(output, dict):
            output["refresh_worker"] = True
        return output

    async def _output(
        self,
        job: Mapping[str, Any],
        request: ApiRequest,
        answer: ApiAnswer,
        warnings: list[str],
    ) -> Any:
        if answer.cause is not None and request.path == direct.PATH:
            return submission.failed(answer.cause, answer.error, partial(self._clean, job=job))
        if answer.error:
            return {"error": answer.error}
        warnings += answer.warnings
        if answer.pictures or request.path == direct.PATH:
            return await self._delivered(job, request, answer, warnings)
        return self._without_pictures(job, request, answer, warnings)

    async def _delivered(
        self,
        job: Mapping[str, Any],
        request: ApiRequest,
        answer: ApiAnswer,
        warnings: list[str],
    ) -> Any:
        """A body with its pictures; a bucket may be slow, but has only so much time for all.

        Raises:
            ResultTooLarge: they do not fit.
            StorageError: the bucket did not take them, or not in time.
        """
        runner, work = self.service.runner, (self._with_pictures, job, request, answer, warnings)
        if Bucket.of(self._settings, job) is None:
            return await runner.in_thread(*work)
        try:
            async with asyncio.timeout(UPLOADING_S):
                return await runner.outside(*work)
        except TimeoutError:
            raise StorageError(
                f"the bucket did not take the results within {UPLOADING_S:g} s",
                "check the bucket's endpoint, or the job's s3Config",
            ) from None

    def _without_pictures(
        self,
        job: Mapping[str, Any],
        request: ApiRequest,
        answer: ApiAnswer,
        warnings: list[str],
    ) -> Any:
        """A body as it is; a list has no place for warnings: there they are only logged.

        Raises:
            ResultTooLarge: more than RunPod takes, such as the tags of thousands of LoRAs.
        """
        size, limit = len(json.dumps(answer.body)), self._result_limit(job)
        if size > limit:
            raise ResultTooLarge(
                f"the answer of {request.path} has {size} bytes; RunPod takes {limit}",
                "use /runsync",
            )
        body = {} if answer.body is None and warnings else answer.body
        if isinstance(body, dict):
            return delivery.with_warnings(body, warnings)
        for warning in warnings:
            log.warning("job %s: %s", job.get("id", ""), warning)
        return body

    def _with_pictures(
        self,
        job: Mapping[str, Any],
        request: ApiRequest,
        answer: ApiAnswer,
        warnings: list[str],
    ) -> Any:
        """A body with its pictures as base64, or as URLs of a bucket.

        Raises:
            ResultTooLarge: they do not fit.
        """
        settings, submitted = self._settings, request.path == direct.PATH
        pictures = answer.pictures
        rest = answer.body_with([""] * len(pictures))
        habit = settings.upload_results
        upload = bool(job.get("s3Config")) or habit == "always"
        upload = upload or (habit == "auto" and submitted)
        delivered = delivery.deliver(
            pictures,
            rest=len(json.dumps(rest)) + sum(map(len, warnings)),
            limit=self._result_limit(job),
            settings=settings,
            bucket=Bucket.of(settings, job),
            upload=upload,
            job_id=str(job.get("id", "")),
        )
        warnings += delivered.warnings
        if delivered.uploaded and not upload:
            warnings.append("the answer was too large; its images are URLs of the bucket")
        if submitted:
            return submission.succeeded(delivered, answer.body.get("texts"), warnings)
        return delivery.with_warnings(answer.body_with(delivered.values), warnings)

    def _result_limit(self, job: Mapping[str, Any]) -> int:
        """Bytes that RunPod takes as the answer of a job."""
        if str(job.get("id", "")).startswith(_SYNC_PREFIX):
            return self._settings.result_limit_sync
        return self._settings.result_limit

    def _time_limit(self, job: Mapping[str, Any]) -> float:
        policy = job.get("policy")
        own = policy.get("executionTimeout") if isinstance(policy, Mapping) else None
        limit = self._settings.job_timeout_s
        if isinstance(own, int | float) and own > 0:
            return limit if own >= limit * 1000 else own / 1000
        return limit

    def _clean(self, text: str, job: Mapping[str, Any]) -> str:
        """A message as it may leave the worker."""
        secrets = (*self._settings.secrets, *self._secrets_of(job))
        return scrub(text, keep=self._settings.model_prefixes, secrets=secrets)

    @staticmethod
    def _secrets_of(job: Mapping[str, Any]) -> tuple[str, ...]:
        """What a job brings that no message may hold."""
        given = job.get("input")
        if isinstance(given, str):
            with suppress(ValueError, RecursionError):
                given = json.loads(given)
        holders = [job.get("s3Config"), given]
        return tuple(
            str(holder[key])
            for holder in holders
            if isinstance(holder, Mapping)
            for key in _SECRET_KEYS
            if holder.get(key)
        )

    def _progress_of(self, job: Mapping[str, Any]) -> Progress:
        return Progress(
            job,
            self._send_progress,
            self._settings.progress_interval_s,
            preview=self._settings.progress_preview,
        )
