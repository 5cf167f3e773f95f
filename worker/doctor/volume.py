"""Looks for model files on a volume, in A1111's folder layout and in ComfyUI's."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator, Sequence
from fnmatch import fnmatch
from pathlib import Path

from worker.doctor.data import ModelFile

_MOST_ENTRIES = 20_000
"""Files looked at below one place: a volume may hold anything."""


def find(file: ModelFile, roots: Sequence[Path]) -> Path | None:
    """Where a file lies: under its usual name, else under one that serves as well; None if nowhere.

    An empty file does not count (a download that broke off), nor does one that cannot be read.
    """
    places = [root / place for root in roots for place in file.places]
    for place in places:
        found = place / file.name
        if _has_snapshot(found) if file.is_snapshot else _is_filled(found):
            return found
    if not file.names:
        return None
    listed = (entry for place in places for entry in _below(place))
    return next((entry for entry in listed if _serves(file, entry)), None)


def _serves(file: ModelFile, path: Path) -> bool:
    name = path.name.lower()
    return any(fnmatch(name, pattern.lower()) for pattern in file.names) and _is_filled(path)


def _is_filled(path: Path) -> bool:
    try:
        return path.is_file() and path.stat().st_size > 0 and os.access(path, os.R_OK)
    except OSError:
        return False


def _has_snapshot(folder: Path) -> bool:
    try:
        return any(any(snapshot.iterdir()) for snapshot in (folder / "snapshots").iterdir())
    except OSError:
        return False


def _below(place: Path) -> Iterator[Path]:
    """Files below a place, by name; at most `_MOST_ENTRIES`."""
    files = (
        Path(folder, name)
        for folder, folders, names in os.walk(place, onerror=None)
        for name in _sorted(folders, names)
    )
    return itertools.islice(files, _MOST_ENTRIES)


def _sorted(folders: list[str], names: list[str]) -> list[str]:
    folders.sort()
    return sorted(names)
