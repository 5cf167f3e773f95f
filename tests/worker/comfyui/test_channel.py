"""The websocket: its handshake."""

from __future__ import annotations

import pytest
import websocket

from worker.comfyui.channel import shake_hands


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
