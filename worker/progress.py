"""Progress updates of a job: throttled, and never after its answer."""

from __future__ import annotations

import base64
import logging
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from worker.comfyui.runs import Run

log = logging.getLogger(__name__)

Send = Callable[[Mapping[str, Any], Any], None]

_LAST_UPDATE_S = 2.0
_SENDER_NAME = "(_thread_target)"


class Progress:
    """Sends a job's progress to RunPod.

    Args:
        job: as RunPod gave it.
        send: RunPod's ``progress_update(job, progress)``.
        interval_s: shortest time between two updates; 0 for none at all.
        preview: whether to add the sampler's preview image.
    """

    def __init__(
        self, job: Mapping[str, Any], send: Send, interval_s: float, *, preview: bool = False
    ) -> None:
        self._job = job
        self._send = send
        self._interval = interval_s
        self._preview = preview
        self._lock = threading.Lock()
        self._last = time.monotonic()
        self._closed = not interval_s
        self._senders: list[threading.Thread] = []

    def __call__(self, run: Run) -> None:
        """A step or a node of the run; called in the websocket's thread."""
        if self._closed or time.monotonic() - self._last < self._interval:
            return
        with self._lock:
            if self._closed:
                return
            self._last = time.monotonic()
            before = set(threading.enumerate())
            try:
                self._send(self._job, self._message(run))
            except Exception:
                log.exception("progress update")
            # The SDK sends from a thread of its own and hands out no handle.
            self._senders += [
                thread
                for thread in set(threading.enumerate()) - before
                if thread.name.endswith(_SENDER_NAME)
            ]

    def close(self) -> None:
        """No update after this returns, as far as two seconds can make sure. Blocks."""
        with self._lock:
            self._closed = True
        deadline = time.monotonic() + _LAST_UPDATE_S
        for sender in self._senders:
            sender.join(max(0.0, deadline - time.monotonic()))

    @property
    def sending(self) -> bool:
        """Whether an update is under way, so that `close` may block."""
        return any(sender.is_alive() for sender in self._senders)

    def _message(self, run: Run) -> dict[str, Any]:
        message: dict[str, Any] = {
            "stage": run.node_class(run.node) or "queued",
            "step": run.step,
            "steps": run.steps,
            "percent": round(run.percent, 1),
        }
        if self._preview and run.preview is not None:
            message["preview"] = base64.b64encode(run.preview).decode("ascii")
        return message
