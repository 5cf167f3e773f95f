"""What A1111's two progress routes answer."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from io import BytesIO
from typing import Any

from server.activity import Activity, Job

_FORMATS = {"png": "PNG", "jpg": "JPEG", "jpeg": "JPEG", "webp": "WEBP"}


def api_progress(
    activity: Activity, options: Mapping[str, Any], *, skip_current_image: bool
) -> dict[str, Any]:
    """``GET /sdapi/v1/progress``. May encode a picture: call it in a thread.

    Args:
        options: A1111's options in force.
    """
    job = activity.current
    if job is None:
        return _progress(0.0, 0.0, activity.idle_state(), None, None)
    _show(job, options)
    image = None
    if not skip_current_image and job.shown is not None:
        image = _encoded(job, str(options["samples_format"]))
    done = job.progress
    eta = job.elapsed_s / done - job.elapsed_s
    return _progress(done, eta, job.state(), image, job.text)


def _progress(
    progress: float, eta: float, state: dict[str, Any], image: str | None, text: str | None
) -> dict[str, Any]:
    return {
        "progress": progress,
        "eta_relative": eta,
        "state": state,
        "current_image": image,
        "textinfo": text,
    }


def internal_progress(
    activity: Activity, options: Mapping[str, Any], body: Mapping[str, Any]
) -> dict[str, Any]:
    """``POST /internal/progress``, by task (``modules/progress.py``). Call it in a thread.

    Args:
        body: ``id_task``, ``id_live_preview`` (-1), ``live_preview`` (true).
    """
    task_id = str(body.get("id_task"))
    job, waiting = activity.find(task_id), [item.task_id for item in activity.waiting]
    queued = task_id in waiting
    active = job is not None and not queued
    completed = activity.has_finished(task_id)
    answer: dict[str, Any] = {
        "active": active,
        "queued": queued,
        "completed": completed,
        "progress": None,
        "eta": None,
        "live_preview": None,
        "id_live_preview": -1,
        "textinfo": "Waiting...",
    }
    if job is None or not active:
        if queued:
            answer["textinfo"] = f"In queue: {waiting.index(task_id) + 1}/{len(waiting)}"
        return answer
    done = job.progress
    answer.update(progress=done, eta=job.elapsed_s / done - job.elapsed_s, textinfo=job.text)
    _show(job, options)
    seen = body.get("id_live_preview", -1)
    answer["id_live_preview"] = seen
    if body.get("live_preview", True) and job.shown is not None and job.shown_number != seen:
        kind = str(options["live_previews_image_format"]).lower()
        answer["live_preview"] = f"data:image/{kind};base64,{_encoded(job, kind)}"
        answer["id_live_preview"] = job.shown_number
    return answer


def pending_tasks(activity: Activity) -> dict[str, Any]:
    """``GET /internal/pending-tasks``"""
    names = [job.task_id for job in activity.waiting]
    return {"size": len(names), "tasks": names}


def _show(job: Job, options: Mapping[str, Any]) -> None:
    if options["live_previews_enable"]:
        job.show(int(options["show_progress_every_n_steps"]))


def _encoded(job: Job, kind: str) -> str:
    """The job's picture as base64 in a format of A1111's; encoded once a picture."""
    from PIL import Image

    known = job.encoded.get(kind)
    if known is None:
        out = BytesIO()
        with Image.open(BytesIO(job.shown or b"")) as picture:
            picture.convert("RGB").save(out, _FORMATS.get(kind, "PNG"))
        known = job.encoded[kind] = base64.b64encode(out.getvalue()).decode("ascii")
    return known
