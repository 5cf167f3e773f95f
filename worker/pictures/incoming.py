"""Images that come with a job: base64, data URIs and, where allowed, addresses; checked."""

from __future__ import annotations

import binascii
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import pybase64

from translator import Upload
from worker.errors import LimitError, RequestError
from worker.pictures import uploaded
from worker.pictures.addresses import is_url, refusal
from worker.settings import Settings

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")
"""What is opened, as the translator has it. Pillow's rarer decoders are kept out of reach."""

_OTHER_FORMATS: tuple[tuple[str, int, bytes], ...] = (
    ("DDS", 0, b"DDS "),
    ("AVIF", 4, b"ftypavif"),
    ("HEIC", 4, b"ftypheic"),
    ("JPEG 2000", 0, b"\0\0\0\x0cjP  "),
    ("PSD", 0, b"8BPS"),
    ("ICO", 0, b"\0\0\1\0"),
    ("PDF", 0, b"%PDF"),
    ("SVG", 0, b"<svg"),
    ("MP4", 4, b"ftyp"),
)

_LONGEST_NAME = 200

EXTENSIONS = {"PNG": "png", "JPEG": "jpg", "WEBP": "webp"}
"""Pillow's format name -> file extension; other formats keep Pillow's name in lower case."""

_ENDINGS = {"PNG": b"IEND", "JPEG": b"\xff\xd9"}
"""What a complete file of a format holds near its end."""


@dataclass(frozen=True)
class InputImage:
    """An image that came with a job.

    Attributes:
        data: the file's bytes as sent.
        extension: by its real format, without a dot.
    """

    data: bytes
    extension: str


def plain_base64(text: str) -> bytes:
    """The bytes of base64 that was checked before, with or without a data URI's head."""
    return pybase64.b64decode(text.partition(",")[2] if text.startswith("data:") else text)


def checked_upload(upload: Upload, payload: Mapping[str, Any], settings: Settings) -> bytes:
    """The bytes of an upload of a translation, checked against the limits, as `as_plain` has them.

    Raises:
        RequestError, LimitError: as `check`, naming the field of the payload.
    """
    data = plain_base64(upload.data)
    try:
        return _plain(check(data, "image", settings).data, "image")
    except RequestError:
        field = _field_of(upload.data, payload) or "image"
        return _plain(check(data, field, settings).data, field)


def _plain(data: bytes, path: str) -> bytes:
    try:
        return uploaded.as_plain(data)
    except OSError as error:
        raise RequestError(
            f"{path}: the pixels of the image cannot be read ({error})", "send another file of it"
        ) from error


def _field_of(data: str, value: object, path: str = "") -> str:
    """The JSON path at which a payload holds an image; empty if it does not."""
    if isinstance(value, str):
        return path if value.endswith(data) else ""
    items: Iterable[tuple[str, object]] = ()
    if isinstance(value, Mapping):
        items = ((f"{path}.{key}" if path else str(key), item) for key, item in value.items())
    elif isinstance(value, list):
        items = ((f"{path}[{index}]", item) for index, item in enumerate(value))
    return next((found for at, item in items if (found := _field_of(data, item, at))), "")


def decode(text: object, path: str, settings: Settings) -> bytes:
    """The bytes of an image field: base64, or a data URI with base64.

    Args:
        path: the field, for messages.

    Raises:
        RequestError: not base64.
        LimitError: larger than MAX_INPUT_BYTES.
    """
    if not isinstance(text, str) or not text.strip():
        raise RequestError(f"{path}: an image is missing", "send it as base64")
    if is_url(text):
        raise refusal(path)
    if text.startswith("data:"):
        head, comma, text = text.partition(",")
        if not comma or not head.endswith(";base64"):
            raise RequestError(f"{path}: the data URI is not base64", "send data:...;base64,...")
    if len(text) * 3 // 4 > settings.max_input_bytes:
        raise LimitError(
            f"{path}: the image has about {len(text) * 3 // 4} bytes; at most "
            f"{settings.max_input_bytes} are taken here",
            "send a smaller file (limit: MAX_INPUT_BYTES)",
        )
    try:
        return pybase64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise RequestError(
            f"{path}: not valid base64 ({error})", "send the file as base64"
        ) from None


def check(data: bytes, path: str, settings: Settings) -> InputImage:
    """Bytes as an image, told by its header; the pixels are not decoded.

    Raises:
        RequestError: not an image, or cut short.
        LimitError: more pixels than MAX_INPUT_PIXELS.
    """
    from PIL import Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(BytesIO(data), formats=FORMATS) as image:
                kind, (width, height) = str(image.format), image.size
    except Image.DecompressionBombError:
        raise LimitError(
            f"{path}: the image is too large to be decoded safely", "send a smaller one"
        ) from None
    except Exception as error:  # a decoder raises whatever a broken file leads it to
        raise RequestError(
            f"{path}: {_named(data)} is not an image that can be read here",
            "send PNG, JPEG, WebP, GIF, BMP or TIFF",
        ) from error
    if width * height > settings.max_input_pixels:
        raise LimitError(
            f"{path}: {width}x{height} is {width * height} pixels; at most "
            f"{settings.max_input_pixels} are taken here",
            "send a smaller image (limit: MAX_INPUT_PIXELS)",
        )
    ending = _ENDINGS.get(kind, b"")
    if ending and data.rfind(ending) < 0:
        raise RequestError(f"{path}: the {kind} file is cut short", "send the whole file")
    return InputImage(data, EXTENSIONS.get(kind, kind.lower()))


def _named(data: bytes) -> str:
    """What a file is that is not taken, by its first bytes."""
    for name, offset, sign in _OTHER_FORMATS:
        if data[offset : offset + len(sign)] == sign:
            return f"a {name} file"
    return "the file"


def read(value: object, path: str, settings: Settings) -> InputImage:
    """An image field as a checked image.

    Raises:
        RequestError, LimitError: as `decode` and `check`.
    """
    return check(decode(value, path, settings), path, settings)


def check_name(name: object, path: str) -> str:
    """A file name from a job: plain, without folders.

    Raises:
        RequestError: empty, hidden, or with a path in it.
    """
    if not isinstance(name, str) or not name.strip():
        raise RequestError(f"{path}: a name is missing")
    if any(part in name for part in ("/", "\\", "\0")) or name.startswith("."):
        raise RequestError(f"{path}: a name must not have a path in it", "send a plain file name")
    if len(name.encode()) > _LONGEST_NAME:
        raise RequestError(f"{path}: the name is longer than {_LONGEST_NAME} bytes")
    return name
