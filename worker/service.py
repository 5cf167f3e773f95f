"""The worker as one object: everything it holds for its life, made from `Settings`."""

from __future__ import annotations

import json
import logging
import threading
from typing import Any

from translator import translate
from worker import logs
from worker.comfyui.connection import Comfy
from worker.comfyui.supervisor import Supervisor
from worker.comfyui.uploads import UploadStore
from worker.errors import JobError
from worker.health import Health
from worker.jobs import Jobs
from worker.models.catalog import CatalogSource
from worker.progress import Send
from worker.settings import Settings

log = logging.getLogger(__name__)


class Service:
    """Starts the parts, runs jobs, ends the parts.

    Args:
        settings: what an operator has set.
        send_progress: RunPod's ``progress_update``.
    """

    def __init__(self, settings: Settings, send_progress: Send) -> None:
        logs.configure(settings.log_level, settings.secrets)
        self.settings = settings
        self.supervisor = (
            Supervisor(settings.comfyui_command, settings.comfyui_dir)
            if settings.comfyui_command
            else None
        )
        self.comfy = Comfy(settings, on_connect=self._connected, on_gone=self._gone)
        self.catalog = CatalogSource(self.comfy.api, settings)
        self.uploads = UploadStore(self.comfy.api, settings.stored_uploads, settings.input_dir)
        self.jobs = Jobs(
            settings, self.comfy, self.catalog, self.uploads, send_progress, self.supervisor
        )
        self._warm = threading.Event()
        self._health = (
            Health(settings.health_port, self._is_healthy) if settings.health_port else None
        )

    def start(self) -> None:
        """Start ComfyUI (if it is ours), the connection and the health server."""
        if self.supervisor is not None:
            self.supervisor.start()
        self.comfy.start()
        if self._health is not None:
            self._health.start()

    def close(self) -> None:
        """End everything, the running jobs' clean-up first."""
        self.jobs.close()
        if self._health is not None:
            self._health.close()
        self.catalog.close()
        self.comfy.close()
        if self.supervisor is not None:
            self.supervisor.close()

    async def run(self, job: dict[str, Any]) -> Any:
        """Run a job; see `Jobs.run`."""
        return await self.jobs.run(job)

    async def warm_up(self) -> None:
        """Wait until ComfyUI answers, read the catalog, and run WARMUP_REQUEST if there is one.

        Raises:
            JobError: ComfyUI does not come, or refuses the warm-up request.
        """
        # The translator's tables are read while ComfyUI starts, not in the first job.
        await self.jobs.in_thread(translate, {})
        await self.jobs.in_thread(self.comfy.wait_ready, self.settings.startup_timeout_s)
        await self.jobs.in_thread(self.catalog.current)
        if self.settings.warmup_request:
            request = json.loads(self.settings.warmup_request)
            answer = await self.run({"id": "warm-up", "input": request.get("input", request)})
            if "error" in answer:
                raise JobError(f"WARMUP_REQUEST: {answer['error']}")
        self._warm.set()

    def _connected(self) -> None:
        """A ComfyUI that was started again may have other nodes and files, and no uploads."""
        if self.settings.input_dir is None:
            self.uploads.clear()
        self.catalog.try_refresh()

    def _gone(self) -> None:
        """A ComfyUI of our own that runs and does not answer hangs as a whole."""
        if self.supervisor is not None:
            self.supervisor.restart("it does not answer")

    def _is_healthy(self) -> bool:
        return self.comfy.ready and (self._warm.is_set() or not self.settings.warmup_request)
