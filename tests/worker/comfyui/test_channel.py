"""The websocket: its handshake, and the bound of its messages."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from typing import Any

import pytest
import websocket

from devserver import DevServer, SocketFault
from tests.worker.graphs import FILE, marks, txt2img
from worker.comfyui import channel, http
from worker.comfyui.channel import BoundedSocket, shake_hands


class Socket:
    """Answers one message, then nothing."""

    def __init__(self, *messages: bytes) -> None:
        self._messages = list(messages)

    def send(self, text: str) -> None: ...

    def settimeout(self, seconds: float) -> None: ...

    def recv_data(self) -> tuple[int, bytes]:
        if not self._messages:
            raise websocket.WebSocketTimeoutException
        return 1, self._messages.pop(0)


@pytest.mark.parametrize(
    "data", [b"", b', "data": null', b', "data": []', b', "data": 1', b', "data": ' + b"[" * 5000]
)
def test_feature_flags_of_nonsense_are_none(data: bytes) -> None:
    assert shake_hands(Socket(b'{"type": "feature_flags"' + data + b"}")) is False  # type: ignore[arg-type]


def test_a_server_that_labels_its_frames_says_so_after_other_messages() -> None:
    flags = b'{"type": "feature_flags", "data": {"supports_preview_metadata": true}}'
    assert shake_hands(Socket(b'{"type": "status"}', flags)) is True  # type: ignore[arg-type]


def frame(length: int, *, last: bool, opcode: int = 2) -> bytes:
    """The head of a frame that announces so many bytes."""
    return bytes([opcode | (0x80 if last else 0), 127]) + struct.pack(">Q", length)


@pytest.mark.parametrize("kind", ["one frame", "announced", "many frames"])
def test_a_giant_message_ends_the_connection_before_it_fills_the_memory(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(channel, "LARGEST_MESSAGE", 1 << 20)
    ours, theirs = socket.socketpair()
    sent = 0

    def serve() -> None:
        nonlocal sent
        piece = bytes(1 << 16)
        with contextlib.suppress(OSError):
            if kind != "many frames":
                theirs.sendall(frame(64 << 20 if kind == "one frame" else 1 << 62, last=True))
            for number in range(1024):
                if kind == "many frames":
                    theirs.sendall(frame(len(piece), last=False, opcode=0 if number else 2))
                theirs.sendall(piece)
                sent += len(piece)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    reading = BoundedSocket()
    reading.sock, reading.connected = ours, True
    with pytest.raises(websocket.WebSocketException, match="too large"):
        reading.recv_data()
    ours.close()
    thread.join(10)
    assert sent < 8 << 20
    theirs.close()


def test_messages_are_bounded_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channel, "LARGEST_MESSAGE", 1 << 10)
    ours, theirs = socket.socketpair()
    reading = BoundedSocket()
    reading.sock, reading.connected = ours, True
    for _ in range(10):
        theirs.sendall(frame(900, last=True) + bytes(900))
        assert reading.recv_data() == (2, bytes(900))
    ours.close()
    theirs.close()


async def test_a_job_outlives_a_giant_message(
    worker: Any, server: DevServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(channel, "LARGEST_MESSAGE", 1 << 20)
    worker.service.comfy.wait_ready(5)
    server.faults.add(SocketFault("malformed", of="progress", frame=bytes(3 << 20)))
    assert marks(await worker.graph(txt2img(seed=7, steps=6))) == [(7, 0)]


async def test_a_giant_answer_is_a_clear_error(
    worker: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker.service.comfy.wait_ready(5)
    await worker.graph(txt2img(seed=1))
    monkeypatch.setattr(http, "LARGEST_ANSWER", 100)
    graph = txt2img(seed=2, output=FILE)
    answer = await worker.graph(graph)
    assert "has more than 100 bytes" in answer["error"]
