"""Images that come with a job: base64, data URIs and, where allowed, addresses; checked."""

from __future__ import annotations

import base64
import binascii
import ipaddress
import socket
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from io import BytesIO
from typing import Any
from urllib.parse import urljoin, urlsplit

import urllib3

from translator import Upload
from worker.errors import LimitError, RequestError
from worker.pictures import uploaded
from worker.settings import Settings

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
    return base64.b64decode(text.partition(",")[2] if text.startswith("data:") else text)


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
    return base64.b64encode(fetch(url, path, settings)).decode("ascii")


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
        return base64.b64decode("".join(text.split()), validate=True)
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
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(BytesIO(data)) as image:
            kind, (width, height) = str(image.format), image.size
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        raise RequestError(
            f"{path}: not an image that can be read", "send PNG, JPEG or WebP"
        ) from error
    except Image.DecompressionBombError:
        raise LimitError(
            f"{path}: the image is too large to be decoded safely", "send a smaller one"
        ) from None
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
    for _ in range(_MAX_REDIRECTS + 1):
        status, location, data = _request(url, path, settings)
        if status == 200:
            return data
        if status not in (301, 302, 303, 307, 308) or not location:
            raise RequestError(f"{path}: the address answered with status {status}")
        url = urljoin(url, location)
    raise RequestError(f"{path}: the address redirects more than {_MAX_REDIRECTS} times")


def _request(url: str, path: str, settings: Settings) -> tuple[int, str | None, bytes]:
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or _PORTS.get(parts.scheme, 0)
    if parts.scheme not in _PORTS or not host:
        raise RequestError(f"{path}: not an http or https address")
    address = _public_address(host, port, path)
    pool = _pool(parts.scheme, host, address, port)
    target = parts.path or "/"
    try:
        with pool.request(
            "GET",
            f"{target}?{parts.query}" if parts.query else target,
            headers={"Host": parts.netloc.rpartition("@")[2]},
            redirect=False,
            retries=False,
            preload_content=False,
        ) as reply:
            data = reply.read(settings.max_input_bytes + 1)
            if len(data) > settings.max_input_bytes:
                raise LimitError(
                    f"{path}: the file has more than {settings.max_input_bytes} bytes",
                    "send a smaller file (limit: MAX_INPUT_BYTES)",
                )
            return reply.status, reply.headers.get("Location"), data
    except urllib3.exceptions.HTTPError as error:
        raise RequestError(f"{path}: the address cannot be read ({type(error).__name__})") from None
    finally:
        pool.close()


def _pool(scheme: str, host: str, address: str, port: int) -> urllib3.HTTPConnectionPool:
    timeout = urllib3.Timeout(total=_FETCH_TIMEOUT_S)
    if scheme == "https":
        return urllib3.HTTPSConnectionPool(
            address, port, timeout=timeout, server_hostname=host, assert_hostname=host
        )
    return urllib3.HTTPConnectionPool(address, port, timeout=timeout)


def _public_address(host: str, port: int, path: str) -> str:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError:
        raise RequestError(f"{path}: the address's host cannot be found") from None
    addresses = [str(entry[4][0]) for entry in found]
    if not addresses or not all(_is_public(address) for address in addresses):
        raise RequestError(
            f"{path}: the address is not a public one", "private addresses are never fetched"
        )
    return addresses[0]


def _is_public(address: str) -> bool:
    parsed = ipaddress.ip_address(address)
    mapped = getattr(parsed, "ipv4_mapped", None)
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
    return name
