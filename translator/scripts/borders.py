"""How far the outpainting scripts of A1111 enlarge a picture on each side.

Source: A1111 v1.10.1 ``scripts/poor_mans_outpainting.py`` and ``scripts/outpainting_mk_2.py``.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from translator.plan.pictures import Frame, Size, frame
from translator.report import Report

DIRECTIONS = ("left", "right", "up", "down")

MULTIPLE = 64
"""Sides of enlarged pictures are multiples of this."""

MOST_PIXELS = 16384
"""Pixels by which a picture may be enlarged on a side."""


@dataclass(frozen=True)
class Borders:
    """Pixels that are added on each side; 0 leaves a side as it is."""

    left: int
    right: int
    up: int
    down: int


def up_to_multiple(length: int) -> int:
    """The next length that is a multiple of 64."""
    return -(-length // MULTIPLE) * MULTIPLE


def borders(size: Size, pixels: int, directions: Collection[str]) -> Borders:
    """The borders of a picture whose sides become multiples of 64.

    Args:
        pixels: that are asked for on each side.
        directions: which sides, of `DIRECTIONS`.
    """
    asked = [pixels if name in directions else 0 for name in DIRECTIONS]
    left, right = _shared(size[0], asked[0], asked[1])
    up, down = _shared(size[1], asked[2], asked[3])
    return Borders(left, right, up, down)


def _shared(length: int, before: int, after: int) -> tuple[int, int]:
    more = up_to_multiple(length + before + after) - length
    if before > 0:
        before = before * more // (before + after)
    return before, more - before if after > 0 else after


@dataclass(frozen=True)
class Enlargement:
    """What an outpainting is asked for.

    Attributes:
        pixels: that are added on each side, 1..`MOST_PIXELS`.
        blur: of the mask.
        directions: the sides, of `DIRECTIONS`.
    """

    pixels: int
    blur: int
    directions: tuple[str, ...]


def read_enlargement(
    values: tuple[Any, Any, Any], paths: tuple[str, str, str], report: Report
) -> Enlargement | None:
    """Pixels, blur and directions, as they are sent; None after a report."""
    pixels, blur, given = values
    directions = _directions(given)
    faults = (
        (
            _is_whole(pixels, 1, MOST_PIXELS),
            f"the pixels to expand are a whole number within 1..{MOST_PIXELS}",
        ),
        (
            _is_whole(blur, 0, MOST_PIXELS // 4),
            f"the mask blur is a whole number within 0..{MOST_PIXELS // 4}",
        ),
        (bool(directions), f"a list with some of {', '.join(DIRECTIONS)} is wanted"),
    )
    for (fine, message), path, value in zip(faults, paths, values, strict=True):
        if not fine:
            report.invalid(path, message, value)
    return Enlargement(pixels, blur, directions) if all(fine for fine, _ in faults) else None


def _is_whole(value: Any, least: int, most: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most


def _directions(value: Any) -> tuple[str, ...]:
    """The sides that are enlarged; a text names those that stand in it, as A1111 looks there."""
    if not isinstance(value, list | str):
        return ()
    return tuple(name for name in DIRECTIONS if name in value)


def kept_frame(
    size: Size, kept: tuple[int, int, int, int], path: str, report: Report
) -> Frame | None:
    """The mask of everything but a rectangle; None, and a report, where nothing is left of that."""
    if kept[0] > kept[2] or kept[1] > kept[3]:
        report.invalid(path, "the mask's blur leaves nothing of the picture")
        return None
    return frame(size, kept)
