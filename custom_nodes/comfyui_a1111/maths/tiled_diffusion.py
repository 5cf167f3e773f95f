"""Sampling in overlapping tiles whose predictions are averaged: Tiled Diffusion's two methods.

Source: multidiffusion-upscaler-for-automatic1111 ``tile_utils/utils.py`` and ``tile_methods``,
restated. Sizes are in cells of the latent.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from .noise import like
from .tiled_control import Box, Later
from .tiled_regions import Foreground, Region

MULTI, MIXTURE = METHODS = ("MultiDiffusion", "Mixture of Diffusers")

_LEAST_STEP = 4
"""How far apart two tiles lie at the least."""

_VARIANCE = 0.01
"""Of the weights of a tile, as a share of its width."""

Call = Callable[[Mapping[str, Any]], Tensor]


@dataclass(frozen=True)
class Tiling:
    """How a latent is cut.

    Attributes:
        method: one of `METHODS`.
        width, height: of the latents that are cut; others are left whole. 0 cuts all.
        tile_width, tile_height: of a tile.
        overlap: of two tiles.
        batch: tiles in one call of the model.
    """

    method: str
    width: int
    height: int
    tile_width: int
    tile_height: int
    overlap: int
    batch: int

    def cuts(self, width: int, height: int) -> bool:
        """Whether a latent of that size is cut."""
        return not self.width or (width, height) == (self.width, self.height)

    def tile(self, width: int, height: int) -> tuple[int, int]:
        """Width and height of a tile of a latent."""
        return min(self.tile_width, width), min(self.tile_height, height)

    def corners(self, width: int, height: int) -> list[tuple[int, int]]:
        """Left and top of every tile, line by line."""
        tile = self.tile(width, height)
        overlap = max(0, min(self.overlap, min(self.tile_width, self.tile_height) - _LEAST_STEP))
        columns, rows = (
            _starts(length, side, overlap)
            for length, side in zip((width, height), tile, strict=True)
        )
        return [(x, y) for y in rows for x in columns]

    def weights(self, width: int, height: int) -> Tensor:
        """What each cell of a tile counts, `[tile height, tile width]`."""
        if self.method == MULTI:
            return torch.ones(height, width)
        return gaussian_weights(width, height)


def _starts(length: int, side: int, overlap: int) -> list[int]:
    count = math.ceil((length - overlap) / (side - overlap)) if side > overlap else 1
    step = (length - side) / (count - 1) if count > 1 else 0
    return [min(int(number * step), length - side) for number in range(max(count, 1))]


def gaussian_weights(width: int, height: int) -> Tensor:
    """A bell over a tile; its width goes by the tile's width in both directions."""

    def bell(length: int, middle: float) -> Tensor:
        distance = torch.arange(length, dtype=torch.float64) - middle
        return torch.exp(-(distance**2) / width**2 / (2 * _VARIANCE)) / math.sqrt(
            2 * math.pi * _VARIANCE
        )

    return torch.outer(bell(height, height / 2), bell(width, (width - 1) / 2)).float()


def tiled(
    tiling: Tiling,
    inner: Call,
    arguments: Mapping[str, Any],
    regions: Sequence[Region] = (),
    *,
    draws_tiles: bool = True,
) -> Tensor:
    """The model's prediction, made in tiles and regions.

    Predictions are averages of tiles' predictions for the same x, so that it is all one whether
    noise or the clean latent is averaged.

    Args:
        inner: the model: ComfyUI's arguments of a model_function_wrapper -> prediction.
        arguments: ``input`` `[B, C, H, W]`, ``timestep`` `[B]`, ``c`` and ``cond_or_uncond``.
        regions: boxes with prompts of their own.
        draws_tiles: whether the pass' own prompts count beside them.
    """
    x: Tensor = arguments["input"]
    height, width = x.shape[-2:]
    cuts = tiling.cuts(width, height)
    corners = tiling.corners(width, height) if cuts else []
    if len(corners) < 2 and not (regions and cuts):
        later = arguments["c"].get("control")
        return inner(later.whole(arguments) if isinstance(later, Later) else arguments)
    canvas = _Canvas(tiling, x)
    if draws_tiles or not regions:
        across, down = tiling.tile(width, height)
        weights = like(tiling.weights(across, down), x)
        for some in _batches(corners, tiling.batch):
            boxes = [(slice(top, top + down), slice(left, left + across)) for left, top in some]
            made = inner(_of_tiles(arguments, boxes)).chunk(len(boxes))
            for box, prediction in zip(boxes, made, strict=True):
                canvas.add(box, prediction, weights)
    foreground = Foreground(x)
    for region in regions:
        given = _of_tiles(arguments, [region.box], region)
        prediction = inner(given)
        if region.foreground:
            foreground.add(region, prediction)
        else:
            weights = like(tiling.weights(region.width, region.height), x)
            canvas.add(region.box, prediction, weights)
    return foreground.over(canvas.average())


class _Canvas:
    """Predictions added up with their weights.

    Where nothing lies the extension leaves 0: of the clean latent with MultiDiffusion, of the noise
    with Mixture of Diffusers, where the latent so stays what it is.
    """

    def __init__(self, tiling: Tiling, x: Tensor) -> None:
        self._empty = torch.zeros_like(x) if tiling.method == MULTI else x
        self._sum = torch.zeros_like(x)
        self._total = x.new_zeros(x.shape[-2:])

    def add(self, box: Box, prediction: Tensor, weights: Tensor) -> None:
        rows, columns = box
        self._sum[..., rows, columns] += prediction * weights
        self._total[rows, columns] += weights

    def average(self) -> Tensor:
        drawn = self._total > 0
        total = torch.where(drawn, self._total, torch.ones_like(self._total))
        return torch.where(drawn, self._sum / total, self._empty)


def _batches(corners: Sequence[tuple[int, int]], size: int) -> list[Sequence[tuple[int, int]]]:
    """Tiles in batches of one size, as near to `size` as there are as few as that."""
    count = math.ceil(len(corners) / size)
    each = math.ceil(len(corners) / count)
    return [corners[start : start + each] for start in range(0, len(corners), each)]


def _of_tiles(
    arguments: Mapping[str, Any], boxes: Sequence[Box], region: Region | None = None
) -> dict[str, Any]:
    """The model's arguments for several tiles as one batch.

    Args:
        region: whose prompts take the place of the pass', of one box.
    """
    x: Tensor = arguments["input"]
    kinds = list(arguments["cond_or_uncond"]) * len(boxes)
    options = arguments["c"].get("transformer_options", {})
    c = arguments["c"] if region is None else region.conditioned(arguments["c"], kinds, x.shape[0])
    conditioning = {name: _of_boxes(value, x, boxes) for name, value in c.items()}
    conditioning["transformer_options"] = {**options, "cond_or_uncond": kinds}
    given = {
        **arguments,
        "input": _of_boxes(x, x, boxes),
        "timestep": _of_boxes(arguments["timestep"], x, boxes),
        "c": conditioning,
        "cond_or_uncond": kinds,
    }
    later = conditioning.get("control")
    if isinstance(later, Later):
        return later.of_tiles(given, boxes, (x.shape[-2], x.shape[-1]))
    if later is not None:
        raise ValueError("Tiled Diffusion: a ControlNet's picture is cut by our guider only")
    return given


def _of_boxes(value: Any, x: Tensor, boxes: Sequence[Box]) -> Any:
    """A tensor cut where it has the latent's size, repeated where it has its batch."""
    if not isinstance(value, Tensor):
        return value
    if value.dim() == x.dim() and value.shape[-2:] == x.shape[-2:]:
        return torch.cat([value[..., rows, columns] for rows, columns in boxes])
    if value.dim() and value.shape[0] == x.shape[0]:
        return value.repeat(len(boxes), *([1] * (value.dim() - 1)))
    return value
