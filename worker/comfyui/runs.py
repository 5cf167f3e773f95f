"""A run: one submission of a graph, what is known of it, and what it leaves."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, InvalidStateError
from dataclasses import dataclass, field, replace
from typing import Any

from worker.errors import JobError

Bytes = bytes | memoryview

FRAME_NODE = "SaveImageWebsocket"
"""The node class that sends its images as binary frames instead of saving them."""

ENCODING_NODE = "A1111ImageFrames"
"""Our node pack's, which sends finished files, encoded beside ComfyUI's own thread."""

FRAME_NODES = (FRAME_NODE, ENCODING_NODE)

_SAMPLER_WEIGHT = 20


@dataclass(frozen=True)
class RunResult:
    """What a finished run left.

    Attributes:
        outputs: output node id -> what it answered, e.g. ``{"images": [{"filename", ...}]}``.
        frames: node id -> PNG images it sent over the websocket, in order.
        announced: node id -> how many frames it said it would send.
        partial: whether the run was ended before it had made everything.
    """

    outputs: Mapping[str, Mapping[str, Any]]
    frames: Mapping[str, list[Bytes]]
    announced: Mapping[str, int]
    partial: bool = False


@dataclass(eq=False)
class Run:
    """One submission of a graph. Written by the websocket's thread, read by the job.

    `future` holds how it ended; `over` is set when the server is done with it too, which comes a
    little later: only then is it in the history.
    """

    prompt_id: str
    client_id: str
    graph: Mapping[str, Any]
    listener: Callable[[Run], None] | None = None
    future: Future[RunResult] = field(default_factory=Future)
    outputs: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    frames: dict[str, list[Bytes]] = field(default_factory=dict)
    encoded: dict[str, dict[int, Bytes]] = field(default_factory=dict)
    announced: dict[str, int] = field(default_factory=dict)
    waits_for_files_since: float | None = None
    cached: tuple[str, ...] = ()
    started: bool = False
    started_at: float | None = None
    node: str | None = None
    step: int = 0
    steps: int = 0
    preview: Bytes | None = None
    last_news: float = field(default_factory=time.monotonic)
    over: threading.Event = field(default_factory=threading.Event)
    _done: set[str] = field(default_factory=set)

    def node_class(self, node_id: str | None) -> str:
        """The class of a node of this run's graph, or an empty text."""
        node = self.graph.get(node_id or "")
        return str(node.get("class_type", "")) if isinstance(node, Mapping) else ""

    @property
    def done(self) -> frozenset[str]:
        """Nodes that have run or were found in the cache."""
        return frozenset(self._done)

    @property
    def so_far(self) -> RunResult:
        """What it has made up to now."""
        return replace(self._result, partial=True)

    @property
    def _result(self) -> RunResult:
        ordered = {
            node: [files[index] for index in sorted(files)] for node, files in self.encoded.items()
        }
        return RunResult(self.outputs, {**self.frames, **ordered}, self.announced)

    @property
    def percent(self) -> float:
        """Share of the graph that is done, 0 to 100; a sampler counts as 20 nodes."""
        weights = {
            node: _SAMPLER_WEIGHT if "Sampler" in self.node_class(node) else 1
            for node in self.graph
        }
        done: float = sum(weight for node, weight in weights.items() if node in self._done)
        if self.node in weights and self.steps:
            done += weights[self.node] * min(1.0, self.step / self.steps)
        return 100.0 * done / max(1, sum(weights.values()))

    def enter(self, node: str | None) -> None:
        """The server begins with a node (None: the run is over)."""
        if self.node is not None and self.node != node:
            self._done.add(self.node)
        self.node, self.step, self.steps = node, 0, 0

    def found_in_cache(self, nodes: list[str]) -> None:
        self.cached = tuple(nodes)
        self._done.update(nodes)

    @property
    def succeeded(self) -> bool:
        """Whether the server has said that all went well."""
        return self.waits_for_files_since is not None

    def succeed(self) -> None:
        """The server is done, and well; files that are still being encoded are waited for."""
        if self.waits_for_files_since is None:
            self.waits_for_files_since = time.monotonic()
        self._finish_if_complete()

    def add_encoded(self, node: str, index: int, file: Bytes) -> None:
        """A file of `ENCODING_NODE` has come; they come in any order, some after the end."""
        self.encoded.setdefault(node, {})[index] = file
        if self.succeeded:
            self.waits_for_files_since = time.monotonic()
        self._finish_if_complete()

    @property
    def has_all_encoded(self) -> bool:
        """Whether every file has come that nodes so far have announced."""
        return all(
            len(self.encoded.get(node, ())) >= count
            for node, count in dict(self.announced).items()
            if self.node_class(node) == ENCODING_NODE
        )

    def _finish_if_complete(self) -> None:
        if self.succeeded and self.has_all_encoded:
            self.finish()

    def finish(self) -> None:
        result = self._result
        self._settle(lambda: self.future.set_result(result))

    def drop_images(self) -> None:
        """Let go of the images; the log and the cleaning up need the run, not these."""
        self.frames.clear()
        self.encoded.clear()

    def fail(self, error: JobError) -> None:
        self._settle(lambda: self.future.set_exception(error))

    @staticmethod
    def _settle(settle: Callable[[], None]) -> None:
        """The first outcome holds; the socket's thread and a look-up may both bring one."""
        with contextlib.suppress(InvalidStateError):
            settle()
