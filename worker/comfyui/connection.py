"""The connection to one ComfyUI: one websocket for the worker's life, and the runs it tells of.

A thread reads the websocket; nothing else does. Each submitted graph is a `Run` whose outcome is a
`concurrent.futures.Future`, so it does not matter which event loop, or none, a job lives in.

When the socket breaks, the thread connects again under a fresh client id (ComfyUI forgets a
reconnect under the old id as soon as the old socket dies). The server goes on telling the old id of
the runs submitted under it, that is nobody: such runs are settled from ``/queue`` and ``/history``,
looked up whenever the server broadcasts that its queue has moved.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import socket
import struct
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from concurrent.futures import Future, InvalidStateError, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any

import websocket
from websocket import ABNF

from worker.comfyui.http import ComfyApi, is_passing
from worker.errors import (
    ComfyError,
    Interrupted,
    JobError,
    NodeFailed,
    PromptRefused,
    RunLost,
    Unreachable,
)
from worker.settings import Settings

log = logging.getLogger(__name__)

Bytes = bytes | memoryview

FRAME_NODE = "SaveImageWebsocket"
"""The node class that sends its images as binary frames instead of saving them."""

ENCODING_NODE = "A1111ImageFrames"
"""Our node pack's, which sends finished files, encoded beside ComfyUI's own thread."""

FRAME_NODES = (FRAME_NODE, ENCODING_NODE)

_HANDSHAKE_S = 1.0
_END_OF_RUN_S = 0.2
"""How much later than its outcome the end of a run may be told before it is looked up."""
_STOP_PAUSE_S = 0.1
_LATE_FILES_S = 5.0
"""How long after a run's end, or its last file, another may still come, at most."""
_LATE_FILES_SILENCES = 4
"""The same, in times of SILENCE_S."""
_SAMPLER_WEIGHT = 20
_PREVIEW_EVENT, _LABELLED_PREVIEW_EVENT, _ENCODED_EVENT = 1, 4, 0x41313131
_PNG_FORMAT = 2
_FEATURES = json.dumps({"type": "feature_flags", "data": {"supports_preview_metadata": True}})

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


class Comfy:
    """One ComfyUI: submits graphs and tells how they end.

    Args:
        settings: address, delays and limits.
        on_connect: called in a helper thread after every connection that is ready.
        on_gone: called in the websocket's thread when the server has not answered for as long as
            jobs wait for it.
    """

    def __init__(
        self,
        settings: Settings,
        on_connect: Callable[[], None] | None = None,
        on_gone: Callable[[], None] | None = None,
    ) -> None:
        self.api = ComfyApi(settings.comfyui_url, settings.http_timeout_s)
        self.labels_frames = False
        self._settings = settings
        self._on_connect = on_connect
        self._on_gone = on_gone
        self._lock = threading.Lock()
        self._runs: dict[str, Run] = {}
        self._client_id = ""
        self._ready = threading.Event()
        self._closing = threading.Event()
        self._down_since = time.monotonic()
        self._socket: websocket.WebSocket | None = None
        self._executing: Run | None = None
        self._last_message = 0.0
        self._helper = ThreadPoolExecutor(1, "comfy-helper")
        self._lookup_queued = False
        self._readers = {
            ABNF.OPCODE_TEXT: self._on_text,
            ABNF.OPCODE_BINARY: self._on_binary,
        }
        self._thread = threading.Thread(
            target=self._keep_connected, name="comfy-socket", daemon=True
        )

    # Life of the connection

    def start(self) -> None:
        """Start the websocket's thread; `wait_ready` tells when it is connected."""
        self._thread.start()

    def close(self) -> None:
        """End the thread and the pooled connections; unfinished runs fail."""
        self._closing.set()
        self._wake_reader()
        if self._thread.is_alive():
            self._thread.join(timeout=self._settings.http_timeout_s)
        self._helper.shutdown(wait=True, cancel_futures=True)
        self._fail_all(Unreachable("the worker is shutting down", "send the job again"))
        self.api.close()

    @property
    def ready(self) -> bool:
        """Whether the websocket is connected now."""
        return self._ready.is_set()

    def wait_ready(self, timeout_s: float) -> None:
        """Wait for the websocket.

        Raises:
            Unreachable: it is not connected after `timeout_s`.
        """
        if not self._ready.wait(timeout_s):
            raise Unreachable(
                f"ComfyUI at {self.api.url} does not answer (waited {timeout_s:g} s)",
                "check that ComfyUI runs and that COMFYUI_URL is right",
            )

    # Runs

    def submit(
        self,
        graph: Mapping[str, Any],
        adopt: Callable[[Run], None],
        *,
        listener: Callable[[Run], None] | None = None,
        extra: Mapping[str, Any] | None = None,
    ) -> Run:
        """Queue a graph under a fresh prompt id. Blocks until the server has taken it.

        Args:
            adopt: takes each attempt as its own before it is sent, and must `stop` and `release`
                it in the end: one whose answer got lost may run all the same. What it raises ends
                the submission.
            listener: called in the websocket's thread at every step and node; must be quick.
            extra: ComfyUI's ``extra_data``, such as the key for API nodes.

        Raises:
            PromptRefused: validation failed.
            Unreachable: the server did not answer for as long as jobs wait for it.
        """
        deadline = time.monotonic() + self._settings.patience_s
        while True:
            self.wait_ready(max(0.0, deadline - time.monotonic()))
            run = Run(str(uuid.uuid4()), self._client_id, graph, listener)
            adopt(run)
            with self._lock:
                self._runs[run.prompt_id] = run
            try:
                self.api.prompt(graph, run.prompt_id, run.client_id, extra or {})
                return run
            except ComfyError as error:
                run.fail(error)
                if isinstance(error, PromptRefused) and not error.queued:
                    run.over.set()
                else:
                    self.cancel(run)
                if not is_passing(error) or time.monotonic() >= deadline:
                    raise
            time.sleep(self._settings.reconnect_delay_s)

    async def wait(self, run: Run) -> RunResult:
        """Wait for a run's end. While the websocket is silent about it, look it up over HTTP.

        Raises:
            NodeFailed, Interrupted, RunLost, Unreachable: how it ended.
        """
        outcome = asyncio.wrap_future(run.future)
        outcome.add_done_callback(_retrieved)  # a job that is stopped does not come for it
        loop = asyncio.get_running_loop()
        while True:
            pause = max(0.01, self._settings.silence_s - self._silence(run))
            done, _ = await asyncio.wait({outcome}, timeout=pause)
            if done:
                return outcome.result()
            if self._silence(run) >= self._settings.silence_s:
                await loop.run_in_executor(None, self.look_up, run)
                run.last_news = time.monotonic()
                if run.future.done() and run.client_id == self._client_id:
                    self._replace_socket()  # it should have told us

    def _silence(self, run: Run) -> float:
        """Seconds without news of a run. Any message will do for one that waits for its turn."""
        news = run.last_news
        if not run.started and run.client_id == self._client_id:
            news = max(news, self._last_message)
        return time.monotonic() - news

    def look_up(self, run: Run) -> None:
        """Settle a run from the server's history and queue, as far as they tell. Never raises."""
        try:
            self._look_up(run)
        except ComfyError as error:
            log.debug("look-up of %s: %s", run.prompt_id, error)
        except Exception:  # an answer of nonsense tells nothing of the run
            log.exception("look-up of %s", run.prompt_id)

    def cancel(self, run: Run) -> None:
        """Stop a run: out of the queue if it waits there, interrupted if it runs. Never raises."""
        try:
            self.api.cancel(run.prompt_id)
        except ComfyError as error:
            log.warning("could not cancel %s: %s", run.prompt_id, error)

    def stop(self, run: Run, grace_s: float) -> bool:
        """See to it that the server is done with a run. Blocks, never raises.

        Returns:
            False if it was interrupted and runs on nevertheless after `grace_s`.
        """
        if run.future.done() and run.over.wait(_END_OF_RUN_S):
            return True
        self.cancel(run)
        deadline = time.monotonic() + grace_s
        while self._is_running(run):
            if time.monotonic() >= deadline:
                return False
            run.over.wait(_STOP_PAUSE_S)
        return True

    def _is_running(self, run: Run) -> bool:
        """Whether the server executes a run; False also where it does not answer."""
        try:
            return run.prompt_id in self.api.queue()[0]
        except ComfyError:
            return False

    def release(self, run: Run) -> None:
        """Forget a run that is over, here and in the server's history. Blocks, never raises."""
        try:
            self.api.forget([run.prompt_id])
        except ComfyError as error:
            log.debug("history of %s not deleted: %s", run.prompt_id, error)
        with self._lock:
            self._runs.pop(run.prompt_id, None)

    @property
    def active_runs(self) -> int:
        """Runs that were submitted and not yet released."""
        with self._lock:
            return len(self._runs)

    def _whereabouts(self, prompt_id: str) -> tuple[bool, bool]:
        """Whether the server runs a prompt, and whether it waits in the queue."""
        status = self.api.job_status(prompt_id)
        if status is not None:
            return status == "in_progress", status == "pending"
        running, pending = self.api.queue()
        return prompt_id in running, prompt_id in pending

    def _look_up(self, run: Run) -> None:
        if run.future.done() or self._ended_in_history(run):
            return
        runs, waits = self._whereabouts(run.prompt_id)
        if runs:
            run.started = True
        elif waits:
            if run.client_id != self._client_id:
                # Its messages would go to the old client id; submitted again they reach us.
                self.api.dequeue([run.prompt_id])
                run.fail(RunLost("the websocket broke while the job waited", started=False))
        elif not self._ended_in_history(run):
            run.fail(RunLost("ComfyUI lost the job (was it started again?)", started=run.started))
            run.over.set()

    def _ended_in_history(self, run: Run) -> bool:
        entry = self.api.history(run.prompt_id)
        if entry is None:
            return False
        try:
            self.raise_if_failed(entry)
        except ComfyError as error:
            run.fail(error)
        else:
            run.outputs.update(entry.get("outputs") or {})
            if self._files_may_come(run):
                run.succeed()
            else:
                run.finish()
        run.over.set()
        return True

    def _files_may_come(self, run: Run) -> bool:
        """Whether files that are still being encoded can reach us: the connection is the same."""
        waited_s = time.monotonic() - (run.waits_for_files_since or time.monotonic())
        patience_s = min(_LATE_FILES_S, _LATE_FILES_SILENCES * self._settings.silence_s)
        return run.client_id == self._client_id and waited_s < patience_s

    @staticmethod
    def raise_if_failed(entry: Mapping[str, Any]) -> None:
        """Raise how a run failed if its history entry says that it did."""
        status = entry.get("status") or {}
        if status.get("status_str", "success") == "success":
            return
        for kind, data in status.get("messages", ()):
            if kind in _FAILURES:
                raise _FAILURES[kind](data)
        raise ComfyError("ComfyUI reports that the job failed, and not why")

    # The websocket's thread

    def _keep_connected(self) -> None:
        while not self._closing.is_set():
            try:
                self._connect()
                self._read()
            except (OSError, websocket.WebSocketException, ValueError) as error:
                log.debug("websocket: %s: %s", type(error).__name__, error)
            except Exception:  # whatever a server sends, the connection is made again
                log.exception("websocket")
            finally:
                self._disconnected()
            if time.monotonic() - self._down_since > self._settings.patience_s:
                self._give_up()
            self._closing.wait(self._settings.reconnect_delay_s)

    def _connect(self) -> None:
        client_id = uuid.uuid4().hex
        address = f"ws{self.api.url.removeprefix('http')}/ws?clientId={client_id}"
        connection = websocket.create_connection(
            address,
            timeout=min(self._settings.ping_s, self._settings.http_timeout_s),
            skip_utf8_validation=True,  # in plain Python, and json.loads checks anyway
            enable_multithread=True,
            sockopt=((socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),),
        )
        self._socket = connection
        self.labels_frames = self._shake_hands(connection)
        with self._lock:
            self._client_id = client_id
        connection.settimeout(self._settings.ping_s)
        log.info("connected to ComfyUI at %s", self.api.url)
        self._ready.set()
        self._helper.submit(self._after_connect)

    def _shake_hands(self, connection: websocket.WebSocket) -> bool:
        """Announce our features; True if the server will label its binary frames.

        A server that knows no features does not answer, so the wait is short.
        """
        connection.send(_FEATURES)
        connection.settimeout(_HANDSHAKE_S)
        deadline = time.monotonic() + _HANDSHAKE_S
        while time.monotonic() < deadline:
            try:
                opcode, raw = connection.recv_data()
            except websocket.WebSocketTimeoutException:
                return False
            if opcode == ABNF.OPCODE_CLOSE:
                raise websocket.WebSocketConnectionClosedException("closed at once")
            message = _parse(raw) if opcode == ABNF.OPCODE_TEXT else {}
            if message.get("type") == "feature_flags":
                flags = message.get("data")
                return isinstance(flags, dict) and flags.get("supports_preview_metadata") is True
        return False

    def _after_connect(self) -> None:
        self._look_up_strays()
        if self._on_connect is not None:
            try:
                self._on_connect()
            except Exception:  # a hook must not end the thread that settles runs
                log.exception("after connecting")

    def _disconnected(self) -> None:
        if self._ready.is_set() and not self._closing.is_set():
            log.warning("websocket to ComfyUI at %s closed", self.api.url)
            self._not_ready()
        self._executing = None
        connection, self._socket = self._socket, None
        if connection is not None:
            with contextlib.suppress(OSError, websocket.WebSocketException):
                connection.shutdown()  # type: ignore[no-untyped-call]

    def _not_ready(self) -> None:
        self._ready.clear()
        self._down_since = time.monotonic()

    def _replace_socket(self) -> None:
        """Give up the connection; the socket's thread makes another."""
        self._not_ready()
        self._wake_reader()

    def _wake_reader(self) -> None:
        """End the read that the socket's thread is in; closing the socket would not."""
        connection = self._socket
        if connection is not None and connection.sock is not None:
            with contextlib.suppress(OSError):
                connection.sock.shutdown(socket.SHUT_RDWR)

    def _read(self) -> None:
        connection = self._socket
        pinged = False
        while connection is not None and not self._closing.is_set():
            try:
                opcode, raw = connection.recv_data(control_frame=True)
            except websocket.WebSocketTimeoutException:
                if pinged:
                    raise  # neither message nor pong: a half-open socket
                connection.ping()
                pinged = True
                continue
            pinged = False
            if opcode == ABNF.OPCODE_CLOSE:
                return
            reader = self._readers.get(opcode)
            if reader is not None:
                self._last_message = time.monotonic()
                self._guarded(reader, raw)

    @staticmethod
    def _guarded(reader: Callable[[bytes], None], raw: bytes) -> None:
        """Read a message; one that makes no sense is left out, as the silence look-up mends it."""
        try:
            reader(raw)
        except Exception:
            log.exception("a websocket message of %d bytes could not be read", len(raw))

    def _on_text(self, raw: bytes) -> None:
        if b'"progress_state"' in raw[:40]:
            return  # grows with the graph, and says nothing that the other messages do not
        message = _parse(raw)
        kind, data = message.get("type"), message.get("data")
        if not isinstance(data, dict):
            return
        if kind == "status":
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
                # How it ended was not said: servers before 0.2 never do, or the message was lost.
                self._helper.submit(self.look_up, run)
        if run.listener is not None:
            run.listener(run)

    def _on_binary(self, raw: bytes) -> None:
        view = memoryview(raw)
        if len(view) < 8:
            return
        event, word = struct.unpack(">II", view[:8])
        if event == _LABELLED_PREVIEW_EVENT:
            label = _parse(bytes(view[8 : 8 + word]))
            run = self._runs.get(str(label.get("prompt_id")))
            node = str(label.get("node_id"))
            self._on_image(run, node, view[8 + word :], png=label.get("image_type") == "image/png")
        elif event == _ENCODED_EVENT:
            self._on_encoded(_parse(bytes(view[8 : 8 + word])), view[8 + word :])
        elif event == _PREVIEW_EVENT:
            run = self._executing
            node = (run.node or "") if run else ""
            self._on_image(run, node, view[8:], png=word == _PNG_FORMAT)

    def _on_encoded(self, label: Mapping[str, Any], file: memoryview) -> None:
        run = self._runs.get(str(label.get("prompt_id")))
        if run is None:
            return
        run.last_news = time.monotonic()
        node = str(label.get("node_id"))
        if "error" in label:
            run.fail(NodeFailed(f"node {node}: a picture could not be encoded: {label['error']}"))
        else:
            run.add_encoded(node, int(label["index"]), file)

    def _on_image(self, run: Run | None, node: str, image: memoryview, *, png: bool) -> None:
        if run is None:
            return
        run.last_news = time.monotonic()
        if png and run.node_class(node) == FRAME_NODE:
            run.frames.setdefault(node, []).append(image)
        else:
            run.preview = image

    # Runs of an earlier connection

    def _strays(self) -> list[Run]:
        with self._lock:
            return [
                run
                for run in self._runs.values()
                if run.client_id != self._client_id and not run.future.done()
            ]

    def _queue_moved(self) -> None:
        if not self._lookup_queued and self._strays():
            self._lookup_queued = True
            self._helper.submit(self._look_up_strays)

    def _look_up_strays(self) -> None:
        self._lookup_queued = False
        for run in self._strays():
            self.look_up(run)

    # The server is gone

    def _give_up(self) -> None:
        self._down_since = time.monotonic()
        self._fail_all(
            Unreachable(
                f"ComfyUI at {self.api.url} went away and did not come back within "
                f"{self._settings.patience_s:g} s",
                "send the job again; if it happens at the same job, look into ComfyUI's log",
            )
        )
        if self._on_gone is not None:
            self._on_gone()

    def _fail_all(self, error: Unreachable) -> None:
        with self._lock:
            runs = list(self._runs.values())
        for run in runs:
            run.fail(error)


def _retrieved(outcome: asyncio.Future[RunResult]) -> None:
    if not outcome.cancelled():
        outcome.exception()


def _parse(raw: bytes) -> dict[str, Any]:
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
    return lambda run, data: run.fail(_FAILURES[kind](data))


def node_failure(data: Mapping[str, Any]) -> NodeFailed:
    """The error for an ``execution_error`` message."""
    kind = str(data.get("exception_type", ""))
    text = str(data.get("exception_message", "")).strip()
    node_class = str(data.get("node_type"))
    where = f"node {data.get('node_id')} ({node_class})"
    for sign, what, remedy in _KNOWN_FAILURES:
        if sign in f"{kind} {text}":
            return NodeFailed(f"{where} {what}", remedy, node_class=node_class, text=text)
    message = f"{where} failed: {kind.rpartition('.')[2]}: {text}"
    return NodeFailed(message, node_class=node_class, text=text)


def interruption(data: Mapping[str, Any]) -> Interrupted:
    """The error for an ``execution_interrupted`` message."""
    return Interrupted(
        f"the job was interrupted on the server in node {data.get('node_id')} "
        f"({data.get('node_type')})",
        "send it again",
    )


_FAILURES: Mapping[str, Callable[[Mapping[str, Any]], ComfyError]] = {
    "execution_error": node_failure,
    "execution_interrupted": interruption,
}

_HANDLERS: Mapping[str, Callable[[Run, Mapping[str, Any]], None]] = {
    "execution_start": _on_start,
    "execution_cached": _on_cached,
    "executing": _on_executing,
    "progress": _on_progress,
    "executed": _on_executed,
    "execution_success": _on_success,
    **{kind: _on_failure(kind) for kind in _FAILURES},
}
