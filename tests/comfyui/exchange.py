"""Submits a graph to any ComfyUI over its raw protocol and records all that comes back.

Knows nothing of the worker, so that the worker and the development server can be held against it.
"""

from __future__ import annotations

import io
import itertools
import json
import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

import requests
import websocket
from PIL import Image

Graph = Mapping[str, Any]

_TIMEOUT_S = 600.0


@dataclass(frozen=True)
class Picture:
    """An image of a run: which node made it, where it lay, and what it is."""

    node: str
    folder: str
    format: str | None
    size: tuple[int, int]
    mode: str


@dataclass
class Exchange:
    """One submission.

    Attributes:
        status, reply: the answer to ``POST /prompt``; `reply` is None where it is not JSON.
        messages: the websocket's JSON messages, up to ``executing`` with node null.
        frames: the websocket's binary frames.
        history: the prompt's history entry; empty where it was refused.
        pictures: what its output nodes saved, by node and in the node's order (of nodes, history
            has no order: a set's).
    """

    status: int
    reply: dict[str, Any] | None
    messages: list[dict[str, Any]] = field(default_factory=list)
    frames: list[bytes] = field(default_factory=list)
    history: dict[str, Any] = field(default_factory=dict)
    pictures: list[Picture] = field(default_factory=list)

    @property
    def error_type(self) -> str | None:
        error = (self.reply or {}).get("error")
        return error.get("type") if isinstance(error, dict) else None

    @property
    def node_errors(self) -> dict[str, list[str]]:
        """Node id -> the types of its errors, sorted: ComfyUI checks inputs in a set's order."""
        found = (self.reply or {}).get("node_errors") or {}
        return {
            node: sorted(error["type"] for error in item["errors"]) for node, item in found.items()
        }

    @property
    def message_types(self) -> list[str]:
        """Types of the messages in order; of equal ones in a row, one."""
        return _one_of_each_run(message["type"] for message in self.messages)

    @property
    def message_types_by_node(self) -> dict[str | None, list[str]]:
        """The same for the messages of each node, and under None for those of no node."""
        found: dict[str | None, list[str]] = {}
        for message in self.messages:
            if message["type"] != "progress_state":  # tells of all nodes at once
                found.setdefault(message["data"].get("node"), []).append(message["type"])
        return {
            node: [kind for kind, _ in itertools.groupby(kinds)] for node, kinds in found.items()
        }

    @property
    def cached(self) -> set[str]:
        """Nodes that ``execution_cached`` names."""
        return {node for data in self.of("execution_cached") for node in data["nodes"]}

    @property
    def executed(self) -> list[str]:
        """Nodes that ran, in order."""
        return [data["node"] for data in self.of("executing") if data["node"] is not None]

    def of(self, kind: str) -> list[dict[str, Any]]:
        """The data of the messages of one type."""
        return [message["data"] for message in self.messages if message["type"] == kind]


class Client:
    """A caller of one ComfyUI."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._http = requests.Session()

    def get(self, path: str) -> Any:
        """The JSON that a GET answers."""
        reply = self._http.get(self.url + path, timeout=_TIMEOUT_S)
        reply.raise_for_status()
        return reply.json()

    def post(self, path: str, body: Mapping[str, Any]) -> requests.Response:
        return self._http.post(self.url + path, json=body, timeout=_TIMEOUT_S)

    def upload(self, name: str, data: bytes) -> None:
        """Put an image into the input folder."""
        fields = {"overwrite": "true"}
        files = {"image": (name, data)}
        reply = self._http.post(self.url + "/upload/image", fields, files=files, timeout=_TIMEOUT_S)
        reply.raise_for_status()

    def models(self) -> dict[str, list[str]]:
        """Model folder -> the files it lists."""
        return {folder: self.get(f"/models/{folder}") for folder in self.get("/models")}

    def submit(self, graph: Graph, on_message: Callable[[str], None] | None = None) -> Exchange:
        """Run a graph to its end. A graph that is refused is an exchange without messages.

        Args:
            on_message: called with the type of each message as it comes.
        """
        client_id, prompt_id = uuid.uuid4().hex, str(uuid.uuid4())
        address = f"ws{self.url.removeprefix('http')}/ws?clientId={client_id}"
        socket = websocket.create_connection(address, timeout=_TIMEOUT_S)
        try:
            body = {"prompt": graph, "prompt_id": prompt_id, "client_id": client_id}
            reply = self.post("/prompt", body)
            exchange = Exchange(reply.status_code, _json_or_none(reply))
            if reply.status_code == 200:
                _record(socket, exchange, on_message or (lambda _: None))
                self._look_up(prompt_id, exchange)
            return exchange
        finally:
            socket.close()

    def submit_raw(self, body: bytes) -> Exchange:
        """``POST /prompt`` with a body as it is; nothing is followed."""
        reply = self._http.post(self.url + "/prompt", body, timeout=_TIMEOUT_S)
        return Exchange(reply.status_code, _json_or_none(reply))

    def _look_up(self, prompt_id: str, exchange: Exchange) -> None:
        exchange.history = self._history(prompt_id)
        for node, output in sorted(exchange.history["outputs"].items()):
            for entry in output.get("images", ()):
                exchange.pictures.append(self._picture(node, entry))

    def _history(self, prompt_id: str) -> dict[str, Any]:
        """The entry; the server writes it at the same moment as the last message."""
        deadline = time.monotonic() + 5
        while time.monotonic() < deadline:
            entry = self.get(f"/history/{prompt_id}").get(prompt_id)
            if entry is not None:
                return dict(entry)
            time.sleep(0.02)
        raise AssertionError(f"{self.url} has no history of a run that is over")

    def _picture(self, node: str, entry: Mapping[str, str]) -> Picture:
        reply = self._http.get(f"{self.url}/view?{urlencode(entry)}", timeout=_TIMEOUT_S)
        reply.raise_for_status()
        image = Image.open(io.BytesIO(reply.content))
        return Picture(node, entry["type"], image.format, image.size, image.mode)


def _record(
    socket: websocket.WebSocket, exchange: Exchange, on_message: Callable[[str], None]
) -> None:
    while True:
        message = socket.recv()
        if isinstance(message, bytes):
            exchange.frames.append(message)
            continue
        parsed = json.loads(message)
        exchange.messages.append(parsed)
        on_message(parsed["type"])
        if parsed["type"] == "executing" and parsed["data"]["node"] is None:
            return


def _one_of_each_run(kinds: Iterable[str]) -> list[str]:
    return [kind for kind, _ in itertools.groupby(kinds)]


def _json_or_none(reply: requests.Response) -> dict[str, Any] | None:
    try:
        body = reply.json()
    except ValueError:
        return None
    return body if isinstance(body, dict) else None
