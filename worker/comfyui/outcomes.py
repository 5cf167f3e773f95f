"""How a run failed, in words: from messages of the websocket, which the history has too."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from worker.errors import ComfyError, Interrupted, NodeFailed

_OUT_OF_MEMORY = (
    "ran out of GPU memory",
    "ask for a smaller width, height or batch_size, or use a larger GPU",
)
_KNOWN_FAILURES: tuple[tuple[str, str, str], ...] = (
    ("OutOfMemory", *_OUT_OF_MEMORY),
    ("out of memory", *_OUT_OF_MEMORY),
    (
        "No space left on device",
        "found no room on ComfyUI's disk",
        "have the operator free its output and temp folders",
    ),
)
"""Sign in a node's exception -> what happened, and what to do."""


def node_failure(data: Mapping[str, Any]) -> NodeFailed:
    """The error for an ``execution_error`` message."""
    kind = str(data.get("exception_type", ""))
    text = str(data.get("exception_message", "")).strip()
    node_class = str(data.get("node_type"))
    node = str(data.get("node_id"))
    where = f"node {node} ({node_class})"
    told = {"node": node, "node_class": node_class, "text": text}
    for sign, what, remedy in _KNOWN_FAILURES:
        if sign in f"{kind} {text}":
            return NodeFailed(f"{where} {what}", remedy, **told)
    message = f"{where} failed: {kind.rpartition('.')[2]}: {text}"
    return NodeFailed(message, **told)


def interruption(data: Mapping[str, Any]) -> Interrupted:
    """The error for an ``execution_interrupted`` message."""
    return Interrupted(
        f"the job was interrupted on the server in node {data.get('node_id')} "
        f"({data.get('node_type')})",
        "send it again",
    )


FAILURES: Mapping[str, Callable[[Mapping[str, Any]], ComfyError]] = {
    "execution_error": node_failure,
    "execution_interrupted": interruption,
}
"""A message's type -> the error that it tells."""


def raise_if_failed(entry: Mapping[str, Any]) -> None:
    """Raise how a run failed if its history entry says that it did."""
    status = entry.get("status") or {}
    if status.get("status_str", "success") == "success":
        return
    for kind, data in status.get("messages", ()):
        if kind in FAILURES:
            raise FAILURES[kind](data)
    raise ComfyError("ComfyUI reports that the job failed, and not why")
