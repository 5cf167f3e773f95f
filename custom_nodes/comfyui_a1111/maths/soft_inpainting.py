"""Soft inpainting: originals are mixed in by how far the result has moved away from them.

Source: A1111 v1.10.1's built-in extension ``soft-inpainting``, its rules restated. Latents are
`[B, C, h, w]` in the model's scale; masks are 1 where the picture is made anew.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageFilter
from torch import Tensor

from . import inpaint
from .inpaint import Overlay
from .resize_ops import RESIZE_AND_FILL, resize_image

_RADIUS, _SPREAD = 2, 1.5
"""Of the kernel by which distances are filtered, in latent cells."""

_LEAST_WIDTH = 1.0
"""Of the part of a window's stack that is averaged, in weights (the middle cell's is 1)."""

_BLUR = 4
_TINY = 1e-5

Array = NDArray[Any]


def blend(
    original: Tensor,
    latent: Tensor,
    mask: Tensor,
    level: float,
    bias: float,
    preservation: float,
    contrast: float,
) -> Tensor:
    """Mix latents so that the length of each cell's vector is mixed on its own.

    Args:
        level: the noise level of the call; the higher, the more the original counts.
        bias: power of the level. preservation: factor of the mask's power.
        contrast: power in which lengths are mixed: above 1 the longer one counts more.
    """
    share = torch.pow(mask, (level**bias) * preservation)
    of_cell = share[:, :1]
    mixed = original * (1 - share) + latent * share
    length = _length(mixed) + _TINY
    wanted = _length(original) ** contrast * (1 - of_cell) + _length(latent) ** contrast * of_cell
    return mixed * (wanted ** (1 / contrast) / length).to(mixed.dtype)


def _length(latent: Tensor) -> Tensor:
    """Length of each cell's vector, in double precision."""
    return torch.norm(latent, p=2, dim=1, keepdim=True).to(torch.float64)


@dataclass(frozen=True)
class Settings:
    """What decides how far an original covers its result.

    preservation: see `blend`. mask_influence: 0..1, how far the mask scales the threshold.
    threshold: the distance at which the original covers by half. contrast: of that transition.
    width, height: of the result in pixels.
    """

    preservation: float
    mask_influence: float
    threshold: float
    contrast: float
    width: int
    height: int


def soften(
    overlay: Overlay, original: Tensor, latent: Tensor, mask: Tensor, settings: Settings
) -> Overlay:
    """The overlay with a mask for each result, from how far its latent moved."""
    levels = torch.clamp(mask[:, 0].float().cpu(), 0, 1)
    own = 1 - levels ** (settings.preservation / 2)
    influence = settings.mask_influence
    scalar = 0.5 * (1 - influence) + own * influence
    scalar = (scalar / (1.00001 - scalar)).numpy()
    distances = torch.norm(latent.cpu() - original.cpu(), p=2, dim=1).float().numpy()
    sources = [overlay.source(index) for index in range(len(distances))]
    masks = [
        _overlay_mask(
            distance,
            settings.threshold * scalar[min(index, len(scalar) - 1)],
            settings,
            overlay,
            sources[index].size,
        )
        for index, distance in enumerate(distances)
    ]
    return inpaint.with_masks(overlay, sources, masks)


def _overlay_mask(
    distance: Array, half: Array, settings: Settings, overlay: Overlay, size: tuple[int, int]
) -> Image.Image:
    """How far a result shows: 255 where it moved far from its original."""
    far = percentile_filter(percentile_filter(distance, 0.9, 1.0), 0.25, 0.75)
    with np.errstate(divide="ignore", invalid="ignore"):
        kept = 1 / (1 + (far / half) ** settings.contrast)
    kept = kept**3 * (kept * (6 * kept - 15) + 10)
    mask = Image.fromarray((255.0 * (1 - kept)).astype(np.uint8))
    fitted = resize_image(mask, settings.width, settings.height, RESIZE_AND_FILL).convert("L")
    blurred = fitted.filter(ImageFilter.GaussianBlur(radius=_BLUR))
    if overlay.paste_to is None:
        return blurred
    return inpaint.uncrop(blurred, size, overlay.paste_to)


def percentile_filter(values: Array, low: float, high: float) -> Array:
    """Weighted average, around every cell, of what lies between two percentiles of its window.

    Values are stacked in order, each as high as its weight in a Gaussian kernel; the part of the
    stack between `low` and `high` (0..1), at least `_LEAST_WIDTH` of it, is averaged.
    """
    stacked, weights = _windows(values)
    order = np.argsort(stacked, axis=-1, kind="stable")
    stacked = np.take_along_axis(stacked, order, -1)
    weights = np.take_along_axis(weights, order, -1)
    tops = np.cumsum(weights, axis=-1)
    total = tops[..., -1:]
    start, end = _bounds(total, low, high)
    overlap = np.minimum(end, tops) - np.maximum(start, tops - weights)
    overlap = np.clip(overlap, 0, None)
    return ((stacked * overlap).sum(-1) / overlap.sum(-1)).astype(values.dtype)


def _bounds(total: Array, low: float, high: float) -> tuple[Array, Array]:
    """The part of each stack that is averaged, widened where it is too thin."""
    start, end = total * low, total * high
    thin = end - start < _LEAST_WIDTH
    middle = (start + end) / 2
    start = np.where(thin, middle - _LEAST_WIDTH / 2, start)
    end = np.where(thin, middle + _LEAST_WIDTH / 2, end)
    over = thin & (end > total)
    start, end = np.where(over, total - _LEAST_WIDTH, start), np.where(over, total, end)
    under = thin & (start < 0)
    return np.where(under, 0.0, start), np.where(under, _LEAST_WIDTH, end)


def _weight(squared: float) -> float:
    """A Gaussian by the squared distance, tapered to 0 one cell beyond the kernel, 1 at 0."""
    beyond = math.exp(-((_RADIUS + 1) ** 2) / _SPREAD**2)
    return max(0.0, (math.exp(-squared / _SPREAD**2) - beyond) / (1 - beyond))


def _windows(values: Array) -> tuple[Array, Array]:
    """Around every cell the values of its window and their weights; 0 beyond the border."""
    height, width = values.shape
    padded = np.pad(values.astype(np.float64), _RADIUS)
    inside = np.pad(np.ones_like(padded[_RADIUS:-_RADIUS, _RADIUS:-_RADIUS]), _RADIUS)
    stacked, weights = [], []
    for dy in range(-_RADIUS, _RADIUS + 1):
        for dx in range(-_RADIUS, _RADIUS + 1):
            rows = slice(_RADIUS + dy, _RADIUS + dy + height)
            columns = slice(_RADIUS + dx, _RADIUS + dx + width)
            stacked.append(padded[rows, columns])
            weights.append(inside[rows, columns] * _weight(dx * dx + dy * dy))
    return np.stack(stacked, -1), np.stack(weights, -1)
