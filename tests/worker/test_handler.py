"""handler.py as RunPod runs it: the SDK's own loop, against a stand-in for RunPod's side."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from bench.runpod import RunPod
from bench.server import command, free_port, wait_for
from devserver import DevServer, Durations
from tests.worker.graphs import marks, txt2img

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]


@contextmanager
def worker_process(
    runpod: RunPod, url: str, **environment: str
) -> Iterator[subprocess.Popen[bytes]]:
    """``python handler.py``, as in the image."""
    process = subprocess.Popen(
        [sys.executable, "handler.py"],
        cwd=ROOT,
        env={
            **os.environ,
            **runpod.environment,
            "COMFYUI_URL": url,
            "PYTHONPATH": os.pathsep.join(sys.path),
            "LOG_LEVEL": "warning",
            **environment,
        },
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def job(name: str, **how: Any) -> dict[str, Any]:
    return {"id": name, "input": {"workflow": txt2img(**how)}}


@pytest.fixture
def runpod() -> Iterator[RunPod]:
    with RunPod() as stand_in:
        yield stand_in


def test_jobs_are_taken_answered_cancelled_and_drained(runpod: RunPod) -> None:
    with DevServer(durations=Durations(step=0.05)) as server:
        runpod.submit(job("a", seed=1), job("b", seed=2), {"id": "c", "input": {"workflow": {}}})
        with worker_process(runpod, server.url, PROGRESS_INTERVAL_S="0.2") as process:
            runpod.wait_for(3, 30)
            outputs = {name: result for name, (_, result) in runpod.results.items()}
            assert marks(outputs["a"]["output"]) == [(1, 0)]
            assert marks(outputs["b"]["output"]) == [(2, 0)]
            assert "workflow" in outputs["c"]["error"]

            runpod.submit(job("long", seed=3, steps=150))
            _until(lambda: any(name == "long" for name, _ in runpod.updates))
            runpod.cancel("long")
            runpod.submit(job("next", seed=4))
            runpod.wait_for(4, 10)
            assert "long" not in runpod.results
            assert marks(runpod.results["next"][1]["output"]) == [(4, 0)]

            # SIGTERM: what was begun is answered, then the process ends.
            runpod.submit(job("last", seed=5, steps=30))
            _until(lambda: any(name == "last" for name, _ in runpod.updates))
            process.send_signal(signal.SIGTERM)
            runpod.wait_for(5, 10)
            assert marks(runpod.results["last"][1]["output"]) == [(5, 0)]
            assert process.wait(20) == 0
        assert not runpod.late_updates


def test_the_worker_starts_comfyui_warms_it_up_and_ends_it(runpod: RunPod, tmp_path: Path) -> None:
    port, health = free_port(), free_port()
    warm_up = tmp_path / "warm-up.json"
    warm_up.write_text(json.dumps({"input": {"workflow": txt2img(seed=9)}}))
    with worker_process(
        runpod,
        f"http://127.0.0.1:{port}",
        COMFYUI_COMMAND=" ".join(command(port)),
        WARMUP_REQUEST=str(warm_up),
        PORT_HEALTH=str(health),
    ) as process:
        runpod.submit(job("a", seed=1))
        runpod.wait_for(1, 30)
        assert marks(runpod.results["a"][1]["output"]) == [(1, 0)]
        wait_for(f"http://127.0.0.1:{health}/ping", 5)
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    with pytest.raises(TimeoutError):
        wait_for(f"http://127.0.0.1:{port}/queue", 0.2)


def test_a_worker_without_comfyui_takes_no_job(runpod: RunPod) -> None:
    """RunPod's fitness check fails, the process ends, and RunPod starts another."""
    runpod.submit(job("a"))
    url = f"http://127.0.0.1:{free_port()}"
    with worker_process(runpod, url, COMFYUI_STARTUP_TIMEOUT_S="0.5") as process:
        assert process.wait(30) != 0
    assert not runpod.results
    assert runpod.first_poll is None


def test_test_input_runs_one_job_and_exits() -> None:
    with DevServer() as server:
        done = subprocess.run(
            [sys.executable, "handler.py", "--test_input", json.dumps(job("x", seed=6))],
            cwd=ROOT,
            env={**os.environ, "COMFYUI_URL": server.url, "PYTHONPATH": os.pathsep.join(sys.path)},
            capture_output=True,
            text=True,
            timeout=30,
        )
    assert done.returncode == 0
    assert "completed successfully" in done.stdout
    assert '"outcome": "done"' in done.stderr


def test_a_setting_that_cannot_be_used_is_named_at_the_start() -> None:
    done = subprocess.run(
        [sys.executable, "handler.py"],
        cwd=ROOT,
        env={**os.environ, "JOB_TIMEOUT_S": "soon", "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.returncode == 1
    assert done.stderr.strip().startswith("handler.py: JOB_TIMEOUT_S: 'soon' cannot be used")


async def test_the_handler_follows_its_environment(
    server: DevServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    import handler

    updates: list[Any] = []
    monkeypatch.setattr(
        handler.runpod.serverless, "progress_update", lambda job, update: updates.append(update)
    )
    monkeypatch.setenv("LOG_LEVEL", "error")
    monkeypatch.setenv("PROGRESS_INTERVAL_S", "0.001")
    try:
        with DevServer(durations=Durations(step=0.01)) as other:
            for place in (server, other):
                monkeypatch.setenv("COMFYUI_URL", place.url)
                answer = await handler.handler(job("x", seed=2))
                assert marks(answer) == [(2, 0)]
                assert len(place.submissions) == 1
        assert any(update["stage"] == "KSampler" for update in updates)
        monkeypatch.setenv("JOB_TIMEOUT_S", "soon")
        assert "JOB_TIMEOUT_S" in (await handler.handler(job("x")))["error"]
    finally:
        handler.jobs.__globals__["_jobs"].service.close()
        handler.jobs.__globals__["_jobs"] = None


def _until(condition: Any, timeout_s: float = 15.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)
