"""The jobs that are measured, and the handlers that run them."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from worker.runpod import Jobs
from worker.service import Service
from worker.settings import Settings

Handler = Callable[[dict[str, Any]], Any]

CHECKPOINT = "v1-5-pruned-emaonly.safetensors"


def graph(seed: int, *, size: int = 64, batch: int = 1, steps: int = 1) -> dict[str, Any]:
    """txt2img for direct submission, saved by SaveImage."""
    sampler: dict[str, Any] = {"seed": seed, "steps": steps, "cfg": 7.0, "denoise": 1.0}
    sampler |= {"sampler_name": "euler", "scheduler": "normal", "model": ["4", 0]}
    sampler |= {"positive": ["6", 0], "negative": ["7", 0], "latent_image": ["5", 0]}
    return {
        "3": {"class_type": "KSampler", "inputs": sampler},
        "4": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": CHECKPOINT}},
        "5": {
            "class_type": "EmptyLatentImage",
            "inputs": {"width": size, "height": size, "batch_size": batch},
        },
        "6": {"class_type": "CLIPTextEncode", "inputs": {"text": "a cat", "clip": ["4", 1]}},
        "7": {"class_type": "CLIPTextEncode", "inputs": {"text": "dog", "clip": ["4", 1]}},
        "8": {"class_type": "VAEDecode", "inputs": {"samples": ["3", 0], "vae": ["4", 2]}},
        "9": {"class_type": "SaveImage", "inputs": {"images": ["8", 0], "filename_prefix": "b"}},
    }


def workflow_job(seed: int, **how: Any) -> dict[str, Any]:
    """A direct submission."""
    return {"id": f"bench-{seed}", "input": {"workflow": graph(seed, **how)}}


def a1111_job(seed: int, *, size: int = 64, batch: int = 1, steps: int = 1) -> dict[str, Any]:
    """The same picture by A1111's API."""
    payload = {"prompt": "a cat", "negative_prompt": "dog", "seed": seed, "steps": steps}
    payload |= {"width": size, "height": size, "batch_size": batch, "sampler_name": "Euler"}
    payload["override_settings"] = {"return_grid": False}
    envelope = {"method": "POST", "endpoint": "/sdapi/v1/txt2img"}
    return {"id": f"bench-{seed}", "input": {"api": envelope, "payload": payload}}


class Ours:
    """Our service against a server."""

    def __init__(self, url: str, **changes: Any) -> None:
        settings = Settings(comfyui_url=url, log_level="error", **changes)
        self.service = Service(settings)
        self.jobs = Jobs(self.service, lambda job, progress: None)
        self.service.start()
        asyncio.run(self.jobs.warm_up())

    def time(self, jobs: list[dict[str, Any]]) -> list[float]:
        """Seconds that each job takes, one after another in one event loop."""

        async def all_of_them() -> list[float]:
            return [await self._time_one(job) for job in jobs]

        return asyncio.run(all_of_them())

    def answer(self, job: dict[str, Any]) -> Any:
        """Run one job for its answer."""
        return asyncio.run(self.jobs.run(job))

    async def _time_one(self, job: dict[str, Any]) -> float:
        start = time.perf_counter()
        answer = await self.jobs.run(job)
        spent = time.perf_counter() - start
        _check(answer)
        return spent

    def close(self) -> None:
        self.service.close()


class WorkerComfyUI:
    """worker-comfyui's handler from a checkout, against a server; its prints are swallowed."""

    def __init__(self, folder: Path, url: str) -> None:
        sys.path.insert(0, str(folder / "src"))
        spec = importlib.util.spec_from_file_location("their_handler", folder / "handler.py")
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        module.COMFY_HOST = urlsplit(url).netloc  # type: ignore[attr-defined]
        self.handler: Handler = module.handler

    def time(self, jobs: list[dict[str, Any]]) -> list[float]:
        """Seconds that each job takes."""
        times: list[float] = []
        with Path(os.devnull).open("w") as nowhere, contextlib.redirect_stdout(nowhere):
            for job in jobs:
                start = time.perf_counter()
                answer = self.handler(job)
                times.append(time.perf_counter() - start)
                _check(answer)
        return times


def worker_comfyui_folder() -> Path | None:
    """The checkout that PEER_DIR names."""
    given = os.environ.get("PEER_DIR")
    return Path(given) if given else None


def _check(answer: Any) -> None:
    if not answer.get("images"):
        raise RuntimeError(f"a measured job failed: {str(answer)[:300]}")
