"""How a run stands by the server's queue and history."""

from __future__ import annotations

from typing import Any

import pytest

from worker.comfyui.lookup import Lookup
from worker.comfyui.runs import ENCODING_NODE, Run
from worker.errors import ComfyError, Interrupted, NodeFailed, RunLost, Unreachable
from worker.settings import Settings

DONE = {"status": {"status_str": "success"}, "outputs": {"9": {"images": []}}}


class Server:
    """What the server answers: a history entry, where the prompt is, a status of newer servers."""

    def __init__(self, entry: Any = None, at: str = "", status: str | None = None) -> None:
        self.entry, self.at, self.status = entry, at, status
        self.dequeued: list[str] = []

    def history(self, prompt_id: str) -> Any:
        if isinstance(self.entry, ComfyError):
            raise self.entry
        return self.entry

    def job_status(self, prompt_id: str) -> str | None:
        return self.status

    def queue(self) -> tuple[list[str], list[str]]:
        return (["p"] if self.at == "running" else []), (["p"] if self.at == "pending" else [])

    def dequeue(self, prompt_ids: list[str]) -> None:
        self.dequeued += prompt_ids


def settled(server: Server, client_id: str = "c", graph: Any = None) -> Run:
    run = Run("p", client_id, graph or {})
    Lookup(server, Settings(), lambda: "c").settle(run)  # type: ignore[arg-type]
    return run


def test_a_run_in_the_history_has_its_outputs() -> None:
    run = settled(Server(DONE))
    assert run.future.result(0).outputs == DONE["outputs"]
    assert run.over.is_set()


@pytest.mark.parametrize("at", ["running", "pending"])
def test_a_run_that_the_server_still_has_goes_on(at: str) -> None:
    run = settled(Server(at=at))
    assert not run.future.done()
    assert run.started == (at == "running")


def test_newer_servers_say_it_in_one_answer() -> None:
    assert settled(Server(status="in_progress")).started
    assert not settled(Server(status="pending")).future.done()


def test_a_run_that_waits_under_an_old_client_id_is_taken_out_to_be_sent_again() -> None:
    server = Server(at="pending")
    with pytest.raises(RunLost) as lost:
        settled(server, client_id="old").future.result(0)
    assert server.dequeued == ["p"]
    assert not lost.value.started


def test_a_run_that_is_nowhere_is_lost() -> None:
    with pytest.raises(RunLost, match="lost the job"):
        settled(Server()).future.result(0)


FAILURES = [
    ("execution_error", {"node_id": "3", "node_type": "KSampler"}, NodeFailed),
    ("execution_interrupted", {"node_id": "3", "node_type": "KSampler"}, Interrupted),
    ("something_new", {}, ComfyError),
]


@pytest.mark.parametrize(("kind", "data", "error"), FAILURES, ids=lambda item: str(item)[:20])
def test_the_history_tells_how_a_run_failed(kind: str, data: Any, error: type[Exception]) -> None:
    entry = {"status": {"status_str": "error", "messages": [[kind, data]]}}
    with pytest.raises(error):
        settled(Server(entry)).future.result(0)


def test_files_that_are_still_being_encoded_are_waited_for_on_the_same_connection() -> None:
    graph = {"9": {"class_type": ENCODING_NODE, "inputs": {}}}
    run = Run("p", "c", graph)
    run.announced["9"] = 1
    Lookup(Server(DONE), Settings(), lambda: "c").settle(run)  # type: ignore[arg-type]
    assert not run.future.done()
    other = Run("p", "old", graph)
    other.announced["9"] = 1
    Lookup(Server(DONE), Settings(), lambda: "c").settle(other)  # type: ignore[arg-type]
    assert other.future.done()


@pytest.mark.parametrize(
    "entry",
    [
        {"status": 1},
        {"status": {"status_str": "error", "messages": [1]}},
        {"status": [2]},
        Unreachable("no answer"),
    ],
)
def test_nonsense_and_silence_settle_nothing_and_raise_nothing(entry: Any) -> None:
    assert not settled(Server(entry)).future.done()
