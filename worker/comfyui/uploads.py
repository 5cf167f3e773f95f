"""The images that the server's input folder holds for us: each uploaded once, the oldest forgotten.

Images are named by their content, so that the same image is one file for every job, ComfyUI's cache
sees that it is the same, and two jobs can never overwrite each other's.
"""

from __future__ import annotations

import hashlib
import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

log = logging.getLogger(__name__)


class Uploader(Protocol):
    """What the store needs of `ComfyApi`."""

    def upload(self, name: str, data: bytes) -> str: ...


def content_name(data: bytes, extension: str) -> str:
    """The name of an image by its content: ``<32 hexadecimal digits>.<extension>``."""
    return f"{hashlib.sha256(data).hexdigest()[:32]}.{extension.lstrip('.').lower()}"


class UploadStore:
    """A bounded least-recently-used store of uploaded names.

    Args:
        api: uploads a file.
        capacity: names remembered; names that a job still uses are kept beyond it.
        folder: the server's input folder where the worker shares its disk: evicted files are
            removed from it. None: they stay.
    """

    def __init__(self, api: Uploader, capacity: int, folder: Path | None = None) -> None:
        self._api = api
        self._capacity = capacity
        self._folder = folder
        self._lock = threading.Lock()
        self._names: OrderedDict[str, None] = OrderedDict()
        self._users: dict[str, int] = {}
        self._uploading: dict[str, threading.Lock] = {}

    def __len__(self) -> int:
        with self._lock:
            return len(self._names)

    @contextmanager
    def hold(self, names: Iterable[str]) -> Iterator[None]:
        """Keep names from eviction for as long as a job uses them."""
        held = list(names)
        self._count(held, 1)
        try:
            yield
        finally:
            self._count(held, -1)
            self._evict()

    def ensure(self, name: str, data: Callable[[], bytes]) -> bool:
        """Upload an image unless it is there. Two threads with the same image upload it once.

        Args:
            data: gives the bytes; called only if they are needed.

        Returns:
            True if it was already there.
        """
        with self._lock:
            turn = self._uploading.setdefault(name, threading.Lock())
        with turn:
            with self._lock:
                known = name in self._names
                if known:
                    self._names.move_to_end(name)
            if not known:
                self._api.upload(name, data())
                with self._lock:
                    self._names[name] = None
        with self._lock:
            self._uploading.pop(name, None)
        self._evict()
        return known

    def forget(self, names: Iterable[str]) -> None:
        """The server does not have these after all: the next `ensure` uploads them again."""
        with self._lock:
            for name in names:
                self._names.pop(name, None)

    def clear(self) -> None:
        """Forget every name (another server may have taken the old one's place)."""
        with self._lock:
            self._names.clear()

    def _count(self, names: list[str], change: int) -> None:
        with self._lock:
            for name in names:
                self._users[name] = self._users.get(name, 0) + change
                if not self._users[name]:
                    del self._users[name]

    def _evict(self) -> None:
        with self._lock:
            excess = len(self._names) - self._capacity
            idle = [name for name in self._names if name not in self._users]
            gone = idle[: max(0, excess)]
            for name in gone:
                del self._names[name]
        if self._folder is not None:
            for name in gone:
                self._remove(self._folder / name)

    @staticmethod
    def _remove(path: Path) -> None:
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            log.warning("could not remove an evicted upload: %s", error.strerror)
