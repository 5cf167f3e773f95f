"""Clocks that jump: the machine's time of day is set while jobs run, and nothing waits by it."""

from __future__ import annotations

import ast
import asyncio
import itertools
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from devserver import DevServer, Durations
from tests.worker.graphs import marks, txt2img

ROOT = Path(__file__).parents[2]
TIMED = ("worker", "server", "translator", "custom_nodes")
TIME_OF_DAY = {("time", "time"), ("time", "time_ns")}


@pytest.fixture
def server() -> Iterator[DevServer]:
    with DevServer(durations=Durations(step=0.02)) as running:
        yield running


@pytest.fixture
def jumping(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A time of day that goes on by a year, and back by two, at every look."""
    real = time.time
    jumps = itertools.cycle((0.0, 3e7, -6e7, 3e7))
    monkeypatch.setattr(time, "time", lambda: real() + next(jumps))
    yield


async def test_jobs_are_answered_and_limits_hold(
    make_worker: Any, server: DevServer, jumping: None
) -> None:
    worker = make_worker(job_timeout_s=5.0, progress_interval_s=0.05)
    start = time.monotonic()
    answers = await asyncio.gather(
        *(worker.graph(txt2img(seed=n, steps=8), f"job-{n}") for n in range(3))
    )
    assert [marks(answer) for answer in answers] == [[(n, 0)] for n in range(3)]
    request = {"workflow": txt2img(seed=9, steps=150)}
    limited = await worker.run(request, policy={"executionTimeout": 300})
    assert "limit of 0.3 s" in limited["error"]
    server.stop()
    worker_without = make_worker(wait_s=0.5)
    assert "does not answer" in (await worker_without.graph(txt2img()))["error"]
    assert time.monotonic() - start < 30
    await worker.settled()


def test_no_code_of_ours_reads_the_time_of_day_for_a_deadline() -> None:
    """`datetime.now` names moments; `time.time` would only serve to measure, so there is none."""
    found = [
        f"{file.relative_to(ROOT)}:{node.lineno}"
        for folder in TIMED
        for file in (ROOT / folder).rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text("utf-8")))
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and (node.value.id, node.attr) in TIME_OF_DAY
    ]
    assert found == []
