"""The websocket to ComfyUI: one for the worker's life, connected again whenever it breaks.

A thread reads it; nothing else does. Each connection has a fresh client id, because ComfyUI forgets
a reconnect under the old id as soon as the old socket dies.
"""

from __future__ import annotations

import contextlib
import json
import logging
import socket
import threading
import time
import uuid
from collections.abc import Callable

import websocket
from websocket import ABNF

from worker.comfyui.messages import MessageReader, parse
from worker.settings import Settings

log = logging.getLogger(__name__)

LARGEST_MESSAGE = 512 << 20
"""Bytes of a message; one that has more ends the connection, whatever length it announces."""

_HANDSHAKE_S = 1.0
_FEATURES = json.dumps({"type": "feature_flags", "data": {"supports_preview_metadata": True}})


class BoundedSocket(websocket.WebSocket):
    """A websocket that takes no message beyond `LARGEST_MESSAGE`, in one frame or in many."""

    _received = 0

    def _recv(self, bufsize: int) -> bytes:
        data: bytes = super()._recv(bufsize)  # type: ignore[no-untyped-call]
        self._received += len(data)
        if self._received > LARGEST_MESSAGE:
            log.error("a websocket message has more than %d bytes; not read", LARGEST_MESSAGE)
            raise websocket.WebSocketPayloadException("the message is too large")
        return data

    def recv_data(self, control_frame: bool = False) -> tuple[int, bytes]:
        opcode, data = super().recv_data(control_frame)
        self._received = 0
        return opcode, data


class Channel:
    """The websocket's thread.

    Args:
        settings: address, delays and limits.
        reader: reads what comes.
        connected: called after every handshake.
        given_up: called when the server has not answered for as long as jobs wait for it.

    All of it is called in the channel's thread.

    Attributes:
        client_id: of the present connection, or of the last one; empty before the first.
        labels_frames: whether the server says of which node a binary frame is.
        last_message: when the last message came, in monotonic seconds.
    """

    def __init__(
        self,
        settings: Settings,
        reader: MessageReader,
        connected: Callable[[], None],
        given_up: Callable[[], None],
    ) -> None:
        self.client_id = ""
        self.labels_frames = False
        self.last_message = 0.0
        self._settings = settings
        self._reader = reader
        self._connected = connected
        self._given_up = given_up
        self._readers = {ABNF.OPCODE_TEXT: reader.text, ABNF.OPCODE_BINARY: reader.binary}
        self._ready = threading.Event()
        self._closing = threading.Event()
        self._down_since = time.monotonic()
        self._socket: websocket.WebSocket | None = None
        self._thread = threading.Thread(
            target=self._keep_connected, name="comfy-socket", daemon=True
        )

    def start(self) -> None:
        """Start the thread; `wait_ready` tells when it is connected."""
        self._thread.start()

    def close(self) -> None:
        """End the thread, and every wait for the connection."""
        self._closing.set()
        self._ready.set()
        self._wake_reader()
        if self._thread.is_alive():
            self._thread.join(timeout=self._settings.http_timeout_s)

    @property
    def ready(self) -> bool:
        """Whether the websocket is connected now."""
        return self._ready.is_set() and not self._closing.is_set()

    def wait_ready(self, timeout_s: float) -> bool:
        """Wait until it is connected; False if it is not after `timeout_s`, or never will be."""
        return self._ready.wait(timeout_s) and not self._closing.is_set()

    def replace_socket(self) -> None:
        """Give up the connection; the thread makes another."""
        self._not_ready()
        self._wake_reader()

    def _keep_connected(self) -> None:
        while not self._closing.is_set():
            try:
                self._connect()
                self._read()
            except (OSError, websocket.WebSocketException, ValueError) as error:
                log.debug("websocket: %s: %s", type(error).__name__, error)
            except Exception:  # whatever a server sends, the connection is made again
                log.exception("websocket")
            finally:
                self._disconnected()
            if time.monotonic() - self._down_since > self._settings.patience_s:
                self._down_since = time.monotonic()
                self._given_up()
            self._closing.wait(self._settings.reconnect_delay_s)

    def _connect(self) -> None:
        client_id = uuid.uuid4().hex
        address = f"ws{self._settings.comfyui_url.rstrip('/').removeprefix('http')}/ws"
        connection = websocket.create_connection(
            f"{address}?clientId={client_id}",
            timeout=min(self._settings.ping_s, self._settings.http_timeout_s),
            class_=BoundedSocket,
            skip_utf8_validation=True,  # in plain Python, and json.loads checks anyway
            enable_multithread=True,
            sockopt=((socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),),
        )
        self._socket = connection
        self.labels_frames = shake_hands(connection)
        self.client_id = client_id
        connection.settimeout(self._settings.ping_s)
        log.info("connected to ComfyUI at %s", self._settings.comfyui_url)
        self._ready.set()
        self._connected()

    def _disconnected(self) -> None:
        if self._ready.is_set() and not self._closing.is_set():
            log.warning("websocket to ComfyUI at %s closed", self._settings.comfyui_url)
            self._not_ready()
        self._reader.disconnected()
        connection, self._socket = self._socket, None
        if connection is not None:
            with contextlib.suppress(OSError, websocket.WebSocketException):
                connection.shutdown()  # type: ignore[no-untyped-call]

    def _not_ready(self) -> None:
        self._ready.clear()
        self._down_since = time.monotonic()

    def _wake_reader(self) -> None:
        """End the read that the thread is in; closing the socket would not."""
        connection = self._socket
        if connection is not None and connection.sock is not None:
            with contextlib.suppress(OSError):
                connection.sock.shutdown(socket.SHUT_RDWR)

    def _read(self) -> None:
        connection = self._socket
        pinged = False
        while connection is not None and not self._closing.is_set():
            try:
                opcode, raw = connection.recv_data(control_frame=True)
            except websocket.WebSocketTimeoutException:
                if pinged:
                    raise  # neither message nor pong: a half-open socket
                connection.ping()
                pinged = True
                continue
            pinged = False
            if opcode == ABNF.OPCODE_CLOSE:
                return
            reader = self._readers.get(opcode)
            if reader is not None:
                self.last_message = time.monotonic()
                _guarded(reader, raw)


def _guarded(reader: Callable[[bytes], None], raw: bytes) -> None:
    """Read a message; one that makes no sense is left out, as the silence look-up mends it."""
    try:
        reader(raw)
    except Exception:
        log.exception("a websocket message of %d bytes could not be read", len(raw))


def shake_hands(connection: websocket.WebSocket) -> bool:
    """Announce our features; True if the server will label its binary frames.

    A server that knows no features does not answer, so the wait is short.
    """
    connection.send(_FEATURES)
    connection.settimeout(_HANDSHAKE_S)
    deadline = time.monotonic() + _HANDSHAKE_S
    while time.monotonic() < deadline:
        try:
            opcode, raw = connection.recv_data()
        except websocket.WebSocketTimeoutException:
            return False
        if opcode == ABNF.OPCODE_CLOSE:
            raise websocket.WebSocketConnectionClosedException("closed at once")
        message = parse(raw) if opcode == ABNF.OPCODE_TEXT else {}
        if message.get("type") == "feature_flags":
            flags = message.get("data")
            return isinstance(flags, dict) and flags.get("supports_preview_metadata") is True
    return False
