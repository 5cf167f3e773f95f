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


def read_pixels(value: Any, path: str, report: Report) -> int | None:
    """The pixels to expand by; None after a report."""
    if isinstance(value, int) and not isinstance(value, bool) and 0 < value <= MOST_PIXELS:
        return value
    report.invalid(path, f"the pixels to expand are a whole number within 1..{MOST_PIXELS}", value)
    return None


def read_blur(value: Any, path: str, report: Report) -> int | None:
    """The blur of the mask; None after a report."""
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MOST_PIXELS // 4:
        return value
    report.invalid(path, "the mask blur is a whole number, 0 or more", value)
    return None


def read_directions(value: Any, path: str, report: Report) -> tuple[str, ...] | None:
    """The sides that are enlarged; None after a report.

    A text names those that stand in it, as A1111 looks for them there.
    """
    if isinstance(value, list | str):
        found = tuple(name for name in DIRECTIONS if name in value)
        if found:
            return found
    report.invalid(path, f"a list with some of {', '.join(DIRECTIONS)} is wanted", value)
    return None


def kept_frame(
    size: Size, kept: tuple[int, int, int, int], path: str, report: Report
) -> Frame | None:
    """The mask of everything but a rectangle; None, and a report, where nothing is left of that."""
    if kept[0] > kept[2] or kept[1] > kept[3]:
        report.invalid(path, "the mask's blur leaves nothing of the picture")
        return None
    return frame(size, kept)
