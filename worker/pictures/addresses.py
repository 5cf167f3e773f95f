"""Pictures by their addresses, where an operator allows them (IMAGE_URLS)."""

from __future__ import annotations

import http.client
import ipaddress
import socket
import ssl
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import urljoin, urlsplit

import pybase64

from worker.errors import LimitError, RequestError
from worker.settings import Settings

FETCHING_S = 30.0
"""How long all pictures of a request may take, the wait for their turn included."""

TOO_LATE = f"not within {FETCHING_S:g} s"

_MAX_REDIRECTS = 3
_PORTS = {"http": 80, "https": 443}

_FIELDS = ("mask", "image")
_LIST_FIELDS = ("init_images", "controlnet_input_images", "controlnet_masks")
"""Fields in which A1111's API takes addresses beside images."""

_NAMED_IMAGES = "images"
"""Direct submission's list of ``{"name", "image"}``."""

Place = tuple[str, tuple[str | int, ...]]
"""A field for messages, and the keys that lead to it in a body."""


def is_url(text: object) -> bool:
    """Whether an image field holds a web address instead of an image."""
    return isinstance(text, str) and text[:8].lower().startswith(("http://", "https://"))


def refusal(path: str) -> RequestError:
    """The error for an address in a field whose addresses are not fetched."""
    return RequestError(
        f"{path}: an address instead of an image, and this worker does not fetch any",
        "send the image as base64, or have the operator set IMAGE_URLS=true",
    )


def addresses(body: Mapping[str, Any]) -> dict[Place, str]:
    """The web addresses in the image fields of a request's body."""
    found: dict[Place, Any] = {(name, (name,)): body.get(name, "") for name in _FIELDS}
    for name in _LIST_FIELDS:
        values = body.get(name)
        if isinstance(values, list):
            found |= {(f"{name}[{at}]", (name, at)): item for at, item in enumerate(values)}
    named = body.get(_NAMED_IMAGES)
    if isinstance(named, list):
        found |= {
            (f"{_NAMED_IMAGES}[{at}].image", (_NAMED_IMAGES, at, "image")): item.get("image")
            for at, item in enumerate(named)
            if isinstance(item, Mapping)
        }
    return {place: value for place, value in found.items() if is_url(value)}


def with_fetched(body: Mapping[str, Any], settings: Settings, deadline: float) -> dict[str, Any]:
    """A body with what they hold in place of its `addresses`, as base64. The body is left alone.

    Raises:
        RequestError, LimitError: as `fetch`.
    """
    changed: Any = dict(body)
    for (path, keys), url in addresses(body).items():
        data = pybase64.b64encode_as_string(fetch(url, path, settings, deadline))
        changed = _replaced(changed, keys, data)
    return dict(changed)


def _replaced(holder: Any, keys: tuple[str | int, ...], value: str) -> Any:
    """A copy of an object or list in which one value is another."""
    if not keys:
        return value
    copy = holder.copy()
    copy[keys[0]] = _replaced(holder[keys[0]], keys[1:], value)
    return copy


def fetch(url: str, path: str, settings: Settings, deadline: float) -> bytes:
    """Download an image.

    Only public addresses are fetched, and the connection goes to the very address that was
    checked, so that a name cannot change its meaning in between. Each redirect is checked anew.

    Args:
        path: the field, for messages.
        deadline: by when it must be there, by the monotonic clock.

    Raises:
        RequestError: addresses are off, not public, or give no file.
    """
    if not settings.image_urls:
        raise refusal(path)
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
            why = TOO_LATE if late else type(error).__name__
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
