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
    running, _ = call.resources.comfy.api.queue()
    for prompt_id in running:
        call.resources.comfy.api.interrupt(prompt_id)
    if running:
        call.warn("interrupt: the job under way ends with an error; it answers no half picture")
    return {}


def _skip(call: Call) -> None:
    running, _ = call.resources.comfy.api.queue()
    if running:
        raise RequestError(
            "skip: a ComfyUI graph cannot leave out one batch and go on with the next",
            "POST sdapi/v1/interrupt ends the job",
        )


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
