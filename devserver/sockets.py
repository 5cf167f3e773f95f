"""The websockets of the server's clients, and the messages that go to them."""

from __future__ import annotations

import asyncio
import json
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from devserver.faults import Faults, SocketFault

PREVIEW_IMAGE = 1
PREVIEW_IMAGE_WITH_METADATA = 4
ENCODED_FILE = 0x41313131
JPEG, PNG = 1, 2
_MIME = {JPEG: "image/jpeg", PNG: "image/png"}


@dataclass(eq=False)
class Client:
    """One open websocket.

    Attributes:
        features: what the client said it understands, by ``feature_flags``.
        silent: nothing is sent any more; a fault.
    """

    socket: web.WebSocketResponse
    request: web.Request
    features: dict[str, Any] = field(default_factory=dict)
    silent: bool = False


@dataclass(frozen=True)
class _Message:
    kind: str
    payload: str | bytes
    sid: str | None


class Sockets:
    """Sends messages to clients in the order in which they were given.

    Args:
        faults: asked after each message.
        die: kills the server; for a fault.
    """

    def __init__(self, faults: Faults, die: Callable[[], None]) -> None:
        self._faults = faults
        self._die = die
        self._messages: asyncio.Queue[_Message] = asyncio.Queue()
        self.clients: dict[str, Client] = {}
        self._closing: asyncio.Task[bool] | None = None

    def understands(self, sid: str | None, feature: str) -> bool:
        """Whether a client announced a feature."""
        client = self.clients.get(sid) if sid is not None else None
        return client is not None and client.features.get(feature) is True

    def send(self, kind: str, data: dict[str, Any], sid: str | None) -> None:
        """Queue a JSON message for one client, or for all where `sid` is None."""
        self._messages.put_nowait(_Message(kind, json.dumps({"type": kind, "data": data}), sid))

    def send_image(self, image: bytes, form: int, sid: str | None) -> None:
        """Queue an encoded picture as a binary frame of event 1."""
        frame = struct.pack(">II", PREVIEW_IMAGE, form) + image
        self._messages.put_nowait(_Message("binary", frame, sid))

    def send_image_with_metadata(
        self, image: bytes, form: int, metadata: dict[str, Any], sid: str | None
    ) -> None:
        """Queue an encoded picture as a binary frame of event 4."""
        text = json.dumps({**metadata, "image_type": _MIME[form]}).encode()
        head = struct.pack(">II", PREVIEW_IMAGE_WITH_METADATA, len(text))
        self._messages.put_nowait(_Message("binary", head + text + image, sid))

    def send_file(self, file: bytes, label: dict[str, Any], sid: str | None) -> None:
        """Queue a finished file of our node pack's A1111ImageFrames."""
        text = json.dumps(label).encode()
        head = struct.pack(">II", ENCODED_FILE, len(text))
        self._messages.put_nowait(_Message("binary", head + text + file, sid))

    async def publish(self) -> None:
        """Send what is queued, for ever."""
        while True:
            message = await self._messages.get()
            if message.sid is None:
                targets = list(self.clients.values())
            else:
                client = self.clients.get(message.sid)
                targets = [] if client is None else [client]
            for client in targets:
                await self._deliver(client, message.kind, message.payload)

    async def greet(self, client: Client, kind: str, data: dict[str, Any]) -> None:
        """Send a message to one client now."""
        await self._deliver(client, kind, json.dumps({"type": kind, "data": data}))

    async def _deliver(self, client: Client, kind: str, payload: str | bytes) -> None:
        if client.silent:
            return
        await _write(client, payload)
        fault = self._faults.on_message(kind)
        if fault is not None:
            await self._strike(client, fault)

    async def _strike(self, client: Client, fault: SocketFault) -> None:
        match fault.action:
            case "malformed":
                await _write(client, fault.frame)
            case "close":
                client.silent = True
                # Not awaited: closing waits for the client's own close frame.
                self._closing = asyncio.create_task(client.socket.close())
            case "reset":
                client.silent = True
                abort(client.request)
            case "silence":
                client.silent = True
            case "half_open":
                client.silent = True
                if client.request.transport is not None:
                    client.request.transport.pause_reading()
            case "die":
                for other in self.clients.values():
                    other.silent = True
                self._die()


async def _write(client: Client, payload: str | bytes) -> None:
    try:
        if isinstance(payload, str):
            await client.socket.send_str(payload)
        else:
            await client.socket.send_bytes(payload)
    except (ConnectionError, RuntimeError):
        # The client went away; ComfyUI logs it and goes on.
        client.silent = True


def abort(request: web.Request) -> None:
    """Cut a connection as a killed process or a broken network does."""
    if request.transport is not None:
        request.transport.abort()
