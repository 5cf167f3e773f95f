"""The main job, end to end: the seed request through the worker, over a real websocket.

Without COMFYUI_URL it runs on the development server (devserver/), which draws labelled pictures
instead of painting. Leaves pictures, graph and answer under out/.
"""

from __future__ import annotations

import asyncio
import base64
import io
import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from PIL import Image

from devserver import DevServer, Durations
from translator import translate
from worker.runpod import Jobs
from worker.service import Service
from worker.settings import Settings

ROOT = Path(__file__).parents[1]
OUT = ROOT / "out"
JOB = ROOT / "examples" / "txt2img-instantid.json"
FACE = ROOT / "examples" / "face.jpg"
_STEP_S = 0.05


def seed_job() -> dict[str, Any]:
    """The seed document's request as a RunPod job, with a picture in the placeholders' place."""
    job: dict[str, Any] = json.loads(JOB.read_text("utf-8"))
    face = base64.b64encode(FACE.read_bytes()).decode()
    for unit in job["input"]["payload"]["alwayson_scripts"]["controlnet"]["args"]:
        unit["image"] = face
    return {"id": "demo", **job}


@contextmanager
def comfyui() -> Iterator[str]:
    """The URL of the ComfyUI to run on: COMFYUI_URL, or a development server of our own."""
    url = os.environ.get("COMFYUI_URL")
    if url:
        print(f"ComfyUI at {url}")
        yield url
        return
    with DevServer(durations=Durations(step=_STEP_S)) as server:
        print(f"no COMFYUI_URL: the development server at {server.url} draws labelled pictures")
        yield server.url


def show_progress(job: Any, progress: Any) -> None:
    """A line for each progress update, as RunPod would send it to the caller."""
    print(f"  progress: {json.dumps(progress)}")


def submitted_graph(service: Service, job: dict[str, Any], answer: dict[str, Any]) -> Any:
    """The graph that was run: translating the request with the seed it got gives it again."""
    payload = {**job["input"]["payload"], "seed": json.loads(answer["info"])["seed"]}
    options = service.options.for_request(None, labels_frames=service.comfy.labels_frames)
    return translate(payload, catalog=service.catalog.current(), options=options).graph


def leave(answer: dict[str, Any], graph: dict[str, Any]) -> None:
    """Write what came out below out/, and say what it is."""
    OUT.mkdir(exist_ok=True)
    for number, text in enumerate(answer["images"]):
        data = base64.b64decode(text)
        picture = Image.open(io.BytesIO(data))
        file = OUT / f"{number}.{(picture.format or 'png').lower()}"
        file.write_bytes(data)
        print(f"  {file.relative_to(ROOT)}: {picture.width}x{picture.height} {picture.format}")
    (OUT / "graph.json").write_text(json.dumps(graph, indent=2), "utf-8")
    (OUT / "answer.json").write_text(json.dumps(answer, indent=2), "utf-8")
    print("  out/graph.json: the graph as submitted\n  out/answer.json: the whole answer")


async def run(url: str) -> int:
    quiet = {"LOG_LEVEL": "error", "PROGRESS_INTERVAL_S": "0.3"}
    settings = Settings.from_env({**quiet, **os.environ, "COMFYUI_URL": url})
    service = Service(settings)
    service.start()
    try:
        begun = time.perf_counter()
        job = seed_job()
        answer = await Jobs(service, show_progress).run(job)
        if "error" in answer:
            print(answer["error"], file=sys.stderr)
            return 1
        print(f"answered in {time.perf_counter() - begun:.2f} s")
        for warning in answer.get("warnings", ()):
            print(f"  warning: {warning}")
        leave(answer, submitted_graph(service, job, answer))
    finally:
        service.close()
    return 0


def main() -> int:
    with comfyui() as url:
        return asyncio.run(run(url))


if __name__ == "__main__":
    sys.exit(main())
