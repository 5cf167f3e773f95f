"""The main job, end to end: the seed request through the worker, over a real websocket.

Without COMFYUI_URL it runs on the development server (devserver/), which draws labelled pictures
instead of sampling. Leaves a page to look at (out/index.html), pictures, graph and answer.
"""

from __future__ import annotations

import asyncio
import base64
import io
import json
import logging
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from PIL import Image

from devserver import DevServer, Durations
from translator import page, translate
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


class Times(logging.Handler):
    """Keeps what the worker logs of a job: milliseconds by stage."""

    def __init__(self) -> None:
        super().__init__()
        self.stages: dict[str, int] = {}

    def emit(self, record: logging.LogRecord) -> None:
        self.stages.update(getattr(record, "fields", {}).get("stages", {}))


@contextmanager
def listening() -> Iterator[Times]:
    """The times of the jobs that are run meanwhile."""
    times, log = Times(), logging.getLogger("worker.service")
    log.addHandler(times)
    log.setLevel(logging.INFO)
    log.propagate = False
    try:
        yield times
    finally:
        log.removeHandler(times)


def leave_page(service: Service, job: dict[str, Any], run: dict[str, Any]) -> None:
    """Write out/index.html: the request, its graphs, and what came out."""
    asked = job["input"]
    options = service.options.for_request(None, labels_frames=False, now=datetime.now())
    endpoint, payload = asked["api"]["endpoint"], {**asked["payload"], "seed": run["seed"]}
    shown = page.view(payload, endpoint, service.catalog.current(), options)
    whole = {**shown, "run": run, "job": {"endpoint": endpoint, "payload": payload}}
    (OUT / "index.html").write_text(page.html(whole), "utf-8")
    print(f"  out/index.html: all of it to look at; open {(OUT / 'index.html').as_uri()}")


def leave(answer: dict[str, Any], graph: dict[str, Any]) -> list[dict[str, str]]:
    """Write what came out below out/, and say what it is; the pictures for the page."""
    OUT.mkdir(exist_ok=True)
    texts = json.loads(answer["info"])["infotexts"]
    pictures = []
    for number, text in enumerate(answer["images"]):
        data = base64.b64decode(text)
        picture = Image.open(io.BytesIO(data))
        file = OUT / f"{number}.{(picture.format or 'png').lower()}"
        file.write_bytes(data)
        size = f"{picture.width}x{picture.height} {picture.format}"
        print(f"  {file.relative_to(ROOT)}: {size}")
        words = texts[number] if number < len(texts) else "detected map"
        pictures.append({"src": file.name, "caption": f"{size}: {words}"})
    (OUT / "graph.json").write_text(json.dumps(graph, indent=2), "utf-8")
    (OUT / "answer.json").write_text(json.dumps(answer, indent=2), "utf-8")
    print("  out/graph.json: the graph as submitted\n  out/answer.json: the whole answer")
    return pictures


async def run(url: str) -> int:
    quiet = {"LOG_LEVEL": "error", "PROGRESS_INTERVAL_S": "0.3"}
    settings = Settings.from_env({**quiet, **os.environ, "COMFYUI_URL": url})
    service = Service(settings)
    service.start()
    try:
        begun = time.perf_counter()
        job = seed_job()
        with listening() as times:
            answer = await Jobs(service, show_progress).run(job)
        seconds = time.perf_counter() - begun
        if "error" in answer:
            print(answer["error"], file=sys.stderr)
            return 1
        print(f"answered in {seconds:.2f} s")
        for warning in answer.get("warnings", ()):
            print(f"  warning: {warning}")
        pictures = leave(answer, submitted_graph(service, job, answer))
        drawn = "" if "COMFYUI_URL" in os.environ else "drawn by the development server, no model"
        seed = json.loads(answer["info"])["seed"]
        told = {
            "seed": seed,
            "seconds": round(seconds, 2),
            "times": times.stages,
            "pictures": pictures,
        }
        leave_page(service, job, {**told, "note": drawn})
    finally:
        service.close()
    return 0


def main() -> int:
    with comfyui() as url:
        return asyncio.run(run(url))


if __name__ == "__main__":
    sys.exit(main())
