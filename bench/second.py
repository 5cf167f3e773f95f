"""What a second request executes of its graph, where a first one has filled ComfyUI's cache.

Ten typical pairs on the development server, whose cache follows the real one's rules
(``tests/comfyui/test_cache.py`` and ``test_conformance.py`` hold the two against each other).
"""

from __future__ import annotations

import asyncio
import base64
import copy
import io
import json
from collections import Counter
from collections.abc import Mapping
from typing import Any

from PIL import Image

from bench.translation import SEED
from devserver import DevServer, default_models
from worker.running import Task
from worker.runpod import Jobs
from worker.service import Service
from worker.settings import Settings

_HIRES = {"enable_hr": True, "hr_scale": 1.5, "denoising_strength": 0.5, "hr_upscaler": "Latent"}
_LORA = "a cat <lora:{name}:{weight}>"


def _face(shade: int) -> str:
    out = io.BytesIO()
    Image.new("RGB", (64, 64), (shade, 80, 80)).save(out, "PNG")
    return base64.b64encode(out.getvalue()).decode()


def _canny(face: int, weight: float = 1.0) -> dict[str, Any]:
    unit = {"module": "canny", "model": "control_v11p_sd15_canny", "weight": weight}
    return {"controlnet": {"args": [{**unit, "image": _face(face), "enabled": True}]}}


def _instant_id(face: int) -> Mapping[str, Any]:
    """The seed request, small, with a face of that shade."""
    payload: dict[str, Any] = json.loads(SEED.read_text("utf-8"))["input"]["payload"]
    for unit in payload["alwayson_scripts"]["controlnet"]["args"]:
        unit["image"] = _face(face)
    return {**payload, "width": 256, "height": 256, "steps": 2, "seed": 1}


def _lora(weight: float) -> Mapping[str, Any]:
    name = default_models()["loras"][0].removesuffix(".safetensors")
    return {"prompt": _LORA.format(name=name, weight=weight)}


_BASE: Mapping[str, Any] = {"prompt": "a cat", "negative_prompt": "dog", "seed": 1, "steps": 4}
PAIRS: Mapping[str, tuple[Mapping[str, Any], Mapping[str, Any]]] = {
    "the same again": ({}, {}),
    "another seed": ({}, {"seed": 2}),
    "another prompt": ({}, {"prompt": "a dog"}),
    "another sampler": ({}, {"sampler_name": "Euler a"}),
    "another CFG scale": ({}, {"cfg_scale": 5}),
    "another LoRA weight": (_lora(0.5), _lora(0.8)),
    "hires switched on": ({}, _HIRES),
    "another ControlNet weight": (
        {"alwayson_scripts": _canny(1)},
        {"alwayson_scripts": _canny(1, 0.5)},
    ),
    "another control picture": (
        {"alwayson_scripts": _canny(1)},
        {"alwayson_scripts": _canny(2)},
    ),
    "another face (the seed request)": (_instant_id(1), _instant_id(2)),
}
"""What is sent first and second, over `_BASE`."""


def rows() -> list[str]:
    """A line of a Markdown table for each pair."""
    found = ["| second request | nodes | executed | of them |", "|---|---|---|---|"]
    for name, (first, second) in PAIRS.items():
        nodes, executed = asyncio.run(_pair(first, second))
        counted = ", ".join(
            node if count == 1 else f"{node} {count} times"
            for node, count in Counter(executed).items()
        )
        found.append(f"| {name} | {nodes} | {len(executed)} | {counted} |")
    return found


async def _pair(first: Mapping[str, Any], second: Mapping[str, Any]) -> tuple[int, list[str]]:
    """Nodes of the second graph, and the classes of those that were executed."""
    with DevServer() as server:
        service = Service(Settings(comfyui_url=server.url, log_level="error"))
        runs: list[Any] = []
        finish = service.runner.finish

        def kept(task: Task) -> list[Any]:
            runs[:] = finish(task)
            return runs

        service.runner.finish = kept  # type: ignore[method-assign]
        jobs = Jobs(service, lambda job, progress: None)
        service.start()
        for changes in (first, second):
            payload = {**copy.deepcopy(dict(_BASE)), **changes}
            api = {"method": "POST", "endpoint": "sdapi/v1/txt2img"}
            answer = await jobs.run({"id": "b", "input": {"api": api, "payload": payload}})
            if "images" not in answer:
                raise RuntimeError(str(answer)[:300])
        service.close()
    run = runs[-1]
    return len(run.graph), [run.node_class(node) for node in run.graph if node not in run.cached]


if __name__ == "__main__":
    print("\n".join(rows()))
