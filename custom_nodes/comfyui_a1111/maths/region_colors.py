"""Regional Prompter's mask picture: each region has a colour of its own.

Source: sd-webui-regional-prompter ``scripts/regions.py`` (detect_image_colours,
deterministic_colours, inpaintmaskdealer), restated. Region n has the hue that lies farthest from
those before it, with a saturation and value of one half.
"""

from __future__ import annotations

import colorsys
import math
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

_COLORS = 2 * 359
"""How many colours a picture's are compared with."""

_NEAR = (0.49, 0.51)
"""Saturation and value that are taken for one half."""

_STRAY = 20
"""Regions of a number above the count of colours by more than that are taken for noise."""


@cache
def region_colors() -> tuple[tuple[int, int, int], ...]:
    """The colour of every region, in order: hues 0, 1/2, 1/4, 3/4, 1/8, 3/8 and so on."""
    hues = [0.0]
    for number in range(1, _COLORS):
        parts = 2 ** math.ceil(math.log2(number + 1))
        hues.append((2 * (number - parts // 2) + 1) / parts)
    return tuple(_color(hue) for hue in hues)


def _color(hue: float) -> tuple[int, int, int]:
    red, green, blue = (int(256 * part) for part in colorsys.hsv_to_rgb(hue, 0.5, 0.5))
    return red, green, blue


def region_numbers(picture: NDArray[np.uint8], base: bool) -> tuple[Tensor, int]:
    """The region of every pixel of a picture `[H, W, 3]`, and how many regions there are.

    Args:
        base: whether a base prompt has what no colour covers; else the first region has it.

    Returns:
        `[H, W]` int16: regions by their colours' order, from 0; -1 for what no colour covers.

    Raises:
        ValueError: the picture has no region's colour.
    """
    colors = _colors(picture)
    found = np.unique(colors[colors >= 0]).tolist()
    found = [number for number in found if number <= len(found) + _STRAY]
    if not found:
        raise ValueError(
            "Regional Prompter: the mask has no region's colour; region 1 is (128, 64, 64), "
            "region 2 (64, 128, 128), region 3 (96, 128, 64)"
        )
    order = np.full(_COLORS + 1, -1 if base else 0, dtype=np.int16)
    order[found] = range(len(found))  # the last place is for -1: no colour
    return torch.from_numpy(order[colors]), len(found)


def _colors(picture: NDArray[np.uint8]) -> NDArray[np.int16]:
    """Which of `region_colors` every pixel has `[H, W]`, -1 for none."""
    order = {color: number for number, color in reversed(list(enumerate(region_colors())))}
    found = np.full(picture.shape[:2], -1, dtype=np.int16)
    near = _is_near(picture)
    red, green, blue = np.moveaxis(picture[near].astype(np.int32), 1, 0)
    colors, places = np.unique(red << 16 | green << 8 | blue, return_inverse=True)
    numbers = [order.get(_standard(*color.to_bytes(3, "big")), -1) for color in colors.tolist()]
    found[near] = np.array(numbers, dtype=np.int16)[places]
    return found


def _is_near(picture: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Where saturation and value are near one half, `[H, W]`."""
    low, high = _NEAR
    largest = picture.max(axis=2).astype(np.float64)
    saturation = (largest - picture.min(axis=2)) / np.maximum(largest, 1)
    value = largest / 255
    near: NDArray[np.bool_] = (
        (low <= saturation) & (saturation <= high) & (low <= value) & (value <= high)
    )
    return near


def _standard(red: int, green: int, blue: int) -> tuple[int, int, int]:
    """The region's colour of the same hue."""
    return _color(colorsys.rgb_to_hsv(red / 255, green / 255, blue / 255)[0])
