"""RunPod's entry point: one async handler over the worker's service.

``python handler.py`` starts the worker; the SDK's own options (``--test_input``,
``--rp_serve_api``) work as it documents them.
"""

from __future__ import annotations

import atexit
import os
import signal
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from worker.comfyui.supervisor import Supervisor


def start_comfyui() -> Supervisor | None:
    """Start ComfyUI if that is configured: its boot is what a cold start waits for.

    It ends with this process, also where that is told to end before the SDK listens to signals.
    """
    command = os.environ.get("COMFYUI_COMMAND", "").strip()
    if not command:
        return None
    folder = os.environ.get("COMFYUI_DIR", "").strip()
    supervisor = Supervisor(command, Path(folder) if folder else None)
    atexit.register(supervisor.close)
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    supervisor.start()
    return supervisor


_comfyui = start_comfyui() if __name__ == "__main__" else None

# What follows takes a second or more to import, in which ComfyUI starts already.
import runpod  # noqa: E402

from worker.errors import SettingsError  # noqa: E402

if TYPE_CHECKING:
    from worker.runpod import Jobs

_SDK_PROGRESS = runpod.serverless.progress_update
_RESULT_URL = "RUNPOD_WEBHOOK_POST_OUTPUT"

_lock = threading.Lock()
_jobs: Jobs | None = None


def jobs() -> Jobs:
    """What runs jobs, its service started at the first call, and anew if the environment changed.

    The SDK is imported first, the rest when it is needed: an import takes part in a cold start.
    """
    from worker.runpod import Jobs
    from worker.service import Service
    from worker.settings import Settings

    global _comfyui, _jobs
    settings = Settings.from_env()
    with _lock:
        if _jobs is None or _jobs.service.settings != settings:
            if _jobs is not None:
                _jobs.service.close()
            started, _comfyui = _comfyui, None
            _jobs = Jobs(Service(settings, supervisor=started), send_progress)
            _jobs.service.start()
        return _jobs


def send_progress(job: Mapping[str, Any], progress: Any) -> None:
    """Tell RunPod of a job's progress. Off RunPod the SDK would post it to nowhere, and retry."""
    send = runpod.serverless.progress_update
    if send is not _SDK_PROGRESS or _RESULT_URL in os.environ:
        send(job, progress)


async def handler(job: dict[str, Any]) -> Any:
    """Answer one RunPod job; see worker.runpod for what it takes and answers."""
    try:
        running = jobs()
    except SettingsError as error:
        return {"error": f"the worker is set up wrongly: {error}"}
    return await running.run(job)


def concurrency(current: int) -> int:
    """Jobs that RunPod hands to this worker at once; constant, as a change waits for idleness."""
    return jobs().service.settings.concurrency


async def ready() -> None:
    """RunPod fitness check: ComfyUI answers, the models are warm."""
    await jobs().warm_up()


def main() -> None:
    """Start the worker, ComfyUI with it where that is configured."""
    try:
        running = jobs()
    except SettingsError as error:
        sys.exit(f"handler.py: {error}")
    runpod.serverless.register_fitness_check(ready)
    try:
        runpod.serverless.start({"handler": handler, "concurrency_modifier": concurrency})
    finally:
        running.service.close()


if __name__ == "__main__":
    main()
