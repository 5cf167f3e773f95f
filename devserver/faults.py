"""Faults that a test injects between the server and its client."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import Literal


@dataclass(eq=False)
class SocketFault:
    """Something happens to the websocket after a message was sent.

    Attributes:
        action: ``close`` closes the socket; ``reset`` cuts the connection without a word;
            ``silence`` sends nothing more on it; ``half_open`` does that and answers no ping
            either; ``malformed`` sends `frame`; ``die`` kills the server.
        after: strikes once this many messages were sent since the fault was added.
        of: count only messages of this type (``executing``, ``progress``..., ``binary``).
        times: how often it strikes; the count starts anew after each.
        frame: what ``malformed`` sends: text, or bytes as a binary frame.
    """

    action: Literal["close", "reset", "silence", "half_open", "malformed", "die"]
    after: int = 1
    of: str | None = None
    times: int = 1
    frame: str | bytes = '{"type": "progress", "da'
    seen: int = field(default=0, init=False)


@dataclass(eq=False)
class HttpFault:
    """A request fails.

    Attributes:
        path: the route's path begins with this (``/prompt``, ``/view``...).
        method: of the request, or None for any.
        action: ``status`` answers `status`; ``drop`` cuts the connection before the request is
            handled, ``drop_answer`` after it; ``delay`` waits `seconds`, then answers as usual;
            ``garbage`` answers 200 with text that is no JSON.
        times: how many requests it hits.
    """

    path: str
    method: str | None = None
    action: Literal["status", "drop", "drop_answer", "delay", "garbage"] = "status"
    status: int = 500
    seconds: float = 0.0
    times: int = 1


@dataclass(eq=False)
class NodeFault:
    """A node fails when it is executed.

    Attributes:
        class_type: of the node.
        action: ``error`` raises; ``hang`` does not return until it is interrupted, or never where
            `obeys_interrupt` is False; ``die`` kills the server.
        message, kind: of the exception.
        at_step: strike before this progress step, or before the node does anything where it is 0.
        tips: what ComfyUI adds to the message (it does for running out of memory).
    """

    class_type: str
    action: Literal["error", "hang", "die"] = "error"
    message: str = "injected fault"
    kind: str = "RuntimeError"
    tips: str = ""
    at_step: int = 0
    obeys_interrupt: bool = True
    times: int = 1


def out_of_memory(class_type: str, times: int = 1) -> NodeFault:
    """The GPU runs out of memory in a node of this class."""
    return NodeFault(
        class_type,
        message="Allocation on device ",
        kind="torch.OutOfMemoryError",
        tips=(
            "This error means you ran out of memory on your GPU.\n\nTIPS: If the workflow worked "
            "before you might have accidentally set the batch_size to a large number."
        ),
        times=times,
    )


def disk_full(class_type: str = "SaveImage", times: int = 1) -> NodeFault:
    """An output node finds no room on the disk."""
    message = "[Errno 28] No space left on device"
    return NodeFault(class_type, message=message, kind="OSError", times=times)


Fault = SocketFault | HttpFault | NodeFault


class Faults:
    """The faults that are armed. Safe to use from any thread.

    Attributes:
        fired: the faults that struck, in order.
    """

    def __init__(self, *faults: Fault) -> None:
        self._lock = threading.Lock()
        self._armed: list[Fault] = list(faults)
        self.fired: list[Fault] = []

    def add(self, *faults: Fault) -> None:
        with self._lock:
            self._armed += faults

    def clear(self) -> None:
        """Disarm what has not struck, and forget what has."""
        with self._lock:
            self._armed.clear()
            self.fired.clear()

    def on_message(self, kind: str) -> SocketFault | None:
        """A message was sent: the fault that strikes now."""
        with self._lock:
            waiting = [
                fault
                for fault in self._armed
                if isinstance(fault, SocketFault) and fault.of in (None, kind)
            ]
            for fault in waiting:
                fault.seen += 1
            for fault in waiting:
                if fault.seen >= fault.after:
                    fault.seen = 0
                    self._strike(fault)
                    return fault
        return None

    def on_request(self, method: str, path: str) -> HttpFault | None:
        """A request came in: the fault that hits it."""
        with self._lock:
            for fault in self._armed:
                if (
                    isinstance(fault, HttpFault)
                    and path.startswith(fault.path)
                    and fault.method in (None, method)
                ):
                    self._strike(fault)
                    return fault
        return None

    def on_node(self, class_type: str) -> NodeFault | None:
        """A node is about to run: the fault that hits it."""
        with self._lock:
            for fault in self._armed:
                if isinstance(fault, NodeFault) and fault.class_type == class_type:
                    self._strike(fault)
                    return fault
        return None

    def _strike(self, fault: Fault) -> None:
        self.fired.append(fault)
        fault.times -= 1
        if fault.times <= 0:
            self._armed.remove(fault)
