"""Pictures that the tests send."""

from __future__ import annotations

import base64
import io
import math

from PIL import Image


def png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def as_base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def photo(width: int = 96, height: int = 80) -> bytes:
    """A PNG of smooth colours with a bright disc; InsightFace's stand-in finds a face in it."""
    image = Image.new("RGB", (width, height))
    for y in range(height):
        for x in range(width):
            disc = 90 if math.hypot(x - width / 2, y - height / 2) < min(width, height) / 4 else 0
            red = 128 + 100 * math.sin(x / 9)
            green = 128 + 100 * math.cos(y / 11)
            image.putpixel((x, y), (int(red), int(green), 80 + disc))
    return png(image)


def black(width: int = 96, height: int = 80) -> bytes:
    """A PNG without anything bright: no face in it."""
    return png(Image.new("RGB", (width, height)))


def decoded(text: str) -> Image.Image:
    """The picture in an answer's base64 text."""
    image = Image.open(io.BytesIO(base64.b64decode(text, validate=True)))
    image.load()
    return image
