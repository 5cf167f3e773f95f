"""Each fault does what it says, once, and the server goes on."""

from __future__ import annotations

import time

import pytest
import requests
import websocket

from devserver import DevServer, HttpFault, NodeFault, SocketFault, disk_full, out_of_memory
from tests.devserver.client import Client, play
from tests.devserver.graphs import txt2img

pytestmark = pytest.mark.slow


def messages_until_the_end(client: Client) -> list[str]:
    """Types of the messages up to the end of the job or of the connection."""
    try:
        client.until("executing", None)
    except (websocket.WebSocketException, ConnectionError, TimeoutError):
        return [*[m[0] for m in client.messages], "lost"]
    return [m[0] for m in client.messages]


@pytest.mark.parametrize("action", ["close", "reset"])
@pytest.mark.parametrize("after", [1, 5, 9])
def test_socket_lost_after_message(server: DevServer, action: str, after: int) -> None:
    with Client(server.url) as client:
        client.receive()
        server.faults.add(SocketFault(action, after=after))  # type: ignore[arg-type]
        client.submit(txt2img())
        seen = messages_until_the_end(client)
    assert seen[-1] == "lost"
    assert len(seen) - 2 <= after
    assert len(server.faults.fired) == 1
    assert play(server.url, txt2img(9)).history["status"]["completed"]


def test_counts_only_messages_of_a_type(server: DevServer) -> None:
    server.faults.add(SocketFault("close", after=2, of="executing"))
    with Client(server.url) as client:
        client.receive()
        client.submit(txt2img())
        seen = messages_until_the_end(client)
    assert seen.count("executing") == 2
    assert seen[-1] == "lost"


def test_silence(server: DevServer) -> None:
    with Client(server.url) as client:
        client.receive()
        server.faults.add(SocketFault("silence", after=1, of="execution_start"))
        prompt_id = client.submit(txt2img()).json()["prompt_id"]
        client.until("execution_start")
        client.socket.settimeout(0.3)
        client.socket.ping()
        with pytest.raises(websocket.WebSocketTimeoutException):
            client.receive()
        assert client.history(prompt_id)["status"]["completed"]


def test_half_open_answers_no_ping(server: DevServer) -> None:
    with Client(server.url) as client:
        client.receive()
        server.faults.add(SocketFault("half_open", after=1, of="execution_start"))
        client.submit(txt2img())
        client.until("execution_start")
        client.socket.settimeout(0.3)
        client.socket.ping()
        with pytest.raises(websocket.WebSocketTimeoutException):
            client.socket.recv_data(control_frame=True)


@pytest.mark.parametrize("frame", ["{oops", b"\0\0"])
def test_malformed_frame(server: DevServer, frame: str | bytes) -> None:
    with Client(server.url) as client:
        client.receive()
        server.faults.add(SocketFault("malformed", after=1, of="execution_start", frame=frame))
        client.submit(txt2img())
        client.until("execution_start")
        assert client.socket.recv() == frame
        client.until("executing", None)


def test_repeats(server: DevServer) -> None:
    server.faults.add(SocketFault("close", after=1, of="status", times=2))
    for _ in range(2):
        with Client(server.url) as client:
            client.receive()
            assert client.socket.recv() == ""
    assert play(server.url, txt2img()).history["status"]["completed"]


class TestHttp:
    def test_status(self, server: DevServer) -> None:
        server.faults.add(HttpFault("/prompt", "POST", status=503, times=2))
        assert requests.get(f"{server.url}/prompt", timeout=5).status_code == 200
        codes = [
            requests.post(f"{server.url}/prompt", json={"prompt": txt2img()}, timeout=5).status_code
            for _ in range(3)
        ]
        assert codes == [503, 503, 200]
        assert len(server.submissions) == 1

    def test_drop(self, server: DevServer) -> None:
        server.faults.add(HttpFault("/prompt", action="drop"))
        with pytest.raises(requests.ConnectionError):
            requests.post(f"{server.url}/prompt", json={"prompt": txt2img()}, timeout=5)
        assert not server.submissions

    def test_drop_answer(self, server: DevServer) -> None:
        server.faults.add(HttpFault("/prompt", action="drop_answer"))
        with pytest.raises(requests.ConnectionError):
            requests.post(f"{server.url}/prompt", json={"prompt": txt2img()}, timeout=5)
        assert len(server.submissions) == 1

    def test_delay_and_garbage(self, server: DevServer) -> None:
        server.faults.add(HttpFault("/queue", action="delay", seconds=0.2))
        begin = time.monotonic()
        assert requests.get(f"{server.url}/queue", timeout=5).json()["queue_running"] == []
        assert time.monotonic() - begin >= 0.2
        server.faults.add(HttpFault("/queue", action="garbage"))
        with pytest.raises(requests.JSONDecodeError):
            requests.get(f"{server.url}/queue", timeout=5).json()


class TestNodes:
    def test_out_of_memory(self, server: DevServer) -> None:
        server.faults.add(out_of_memory("KSampler"))
        played = play(server.url, txt2img())
        (error,) = [raw["data"] for raw in played.raw if raw["type"] == "execution_error"]
        assert error["exception_type"] == "torch.OutOfMemoryError"
        assert error["exception_message"].startswith("Allocation on device \nThis error means")
        assert error["node_id"] == "5"
        assert error["current_inputs"]["steps"] == [2]
        assert error["executed"] == ["1", "4", "3", "2"]
        assert played.history["status"]["messages"][-1] == ["execution_error", error]
        assert play(server.url, txt2img()).history["status"]["completed"]

    def test_disk_full(self, server: DevServer) -> None:
        server.faults.add(disk_full())
        (error,) = [
            raw["data"]
            for raw in play(server.url, txt2img()).raw
            if raw["type"] == "execution_error"
        ]
        assert error["exception_type"] == "OSError"

    def test_hang_that_does_not_heed_the_interrupt(self, server: DevServer) -> None:
        server.faults.add(NodeFault("KSampler", "hang", obeys_interrupt=False))
        with Client(server.url) as client:
            client.submit(txt2img())
            client.until("executing", "5")
            requests.post(f"{server.url}/interrupt", json={}, timeout=5)
            client.socket.settimeout(0.3)
            with pytest.raises(websocket.WebSocketTimeoutException):
                client.receive()
        server.restart()
        assert play(server.url, txt2img()).history["status"]["completed"]


@pytest.mark.parametrize(
    "fault", [NodeFault("KSampler", "die"), SocketFault("die", after=6)], ids=["node", "message"]
)
def test_server_dies_and_is_restarted(fault: NodeFault | SocketFault) -> None:
    with DevServer() as server:
        server.faults.add(fault)
        with Client(server.url) as client:
            prompt_id = client.submit(txt2img()).json()["prompt_id"]
            assert messages_until_the_end(client)[-1] == "lost"
        server.wait()
        assert not server.alive
        with pytest.raises(requests.ConnectionError):
            requests.get(f"{server.url}/queue", timeout=5)
        url = server.url
        server.start()
        assert server.url == url
        assert requests.get(f"{url}/history/{prompt_id}", timeout=5).json() == {}
        assert play(url, txt2img()).history["status"]["completed"]


def test_clear(server: DevServer) -> None:
    server.faults.add(HttpFault("/queue"))
    server.faults.clear()
    assert requests.get(f"{server.url}/queue", timeout=5).status_code == 200
