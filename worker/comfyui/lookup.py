"""How a run stands by the server's queue and history, where the websocket is silent about it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from worker.comfyui.http import ComfyApi
from worker.comfyui.outcomes import raise_if_failed
from worker.comfyui.runs import Run
from worker.errors import ComfyError, RunLost
from worker.settings import Settings

log = logging.getLogger(__name__)

_LATE_FILES_S = 5.0
"""How long after a run's end, or its last file, another may still come, at most."""
_LATE_FILES_SILENCES = 4
"""The same, in times of SILENCE_S."""


class Lookup:
    """Settles runs over HTTP.

    Args:
        api: the server.
        settings: how long the websocket may be silent.
        client_id: tells the websocket's present client id.
    """

    def __init__(self, api: ComfyApi, settings: Settings, client_id: Callable[[], str]) -> None:
        self._api = api
        self._late_files_s = min(_LATE_FILES_S, _LATE_FILES_SILENCES * settings.silence_s)
        self._client_id = client_id

    def settle(self, run: Run) -> None:
        """Settle a run from the server's history and queue, as far as they tell. Never raises."""
        try:
            self._look_up(run)
        except ComfyError as error:
            log.debug("look-up of %s: %s", run.prompt_id, error)
        except Exception:  # an answer of nonsense tells nothing of the run
            log.exception("look-up of %s", run.prompt_id)

    def _whereabouts(self, prompt_id: str) -> tuple[bool, bool]:
        """Whether the server runs a prompt, and whether it waits in the queue."""
        status = self._api.job_status(prompt_id)
        if status is not None:
            return status == "in_progress", status == "pending"
        running, pending = self._api.queue()
        return prompt_id in running, prompt_id in pending

    def _look_up(self, run: Run) -> None:
        if run.future.done() or self._ended_in_history(run):
            return
        runs, waits = self._whereabouts(run.prompt_id)
        if runs:
            run.started = True
        elif waits:
            if run.client_id != self._client_id():
                # Its messages would go to the old client id; submitted again they reach us.
                self._api.dequeue([run.prompt_id])
                run.fail(RunLost("the websocket broke while the job waited", started=False))
        elif not self._ended_in_history(run):
            run.fail(RunLost("ComfyUI lost the job (was it started again?)", started=run.started))
            run.over.set()

    def _ended_in_history(self, run: Run) -> bool:
        entry = self._api.history(run.prompt_id)
        if entry is None:
            return False
        try:
            raise_if_failed(entry)
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
        return run.client_id == self._client_id() and waited_s < self._late_files_s
