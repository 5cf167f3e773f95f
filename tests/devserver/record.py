"""Records what a real ComfyUI answers to `cases`: ``python -m tests.devserver.record URL``.

The server needs the models of ``shared/lab``; the answers go to ``recorded.json``. Cases that stand
there already are left as they are: remove them to record them anew.
"""

from __future__ import annotations

import io
import json
import re
import sys
from pathlib import Path
from typing import Any

import requests
from PIL import Image

from tests.devserver.cases import FILES, REFUSALS, RUNS
from tests.devserver.client import Client, Played

RECORDED = Path(__file__).parent / "recorded.json"
_NOT_KEPT = ("tooltip", "traceback", "step", "round", "multiselect", "control_after_generate")


def reduced(value: Any) -> Any:
    """An answer without what the signature files leave out: tooltips and settings of widgets.

    How many samplers there are depends on the packs, so the length of a list goes as well.
    """
    if isinstance(value, str):
        return re.sub(r"list of length \d+", "long list", value)
    if isinstance(value, dict):
        return {key: reduced(item) for key, item in value.items() if key not in _NOT_KEPT}
    if isinstance(value, list):
        return [reduced(item) for item in value]
    return value


def upload_files(url: str) -> None:
    for name, data in FILES.items():
        form = {"image": (name, data, "application/octet-stream")}
        requests.post(f"{url}/upload/image", files=form, data={"overwrite": "1"}, timeout=60)


def empty_cache(url: str) -> None:
    requests.post(f"{url}/free", json={"free_memory": True}, timeout=60)
    with Client(url) as client:
        # A job makes sure that the request was heeded before the next one starts.
        client.receive()
        client.play({"a": _nothing(), "b": _shown()})


def _nothing() -> dict[str, Any]:
    inputs = {"width": 8, "height": 8, "batch_size": 1, "color": 0}
    return {"class_type": "EmptyImage", "inputs": inputs}


def _shown() -> dict[str, Any]:
    return {"class_type": "SaveImageWebsocket", "inputs": {"images": ["a", 0]}}


def run(url: str, graph: dict[str, Any]) -> dict[str, Any]:
    """What a server does with a graph that it accepts, beginning with an empty cache."""
    empty_cache(url)
    with Client(url) as client:
        client.receive()
        played = client.play(graph)
    return {
        "messages": [m for m in played.messages if m[0] != "status"],
        "sizes": sizes(url, played),
        "error": error(played),
    }


def sizes(url: str, played: Played) -> dict[str, list[list[int]]]:
    """Node id -> width and height of each image it gave."""
    found = {
        node_id: [list(_image(url, entry).size) for entry in shown["images"]]
        for node_id, shown in played.outputs.items()
        if "images" in shown
    }
    sent = [list(Image.open(io.BytesIO(frame.image)).size) for frame in played.frames]
    return found | ({"websocket": sent} if sent else {})


def _image(url: str, entry: dict[str, str]) -> Image.Image:
    answer = requests.get(f"{url}/view", params=entry, timeout=60)
    return Image.open(io.BytesIO(answer.content))


def error(played: Played) -> str | None:
    """The type of the exception a node raised."""
    for raw in played.raw:
        if raw["type"] == "execution_error":
            kind: str = raw["data"]["exception_type"]
            return kind
    return None


def refusal(url: str, graph: Any) -> dict[str, Any]:
    """A server's answer to a graph, without what differs from run to run."""
    answer = requests.post(f"{url}/prompt", json={"prompt": graph}, timeout=60)
    if answer.headers["Content-Type"].startswith("text/plain"):
        return {"status": answer.status_code, "text": answer.text}
    body = reduced(answer.json())
    for name in ("prompt_id", "number"):
        body.pop(name, None)
    return {"status": answer.status_code, "body": body}


def main(url: str) -> None:
    upload_files(url)
    known = json.loads(RECORDED.read_text("utf-8")) if RECORDED.exists() else {}
    recorded = {
        part: {
            name: known.get(part, {}).get(name) or ask(url, graph) for name, graph in cases.items()
        }
        for part, cases, ask in (("runs", RUNS, run), ("refusals", REFUSALS, refusal))
    }
    RECORDED.write_text(json.dumps(recorded, indent=None) + "\n", "utf-8")


if __name__ == "__main__":
    main(sys.argv[1])
