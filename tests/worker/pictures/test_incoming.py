"""Images that come with a job."""

from __future__ import annotations

import base64
import socket
import struct
import threading
import zlib
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

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
    replies = iter([(302, "http://127.0.0.1/x", b"")])
    request = incoming._request

    def once(url: str, path: str, settings: Settings) -> tuple[int, str | None, bytes]:
        return next(replies, None) or request(url, path, settings)

    monkeypatch.setattr(incoming, "_request", once)
    with pytest.raises(RequestError, match="not a public one"):
        incoming.fetch("http://example.com/x", "mask", ALLOWED)
