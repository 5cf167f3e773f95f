"""Images that come with a job: base64, data URIs and, where allowed, addresses; checked."""

from __future__ import annotations

import binascii
import http.client
import ipaddress
import socket
import ssl
import threading
import time
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from io import BytesIO
from typing import Any
from urllib.parse import urljoin, urlsplit

import pybase64

from translator import Upload
from worker.errors import LimitError, RequestError
from worker.pictures import uploaded
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

_FETCH_TIMEOUT_S = 30.0
_MAX_REDIRECTS = 3
_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True)
class InputImage:
    """An image that came with a job.

    Attributes:
        data: the file's bytes as sent.
        extension: by its real format, without a dot.
    """

    data: bytes
    extension: str


def is_url(text: str) -> bool:
    """Whether an image field holds a web address instead of an image."""
    return text[:8].lower().startswith(("http://", "https://"))


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


_IMAGE_FIELDS = ("mask", "image")
_IMAGE_LIST_FIELDS = ("init_images", "controlnet_input_images", "controlnet_masks")
"""Fields in which A1111's API takes addresses beside images."""


def with_fetched(payload: Mapping[str, Any], settings: Settings) -> Mapping[str, Any]:
    """An A1111 payload with web addresses in its image fields replaced by what they hold.

    Those are the fields in which A1111 takes addresses. The payload itself is left as it is.

    Raises:
        RequestError, LimitError: as `fetch`.
    """
    changed: dict[str, Any] = {}
    for name in _IMAGE_FIELDS:
        value = payload.get(name)
        if isinstance(value, str) and is_url(value):
            changed[name] = _fetched(value, name, settings)
    for name in _IMAGE_LIST_FIELDS:
        values = payload.get(name)
        if isinstance(values, list) and any(
            isinstance(item, str) and is_url(item) for item in values
        ):
            changed[name] = [
                _fetched(item, f"{name}[{index}]", settings)
                if isinstance(item, str) and is_url(item)
                else item
                for index, item in enumerate(values)
            ]
    return {**payload, **changed} if changed else payload


def _fetched(url: str, path: str, settings: Settings) -> str:
    return pybase64.b64encode_as_string(fetch(url, path, settings))


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
    """An image field of any kind as a checked image.

    Raises:
        RequestError, LimitError: as `decode`, `fetch` and `check`.
    """
    if isinstance(value, str) and is_url(value):
        data = fetch(value, path, settings)
    else:
        data = decode(value, path, settings)
    return check(data, path, settings)


def fetch(url: str, path: str, settings: Settings) -> bytes:
    """Download an image.

    Only public addresses are fetched, and the connection goes to the very address that was
    checked, so that a name cannot change its meaning in between. Each redirect is checked anew.

    Raises:
        RequestError: addresses are off, not public, or give no file.
    """
    if not settings.image_urls:
        raise RequestError(
            f"{path}: an address instead of an image, and this worker does not fetch any",
            "send the image as base64, or have the operator set IMAGE_URLS=true",
        )
    deadline = time.monotonic() + _FETCH_TIMEOUT_S
    for _ in range(_MAX_REDIRECTS + 1):
        try:
            reply = _request(url, path, settings, deadline)
            if reply.status == 200:
                return reply.data
            if reply.status not in (301, 302, 303, 307, 308) or not reply.location:
                raise RequestError(f"{path}: the address answered with status {reply.status}")
            url = urljoin(url, reply.location)
        except (OSError, ValueError, http.client.HTTPException) as error:
            late = time.monotonic() >= deadline
            why = f"not within {_FETCH_TIMEOUT_S:g} s" if late else type(error).__name__
            raise RequestError(f"{path}: the address cannot be read ({why})") from None
    raise RequestError(f"{path}: the address redirects more than {_MAX_REDIRECTS} times")


@dataclass(frozen=True)
class _Reply:
    status: int
    location: str | None
    data: bytes


def _request(url: str, path: str, settings: Settings, deadline: float) -> _Reply:
    """One GET.

    Raises:
        RequestError, LimitError: the address is not to be fetched, or gives too much.
        ValueError: it is none (a bad port, an open bracket).
        OSError, HTTPException: it gives nothing, or not by the deadline.
    """
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or _PORTS.get(parts.scheme, 0)
    if parts.scheme not in _PORTS or not host:
        raise RequestError(f"{path}: not an http or https address")
    address = public_address(host, port, path)
    with _connected(address, port, deadline) as plain:
        secure = parts.scheme == "https"
        connection = http.client.HTTPConnection(host, port)
        connection.sock = (
            ssl.create_default_context().wrap_socket(plain, server_hostname=host)
            if secure
            else plain
        )
        target = f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"
        named = {"Host": parts.netloc.rpartition("@")[2], "Accept-Encoding": "identity"}
        connection.request("GET", target, headers=named)
        with connection.getresponse() as response:
            data = response.read(settings.max_input_bytes + 1)
            if time.monotonic() >= deadline:
                raise TimeoutError
            if len(data) > settings.max_input_bytes:
                raise LimitError(
                    f"{path}: the file has more than {settings.max_input_bytes} bytes",
                    "send a smaller file (limit: MAX_INPUT_BYTES)",
                )
            return _Reply(response.status, response.headers.get("Location"), data)


@contextmanager
def _connected(address: str, port: int, deadline: float) -> Iterator[socket.socket]:
    """A connection that is cut at the deadline, however slowly its bytes come."""
    left = max(0.1, deadline - time.monotonic())
    with socket.create_connection((address, port), timeout=left) as plain:
        spare = plain.dup()  # a socket that is wrapped for TLS gives its own descriptor away
        cutter = threading.Timer(max(0.1, deadline - time.monotonic()), _cut, [spare])
        cutter.daemon = True
        cutter.start()
        try:
            yield plain
        finally:
            cutter.cancel()
            spare.close()


def _cut(plain: socket.socket) -> None:
    with suppress(OSError):
        plain.shutdown(socket.SHUT_RDWR)


def public_address(host: str, port: int, path: str) -> str:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise RequestError(f"{path}: the address's host cannot be found") from None
    addresses = [str(entry[4][0]) for entry in found]
    if not addresses or not all(_is_public(address) for address in addresses):
        raise RequestError(
            f"{path}: the address is not a public one", "private addresses are never fetched"
        )
    return addresses[0]


_NOT_PUBLIC = tuple(
    map(
        ipaddress.ip_network,
        (
            "::/96",  # IPv4-compatible
            "64:ff9b::/96",  # NAT64
            "64:ff9b:1::/48",
            "2002::/16",  # 6to4
            "2001::/32",  # Teredo
            "fec0::/10",  # site-local
        ),
    )
)
"""IPv6 addresses that lead to IPv4 ones, or to one's own site, whatever Python says of them."""


def _is_public(address: str) -> bool:
    parsed = ipaddress.ip_address(address.partition("%")[0])
    mapped = getattr(parsed, "ipv4_mapped", None)
    if mapped is None and any(parsed in network for network in _NOT_PUBLIC):
        return False
    return (mapped or parsed).is_global and not parsed.is_multicast


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
