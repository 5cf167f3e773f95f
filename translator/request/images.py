"""Images of a request: base64 text -> `ImageUpload`, without decoding a pixel."""

from __future__ import annotations

import binascii
import hashlib
import io
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import pybase64
from PIL import ExifTags, Image

from translator.report import Report, show

_EXTENSIONS: Mapping[str, str] = {
    "PNG": "png",
    "JPEG": "jpg",
    "WEBP": "webp",
    "GIF": "gif",
    "BMP": "bmp",
    "TIFF": "tiff",
}
"""Pillow's formats that are read, and the extension of an upload."""

_ALPHABET = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_DATA_URI = re.compile(r"\s*data:[\w.+-]*/?[\w.+-]*(?:;[\w.+=-]+)*,", re.ASCII)

_HEADER_CHARACTERS = (1 << 13, 1 << 17)
"""How much base64 text is decoded to find the header; the whole text where these fall short."""

_MODES_WITH_ALPHA = frozenset(("RGBA", "LA", "PA", "RGBa", "La"))
_ALPHA_THRESHOLD = 128
"""Above it an alpha channel counts as 1."""

_MOST_MASK_PIXELS = 1 << 26
"""Of a mask that is looked at."""

_SIDEWAYS = frozenset((5, 6, 7, 8))
"""EXIF orientations that swap width and height."""


@dataclass(frozen=True, slots=True)
class ImageUpload:
    """An image of the request, ready to be uploaded.

    Attributes:
        name: ``<SHA-256 of the base64 text>.<extension>``: equal images have equal names.
        data: the image file as base64 text, without data URI prefix and white space.
        width, height: pixels, as the picture is seen (EXIF orientation applied).
        mode: Pillow's mode, such as ``RGB``, ``L`` or ``RGBA``.
        has_alpha: whether some pixels may be transparent.
        is_rgba: whether A1111 reads it as RGBA; it heeds no other transparency (of grey pictures
            and of a single transparent colour).
    """

    name: str
    data: str
    width: int
    height: int
    mode: str
    has_alpha: bool
    is_rgba: bool = False


_END = 4096
"""Characters at the end of a picture's text by which it is looked up."""


class ImageReader:
    """Reads the images of one request; an image that stands there twice is read once.

    Args:
        report: takes what is wrong with an image, under its JSON path.
    """

    def __init__(self, report: Report) -> None:
        self._report = report
        self._read: dict[str, ImageUpload | str] = {}
        self._seen: dict[tuple[int, str], list[tuple[str, ImageUpload | str]]] = {}

    def read(self, value: Any, path: str) -> ImageUpload | None:
        """An image as A1111's API takes it: base64 of a picture file, data URI prefix or not.

        The whole text is checked to be base64; of the picture only the header is read. An upload
        comes back as it is.

        Returns:
            None where the value is no image; the report then says why.
        """
        if isinstance(value, ImageUpload):
            return value
        if not isinstance(value, str):
            self._report.invalid(path, f"{show(value)} is not an image as base64 text", value)
            return None
        if value[:8].lower().startswith(("http://", "https://")):
            self._report.unsupported(
                path,
                "images are not fetched from a URL: send the file as base64 text",
                instead="the image is left out",
                value=show(value),
            )
            return None
        read = self._read_once(value)
        if isinstance(read, str):
            self._report.invalid(path, read, show(value[:80]))
            return None
        return read

    def _read_once(self, value: str) -> ImageUpload | str:
        """The upload, or what is wrong; a face that both units of a pair carry is hashed once."""
        # A text is hashed as a whole only where it is short: an end tells most pictures apart.
        alike = self._seen.setdefault((len(value), value[-_END:]), [])
        for seen, known in alike:
            if seen == value:
                return known
        read = self._named(value)
        alike.append((value, read))
        return read

    def _named(self, value: str) -> ImageUpload | str:
        """The upload, named by its text: a data URI prefix makes no other picture of it."""
        text, raw = _base64_text(value)
        if raw is None:
            return f"is not base64: {_base64_fault(text)}"
        name = hashlib.sha256(raw).hexdigest()
        if name not in self._read:
            self._read[name] = _upload(name, text)
        return self._read[name]


def _upload(name: str, text: str) -> ImageUpload | str:
    """The upload, or what is wrong with the picture."""
    try:
        return _read_header(name, text)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        return f"is not a readable image ({', '.join(_EXTENSIONS)}): {_reason(error)}"


def _base64_text(value: str) -> tuple[str, bytes | None]:
    """The base64 part of a text, without data URI prefix and white space; None if it is none.

    White space is looked for only where the text is not sound as it is: of a megabyte, each look
    counts.
    """
    prefix = _DATA_URI.match(value, 0, 256)
    text = value[prefix.end() :] if prefix else value
    raw = text.encode("ascii", "replace")
    if _is_base64(raw):
        return text, raw
    text = "".join(text.split())
    raw = text.encode("ascii", "replace")
    return text, raw if _is_base64(raw) else None


def _is_base64(raw: bytes) -> bool:
    """Whether a text is base64 with its padding, as ``b64decode(validate=True)`` has it.

    Decoding with SIMD takes less time than any look at the letters in Python's own library.
    """
    if not raw or len(raw) % 4:
        return False
    try:
        pybase64.b64decode(raw, validate=True)
    except ValueError:
        return False
    return True


def _base64_fault(text: str) -> str:
    """What makes a text not base64."""
    if not text:
        return "it is empty"
    strange = text.encode("ascii", "replace").translate(None, _ALPHABET)
    foreign = strange.strip(b"=")
    if foreign:
        return f"it holds the character {chr(foreign[0])!r}"
    padding = len(strange)
    return f"{len(text) - padding} characters and {padding} '=' do not make whole bytes"


def _read_header(name: str, text: str) -> ImageUpload:
    """The upload of checked base64 text.

    Raises:
        OSError, SyntaxError, ValueError, DecompressionBombError: Pillow cannot read it.
    """
    for length in _HEADER_CHARACTERS:
        if length < len(text):
            with suppress(OSError, SyntaxError, ValueError), _open(text[:length]) as image:
                return _described(image, name, text)
    with _open(text) as image:
        return _described(image, name, text)


def _open(text: str) -> Image.Image:
    return Image.open(io.BytesIO(binascii.a2b_base64(text)), formats=tuple(_EXTENSIONS))


def _described(image: Image.Image, name: str, text: str) -> ImageUpload:
    width, height = image.size
    if _orientation(image) in _SIDEWAYS:
        width, height = height, width
    return ImageUpload(
        name=f"{name}.{_EXTENSIONS[image.format or '']}",
        data=text,
        width=width,
        height=height,
        mode=image.mode,
        has_alpha=image.mode in _MODES_WITH_ALPHA or "transparency" in image.info,
        is_rgba=_is_rgba(image),
    )


def _is_rgba(image: Image.Image) -> bool:
    """As A1111 opens a picture: a palette's alpha values make RGBA of it."""
    if image.mode == "RGBA":
        return True
    return image.mode in ("RGB", "P") and isinstance(image.info.get("transparency"), bytes)


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation, 1 where none is given in the header.

    Pillow's PNG ``getexif`` decodes the picture where the header has no EXIF block, hence the test.
    """
    if "exif" not in image.info and image.format == "PNG":
        return 1
    orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
    return orientation if isinstance(orientation, int) else 1


def _reason(error: Exception) -> str:
    """Pillow's message without the address of the buffer that it names."""
    return re.sub(r"\s*<_io\.BytesIO object at 0x[0-9a-f]+>", "", str(error)) or "unknown"


def is_blank_mask(upload: ImageUpload, *, rounds: bool, inverts: bool) -> bool:
    """Whether a mask makes nothing anew; False where that cannot be seen here.

    Args:
        rounds: whether an alpha channel becomes 0 or 255.
        inverts: whether what is not masked is made anew.
    """
    if not upload.data or upload.width * upload.height > _MOST_MASK_PIXELS:
        return False
    try:
        with _open(upload.data) as image:
            low, high = _mask_range(image, upload.is_rgba, rounds)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return False
    return low == 255 if inverts else high == 0


def _mask_range(image: Image.Image, is_rgba: bool, rounds: bool) -> tuple[int, int]:
    """The least and the greatest level of the mask that a picture stands for."""
    if is_rgba:
        image = image.convert("RGBA")
        low, high = _range(image.getchannel("A"))
        if (low, high) != (255, 255):
            return (_rounded(low), _rounded(high)) if rounds else (low, high)
    return _range(image.convert("L"))


def _range(channel: Image.Image) -> tuple[int, int]:
    low, high = channel.getextrema()
    assert isinstance(low, int | float) and isinstance(high, int | float)
    return int(low), int(high)


def _rounded(level: int) -> int:
    """A level of an alpha channel that becomes 0 or 255."""
    return 255 if level > _ALPHA_THRESHOLD else 0
