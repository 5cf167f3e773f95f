"""A development server for the tests of it."""

from __future__ import annotations

import io
from collections.abc import Iterator

import pytest
import requests
from PIL import Image

from devserver import DevServer


@pytest.fixture(scope="module")
def shared_server() -> Iterator[DevServer]:
    """One server for the tests of a module that leave no trace in each other."""
    with DevServer() as server:
        yield server


@pytest.fixture
def server() -> Iterator[DevServer]:
    """A server of the test's own."""
    with DevServer() as server:
        yield server


def png(size: tuple[int, int], color: tuple[int, int, int] = (200, 10, 10)) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size, color).save(buffer, "PNG")
    return buffer.getvalue()


def upload(url: str, name: str, data: bytes, **form: str) -> requests.Response:
    files = {"image": (name, data, "image/png")}
    return requests.post(f"{url}/upload/image", files=files, data=form, timeout=20)


def view(url: str, image: dict[str, str]) -> Image.Image:
    """A picture by its entry in an output's ``images``."""
    response = requests.get(f"{url}/view", params=image, timeout=20)
    response.raise_for_status()
    return Image.open(io.BytesIO(response.content))
