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


def tiled(tiling: Tiling, inner: Call, arguments: Mapping[str, Any]) -> Tensor:
    """The model's prediction, made in tiles.

    Predictions are averages of tiles' predictions for the same x, so that it is all one whether
    noise or the clean latent is averaged.

    Args:
        inner: the model: ComfyUI's arguments of a model_function_wrapper -> prediction.
        arguments: ``input`` `[B, C, H, W]`, ``timestep`` `[B]`, ``c`` and ``cond_or_uncond``.

    Raises:
        ValueError: a ControlNet is among the conditioning.
    """
    x: Tensor = arguments["input"]
    height, width = x.shape[-2:]
    corners = tiling.corners(width, height) if tiling.cuts(width, height) else []
    if len(corners) < 2:
        return inner(arguments)
    if arguments["c"].get("control") is not None:
        raise ValueError("Tiled Diffusion: a ControlNet's picture is not cut into tiles here")
    across, down = tiling.tile(width, height)
    weights = tiling.weights(across, down).to(x)
    result, total = torch.zeros_like(x), x.new_zeros(height, width)
    for some in _batches(corners, tiling.batch):
        boxes = [(slice(top, top + down), slice(left, left + across)) for left, top in some]
        made = inner(_of_tiles(arguments, boxes)).chunk(len(boxes))
        for (rows, columns), prediction in zip(boxes, made, strict=True):
            result[..., rows, columns] += prediction * weights
            total[rows, columns] += weights
    return result / total


def _batches(corners: Sequence[tuple[int, int]], size: int) -> list[Sequence[tuple[int, int]]]:
    """Tiles in batches of one size, as near to `size` as there are as few as that."""
    count = math.ceil(len(corners) / size)
    each = math.ceil(len(corners) / count)
    return [corners[start : start + each] for start in range(0, len(corners), each)]


Box = tuple[slice, slice]


def _of_tiles(arguments: Mapping[str, Any], boxes: Sequence[Box]) -> dict[str, Any]:
    """The model's arguments for several tiles as one batch."""
    x: Tensor = arguments["input"]
    kinds = list(arguments["cond_or_uncond"]) * len(boxes)
    options = arguments["c"].get("transformer_options", {})
    conditioning = {name: _of_boxes(value, x, boxes) for name, value in arguments["c"].items()}
    conditioning["transformer_options"] = {**options, "cond_or_uncond": kinds}
    return {
        **arguments,
        "input": _of_boxes(x, x, boxes),
        "timestep": _of_boxes(arguments["timestep"], x, boxes),
        "c": conditioning,
        "cond_or_uncond": kinds,
    }


def _of_boxes(value: Any, x: Tensor, boxes: Sequence[Box]) -> Any:
    """A tensor cut where it has the latent's size, repeated where it has its batch."""
    if not isinstance(value, Tensor):
        return value
    if value.dim() == x.dim() and value.shape[-2:] == x.shape[-2:]:
        return torch.cat([value[..., rows, columns] for rows, columns in boxes])
    if value.dim() and value.shape[0] == x.shape[0]:
        return value.repeat(len(boxes), *([1] * (value.dim() - 1)))
    return value
