"""What POST does without a graph."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from translator.request.infotext import parse_infotext
from worker.errors import RequestError
from worker.pictures import incoming
from worker.pictures.png_info import read_info
from worker.routes.call import Answerer, Call


def _refresh(call: Call) -> None:
    call.resources.catalog.refresh()


def _free(call: Call) -> Any:
    call.resources.comfy.api.post("/free", {"unload_models": True, "free_memory": True})
    return {}


def _nothing(call: Call) -> Any:
    """ComfyUI loads a checkpoint when a graph needs it."""
    return {}


def _interrupt(call: Call) -> Any:
    """End the request of ours that ComfyUI runs; it answers the pictures so far.

    What others run on the same ComfyUI is none of ours to end.
    """
    runner, api = call.resources.runner, call.resources.comfy.api
    running, _ = api.queue()
    ours = {run.prompt_id: task for task in runner.tasks for run in task.runs}
    for prompt_id in running:
        if prompt_id in ours:
            runner.interrupt(ours[prompt_id])
    return {}


def _skip(call: Call) -> Any:
    """Leave the batch under way at what it has reached.

    With ``{"task": id}`` only that job's, and the answer tells whether it is one of this worker's:
    a front before several workers asks until it has found the one.
    """
    body = call.request.body if isinstance(call.request.body, Mapping) else {}
    named = body.get("task")
    runner = call.resources.runner
    running, _ = call.resources.comfy.api.queue()
    found = [
        task
        for task in runner.tasks
        if named in (None, task.id) and any(run.prompt_id in running for run in task.runs)
    ]
    skipped = [runner.skip(task) for task in found]
    if not all(skipped):
        raise RequestError(
            "skip: this ComfyUI cannot leave out one batch and go on with the next",
            "POST sdapi/v1/interrupt ends the job; the node pack comfyui_a1111 can skip",
        )
    return None if named is None else {"skipped": bool(found)}


def _png_info(call: Call) -> Any:
    image = incoming.read(call.payload.get("image"), "image", call.resources.settings)
    text, items = read_info(image.data)
    try:
        parameters = parse_infotext(text, call.a1111_options)
    except ValueError as error:
        raise RequestError(f"image: its infotext cannot be read ({error})") from None
    return {"info": text, "items": items, "parameters": parameters}


POST: Mapping[str, Answerer] = {
    "sdapi/v1/refresh-checkpoints": _refresh,
    "sdapi/v1/refresh-vae": _refresh,
    "sdapi/v1/refresh-loras": _refresh,
    "sdapi/v1/refresh-embeddings": _refresh,
    "sdapi/v1/unload-checkpoint": _free,
    "sdapi/v1/reload-checkpoint": _nothing,
    "sdapi/v1/interrupt": _interrupt,
    "sdapi/v1/skip": _skip,
    "sdapi/v1/png-info": _png_info,
}
"""Paths that POST answers without a graph."""
