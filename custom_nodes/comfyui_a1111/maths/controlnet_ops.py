"""How A1111's ControlNet scales control images: preparation, fitting, thin-line repair.

Source of the rules: sd-webui-controlnet v1.1.455, restated in shared facts `controlnet.md`
section 3. Results equal the extension's where OpenCV can be imported; without it Pillow, scipy
and numpy stand in and the resizing is near (within a few levels of 255), not exact.

Arrays are `[H, W, C]`, uint8 0..255 (float32 0..255 when an inpainting mask rides along as the
fourth channel).
"""

from __future__ import annotations

import functools
import math
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Array = NDArray[Any]

RESIZE_MODES = ("Just Resize", "Crop and Resize", "Resize and Fill")
PAD_MULTIPLE = 64
"""Preprocessors get images padded to a multiple of this many pixels."""

_MAX_THINNING_ROUNDS = 32


@functools.cache
def _opencv() -> ModuleType | None:
    try:
        import cv2
    except ImportError:
        return None
    return cv2


def resample(image: Array, width: int, height: int, method: str) -> Array:
    """Resize by `nearest`, `linear`, `area` or `cubic` as OpenCV defines them; the type is kept."""
    if method == "nearest":
        rows, columns = (
            np.minimum((np.arange(new) * (old / new)).astype(int), old - 1)
            for new, old in zip((height, width), image.shape[:2], strict=True)
        )
        return image[rows[:, None], columns]
    cv2 = _opencv()
    if cv2 is not None:
        flag = {
            "linear": cv2.INTER_LINEAR,
            "area": cv2.INTER_AREA,
            "cubic": cv2.INTER_CUBIC,
        }[method]
        resized = cv2.resize(image, (width, height), interpolation=flag)
        return resized.reshape(height, width, -1)
    pillow = {
        "linear": Image.Resampling.BILINEAR,
        "area": Image.Resampling.BOX,
        "cubic": Image.Resampling.BICUBIC,
    }[method]
    planes = (Image.fromarray(plane.astype(np.float32)) for plane in np.moveaxis(image, 2, 0))
    stacked = np.stack([plane.resize((width, height), pillow) for plane in planes], axis=2)
    if image.dtype == np.uint8:
        return np.clip(np.rint(stacked), 0, 255).astype(np.uint8)
    return stacked


def scale_short_side(image: Array, short_side: int) -> Array:
    """Scale so that the shorter side has `short_side` pixels: cubic upwards, area downwards."""
    height, width = image.shape[:2]
    factor = short_side / min(height, width)
    size = round(width * factor), round(height * factor)
    return resample(image, *size, "cubic" if factor > 1 else "area")


def pad_to_multiple(image: Array, multiple: int = PAD_MULTIPLE) -> Array:
    """Extend right and bottom with copies of the edge to a multiple of `multiple` pixels."""
    padding = [(0, math.ceil(side / multiple) * multiple - side) for side in image.shape[:2]]
    return np.pad(image, [*padding, (0, 0)], mode="edge")


def fit(image: Array, width: int, height: int, resize_mode: str) -> Array:
    """Bring a control map to `width` x `height` pixels by one of RESIZE_MODES.

    A fourth channel is an inpainting mask: it is resized alike, thresholded at 127, and set to
    255 in the area that Resize and Fill adds.
    """
    if resize_mode == "Just Resize":
        return resize_map(image, width, height)
    old_height, old_width = image.shape[:2]
    factors = height / old_height, width / old_width
    if resize_mode == "Crop and Resize":
        factor = max(factors)
        scaled = resize_map(image, round(old_width * factor), round(old_height * factor))
        top = max(0, (scaled.shape[0] - height) // 2)
        left = max(0, (scaled.shape[1] - width) // 2)
        return scaled[top : top + height, left : left + width]
    factor = min(factors)
    canvas = np.tile(_border_color(image), (height, width, 1))
    scaled = resize_map(image, round(old_width * factor), round(old_height * factor))
    top = max(0, (height - scaled.shape[0]) // 2)
    left = max(0, (width - scaled.shape[1]) // 2)
    canvas[top : top + scaled.shape[0], left : left + scaled.shape[1]] = scaled
    return canvas


def _border_color(image: Array) -> Array:
    """Per-channel median of the outermost pixels; the mask channel of an inpainting map is 255."""
    borders = np.concatenate([image[0], image[-1], image[:, 0], image[:, -1]], axis=0)
    color = np.median(borders, axis=0).astype(image.dtype)
    if color.shape[0] == 4:
        color[3] = 255
    return color


def resize_map(image: Array, width: int, height: int) -> Array:
    """Resize a map by the rule that suits what it shows.

    More than 2 and fewer than 200 colours (segmentation, poses): nearest. Otherwise area when the
    pixel count shrinks and cubic when it does not. Two colours, nearly black and nearly white: the
    result is made binary again by Otsu's threshold, and one-pixel lines are thinned back to one
    pixel.
    """
    colors, mask = image[..., :3], image[..., 3:]
    if image.shape[:2] != (height, width):
        old_count, new_count = image.shape[0] * image.shape[1], width * height
        distinct = len(np.unique(colors.reshape(-1, colors.shape[2]), axis=0))
        binary = distinct == 2 and colors.min() < 16 and colors.max() > 240
        smooth = "area" if new_count < old_count else "cubic"
        method = "nearest" if 2 < distinct < 200 else smooth
        lines = binary and _is_one_pixel_edge(colors)
        colors = resample(colors, width, height, method)
        if mask.shape[2]:
            mask = resample(mask, width, height, method)
        if binary:
            gray = colors.mean(axis=2).clip(0, 255).astype(np.uint8)
            gray = _thin_lines(gray, new_count > old_count) if lines else otsu(gray)
            colors = np.repeat(gray[..., None], 3, axis=2)
    if mask.shape[2]:
        mask = (mask > 127).astype(np.float32) * 255.0
        colors = np.concatenate([colors, mask.astype(colors.dtype)], axis=2)
    return colors


def _neighbourhood(image: Array, footprint: Array, largest: bool) -> Array:
    """Grey dilation (`largest`) or erosion of `[H, W]` by a 3x3 footprint, ignoring the outside."""
    pad = 0 if largest else 255
    padded = np.pad(image, 1, constant_values=pad)
    height, width = image.shape
    shifted = [
        padded[dy : dy + height, dx : dx + width]
        for dy, dx in zip(*np.nonzero(footprint), strict=True)
    ]
    return (np.maximum if largest else np.minimum).reduce(shifted)


def _is_one_pixel_edge(image: Array) -> bool:
    """Whether most white pixels vanish when the map is eroded and dilated by 3x3."""
    square = np.ones((3, 3), dtype=bool)
    vanished = 0
    for plane in np.moveaxis(image, 2, 0):
        opened = _neighbourhood(_neighbourhood(plane, square, False), square, True)
        vanished += int((opened < plane).sum())
    return vanished * 2 > int((image > 127).sum())


def otsu(gray: Array) -> Array:
    """Otsu's threshold of a uint8 `[H, W]` image: 255 above it, 0 elsewhere."""
    counts = np.bincount(gray.ravel(), minlength=256).astype(np.float64) / gray.size
    levels = np.arange(256)
    below = np.cumsum(counts)
    mean_sum = np.cumsum(counts * levels)
    epsilon = float(np.finfo(np.float32).eps)
    valid = (np.minimum(below, 1 - below) >= epsilon) & (
        np.maximum(below, 1 - below) <= 1 - epsilon
    )
    with np.errstate(divide="ignore", invalid="ignore"):
        mean_below = mean_sum / below
        mean_above = (mean_sum[-1] - mean_sum) / (1 - below)
        variance = np.where(valid, below * (1 - below) * (mean_below - mean_above) ** 2, 0.0)
    threshold = int(variance.argmax())
    return np.where(gray > threshold, np.uint8(255), np.uint8(0))


_LINE_FOOTPRINTS = tuple(
    np.array(rows, dtype=bool)
    for rows in (
        [[0, 0, 0], [1, 1, 1], [0, 0, 0]],
        [[0, 1, 0], [0, 1, 0], [0, 1, 0]],
        [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
        [[0, 0, 1], [0, 1, 0], [1, 0, 0]],
    )
)


def suppress_non_maxima(gray: Array) -> Array:
    """Keep pixels that are the largest of their row, column or diagonal triple; others become 0."""
    kept = np.zeros(gray.shape, dtype=bool)
    for footprint in _LINE_FOOTPRINTS:
        kept |= _neighbourhood(gray, footprint, True) == gray
    return np.where(kept, gray, np.uint8(0))


def _rotations(*patterns: list[list[int]]) -> tuple[Array, ...]:
    return tuple(
        np.rot90(np.array(pattern, dtype=np.int32), turns)
        for turns in range(4)
        for pattern in patterns
    )


# 1: must be white, -1: must be black, 0: does not matter.
_THINNING_PATTERNS = _rotations(
    [[-1, -1, -1], [0, 1, 0], [1, 1, 1]],
    [[0, -1, -1], [1, 1, -1], [0, 1, 0]],
)
_PRUNING_PATTERNS = _rotations(
    [[-1, -1, -1], [-1, 1, -1], [0, 0, -1]],
    [[-1, -1, -1], [-1, 1, -1], [-1, 0, 0]],
)


def _hit_or_miss(binary: Array, pattern: Array) -> Array:
    """Where a 3x3 pattern of white and black fits; outside the image everything fits."""
    white, black = binary > 127, binary <= 127
    height, width = binary.shape
    hits = np.ones(binary.shape, dtype=bool)
    for (dy, dx), wanted in np.ndenumerate(pattern):
        if wanted:
            matching = np.pad(white if wanted > 0 else black, 1, constant_values=True)
            hits &= matching[dy : dy + height, dx : dx + width]
    return hits


def _remove_patterns(binary: Array, patterns: tuple[Array, ...]) -> bool:
    """Blacken, in place and pattern by pattern, every pixel where one fits; True if any did."""
    changed = False
    for pattern in patterns:
        hits = _hit_or_miss(binary, pattern)
        binary[hits] = 0
        changed |= bool(hits.any())
    return changed


def thin(binary: Array, prune: bool) -> Array:
    """Thin white lines to one pixel in at most 32 rounds; `prune` removes the spurs that leaves."""
    binary = binary.copy()
    for _ in range(_MAX_THINNING_ROUNDS):
        if not _remove_patterns(binary, _THINNING_PATTERNS):
            break
    if prune:
        _remove_patterns(binary, _PRUNING_PATTERNS)
    return binary


def _thin_lines(gray: Array, grew: bool) -> Array:
    return thin(otsu(suppress_non_maxima(gray)), prune=grew)
