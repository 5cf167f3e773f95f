"""The connection to one ComfyUI: submits graphs and tells how their runs end.

Each submitted graph is a `Run` whose outcome is a `concurrent.futures.Future`, so it does not
matter which event loop, or none, a job lives in.

When the websocket breaks, the next one has another client id. The server goes on telling the old
id of the runs submitted under it, that is nobody: such runs are settled from ``/queue`` and
``/history``, looked up whenever the server broadcasts that its queue has moved.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from worker.comfyui.channel import Channel
from worker.comfyui.http import ComfyApi, is_passing
from worker.comfyui.lookup import Lookup
from worker.comfyui.messages import MessageReader
from worker.comfyui.runs import Run, RunResult
from worker.errors import ComfyError, PromptRefused, Unreachable
from worker.settings import Settings

log = logging.getLogger(__name__)

_END_OF_RUN_S = 0.2
"""How much later than its outcome the end of a run may be told before it is looked up."""
_STOP_PAUSE_S = 0.1


class Comfy:
    """One ComfyUI.

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
        self._settings = settings
        self._on_connect = on_connect
        self._on_gone = on_gone
        self._lock = threading.Lock()
        self._runs: dict[str, Run] = {}
        self._helper = ThreadPoolExecutor(1, "comfy-helper")
        self._lookup_queued = False
        self._reader = MessageReader(self._runs, self._queue_moved, self._outcome_untold)
        self._channel = Channel(settings, self._reader, self._connected, self._given_up)
        self._lookup = Lookup(self.api, settings, lambda: self._channel.client_id)

    # Life of the connection

    def start(self) -> None:
        """Start the websocket's thread; `wait_ready` tells when it is connected."""
        self._channel.start()

    def close(self) -> None:
        """End the thread and the pooled connections; unfinished runs fail."""
        self._channel.close()
        self._helper.shutdown(wait=True, cancel_futures=True)
        self._fail_all(Unreachable("the worker is shutting down", "send the job again"))
        self.api.close()

    @property
    def ready(self) -> bool:
        """Whether the websocket is connected now."""
        return self._channel.ready

    @property
    def queue_length(self) -> int:
        """Prompts that the server runs or has waiting, ours and others', as it said last."""
        return self._reader.queue_length

    @property
    def labels_frames(self) -> bool:
        """Whether the server says of which node a binary frame is."""
        return self._channel.labels_frames

    def wait_ready(self, timeout_s: float) -> None:
        """Wait for the websocket.

        Raises:
            Unreachable: it is not connected after `timeout_s`.
        """
        if not self._channel.wait_ready(timeout_s):
            raise Unreachable(
                f"ComfyUI at {self.api.url} does not answer (waited {timeout_s:g} s)",
                "check that ComfyUI runs and that COMFYUI_URL is right",
            )

    def _connected(self) -> None:
        self._in_helper(self._after_connect)

    def _after_connect(self) -> None:
        self._look_up_strays()
        if self._on_connect is not None:
            try:
                self._on_connect()
            except Exception:  # a hook must not end the thread that settles runs
                log.exception("after connecting")

    def _in_helper(self, work: Callable[[], None]) -> None:
        with contextlib.suppress(RuntimeError):  # it is shut down
            self._helper.submit(work)

    # Runs

    def submit(
        self,
        graph: Mapping[str, Any],
        register: Callable[[Run], None],
        *,
        listener: Callable[[Run], None] | None = None,
        extra: Mapping[str, Any] | None = None,
    ) -> Run:
        """Queue a graph under a fresh prompt id. Blocks until the server has taken it.

        Args:
            register: takes each attempt as its own before it is sent, and must `stop` and `release`
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
            run = Run(str(uuid.uuid4()), self._channel.client_id, graph, listener)
            register(run)
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
                if run.future.done() and run.client_id == self._channel.client_id:
                    self._channel.replace_socket()  # it should have told us

    def _silence(self, run: Run) -> float:
        """Seconds without news of a run. Any message will do for one that waits for its turn."""
        news = run.last_news
        if not run.started and run.client_id == self._channel.client_id:
            news = max(news, self._channel.last_message)
        return time.monotonic() - news

    def look_up(self, run: Run) -> None:
        """Settle a run from the server's history and queue, as far as they tell. Never raises."""
        self._lookup.settle(run)

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

    def _outcome_untold(self, run: Run) -> None:
        self._in_helper(partial(self.look_up, run))

    # Runs of an earlier connection

    def _strays(self) -> list[Run]:
        with self._lock:
            return [
                run
                for run in self._runs.values()
                if run.client_id != self._channel.client_id and not run.future.done()
            ]

    def _queue_moved(self) -> None:
        if not self._lookup_queued and self._strays():
            self._lookup_queued = True
            self._in_helper(self._look_up_strays)

    def _look_up_strays(self) -> None:
        self._lookup_queued = False
        for run in self._strays():
            self.look_up(run)

    # The server is gone

    def _given_up(self) -> None:
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
