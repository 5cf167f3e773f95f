"""The output node that sends finished picture files over the websocket."""

from __future__ import annotations

import json
import os
import struct
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import torch

from ..maths import encoders
from .inputs import whole

FRAME_EVENT = 0x41313131
"""Event number of the frames, "A111" in letters; the worker knows it."""

_THREADS = max(2, min(8, os.cpu_count() or 2))
_WAITING = 64
"""Pictures that may wait to be encoded; with more the node waits for its turn."""

_pool = ThreadPoolExecutor(_THREADS, "a1111-encode")
_room = threading.BoundedSemaphore(_WAITING)


@dataclass(frozen=True)
class Frame:
    """A picture on its way to the client that asked for it.

    pixels: (H, W, C) float, 0 to 1. text: see `encoders.encode`. label: what the frame says of
    itself: prompt_id, node_id, index.
    """

    pixels: torch.Tensor
    kind: str
    quality: int
    text: str | None
    label: dict[str, Any]


class A1111ImageFrames:
    """Encodes off ComfyUI's thread, several pictures at once, and sends each as it is ready.

    The node itself only announces how many there will be (``a1111_frames``), so that the next
    nodes run meanwhile. A frame is the length of its label (4 bytes), the label as JSON, the file;
    one that failed has ``error`` in its label and no file.
    """

    CATEGORY = "A1111/image"
    RETURN_TYPES = ()
    FUNCTION = "send"
    OUTPUT_NODE = True

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {
            "required": {
                "images": ("IMAGE",),
                "format": (list(encoders.FORMATS),),
                "quality": whole(80, 1, 100),
                "texts": ("STRING", {"default": "[]"}),
            },
            "hidden": {"node_id": "UNIQUE_ID"},
        }

    @classmethod
    def IS_CHANGED(cls, **inputs: Any) -> float:
        """Never answered from cache: the frames have to be sent again."""
        return float("nan")

    def send(
        self, images: torch.Tensor, format: str, quality: int, texts: str, node_id: str = ""
    ) -> dict[str, Any]:
        """images: (B, H, W, C). texts: JSON list, for each image a text of `encoders.encode`."""
        server = sys.modules["server"].PromptServer.instance
        client, prompt_id = server.client_id, _prompt_id(server)
        given = json.loads(texts or "[]")
        for index, pixels in enumerate(images):
            text = given[index] if index < len(given) else None
            label = {"prompt_id": prompt_id, "node_id": node_id, "index": index}
            _room.acquire()
            _pool.submit(_send, server, client, Frame(pixels, format, quality, text, label))
        return {"ui": {"a1111_frames": [len(images)]}}


def _prompt_id(server: Any) -> str:
    try:
        from comfy_execution.utils import get_executing_context
    except ImportError:
        return str(server.last_prompt_id)
    context = get_executing_context()
    return str(server.last_prompt_id if context is None else context.prompt_id)


def _send(server: Any, client: str | None, frame: Frame) -> None:
    try:
        server.send_sync(FRAME_EVENT, message(frame), client)
    finally:
        _room.release()


def message(frame: Frame) -> bytes:
    """What is sent of a picture behind the event's number."""
    label, file = frame.label, b""
    try:
        pixels = (frame.pixels * 255.0).clamp(0, 255).to(torch.uint8).cpu().numpy()
        file = encoders.encode(pixels, frame.kind, frame.quality, frame.text)
    except Exception as error:  # whatever it is, the worker must not wait for this picture
        label = {**label, "error": f"{type(error).__name__}: {error}"}
    head = json.dumps(label).encode()
    return b"".join((struct.pack(">I", len(head)), head, file))
