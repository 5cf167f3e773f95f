"""Pictures by their addresses: only public ones, in time, and in nobody else's way."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from tests.worker.graphs import marks, picture, txt2img
from worker import runpod as worker_runpod
from worker.errors import LimitError, RequestError
from worker.pictures import addresses
from worker.pictures.storage import Bucket
from worker.running import _OUTSIDE_THREADS
from worker.settings import Settings

PNG = base64.b64decode(picture())
ALLOWED = Settings(image_urls=True)


def soon(seconds: float = 10.0) -> float:
    return time.monotonic() + seconds


def fetched(url: str, seconds: float = 10.0) -> bytes:
    return addresses.fetch(url, "mask", ALLOWED, soon(seconds))


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/x.png",
        "http://localhost/x.png",
        "http://169.254.169.254/latest/meta-data",
        "http://10.0.0.1/x.png",
        "http://[::1]/x.png",
        "http://[::ffff:127.0.0.1]/x.png",
        "http://0.0.0.0/x.png",
        "http://[::127.0.0.1]/x.png",
        "http://[64:ff9b::7f00:1]/x.png",
        "http://[2002:7f00:1::]/x.png",
        "http://[fec0::1]/x.png",
    ],
)
def test_private_addresses_are_never_fetched(url: str) -> None:
    with pytest.raises(RequestError, match="not a public one"):
        fetched(url)


class TestFetching:
    """A local server, reached as if its address were public."""

    @pytest.fixture
    def address(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if self.path == "/moved.png":
                    self.send_response(302)
                    self.send_header("Location", "/x.png?y=1")
                    self.end_headers()
                elif self.path == "/home.png":
                    self.send_response(302)
                    self.send_header("Location", "http://private.test/x.png")
                    self.end_headers()
                elif self.path == "/x.png?y=1":
                    self.send_response(200)
                    self.send_header("Content-Length", str(len(PNG)))
                    self.end_headers()
                    self.wfile.write(PNG)
                else:
                    self.send_error(404)

            def log_message(self, format: str, *args: object) -> None:
                pass

        server = HTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        port = server.server_address[1]
        lookup = socket.getaddrinfo
        monkeypatch.setattr(
            addresses.socket,
            "getaddrinfo",
            lambda host, *rest, **more: lookup(
                "127.0.0.1" if host in ("public.test", "private.test") else host, *rest, **more
            ),
        )
        public = addresses._is_public
        hosts = iter(["public", "public", "private"])
        monkeypatch.setattr(
            addresses, "_is_public", lambda ip: next(hosts) == "public" or public(ip)
        )
        yield f"http://public.test:{port}"
        server.shutdown()
        server.server_close()

    def test_a_redirect_is_followed(self, address: str) -> None:
        assert fetched(f"{address}/moved.png") == PNG

    @pytest.mark.parametrize("pause", ["in the head", "in the body"])
    def test_a_byte_now_and_then_is_cut_off_in_time(
        self, pause: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """All of it would take 100 s."""
        head = b"HTTP/1.0 200 OK\r\nContent-Length: 1000\r\n\r\n"
        slow = b"HTTP/1.0 200 OK\r\nX: " * (pause == "in the head") + b"x" * 1000
        sent: list[int] = []
        listener = socket.create_server(("127.0.0.1", 0))

        def serve() -> None:
            connection, _ = listener.accept()
            with connection, contextlib.suppress(OSError):
                if pause == "in the body":
                    connection.sendall(head)
                for byte in slow:
                    connection.sendall(bytes([byte]))
                    sent.append(byte)
                    time.sleep(0.1)

        threading.Thread(target=serve, daemon=True).start()
        monkeypatch.setattr(addresses, "_is_public", lambda address: True)
        with pytest.raises(RequestError, match="not within"):
            fetched(f"http://127.0.0.1:{listener.getsockname()[1]}/x", 1.0)
        assert len(sent) < len(slow)
        listener.close()

    @pytest.mark.parametrize(
        "url",
        [
            "http://public.test:port/x.png",
            "http://public.test:99999/x.png",
            "http://[public.test/x.png",
            f"http://{'a' * 70}.test/x.png",
            "http://public.test/a b\nc",
        ],
    )
    def test_an_address_that_is_none_is_a_clear_error(self, url: str, address: str) -> None:
        with pytest.raises(RequestError, match="mask: the address"):
            fetched(url)

    def test_a_status_is_named(self, address: str) -> None:
        with pytest.raises(RequestError, match="mask: the address answered with status 404"):
            fetched(f"{address}/none")

    def test_a_large_file_is_refused(self, address: str) -> None:
        with pytest.raises(LimitError, match="MAX_INPUT_BYTES"):
            addresses.fetch(
                f"{address}/x.png?y=1",
                "mask",
                Settings(image_urls=True, max_input_bytes=10),
                soon(),
            )

    def test_fields_of_a_payload_are_replaced(self, address: str) -> None:
        payload = {"init_images": [f"{address}/moved.png", "raw"], "prompt": "http://x"}
        changed = addresses.with_fetched(payload, ALLOWED, soon())
        assert changed["init_images"] == [picture(), "raw"]
        assert changed["prompt"] == "http://x"
        assert payload["init_images"][0].endswith("/moved.png")


def test_a_redirect_to_a_private_address_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    replies = iter([addresses._Reply(302, "http://127.0.0.1/x", b"")])
    request = addresses._request

    def once(url: str, path: str, settings: Settings, deadline: float) -> addresses._Reply:
        return next(replies, None) or request(url, path, settings, deadline)

    monkeypatch.setattr(addresses, "_request", once)
    with pytest.raises(RequestError, match="not a public one"):
        fetched("http://example.com/x")


class SlowAddress:
    """An address that takes connections and says nothing."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=200)
        self._taken: list[socket.socket] = []
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}/x.png"

    def take(self, count: int) -> None:
        """Wait for so many connections."""
        self._taken += [self._listener.accept()[0] for _ in range(count)]

    def close(self) -> None:
        """End every connection."""
        for taken in (self._listener, *self._taken):
            taken.close()


@pytest.fixture
def slow_address(monkeypatch: pytest.MonkeyPatch) -> Iterator[SlowAddress]:
    address = SlowAddress()
    monkeypatch.setattr(addresses, "_is_public", lambda address: True)
    yield address
    address.close()


def holding(url: str, kind: str) -> dict[str, Any]:
    """A request with an address in it."""
    if kind == "workflow":
        return {"workflow": txt2img(), "images": [{"name": "a.png", "image": url}]}
    api = {"method": "POST", "endpoint": f"sdapi/v1/{kind}"}
    return {"api": api, "payload": {"init_images": [url], "image": url, "steps": 1}}


KINDS = pytest.mark.parametrize("kind", ["img2img", "png-info", "workflow"])
SLOW = 40


@KINDS
async def test_slow_addresses_hold_up_nobody_else(
    kind: str,
    make_worker: Callable[..., Any],
    slow_address: SlowAddress,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Every thread for others' servers waits, for longer than the test lasts."""
    monkeypatch.setattr(addresses, "FETCHING_S", 600.0)
    worker = make_worker(image_urls=True, concurrency=2)
    worker.service.comfy.wait_ready(60)
    request = holding(slow_address.url, kind)
    waiting = {asyncio.create_task(worker.run(request, f"slow-{n}")) for n in range(SLOW)}
    await asyncio.to_thread(slow_address.take, _OUTSIDE_THREADS)
    other = asyncio.create_task(worker.graph(txt2img(seed=3)))
    try:
        done, _ = await asyncio.wait(
            {other, *waiting}, timeout=120, return_when=asyncio.FIRST_COMPLETED
        )
        assert done == {other}
        assert marks(await other) == [(3, 0)]
    finally:
        slow_address.close()
        await asyncio.gather(*waiting)


@KINDS
async def test_the_wait_for_a_thread_counts_to_the_time_for_an_address(
    kind: str, make_worker: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """No thread is free again before all have their answer."""
    released = threading.Event()

    def hangs(*request: object) -> addresses._Reply:
        released.wait()
        raise TimeoutError

    monkeypatch.setattr(addresses, "_request", hangs)
    monkeypatch.setattr(addresses, "FETCHING_S", 0.2)
    worker = make_worker(image_urls=True, concurrency=2)
    worker.service.comfy.wait_ready(60)
    request = holding("http://example.com/x.png", kind)
    try:
        for answer in await asyncio.gather(*(worker.run(request, f"{n}") for n in range(SLOW))):
            assert "the address cannot be read (not within" in answer["error"]
    finally:
        released.set()


async def test_an_address_in_a_list_is_named_where_none_are_fetched(worker: Any) -> None:
    answer = await worker.run(holding("http://example.com/x.png", "workflow"))
    assert answer["error"].startswith("images[0].image: ")
    assert "IMAGE_URLS" in answer["error"]


async def test_a_slow_bucket_holds_up_nobody_else_and_has_its_time(
    make_worker: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    released = threading.Event()

    def upload(bucket: Bucket, *what: object) -> str:
        released.wait(20)
        return "https://bucket.test/x.png"

    monkeypatch.setattr(Bucket, "upload", upload)
    monkeypatch.setattr(worker_runpod, "UPLOADING_S", 2.0)
    worker = make_worker(concurrency=2)
    worker.service.comfy.wait_ready(5)
    own = dict.fromkeys(("accessId", "accessSecret", "bucketName"), "x")
    own["endpointUrl"] = "https://bucket.test"
    waiting = [
        asyncio.create_task(worker.run({"workflow": txt2img(seed=n)}, f"b-{n}", s3Config=own))
        for n in range(20)
    ]
    try:
        await asyncio.sleep(1.0)
        assert marks(await asyncio.wait_for(worker.graph(txt2img(seed=99)), 60)) == [(99, 0)]
        for answer in await asyncio.gather(*waiting):
            assert "the bucket did not take the results within 2 s" in answer["error"]
    finally:
        released.set()
