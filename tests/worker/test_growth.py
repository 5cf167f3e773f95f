"""A worker does not grow: memory, open files and threads are flat over 2,000 jobs."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
from pathlib import Path
from typing import Any

import pytest

from bench.server import server_process
from tests.worker.graphs import FILE, picture, txt2img
from worker.runpod import Jobs
from worker.service import Service
from worker.settings import Settings

pytestmark = pytest.mark.slow

WARM, MEASURED = 500, 1500
MEGABYTE = 1_000_000


def held() -> tuple[int, int, int]:
    """Resident bytes, open files, threads of this process."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    files = len(list(Path("/proc/self/fd").iterdir()))
    return pages * os.sysconf("SC_PAGE_SIZE"), files, threading.active_count()


def job(number: int) -> dict[str, Any]:
    graph = txt2img(seed=number, output=("SaveImage", FILE)[number % 2])
    graph["1"] = {"class_type": "LoadImage", "inputs": {"image": "in.png"}}
    graph["2"] = {"class_type": "VAEEncode", "inputs": {"pixels": ["1", 0], "vae": ["4", 2]}}
    graph["3"]["inputs"]["latent_image"] = ["2", 0]
    images = [{"name": "in.png", "image": picture(number % 250, (64, 64))}]
    return {"id": f"job-{number}", "input": {"workflow": graph, "images": images}}


@pytest.mark.timeout(300)
def test_two_thousand_jobs_leave_memory_files_and_threads_flat(tmp_path: Path) -> None:
    async def run(jobs: Jobs, first: int, count: int) -> None:
        turn = asyncio.Semaphore(3)

        async def one(number: int) -> None:
            async with turn:
                answer = await jobs.run(job(number))
                assert len(answer["images"]) == 1, answer

        await asyncio.gather(*(one(first + n) for n in range(count)))

    with server_process("--root", str(tmp_path)) as url:
        settings = Settings(
            comfyui_url=url,
            log_level="error",
            input_dir=tmp_path / "input",
            stored_uploads=16,
        )
        service = Service(settings)
        service.start()
        jobs = Jobs(service, lambda job, progress: None)
        try:
            asyncio.run(run(jobs, 0, WARM))
            memory, files, threads = held()
            asyncio.run(run(jobs, WARM, MEASURED))
            memory_after, files_after, threads_after = held()
            history = service.comfy.api.get("/history")
        finally:
            service.close()
    assert memory_after - memory < 10 * MEGABYTE
    assert files_after <= files + 4
    assert threads_after <= threads + 4
    assert len(history) < 20  # the last jobs' clean-up may be under way
    assert len(list((tmp_path / "input").iterdir())) <= settings.stored_uploads + 3
