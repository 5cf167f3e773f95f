"""Images that come with a job."""

from __future__ import annotations

import base64
import struct
import zlib
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
