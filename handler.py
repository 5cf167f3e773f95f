"""RunPod's entry point: one async handler over the worker's service.

``python handler.py`` starts the worker; the SDK's own options (``--test_input``,
``--rp_serve_api``) work as it documents them.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import runpod

from worker.settings import Settings, SettingsError

if TYPE_CHECKING:
    from worker.service import Service

_SDK_PROGRESS = runpod.serverless.progress_update
_RESULT_URL = "RUNPOD_WEBHOOK_POST_OUTPUT"

_lock = threading.Lock()
_service: Service | None = None


def service() -> Service:
    """The worker's service, started at the first call, and anew if the environment has changed."""
    from worker.service import Service

    global _service
    settings = Settings.from_env()
    with _lock:
        if _service is None or _service.settings != settings:
            if _service is not None:
                _service.close()
            _service = Service(settings, send_progress)
            _service.start()
        return _service


def send_progress(job: Mapping[str, Any], progress: Any) -> None:
    """Tell RunPod of a job's progress. Off RunPod the SDK would post it to nowhere, and retry."""
    send = runpod.serverless.progress_update
    if send is not _SDK_PROGRESS or _RESULT_URL in os.environ:
        send(job, progress)


async def handler(job: dict[str, Any]) -> Any:
    """Answer one RunPod job; see worker.jobs for what it takes and answers."""
    try:
        running = service()
    except SettingsError as error:
        return {"error": f"the worker is set up wrongly: {error}"}
    return await running.run(job)


def concurrency(current: int) -> int:
    """Jobs that RunPod hands to this worker at once; constant, as a change waits for idleness."""
    return service().settings.concurrency


async def ready() -> None:
    """RunPod fitness check: ComfyUI answers, the catalog is read, the models are warm."""
    await service().warm_up()


def main() -> None:
    """Start the worker, ComfyUI with it where that is configured."""
    try:
        running = service()
    except SettingsError as error:
        sys.exit(f"handler.py: {error}")
    runpod.serverless.register_fitness_check(ready)
    try:
        runpod.serverless.start({"handler": handler, "concurrency_modifier": concurrency})
    finally:
        running.close()


if __name__ == "__main__":
    main()
