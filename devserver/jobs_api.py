"""``/api/jobs`` of newer versions: one job's state by its id, and its cancel."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

from aiohttp import web

from devserver.jobs import Job, JobQueue

_BAD_ID = {
    "type": "invalid_prompt_id",
    "message": "prompt_id must be a valid UUID",
    "details": "prompt_id must be a UUID string in canonical lowercase hyphenated form; omit it to "
    "let the server generate one",
    "extra_info": {},
}


class JobsApi:
    """The routes, over the queue that the older ones show in another form.

    Args:
        queue: jobs that wait, run and ran.
        interrupt: interrupts the job that runs.
    """

    def __init__(self, queue: JobQueue, interrupt: Callable[[], None]) -> None:
        self._queue = queue
        self._interrupt = interrupt

    async def get(self, request: web.Request) -> web.Response:
        """A job's state; 404 where nobody knows it."""
        job_id = request.match_info["job_id"]
        if job_id in self._queue.history:
            return web.json_response(_ended(job_id, self._queue.history[job_id]))
        running = self._queue.running
        if running is not None and running.prompt_id == job_id:
            return web.json_response(_waiting(running, "in_progress"))
        for job in self._queue.pending:
            if job.prompt_id == job_id:
                return web.json_response(_waiting(job, "pending"))
        return web.json_response({"error": "Job not found"}, status=404)

    async def cancel(self, request: web.Request) -> web.Response:
        """Interrupt or dequeue a job; False where it has ended or nobody knows it."""
        job_id = request.match_info["job_id"]
        running = self._queue.running
        if running is not None and running.prompt_id == job_id:
            self._interrupt()
            return web.json_response({"cancelled": True})
        waits = any(job.prompt_id == job_id for job in self._queue.pending)
        if waits:
            self._queue.delete(job_id)
        return web.json_response({"cancelled": waits})


def bad_id(value: Any) -> dict[str, Any] | None:
    """The refusal of a prompt id that is no UUID in Python's spelling, or None."""
    try:
        if isinstance(value, str) and str(uuid.UUID(value)) == value:
            return None
    except ValueError:
        pass
    return {"error": _BAD_ID, "node_errors": {}}


def _waiting(job: Job, status: str) -> dict[str, Any]:
    return {
        "id": job.prompt_id,
        "status": status,
        "priority": job.number,
        "create_time": job.extra_data.get("create_time"),
        "outputs_count": 0,
        "previewable_outputs_count": 0,
    }


def _ended(job_id: str, entry: dict[str, Any]) -> dict[str, Any]:
    priority, _, prompt, extra_data, _ = entry["prompt"]
    messages = dict(entry["status"]["messages"])
    ends = ("execution_success", "execution_error", "execution_interrupted")
    end: dict[str, Any] = next((messages[name] for name in ends if name in messages), {})
    status = "completed" if entry["status"]["completed"] else "failed"
    if "execution_interrupted" in messages:
        status = "cancelled"
    images = [item for shown in entry["outputs"].values() for item in shown.get("images", ())]
    job = {
        "id": job_id,
        "status": status,
        "priority": priority,
        "create_time": extra_data.get("create_time"),
        "execution_start_time": messages.get("execution_start", {}).get("timestamp"),
        "execution_end_time": end.get("timestamp"),
        "execution_error": messages.get("execution_error"),
        "outputs_count": len(images),
        "previewable_outputs_count": len(images),
    }
    kept = {key: value for key, value in job.items() if value is not None}
    workflow = {"prompt": prompt, "extra_data": extra_data}
    status_info = {"outputs": entry["outputs"], "execution_status": entry["status"]}
    return {**kept, **status_info, "workflow": workflow}
