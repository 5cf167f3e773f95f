"""Translation in another checkout beside ours, in turns: is it slower than it was?

BASE_DIR=<checkout> python -m bench translation
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]

_CHILD = """
import json, sys, time
sys.path.insert(0, sys.argv[1])
from translator import translate
payloads = json.loads(sys.stdin.readline())
for payload in payloads.values():
    for _ in range(5):
        translate(payload)
print("ready", flush=True)
for line in sys.stdin:
    name, _, count = line.rpartition(" ")
    best = float("inf")
    for _ in range(int(count)):
        start = time.process_time()
        translate(payloads[name])
        best = min(best, time.process_time() - start)
    print(best, flush=True)
"""
_TURNS, _COUNT = 10, 15


def folder() -> Path | None:
    """The checkout that BASE_DIR names."""
    given = os.environ.get("BASE_DIR", "").strip()
    return Path(given).resolve() if given else None


def ratios(base: Path, payloads: Mapping[str, Any]) -> dict[str, tuple[float, float]]:
    """Name of a payload -> least processor seconds of translating it, there and here."""
    best: dict[str, list[float]] = {name: [float("inf")] * 2 for name in payloads}
    with _translator(base, payloads) as there, _translator(ROOT, payloads) as here:
        for _ in range(_TURNS):
            for name in payloads:
                for side, process in enumerate((there, here)):
                    best[name][side] = min(best[name][side], _ask(process, name))
    return {name: (there, here) for name, (there, here) in best.items()}


@contextmanager
def _translator(checkout: Path, payloads: Mapping[str, Any]) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-c", _CHILD, str(checkout)],
        cwd=checkout,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdin is not None
        assert process.stdout is not None
        print(json.dumps(payloads), file=process.stdin, flush=True)
        if process.stdout.readline().strip() != "ready":
            raise RuntimeError(f"the translator of {checkout} does not start")
        yield process
    finally:
        process.kill()
        process.wait()


def _ask(process: subprocess.Popen[str], name: str) -> float:
    assert process.stdin is not None
    assert process.stdout is not None
    print(name, _COUNT, file=process.stdin, flush=True)
    return float(process.stdout.readline())
