"""How long the request this project exists for takes on a real ComfyUI, in both modes.

    python -m bench.seed --comfyui DIR [--cpu] [--scale 0.1] [--rounds 3]

The models are the lab's: random weights, SDXL's own depth of transformer blocks in narrower levels,
so the absolute times are no trained model's; what counts is exact beside core, and a request whose
only news is a seed or a prompt beside the first one.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tests.comfyui import models
from tests.comfyui.exchange import Client
from tests.comfyui.pictures import as_base64, photo
from tests.comfyui.server import REPO, Checkout, ComfyServer
from tests.comfyui.worker import Worker, worker_at

MODES = ("exact", "core")
_FACE = (768, 1024)
_ALIGNED = 8


def seed_payload(scale: float) -> dict[str, Any]:
    """The seed request, its sides times `scale`, with a picture the stand-ins find a face in."""
    example = REPO / "examples" / "txt2img-instantid.json"
    payload: dict[str, Any] = json.loads(example.read_text("utf-8"))["input"]["payload"]
    face = as_base64(photo(*_FACE))
    for unit in payload["alwayson_scripts"]["controlnet"]["args"]:
        unit["image"] = face
        unit["model"] = unit["model"].partition(" [")[0]
    for side in ("width", "height"):
        payload[side] = int(payload[side] * scale) // _ALIGNED * _ALIGNED
    return payload


def rows(worker: Worker, client: Client, payload: Mapping[str, Any], rounds: int) -> Iterator[str]:
    """One line a mode: the first request, others with a new seed, others with a new prompt."""
    for mode in MODES:
        first = _seconds(worker, {**payload, "seed": 1}, mode)
        seeds = [_seconds(worker, {**payload, "seed": 2 + i}, mode) for i in range(rounds)]
        prompts = [
            _seconds(worker, {**payload, "seed": 1, "prompt": f"prompt number {i}"}, mode)
            for i in range(rounds)
        ]
        device = client.get("/system_stats")["devices"][0]
        held = (device["vram_total"] - device["vram_free"]) / 2**30
        yield (
            f"{mode}: first {first:.2f} s, another seed {statistics.median(seeds):.2f} s, another "
            f"prompt {statistics.median(prompts):.2f} s; {held:.1f} GiB held on {device['name']}"
        )


def _seconds(worker: Worker, payload: Mapping[str, Any], mode: str) -> float:
    start = time.perf_counter()
    worker.paint(payload, fidelity=mode, unsupported="warn")
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench.seed", description=__doc__)
    parser.add_argument("--comfyui", type=Path, required=True)
    parser.add_argument("--python", help="interpreter of that ComfyUI; its own by default")
    parser.add_argument("--cpu", action="store_true")
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    checkout = Checkout.at(given.comfyui, given.python)
    server = ComfyServer(
        checkout,
        models.CACHE / "run-seed",
        [models.lab_models(checkout)],
        insightface=models.insightface(checkout),
        cpu=given.cpu,
    )
    with server, worker_at(server) as worker:
        print(f"ComfyUI answered after {server.seconds:.1f} s", flush=True)
        payload = seed_payload(given.scale)
        for line in rows(worker, Client(server.url), payload, given.rounds):
            print(line, flush=True)


if __name__ == "__main__":
    main()
