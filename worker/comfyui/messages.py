"""What ComfyUI says over its websocket, written into the runs that it speaks of.

JSON messages name their prompt. Binary frames do so only where the server labels them; unlabelled
ones are of the node that is being executed.
"""

from __future__ import annotations

import json
import logging
import struct
import time
from collections.abc import Callable, Mapping
from typing import Any

from worker.comfyui.outcomes import FAILURES
from worker.comfyui.runs import ENCODING_NODE, FRAME_NODE, Run
from worker.errors import NodeFailed

log = logging.getLogger(__name__)

_PREVIEW_EVENT, _LABELLED_PREVIEW_EVENT, _ENCODED_EVENT = 1, 4, 0x41313131
_PNG_FORMAT = 2


class MessageReader:
    """Reads messages in the order in which they come, in one thread.

    Args:
        runs: prompt id -> the run; others' messages are passed over.
        queue_moved: called when the server says that its queue has changed.
        outcome_untold: called with a run that ended without a word on how.

    Attributes:
        queue_length: prompts that the server runs or has waiting, anybody's, as it said last.
    """

    def __init__(
        self,
        runs: Mapping[str, Run],
        queue_moved: Callable[[], None],
        outcome_untold: Callable[[Run], None],
    ) -> None:
        self._runs = runs
        self._queue_moved = queue_moved
        self._outcome_untold = outcome_untold
        self._executing: Run | None = None
        self.queue_length = 0

    def disconnected(self) -> None:
        """What comes next is of another connection."""
        self._executing = None
        self.queue_length = 0

    def text(self, raw: bytes) -> None:
        """Read a JSON message."""
        if b'"progress_state"' in raw[:40]:
            return  # grows with the graph, and says nothing that the other messages do not
        message = parse(raw)
        kind, data = message.get("type"), message.get("data")
        if not isinstance(data, dict):
            return
        if kind == "status":
            self.queue_length = _queue_length(data)
            self._queue_moved()
            return
        handler = _HANDLERS.get(str(kind))
        run = self._runs.get(str(data.get("prompt_id")))
        if handler is None or run is None:
            return  # a message too late, or of a run that is not ours
        run.last_news = time.monotonic()
        self._executing = run
        handler(run, data)
        if kind == "executing" and run.node is None:
            run.over.set()
            if not run.future.done() and not run.succeeded:
                # Servers before 0.2 never say how it ended, or the message was lost.
                self._outcome_untold(run)
        if run.listener is not None:
            run.listener(run)

    def binary(self, raw: bytes) -> None:
        """Read a frame: a preview, or a picture."""
        view = memoryview(raw)
        if len(view) < 8:
            return
        event, word = struct.unpack(">II", view[:8])
        if event == _LABELLED_PREVIEW_EVENT:
            label = parse(bytes(view[8 : 8 + word]))
            run = self._runs.get(str(label.get("prompt_id")))
            node = str(label.get("node_id"))
            _add_image(run, node, view[8 + word :], png=label.get("image_type") == "image/png")
        elif event == _ENCODED_EVENT:
            self._add_encoded(parse(bytes(view[8 : 8 + word])), view[8 + word :])
        elif event == _PREVIEW_EVENT:
            run = self._executing
            node = (run.node or "") if run else ""
            _add_image(run, node, view[8:], png=word == _PNG_FORMAT)

    def _add_encoded(self, label: Mapping[str, Any], file: memoryview) -> None:
        run = self._runs.get(str(label.get("prompt_id")))
        if run is None:
            return
        run.last_news = time.monotonic()
        node = str(label.get("node_id"))
        if "error" in label:
            run.fail(NodeFailed(f"node {node}: a picture could not be encoded: {label['error']}"))
        else:
            run.add_encoded(node, int(label["index"]), file)


def _add_image(run: Run | None, node: str, image: memoryview, *, png: bool) -> None:
    if run is None:
        return
    run.last_news = time.monotonic()
    if png and run.node_class(node) == FRAME_NODE:
        run.frames.setdefault(node, []).append(image)
    else:
        run.preview = image


def _queue_length(data: Mapping[str, Any]) -> int:
    try:
        return int(data["status"]["exec_info"]["queue_remaining"])
    except (KeyError, TypeError, ValueError):
        return 0


def parse(raw: bytes) -> dict[str, Any]:
    """A message as an object; an empty one where it is none."""
    try:
        message = json.loads(raw)
    except (ValueError, RecursionError):
        log.warning("a websocket message of %d bytes is not JSON", len(raw))
        return {}
    return message if isinstance(message, dict) else {}


def _on_start(run: Run, data: Mapping[str, Any]) -> None:
    run.started = True
    run.started_at = time.monotonic()


def _on_cached(run: Run, data: Mapping[str, Any]) -> None:
    run.found_in_cache([str(node) for node in data.get("nodes", ())])


def _on_executing(run: Run, data: Mapping[str, Any]) -> None:
    node = data.get("node")
    run.enter(None if node is None else str(node))


def _on_progress(run: Run, data: Mapping[str, Any]) -> None:
    run.step, run.steps = int(data.get("value", 0)), int(data.get("max", 0))
    node = str(data.get("node"))
    if run.node_class(node) == FRAME_NODE:
        run.announced[node] = run.steps


def _on_executed(run: Run, data: Mapping[str, Any]) -> None:
    output = data.get("output")
    if isinstance(output, dict):
        node = str(data.get("node"))
        run.outputs[node] = output
        if run.node_class(node) == ENCODING_NODE:
            run.announced[node] = int(output["a1111_frames"][0])


def _on_success(run: Run, data: Mapping[str, Any]) -> None:
    run.succeed()


def _on_failure(kind: str) -> Callable[[Run, Mapping[str, Any]], None]:
    return lambda run, data: run.fail(FAILURES[kind](data))


_HANDLERS: Mapping[str, Callable[[Run, Mapping[str, Any]], None]] = {
    "execution_start": _on_start,
    "execution_cached": _on_cached,
    "executing": _on_executing,
    "progress": _on_progress,
    "executed": _on_executed,
    "execution_success": _on_success,
    **{kind: _on_failure(kind) for kind in FAILURES},
}
