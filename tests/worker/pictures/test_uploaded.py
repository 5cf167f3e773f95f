"""What the server is sent of an image: the same pixels, as every ComfyUI reads them alike."""

from __future__ import annotations

from io import BytesIO

import pytest
from PIL import Image, ImageOps

from worker.pictures.uploaded import as_plain, is_plain

GRADIENT = Image.linear_gradient("L").resize((48, 40))
COLOURS = Image.merge("RGB", (GRADIENT, GRADIENT.rotate(90), ImageOps.invert(GRADIENT)))


def file(image: Image.Image, kind: str = "PNG", **settings: object) -> bytes:
    stream = BytesIO()
    image.save(stream, kind, **settings)
    return stream.getvalue()


def opened(data: bytes) -> Image.Image:
    return Image.open(BytesIO(data))


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_plain_files_stay_as_they_are(mode: str) -> None:
    data = file(COLOURS.convert(mode))
    assert as_plain(data) is data


@pytest.mark.parametrize(
    ("data", "mode"),
    [
        (file(GRADIENT), "RGB"),
        (file(GRADIENT.convert("LA")), "RGBA"),
        (file(GRADIENT.convert("1")), "RGB"),
        (file(COLOURS.convert("P")), "RGB"),
        (file(COLOURS.convert("P"), transparency=0), "RGBA"),
        (file(COLOURS, transparency=(0, 0, 0)), "RGBA"),
        (file(COLOURS, "JPEG"), "RGB"),
        (file(GRADIENT, "JPEG"), "RGB"),
        (file(COLOURS.convert("CMYK"), "JPEG"), "RGB"),
        (file(COLOURS, "WEBP"), "RGB"),
        (file(COLOURS, "BMP"), "RGB"),
        (file(COLOURS, "TIFF"), "RGB"),
        (file(GRADIENT.convert("I;16")), "RGB"),
    ],
)
def test_every_other_kind_becomes_one_with_pillows_pixels(data: bytes, mode: str) -> None:
    plain = as_plain(data)
    assert is_plain(plain)
    assert opened(plain).mode == mode
    assert opened(plain).tobytes() == opened(data).convert(mode).tobytes()


def test_the_picture_is_turned_as_its_orientation_says() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    for kind in ("JPEG", "PNG"):
        sideways = file(COLOURS, kind, exif=exif)
        assert opened(as_plain(sideways)).size == (40, 48)


def test_of_several_frames_it_is_the_first() -> None:
    frames = file(COLOURS.convert("P"), "GIF", save_all=True, append_images=[GRADIENT])
    first = opened(frames).convert("RGB")
    assert opened(as_plain(frames)).convert("RGB").tobytes() == first.tobytes()


@pytest.mark.parametrize("kept", [30, 200])
def test_a_broken_file_is_an_error_of_reading(kept: int) -> None:
    with pytest.raises(OSError):
        as_plain(file(COLOURS, "JPEG")[:kept])
