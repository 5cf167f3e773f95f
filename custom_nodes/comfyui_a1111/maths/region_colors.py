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


def region_masks(picture: NDArray[np.uint8], base: bool) -> tuple[Tensor, Tensor]:
    """The mask of every region of a picture `[H, W, 3]`, by the regions' order.

    Args:
        base: whether a base prompt has what no colour covers; else the first region has it.

    Returns:
        `[regions, 1, H, W]` and `[1, 1, H, W]` for what no colour covers, 0 or 1.

    Raises:
        ValueError: the picture has no region's colour.
    """
    numbers = _region_numbers(picture)
    found = sorted(set(numbers[numbers >= 0].tolist()))
    found = [number for number in found if number <= len(found) + _STRAY]
    if not found:
        raise ValueError(
            "Regional Prompter: the mask has no region's colour; region 1 is (128, 64, 64), "
            "region 2 (64, 128, 128), region 3 (96, 128, 64)"
        )
    masks = np.stack([numbers == number for number in found]).astype(np.float32)
    rest = 1 - masks.sum(axis=0, keepdims=True)
    if not base:
        masks[:1] += rest
        rest = np.zeros_like(rest)
    return torch.from_numpy(masks).unsqueeze(1), torch.from_numpy(rest).unsqueeze(1)


def _region_numbers(picture: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Which region every pixel is of `[H, W]`, -1 for none."""
    flat = picture.reshape(-1, 3)
    colors, places = np.unique(flat, axis=0, return_inverse=True)
    order = {color: number for number, color in reversed(list(enumerate(region_colors())))}
    standard = map(_standard, colors.tolist())
    numbers = [-1 if color is None else order.get(color, -1) for color in standard]
    found: NDArray[np.int64] = np.array(numbers, dtype=np.int64)[places.reshape(-1)]
    return found.reshape(picture.shape[:2])


def _standard(color: list[int]) -> tuple[int, int, int] | None:
    """The region's colour of the same hue, where saturation and value are near one half."""
    hue, saturation, value = colorsys.rgb_to_hsv(*(part / 255 for part in color))
    low, high = _NEAR
    near = low <= saturation <= high and low <= value <= high
    return _color(hue) if near else None
