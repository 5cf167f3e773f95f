"""Faults between worker and ComfyUI, by the thousand and by seed: ``python -m bench.chaos``.

Jobs of every kind run several at a time against a development server while faults strike it:
sockets close, fall silent or talk nonsense, requests fail, nodes raise, hang or kill the server,
jobs are cancelled or run out of time. Whatever happens, each job must end in exactly one answer,
within its time, with its own images or a clear error, and nothing may be left behind.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import logging
import random
import re
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any

from PIL import Image

from bench.pulse import Pulse
from devserver import (
    DevServer,
    Durations,
    HttpFault,
    NodeFault,
    SocketFault,
    disk_full,
    out_of_memory,
    read_mark,
)
from worker.runpod import Jobs
from worker.service import Service
from worker.settings import Settings

Fault = SocketFault | HttpFault | NodeFault

JOB_LIMIT_S = 3.0
LATE_S = 1.0
"""What an answer may come late on a quiet machine.

What a busy one withholds comes on top, twice: of the event loop, and of a thread of the pool.
"""

_AT_ONCE = 6
_CLEAN_UP_S = 10.0
_CHECKPOINT = "v1-5-pruned-emaonly.safetensors"
_MESSAGES = (
    "status",
    "execution_start",
    "execution_cached",
    "progress_state",
    "executing",
    "progress",
    "executed",
    "execution_success",
    "binary",
)
_ROUTES = ("/prompt", "/queue", "/history", "/view", "/upload", "/interrupt")
_NONSENSE: Sequence[str | bytes] = ("{", "[1]", '{"type": 3, "data": []}', b"", b"\0\0\0\4\xff\xff")

SETTINGS: dict[str, Any] = {
    "wait_s": 2.0,
    "http_timeout_s": 1.0,
    "silence_s": 0.1,
    "ping_s": 0.2,
    "reconnect_delay_s": 0.01,
    "interrupt_grace_s": 0.5,
    "job_timeout_s": JOB_LIMIT_S,
    "progress_interval_s": 0.05,
    "stored_uploads": 4,
    "resubmissions": 2,
    "log_level": "error",
}

UNHURRIED: dict[str, Any] = {
    **SETTINGS,
    "wait_s": 120.0,
    "http_timeout_s": 60.0,
    "job_timeout_s": 120.0,
}
"""Limits that only a promise broken for good reaches, however busy the machine is."""


@dataclass
class Report:
    """What came of a number of runs.

    Attributes:
        outcomes: ``images``, ``error``, ``cancelled`` -> how many.
        faults: kind of fault -> how often it struck.
        errors: the error texts, without what differs from run to run, counted.
        broken: promises that were broken; empty if all is well.
        latest_s: by how much the latest answer came after its limit.
        withheld: share of the time for which the machine let threads wait that had something to do.
    """

    outcomes: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    broken: list[str] = field(default_factory=list)
    seconds: float = 0.0
    latest_s: float = 0.0
    withheld: float = 0.0

    @property
    def runs(self) -> int:
        return sum(self.outcomes.values())

    def __str__(self) -> str:
        lines = [
            f"{self.runs} runs in {self.seconds:.0f} s: {dict(self.outcomes)}",
            f"  the latest answer came {self.latest_s:.2f} s after its limit; the machine withheld "
            f"{self.withheld:.0%} of the time",
        ]
        lines += [f"  struck {count:6}  {name}" for name, count in self.faults.most_common()]
        lines += [f"  error  {count:6}  {text}" for text, count in self.errors.most_common()]
        lines += [f"BROKEN: {text}" for text in self.broken[:20]]
        return "\n".join(lines)


def passing_fault(chance: random.Random) -> Fault:
    """A fault that a job must survive."""
    if chance.random() < 0.6:
        return SocketFault(
            chance.choice(["close", "reset", "silence", "half_open", "malformed"]),
            of=chance.choice(_MESSAGES),
            after=chance.randint(1, 4),
            frame=chance.choice(_NONSENSE),
        )
    return HttpFault(
        chance.choice(_ROUTES),
        action=chance.choice(["status", "drop", "drop_answer", "garbage", "delay"]),
        status=chance.choice([500, 502, 503]),
        seconds=chance.uniform(0.0, 0.3),
    )


def any_fault(chance: random.Random) -> Fault:
    """A fault of any kind: also nodes that fail or hang, and a server that dies."""
    if chance.random() < 0.7:
        return passing_fault(chance)
    node = chance.choice(["KSampler", "VAEDecode", "SaveImage", "LoadImage", "A1111Sampler"])
    faults: Sequence[Fault] = (
        NodeFault(node, message="no such file '/srv/comfy/x.bin'"),
        out_of_memory(node),
        disk_full("SaveImage"),
        NodeFault(node, "hang"),
        NodeFault(node, "hang", obeys_interrupt=False),
        NodeFault(node, "die"),
        SocketFault("die", of=chance.choice(_MESSAGES), after=chance.randint(1, 4)),
    )
    return chance.choice(faults)


class Keeper:
    """Stands for the supervisor: starts the server again when it has died, or is asked to."""

    def __init__(self, server: DevServer, chance: random.Random) -> None:
        self._server = server
        self._chance = chance
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def restart(self, reason: str) -> None:
        with self._lock:
            self._server.restart()

    def close(self) -> None:
        self._closing.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._closing.wait(0.02):
            if not self._server.alive:
                self._closing.wait(self._chance.uniform(0.0, 0.3))
                with self._lock:
                    if not self._server.alive:
                        self._server.stop()
                        self._server.start()


class Unhandled(logging.Handler):
    """Exceptions that nobody has caught: asyncio and the worker log them."""

    _LOGGERS = ("asyncio", "worker")

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.found: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info and record.exc_info[0] is not None:
            self.found.append(f"{record.getMessage()[:200]}: {record.exc_info[0].__name__}")

    def __enter__(self) -> Unhandled:
        for name in self._LOGGERS:
            logging.getLogger(name).addHandler(self)
        return self

    def __exit__(self, *ended: object) -> None:
        for name in self._LOGGERS:
            logging.getLogger(name).removeHandler(self)


@dataclass(frozen=True)
class Case:
    """One job, and what its answer must hold: the (seed, batch index) of each image, in order."""

    request: dict[str, Any]
    marks: list[tuple[int, int]]


def make_case(chance: random.Random, number: int) -> Case:
    """A job of a random kind with a seed of its own."""
    batch = chance.randint(1, 3)
    if chance.random() < 0.4:
        payload = {
            "prompt": "a cat",
            "seed": number,
            "batch_size": batch,
            "steps": chance.randint(1, 5),
            "width": 64,
            "height": 64,
            "override_settings": {"return_grid": False},
        }
        envelope = {"method": "POST", "endpoint": "/sdapi/v1/txt2img"}
        marks = [(number + index, 0) for index in range(batch)]
        return Case({"api": envelope, "payload": payload}, marks)
    # A prefix that ComfyUI fills in stays with SaveImage's file; the other becomes frames.
    saving = {"filename_prefix": chance.choice(["chaos", "chaos_%year%"])}
    output, saving = chance.choice([("SaveImage", saving), ("SaveImageWebsocket", {})])
    graph = _graph(number, batch, chance.randint(1, 5), output, saving)
    request: dict[str, Any] = {"workflow": graph}
    if chance.random() < 0.4:
        shade = chance.randint(0, 7)
        request["images"] = [{"name": "in.png", "image": _picture(shade)}]
        graph["1"] = {"class_type": "LoadImage", "inputs": {"image": "in.png"}}
        graph["2"] = {"class_type": "PreviewImage", "inputs": {"images": ["1", 0]}}
    return Case(request, [(number, index) for index in range(batch)])


def _graph(
    seed: int, batch: int, steps: int, output: str, saving: dict[str, str]
) -> dict[str, Any]:
    sampler: dict[str, Any] = {"seed": seed, "steps": steps, "cfg": 7.0, "denoise": 1.0}
    sampler |= {"sampler_name": "euler", "scheduler": "normal", "model": ["4", 0]}
    sampler |= {"positive": ["6", 0], "negative": ["6", 0], "latent_image": ["5", 0]}
    return {
        "4": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": _CHECKPOINT}},
        "5": {
            "class_type": "EmptyLatentImage",
            "inputs": {"width": 64, "height": 64, "batch_size": batch},
        },
        "6": {"class_type": "CLIPTextEncode", "inputs": {"text": "a cat", "clip": ["4", 1]}},
        "3": {"class_type": "KSampler", "inputs": sampler},
        "8": {"class_type": "VAEDecode", "inputs": {"samples": ["3", 0], "vae": ["4", 2]}},
        "9": {"class_type": output, "inputs": {"images": ["8", 0], **saving}},
    }


def _picture(shade: int) -> str:
    out = BytesIO()
    Image.new("RGB", (16, 16), (shade * 30,) * 3).save(out, "PNG")
    return base64.b64encode(out.getvalue()).decode()


class Chaos:
    """Runs jobs while faults strike.

    Args:
        seed: decides everything but the machine's own timing.
        fault: draws the next fault.
        stop_jobs: whether jobs are also cancelled, and given short time limits.
        settings: of the worker.
    """

    def __init__(
        self,
        seed: int,
        fault: Callable[[random.Random], Fault],
        *,
        stop_jobs: bool,
        settings: Mapping[str, Any] = SETTINGS,
    ) -> None:
        self._chance = random.Random(seed)
        self._fault = fault
        self._stop_jobs = stop_jobs
        self._settings = settings
        self._numbers = iter(range(seed * 1_000_000 + 1, sys.maxsize, 10))
        self._pulse = Pulse()
        self.report = Report()

    def run(self, runs: int) -> Report:
        """Run so many jobs on one server and one service."""
        start = time.monotonic()
        with DevServer(durations=Durations(step=0.003)) as server:
            keeper = Keeper(server, random.Random(self._chance.random()))
            service = Service(Settings(comfyui_url=server.url, **self._settings))
            jobs = Jobs(service, lambda job, update: None)
            service.runner.use_supervisor(keeper)
            service.start()
            with Unhandled() as unhandled:
                try:
                    asyncio.run(self._all(runs, server, jobs))
                    self._check_rest(server, service)
                finally:
                    service.close()
                    keeper.close()
        self.report.broken += [f"unhandled: {text}" for text in unhandled.found]
        self.report.withheld = self._pulse.close()
        self.report.seconds = time.monotonic() - start
        return self.report

    async def _all(self, runs: int, server: DevServer, jobs: Jobs) -> None:
        striking = asyncio.create_task(self._strike(server))
        turn = asyncio.Semaphore(_AT_ONCE)
        await asyncio.gather(*(self._one(turn, jobs) for _ in range(runs)))
        striking.cancel()
        self._disarm(server)

    def _disarm(self, server: DevServer) -> None:
        self.report.faults.update(_fault_name(fault) for fault in server.faults.fired)
        server.faults.clear()

    async def _strike(self, server: DevServer) -> None:
        """Arm one fault at a time, soon after the last has struck or been waited for."""
        while True:
            server.faults.add(self._fault(self._chance))
            waited_until = time.monotonic() + 0.4
            while not server.faults.fired and time.monotonic() < waited_until:
                await asyncio.sleep(0.01)
            self._disarm(server)
            await asyncio.sleep(self._chance.uniform(0.0, 0.1))

    async def _one(self, turn: asyncio.Semaphore, jobs: Jobs) -> None:
        async with turn:
            number = next(self._numbers)
            case = make_case(self._chance, number)
            job: dict[str, Any] = {"id": f"chaos-{number}", "input": case.request}
            limit: float = self._settings["job_timeout_s"]
            if self._stop_jobs and self._chance.random() < 0.05:
                limit = self._chance.uniform(0.01, 0.3)
                job["policy"] = {"executionTimeout": limit * 1000}
            is_stopped = self._stop_jobs and self._chance.random() < 0.05
            start = time.monotonic()
            task = asyncio.create_task(jobs.run(job))
            if is_stopped:
                await asyncio.sleep(self._chance.uniform(0.0, 0.1))
                task.cancel()
            try:
                answer = await task
            except asyncio.CancelledError:
                self.report.outcomes["cancelled"] += 1
                return
            self._check_time(job, start, limit)
            self._judge(job, case, answer)

    def _check_time(self, job: dict[str, Any], start: float, limit: float) -> None:
        now = time.monotonic()
        late = now - start - limit
        self.report.latest_s = max(self.report.latest_s, late)
        if late > LATE_S + 2 * self._pulse.withheld_s(start, now):
            self._broken(job, f"answered {late:.1f} s after its limit of {limit:.1f} s")

    def _judge(self, job: dict[str, Any], case: Case, answer: Any) -> None:
        if "error" in answer:
            text = answer["error"]
            self.report.outcomes["error"] += 1
            self.report.errors[_without_numbers(text)] += 1
            if not text or "Traceback" in text or "/srv/" in text or "internal error" in text:
                self._broken(job, f"unclear error: {text}")
            return
        self.report.outcomes["images"] += 1
        images = [item if isinstance(item, str) else item["data"] for item in answer["images"]]
        marks = [read_mark(Image.open(BytesIO(base64.b64decode(image)))) for image in images]
        if marks != case.marks:
            self._broken(job, f"images {marks} instead of {case.marks}")

    def _check_rest(self, server: DevServer, service: Service) -> None:
        """Nothing may be left behind, as soon as what is under way has ended."""
        deadline = time.monotonic() + _CLEAN_UP_S
        while time.monotonic() < deadline and service.comfy.active_runs:
            time.sleep(0.05)
        left = {
            "runs in the worker": service.comfy.active_runs,
            "uploads beyond the store": max(0, len(service.uploads) - SETTINGS["stored_uploads"]),
        }
        if server.alive:
            running, pending = service.comfy.api.queue()
            left["prompts on the server"] = len(running) + len(pending)
            left["histories on the server"] = len(service.comfy.api.get("/history"))
        self.report.broken += [
            f"left behind: {count} {name}" for name, count in left.items() if count
        ]

    def _broken(self, job: dict[str, Any], what: str) -> None:
        self.report.broken.append(f"{job['id']}: {what}")


def _fault_name(fault: Fault) -> str:
    match fault:
        case SocketFault():
            return f"socket {fault.action} at {fault.of}"
        case HttpFault():
            return f"http {fault.action} at {fault.path}"
        case NodeFault():
            return f"node {fault.action} in {fault.class_type} ({fault.kind})"


def _without_numbers(text: str) -> str:
    return re.sub(r"\d+(\.\d+)?", "#", text)[:120]


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench.chaos", description=__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--passing", action="store_true", help="only faults a job must survive")
    given = parser.parse_args()
    fault = passing_fault if given.passing else any_fault
    report = Chaos(given.seed, fault, stop_jobs=not given.passing).run(given.runs)
    print(report)
    return 1 if report.broken else 0


if __name__ == "__main__":
    sys.exit(main())
