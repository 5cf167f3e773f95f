"""Images that come with a job."""

from __future__ import annotations

import base64
import contextlib
import socket
import struct
import threading
import time
import zlib
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from io import BytesIO
from typing import Any

import pytest
from PIL import Image

from tests.worker.graphs import picture
from worker.errors import LimitError, RequestError
from worker.pictures import incoming
from worker.settings import Settings

PNG = base64.b64decode(picture())


@pytest.mark.parametrize(
    "text",
    [picture(), f"data:image/png;base64,{picture()}", "\n".join([picture()[:20], picture()[20:]])],
)
def test_base64_of_every_spelling_is_read(text: str) -> None:
    assert incoming.read(text, "x", Settings()) == incoming.InputImage(PNG, "png")


@pytest.mark.parametrize(("kind", "extension"), [("JPEG", "jpg"), ("WEBP", "webp"), ("BMP", "bmp")])
def test_the_extension_follows_the_real_format(kind: str, extension: str) -> None:
    assert incoming.read(picture(kind=kind), "x", Settings()).extension == extension


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (None, "missing"),
        ("", "missing"),
        (5, "missing"),
        ("abc$", "base64"),
        ("data:image/png,abc", "data URI"),
        ("aGVsbG8gd29ybGQ=", "not an image"),
        (base64.b64encode(PNG[:-20]).decode(), "cut short"),
        ("http://example.com/x.png", "IMAGE_URLS"),
    ],
)
def test_what_is_no_image_is_refused_by_field(value: Any, words: str) -> None:
    with pytest.raises(RequestError, match=words) as caught:
        incoming.read(value, "images[3].image", Settings())
    assert str(caught.value).startswith("images[3].image: ")


def test_limits_are_checked_before_anything_is_decoded() -> None:
    with pytest.raises(LimitError, match="MAX_INPUT_BYTES"):
        incoming.read("A" * 4000, "x", Settings(max_input_bytes=1000))
    with pytest.raises(LimitError, match="MAX_INPUT_PIXELS"):
        incoming.read(picture(size=(200, 100)), "x", Settings(max_input_pixels=10_000))


def test_a_decompression_bomb_is_refused() -> None:
    header = b"IHDR" + struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    crc = struct.pack(">I", zlib.crc32(header))
    bomb = PNG[:8] + struct.pack(">I", 13) + header + crc + PNG[33:]
    with pytest.raises(LimitError):
        incoming.read(base64.b64encode(bomb).decode(), "x", Settings())


@pytest.mark.parametrize("name", ["", None, "a/b", "..\\b", "/etc/passwd", ".hidden", "a\0b"])
def test_names_with_paths_are_refused(name: Any) -> None:
    with pytest.raises(RequestError):
        incoming.check_name(name, "x")


ALLOWED = Settings(image_urls=True)


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
        incoming.fetch(url, "mask", ALLOWED)


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
            incoming.socket,
            "getaddrinfo",
            lambda host, *rest, **more: lookup(
                "127.0.0.1" if host in ("public.test", "private.test") else host, *rest, **more
            ),
        )
        public = incoming._is_public
        hosts = iter(["public", "public", "private"])
        monkeypatch.setattr(
            incoming, "_is_public", lambda ip: next(hosts) == "public" or public(ip)
        )
        yield f"http://public.test:{port}"
        server.shutdown()
        server.server_close()

    def test_a_redirect_is_followed(self, address: str) -> None:
        assert incoming.fetch(f"{address}/moved.png", "mask", ALLOWED) == PNG

    @pytest.mark.parametrize("pause", ["in the head", "in the body"])
    def test_a_byte_now_and_then_is_cut_off_in_time(
        self, pause: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        head = b"HTTP/1.0 200 OK\r\nContent-Length: 1000\r\n\r\n"
        slow = head if pause == "in the head" else b"x" * 1000
        listener = socket.create_server(("127.0.0.1", 0))

        def serve() -> None:
            connection, _ = listener.accept()
            with connection, contextlib.suppress(OSError):
                if pause == "in the body":
                    connection.sendall(head)
                for byte in slow:
                    connection.sendall(bytes([byte]))
                    time.sleep(0.1)

        threading.Thread(target=serve, daemon=True).start()
        monkeypatch.setattr(incoming, "_is_public", lambda address: True)
        monkeypatch.setattr(incoming, "_FETCH_TIMEOUT_S", 1.0)
        start = time.monotonic()
        with pytest.raises(RequestError, match="not within 1 s"):
            incoming.fetch(f"http://127.0.0.1:{listener.getsockname()[1]}/x", "mask", ALLOWED)
        assert time.monotonic() - start < 2.5
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
            incoming.fetch(url, "mask", ALLOWED)

    def test_a_status_is_named(self, address: str) -> None:
        with pytest.raises(RequestError, match="mask: the address answered with status 404"):
            incoming.fetch(f"{address}/none", "mask", ALLOWED)

    def test_a_large_file_is_refused(self, address: str) -> None:
        with pytest.raises(LimitError, match="MAX_INPUT_BYTES"):
            incoming.fetch(
                f"{address}/x.png?y=1", "mask", Settings(image_urls=True, max_input_bytes=10)
            )

    def test_fields_of_a_payload_are_replaced(self, address: str) -> None:
        payload = {"init_images": [f"{address}/moved.png", "raw"], "prompt": "http://x"}
        changed = incoming.with_fetched(payload, ALLOWED)
        assert changed["init_images"] == [picture(), "raw"]
        assert changed["prompt"] == "http://x"
        assert payload["init_images"][0].endswith("/moved.png")


def test_a_redirect_to_a_private_address_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    replies = iter([incoming._Reply(302, "http://127.0.0.1/x", b"")])
    request = incoming._request

    def once(url: str, path: str, settings: Settings, deadline: float) -> incoming._Reply:
        return next(replies, None) or request(url, path, settings, deadline)

    monkeypatch.setattr(incoming, "_request", once)
    with pytest.raises(RequestError, match="not a public one"):
        incoming.fetch("http://example.com/x", "mask", ALLOWED)


@pytest.mark.parametrize("kind", ["DDS", "ICO", "SPIDER", "JPEG2000", "PCX", "TGA"])
def test_formats_that_no_client_sends_are_refused(kind: str) -> None:
    stream = BytesIO()
    Image.new("F" if kind == "SPIDER" else "RGB", (16, 16)).save(stream, kind)
    with pytest.raises(RequestError, match="is not an image that can be read here"):
        incoming.check(stream.getvalue(), "image", ALLOWED)


def test_a_known_format_is_refused_by_name() -> None:
    with pytest.raises(RequestError, match="a PSD file is not"):
        incoming.check(b"8BPS" + bytes(100), "image", ALLOWED)


def test_a_long_name_is_refused() -> None:
    with pytest.raises(RequestError, match="longer than 200"):
        incoming.check_name("x" * 300, "workflow")
