"""From detections to the masks of the regions that ADetailer works on.

A detection is a float box (left, top, right, bottom) in pixels of the picture, a score and a mask.
Masks are 8-bit arrays [height, width]. Source of the rules: ADetailer v25.3.0, restated in the
shared facts `adetailer.md` section 2.3.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

Box = tuple[float, float, float, float]
Mask = NDArray[Any]

FILTER_METHODS = ("Area", "Confidence")
SORTS = (
    "None",
    "Position (left to right)",
    "Position (center to edge)",
    "Area (large to small)",
)
MERGES = ("None", "Merge", "Merge and Invert")


@dataclass(frozen=True)
class Detection:
    """One thing that a detector found: its box, its score (0..1) and its mask."""

    box: Box
    score: float
    mask: Mask

    @property
    def area(self) -> float:
        return area(self.box)


@dataclass(frozen=True)
class Rules:
    """What becomes of the detections of one picture.

    Attributes:
        filter_method: by which of `FILTER_METHODS` the best `k` are chosen; k 0 keeps all.
        min_ratio, max_ratio: of a box to the picture, by area.
        sort: one of `SORTS`.
        dilate_erode: pixels that masks grow by; below 0 they shrink.
        x_offset, y_offset: pixels that masks are moved to the right and up.
        merge: one of `MERGES`.
    """

    filter_method: str = "Area"
    k: int = 0
    min_ratio: float = 0.0
    max_ratio: float = 1.0
    sort: str = "None"
    dilate_erode: int = 4
    x_offset: int = 0
    y_offset: int = 0
    merge: str = "None"


@dataclass(frozen=True)
class Regions:
    """The regions of one picture, in the order in which they are worked on.

    Attributes:
        masks: 8 bit, 255 where the picture is made anew.
        boxes: of the detections that passed the filters, in order. Masks that vanished or were
            merged do not count here, as in ADetailer: box j need not belong to mask j.
    """

    masks: tuple[Mask, ...]
    boxes: tuple[Box, ...]

    def box(self, index: int) -> Box | None:
        """The box that ADetailer takes for region `index`; None past the last."""
        return self.boxes[index] if index < len(self.boxes) else None


NO_REGIONS = Regions((), ())


def area(box: Box) -> float:
    """Square pixels of a box."""
    return (box[2] - box[0]) * (box[3] - box[1])


def box_mask(box: Box, width: int, height: int) -> Mask:
    """Pillow's filled rectangle: both corners' pixels belong to it."""
    mask = Image.new("L", (width, height), 0)
    ImageDraw.Draw(mask).rectangle(box, fill=255)
    return np.asarray(mask)


def find_regions(detections: Sequence[Detection], width: int, height: int, rules: Rules) -> Regions:
    """The regions of a picture of `width` x `height` pixels."""
    kept = _within_ratio(detections, width * height, rules)
    kept = _best(kept, rules)
    order = _SORT_KEYS.get(rules.sort)
    if order is not None:
        kept = sorted(kept, key=lambda found: order(found.box, width, height))
    masks = _processed([found.mask for found in kept], rules)
    return Regions(tuple(masks), tuple(found.box for found in kept))


def _within_ratio(detections: Sequence[Detection], pixels: int, rules: Rules) -> list[Detection]:
    return [
        found for found in detections if rules.min_ratio <= found.area / pixels <= rules.max_ratio
    ]


def _best(detections: list[Detection], rules: Rules) -> list[Detection]:
    """The best k, the best first; all of them as they are where k is 0."""
    if not rules.k:
        return detections
    by_score = rules.filter_method == "Confidence"
    ordered = sorted(
        detections, key=lambda found: found.score if by_score else found.area, reverse=True
    )
    return ordered[: rules.k]


def _from_centre(box: Box, width: int, height: int) -> float:
    return math.dist(((box[0] + box[2]) / 2, (box[1] + box[3]) / 2), (width / 2, height / 2))


_SORT_KEYS: dict[str, Callable[[Box, int, int], float]] = {
    "Position (left to right)": lambda box, width, height: box[0],
    "Position (center to edge)": _from_centre,
    "Area (large to small)": lambda box, width, height: -area(box),
}


def _processed(masks: list[Mask], rules: Rules) -> list[Mask]:
    moved = [_moved(mask, rules.x_offset, rules.y_offset) for mask in masks]
    if rules.dilate_erode:
        moved = [grown for mask in moved if (grown := _grown(mask, rules.dilate_erode)).any()]
    if not moved or rules.merge == "None":
        return moved
    union = np.bitwise_or.reduce(moved)
    return [union if rules.merge == "Merge" else 255 - union]


def _moved(mask: Mask, x: int, y: int) -> Mask:
    """Shifted to the right and up; what leaves on one side comes in on the other."""
    return np.roll(mask, (-y, x), axis=(0, 1))


def _grown(mask: Mask, pixels: int) -> Mask:
    """Dilated, or below 0 eroded, by a square of that many pixels; even ones lie lopsided."""
    import cv2

    square = np.ones((abs(pixels), abs(pixels)), np.uint8)
    change = cv2.dilate if pixels > 0 else cv2.erode
    return np.asarray(change(np.ascontiguousarray(mask), square, iterations=1))


def touching(regions: Regions, inside: Mask) -> Regions:
    """The regions whose masks share a bit of a pixel with another mask of the picture's size."""
    masks = tuple(mask for mask in regions.masks if np.bitwise_and(mask, inside).any())
    return Regions(masks, regions.boxes)
