"""Images of a request: what is taken, what is refused, and that only headers are read."""

from __future__ import annotations

import base64
import hashlib
import io

import pytest
from PIL import Image

from translator.report import Report
from translator.request.images import ImageReader, ImageUpload


def encoded(mode: str = "RGB", size: tuple[int, int] = (6, 4), kind: str = "PNG", **save: object):
    buffer = io.BytesIO()
    Image.new(mode, size).save(buffer, kind, **save)
    return base64.b64encode(buffer.getvalue()).decode()


def read(value: object) -> tuple[ImageUpload | None, list[str]]:
    report = Report()
    found = ImageReader(report).read(value, "image")
    return found, [str(problem) for problem in report.problems]


@pytest.mark.parametrize(
    ("kind", "mode", "extension"),
    [
        ("PNG", "RGB", "png"),
        ("PNG", "L", "png"),
        ("JPEG", "RGB", "jpg"),
        ("WEBP", "RGB", "webp"),
        ("BMP", "RGB", "bmp"),
        ("GIF", "P", "gif"),
    ],
)
def test_reads_size_and_mode_of_every_format(kind: str, mode: str, extension: str) -> None:
    upload, problems = read(encoded(mode, kind=kind))
    assert problems == []
    assert upload is not None
    assert (upload.width, upload.height, upload.mode) == (6, 4, mode)
    assert upload.name.endswith(f".{extension}")


def test_the_name_is_the_hash_of_the_base64_text() -> None:
    text = encoded()
    upload, _ = read(text)
    assert upload is not None
    assert upload.name == f"{hashlib.sha256(text.encode()).hexdigest()}.png"
    assert upload.data == text


@pytest.mark.parametrize(
    "wrap",
    [
        lambda text: f"data:image/png;base64,{text}",
        lambda text: f"data:image/png;charset=utf-8;base64,{text}",
        lambda text: f"\n{text}\n",
        lambda text: "\r\n".join(text[i : i + 76] for i in range(0, len(text), 76)),
    ],
)
def test_prefix_and_line_breaks_do_not_change_the_upload(wrap) -> None:
    plain, _ = read(encoded())
    wrapped, problems = read(wrap(encoded()))
    assert (wrapped, problems) == (plain, [])


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_alpha_is_seen(mode: str) -> None:
    upload, _ = read(encoded(mode))
    assert upload is not None and upload.has_alpha


def test_a_transparent_palette_colour_is_alpha() -> None:
    upload, _ = read(encoded("P", transparency=0))
    assert upload is not None and upload.has_alpha


def test_exif_orientation_turns_the_size() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    upload, _ = read(encoded(kind="JPEG", exif=exif))
    assert upload is not None
    assert (upload.width, upload.height) == (4, 6)


def test_a_header_longer_than_the_first_bite_is_read() -> None:
    profile = bytes(range(256)) * 1200
    text = encoded(kind="JPEG", icc_profile=profile)
    assert len(text) > 1 << 17
    upload, problems = read(text)
    assert problems == []
    assert upload is not None and upload.width == 6


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("", "is not base64: it is empty"),
        ("data:image/png;base64,", "is not base64: it is empty"),
        ("base64 encoded image content", "is not base64: 25 characters"),
        ("not*base64==", "is not base64: it holds the character '*'"),
        ("ünïcode", "is not base64: it holds the character '?'"),
        ("abc=defg", "is not base64"),
        ("abcd====", "is not base64"),
        (base64.b64encode(b"plain text").decode(), "is not a readable image"),
        (5, "is not an image as base64 text"),
        (None, "is not an image as base64 text"),
        ("https://example.org/cat.png", "images are not fetched from a URL"),
    ],
)
def test_what_is_no_image_is_refused_with_its_path(value: object, said: str) -> None:
    upload, problems = read(value)
    assert upload is None
    assert len(problems) == 1
    assert problems[0].startswith("image: ")
    assert said in problems[0]


def test_a_refusal_never_holds_the_picture() -> None:
    text = encoded(size=(300, 300))
    _, problems = read(text[:-5] + "*" + text[-4:])
    assert len(problems[0]) < 200


def test_equal_images_are_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    opened = []
    original = Image.open
    monkeypatch.setattr(Image, "open", lambda *a, **k: opened.append(1) or original(*a, **k))
    reader = ImageReader(Report())
    first = reader.read(encoded(), "a")
    assert reader.read(f"data:image/png;base64,{encoded()}", "b") is first
    assert len(opened) == 1


def test_a_bad_image_is_refused_at_each_place_it_stands() -> None:
    report = Report()
    reader = ImageReader(report)
    bad = base64.b64encode(b"plain text").decode()
    reader.read(bad, "a")
    reader.read(bad, "b")
    assert [problem.path for problem in report.problems] == ["a", "b"]


def test_no_pixel_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("pixels were decoded")

    from PIL import PngImagePlugin

    monkeypatch.setattr(PngImagePlugin.PngImageFile, "load", refuse)
    upload, problems = read(encoded())
    assert upload is not None and problems == []


def transparent(mode: str, **info: object) -> str:
    buffer = io.BytesIO()
    image = Image.new(mode, (4, 3))
    if mode == "P":
        image.putpalette(bytes(range(12)))
        image.putpixel((0, 0), 3)
    image.save(buffer, "PNG", **info)
    return base64.b64encode(buffer.getvalue()).decode("ascii")


@pytest.mark.parametrize(
    ("text", "is_rgba"),
    [
        (transparent("RGBA"), True),
        (transparent("P", transparency=b"\x00\x80"), True),
        (transparent("P", transparency=0), False),
        (transparent("LA"), False),
        (transparent("RGB", transparency=(0, 0, 0)), False),
        (transparent("RGB"), False),
    ],
)
def test_a1111_heeds_the_transparency_of_rgba_alone(text: str, is_rgba: bool) -> None:
    read = ImageReader(Report()).read(text, "image")
    assert read is not None
    assert read.is_rgba == is_rgba
