"""What the websocket says, written into runs."""

from __future__ import annotations

import json
import struct
from typing import Any

import pytest

from worker.comfyui.messages import MessageReader
from worker.comfyui.runs import ENCODING_NODE, FRAME_NODE, Run
from worker.errors import Interrupted, NodeFailed

GRAPH = {
    "3": {"class_type": "KSampler", "inputs": {}},
    "8": {"class_type": FRAME_NODE, "inputs": {}},
    "9": {"class_type": ENCODING_NODE, "inputs": {}},
}
PNG, JPEG = "image/png", "image/jpeg"


class Told:
    """A reader with one run, and what it called."""

    def __init__(self) -> None:
        self.run = Run("p", "c", GRAPH)
        self.moved = 0
        self.untold: list[Run] = []
        self.reader = MessageReader({"p": self.run}, self._move, self.untold.append)

    def _move(self) -> None:
        self.moved += 1

    def say(self, kind: str, **data: Any) -> None:
        message = {"type": kind, "data": {"prompt_id": "p", **data}}
        self.reader.text(json.dumps(message).encode())

    def labelled(self, event: int, data: bytes, **label: Any) -> None:
        text = json.dumps({"prompt_id": "p", **label}).encode()
        self.reader.binary(struct.pack(">II", event, len(text)) + text + data)


@pytest.fixture
def told() -> Told:
    return Told()


def test_progress_is_counted_with_samplers_above_other_nodes(told: Told) -> None:
    told.say("execution_start")
    told.say("execution_cached", nodes=["8"])
    told.say("executing", node="3")
    told.say("progress", node="3", value=5, max=10)
    assert told.run.started
    assert told.run.cached == ("8",)
    assert told.run.percent == pytest.approx(100 * 11 / 22)


def test_success_ends_a_run_once_its_announced_files_have_come(told: Told) -> None:
    told.say("executed", node="9", output={"a1111_frames": [2]})
    told.say("execution_success")
    assert not told.run.future.done()
    told.labelled(0x41313131, b"second", node_id="9", index=1)
    told.labelled(0x41313131, b"first", node_id="9", index=0)
    frames = told.run.future.result(0).frames["9"]
    assert [bytes(frame) for frame in frames] == [b"first", b"second"]


def test_a_picture_that_could_not_be_encoded_fails_the_run(told: Told) -> None:
    told.labelled(0x41313131, b"", node_id="9", error="no room")
    with pytest.raises(NodeFailed, match="no room"):
        told.run.future.result(0)


def test_frames_of_the_frame_node_are_pictures_and_others_previews(told: Told) -> None:
    told.labelled(4, b"picture", node_id="8", image_type=PNG)
    told.labelled(4, b"preview", node_id="3", image_type=PNG)
    told.labelled(4, b"jpeg", node_id="8", image_type=JPEG)
    assert [bytes(frame) for frame in told.run.frames["8"]] == [b"picture"]
    assert bytes(told.run.preview or b"") == b"jpeg"


def test_unlabelled_frames_are_of_the_node_that_runs_on_this_connection(told: Told) -> None:
    frame = struct.pack(">II", 1, 2) + b"picture"
    told.reader.binary(frame)
    assert not told.run.frames
    told.say("executing", node="8")
    told.reader.binary(frame)
    assert [bytes(frame) for frame in told.run.frames["8"]] == [b"picture"]
    told.reader.disconnected()
    told.reader.binary(frame)
    assert len(told.run.frames["8"]) == 1


def test_the_first_outcome_holds(told: Told) -> None:
    told.say("execution_interrupted", node_id="3", node_type="KSampler")
    told.say("execution_error", node_id="3", node_type="KSampler")
    told.say("execution_success")
    with pytest.raises(Interrupted):
        told.run.future.result(0)


def test_an_end_without_an_outcome_is_told(told: Told) -> None:
    told.say("executing", node=None)
    assert told.untold == [told.run]
    assert told.run.over.is_set()


def test_a_status_says_that_the_queue_has_moved(told: Told) -> None:
    told.say("status")
    assert told.moved == 1


def test_messages_of_others_are_passed_over(told: Told) -> None:
    message = {"type": "execution_start", "data": {"prompt_id": "other"}}
    told.reader.text(json.dumps(message).encode())
    told.reader.binary(struct.pack(">II", 4, 2) + b"{}picture")
    assert not told.run.started
    assert not told.run.frames


@pytest.mark.parametrize(
    "raw", [b"", b"{", b"[1]", b'{"type": 1, "data": []}', b"[" * 100_000, b"\xff\xfe"]
)
def test_text_of_nonsense_is_passed_over(told: Told, raw: bytes) -> None:
    told.reader.text(raw)
    assert not told.run.future.done()


@pytest.mark.parametrize("raw", [b"", b"1234", struct.pack(">II", 4, 1 << 31), b"\0" * 8])
def test_frames_of_nonsense_are_passed_over(told: Told, raw: bytes) -> None:
    told.reader.binary(raw)
    assert not told.run.frames
