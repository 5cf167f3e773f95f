"""Model lists and the input, output and temp folders."""

from __future__ import annotations

import itertools
import mimetypes
import os
import random
import string
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

_ANNOTATIONS = {"[input]": "input", "[output]": "output", "[temp]": "temp"}
FOLDERS = ("input", "output", "temp")


class OutsideFolder(Exception):
    """A name that points out of its folder."""


class Files:
    """The server's folders under one root, and the names of the models it pretends to have."""

    def __init__(self, root: Path, models: Mapping[str, Sequence[str]]) -> None:
        self.root = root
        self.models = {folder: sorted(names) for folder, names in models.items()}
        self.temp_prefix = "_temp_" + "".join(random.choices(string.ascii_lowercase, k=5))
        self._counters: dict[tuple[Path, str], int] = {}
        for folder in FOLDERS:
            (root / folder).mkdir(parents=True, exist_ok=True)

    def folder(self, kind: str) -> Path | None:
        """The folder of a type (``input``, ``output``, ``temp``), or None for another word."""
        return self.root / kind if kind in FOLDERS else None

    def names(self, folder: str) -> Sequence[str]:
        """The files of a model folder, or the images of the input folder."""
        if folder != "input":
            return self.models.get(folder, ())
        with os.scandir(self.root / "input") as entries:
            return sorted(item.name for item in entries if item.is_file() and _is_image(item.name))

    def input_path(self, name: str) -> Path:
        """Where a LoadImage value lies: ``name``, ``sub/name`` or ``name [output]``."""
        for annotation, folder in _ANNOTATIONS.items():
            if name.endswith(annotation):
                # The space before the annotation goes with it.
                return self.root / folder / name[: -len(annotation) - 1]
        return self.root / "input" / name

    def inside(self, kind: str, subfolder: str, name: str = "") -> Path:
        """A path below one of the folders.

        Raises:
            OutsideFolder: the path leaves the folder.
        """
        base = self.root / kind
        path = Path(os.path.normpath(base / subfolder / name))
        if not path.is_relative_to(base):
            raise OutsideFolder(str(path))
        return path

    def save_names(
        self, kind: str, prefix: str, size: tuple[int, int], count: int
    ) -> tuple[Path, str, list[str]]:
        """Free names for a batch of images, as ``SaveImage`` numbers them.

        Returns:
            The folder, its path below `kind`'s folder, and `count` file names
            ``<prefix>_<counter of 5 digits>_.png``.

        Raises:
            OutsideFolder: the prefix leaves the folder.
        """
        normal = os.path.normpath(_fill_in(prefix, size))
        subfolder, stem = os.path.split(normal)
        folder = self.inside(kind, subfolder)
        folder.mkdir(parents=True, exist_ok=True)
        first = self._reserve(folder, stem, count)
        names = [
            f"{stem.replace('%batch_num%', str(index))}_{first + index:05}_.png"
            for index in range(count)
        ]
        return folder, subfolder, names

    def _reserve(self, folder: Path, stem: str, count: int) -> int:
        """The first of `count` counters; the folder is only read the first time."""
        key = (folder, stem)
        if key not in self._counters:
            self._counters[key] = max(_counters_in(folder, stem), default=0) + 1
        first = self._counters[key]
        self._counters[key] = first + count
        return first


def free_upload_name(folder: Path, name: str, data: bytes) -> tuple[str, bool]:
    """The name an upload gets without ``overwrite``: the same, or ``name (1)`` and so on.

    Returns:
        The name, and whether a file of this name with the same bytes is there already.
    """
    stem, suffix = Path(name).stem, Path(name).suffix
    for candidate in itertools.chain([name], (f"{stem} ({i}){suffix}" for i in itertools.count(1))):
        path = folder / candidate
        if not path.exists():
            return candidate, False
        if path.read_bytes() == data:
            return candidate, True
    raise AssertionError("itertools.count does not end")


def _counters_in(folder: Path, stem: str) -> list[int]:
    found = []
    for entry in folder.iterdir():
        head, underscore, tail = entry.name[: len(stem)], entry.name[len(stem) : len(stem) + 1], ""
        if head == stem and underscore == "_":
            tail = entry.name[len(stem) + 1 :].split("_")[0]
            found.append(int(tail) if tail.isdigit() else 0)
    return found


def _fill_in(prefix: str, size: tuple[int, int]) -> str:
    if "%" not in prefix:
        return prefix
    now = time.localtime()
    fields = {
        "%width%": str(size[0]),
        "%height%": str(size[1]),
        "%year%": str(now.tm_year),
        "%month%": f"{now.tm_mon:02}",
        "%day%": f"{now.tm_mday:02}",
        "%hour%": f"{now.tm_hour:02}",
        "%minute%": f"{now.tm_min:02}",
        "%second%": f"{now.tm_sec:02}",
    }
    for field, value in fields.items():
        prefix = prefix.replace(field, value)
    return prefix


def _is_image(name: str) -> bool:
    kind, _ = mimetypes.guess_type(name, strict=False)
    return kind is not None and kind.startswith("image/")
