"""A plain ComfyUI client for the tests, and messages reduced to what can be compared."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import requests
import websocket

Graph = dict[str, Any]
Message = list[Any]


def brief(message: Mapping[str, Any]) -> Message:
    """A JSON message without what differs from run to run (ids, times, file names)."""
    kind, data = message["type"], message["data"]
    match kind:
        case "status":
            return [kind, data["status"]["exec_info"]["queue_remaining"], "sid" in data]
        case "progress_state":
            return [
                kind,
                {name: [n["state"], n["value"], n["max"]] for name, n in data["nodes"].items()},
            ]
        case "executing":
            return [kind, data["node"], sorted(data)]
        case "progress":
            return [kind, data["node"], data["value"], data["max"]]
        case "executed":
            shown = data["output"]
            counts = shown and {name: len(items) for name, items in shown.items()}
            return [kind, data["node"], counts]
        case "execution_cached":
            return [kind, data["nodes"]]
        case "execution_error" | "execution_interrupted":
            return [
                kind,
                data["node_id"],
                data["node_type"],
                sorted(data["executed"]),
                sorted(data),
            ]
        case "feature_flags":
            return [kind, data]
        case _:
            return [kind, sorted(data)]


@dataclass
class Frame:
    """A binary message."""

    event: int
    image: bytes
    form: int | None = None
    metadata: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def read(cls, data: bytes) -> Frame:
        event, second = (int.from_bytes(data[i : i + 4], "big") for i in (0, 4))
        if event == 4:
            return cls(event, data[8 + second :], metadata=json.loads(data[8 : 8 + second]))
        return cls(event, data[8:], form=second)

    def brief(self) -> Message:
        if self.metadata:
            known = [self.metadata["node_id"], self.metadata["image_type"]]
            return ["binary", self.event, None, *known]
        return ["binary", self.event, self.form]


@dataclass
class Played:
    """What a client saw of one submission."""

    response: requests.Response
    messages: list[Message]
    raw: list[dict[str, Any]]
    frames: list[Frame]
    history: dict[str, Any]

    @property
    def outputs(self) -> dict[str, Any]:
        outputs: dict[str, Any] = self.history["outputs"]
        return outputs

    def of(self, kind: str) -> list[Message]:
        return [message for message in self.messages if message[0] == kind]


class Client:
    """One websocket to a server; closes with the `with` block."""

    def __init__(self, url: str, client_id: str | None = None) -> None:
        self.url = url
        self.client_id = client_id or uuid.uuid4().hex
        address = url.replace("http", "ws") + f"/ws?clientId={self.client_id}"
        self.socket = websocket.create_connection(address, timeout=20)
        self.messages: list[Message] = []
        self.raw: list[dict[str, Any]] = []
        self.frames: list[Frame] = []

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def receive(self) -> Message:
        """The next message, which is also kept."""
        data = self.socket.recv()
        if data == "":
            raise websocket.WebSocketConnectionClosedException("the server closed the socket")
        if isinstance(data, bytes):
            frame = Frame.read(data)
            self.frames.append(frame)
            self.messages.append(frame.brief())
        else:
            self.raw.append(json.loads(data))
            self.messages.append(brief(self.raw[-1]))
        return self.messages[-1]

    def until(self, kind: str, *values: Any) -> Message:
        """Receive up to a message of a type that goes on with `values`."""
        while True:
            message = self.receive()
            if message[0] == kind and message[1 : 1 + len(values)] == list(values):
                return message

    def announce(self, **features: Any) -> None:
        self.socket.send(json.dumps({"type": "feature_flags", "data": features}))

    def submit(self, graph: Graph, **more: Any) -> requests.Response:
        body = {"prompt": graph, "client_id": self.client_id, **more}
        return requests.post(f"{self.url}/prompt", json=body, timeout=20)

    def history(self, prompt_id: str) -> dict[str, Any]:
        answer = requests.get(f"{self.url}/history/{prompt_id}", timeout=20).json()
        entry: dict[str, Any] = answer[prompt_id]
        return entry

    def play(self, graph: Graph, **more: Any) -> Played:
        """Submit a graph and follow it to its end."""
        response = self.submit(graph, **more)
        assert response.status_code == 200, response.text
        self.until("executing", None)
        history = self.history(response.json()["prompt_id"])
        return Played(response, self.messages, self.raw, self.frames, history)


def play(url: str, graph: Graph, **more: Any) -> Played:
    """Submit a graph over a websocket of its own and follow it to its end."""
    with Client(url) as client:
        client.receive()
        return client.play(graph, **more)
