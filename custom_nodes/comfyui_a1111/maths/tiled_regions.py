"""Tiled Diffusion's region prompt control: prompts of boxes of the latent.

Source: multidiffusion-upscaler-for-automatic1111 ``tile_methods`` and ``tile_utils/utils.py``,
restated. A background region is one more tile; a foreground one is laid over all of them, its edge
faded.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from .attention_couple import POSITIVE, repeated
from .guider import PART, Entry, current_entries
from .noise import like
from .reference import BATCH, WholeBatch

KINDS = BACKGROUND, FOREGROUND = ("Background", "Foreground")


@dataclass(frozen=True)
class Region:
    """A box with prompts of its own.

    Attributes:
        left, top, width, height: in cells of the latent.
        foreground: whether it is laid over the others.
        feather: which share of it fades, 0..1.
        positive, negative: entries of its prompts, as the guider takes them.
    """

    left: int
    top: int
    width: int
    height: int
    foreground: bool
    feather: float
    positive: Sequence[Entry] = ()
    negative: Sequence[Entry] = ()

    @property
    def box(self) -> tuple[slice, slice]:
        """Rows and columns."""
        return slice(self.top, self.top + self.height), slice(self.left, self.left + self.width)

    def text(self, kind: int, batch: WholeBatch) -> Tensor:
        """What a chunk of a call attends to, `[1, tokens, channels]`."""
        entries = self.positive if kind == POSITIVE else self.negative
        part = batch.part if kind == POSITIVE else 0
        own = [entry for entry in entries if entry.get(PART, 0) == part] or list(entries)
        found: Tensor = current_entries(own, batch.call or 0)[0]["cond"]
        return found

    def conditioned(self, c: Mapping[str, Any], kinds: Sequence[int], rows: int) -> dict[str, Any]:
        """The model's inputs with this region's prompts."""
        batch = c.get("transformer_options", {}).get(BATCH, WholeBatch())
        texts = [self.text(kind, batch) for kind in kinds]
        length = math.lcm(*(text.shape[1] for text in texts))
        each = rows // len(kinds)
        joined = [repeated(text, length).expand(each, -1, -1) for text in texts]
        return {**c, "c_crossattn": torch.cat(joined).to(c["c_crossattn"])}


def region_at(
    place: Sequence[float], kind: str, feather: float, size: tuple[int, int]
) -> Region | None:
    """A region whose corner and sides are shares of a latent; None where nothing of it is within.

    Args:
        size: width and height of the latent.
    """
    x, y, w, h = place
    width, height = size
    left, top = max(0, int(x * width)), max(0, int(y * height))
    across, down = min(width - left, math.ceil(w * width)), min(height - top, math.ceil(h * height))
    if across <= 0 or down <= 0:
        return None
    return Region(left, top, across, down, kind == FOREGROUND, min(max(feather, 0.0), 1.0))


def feather_mask(width: int, height: int, ratio: float) -> Tensor:
    """What a foreground region counts at its cells `[height, width]`: less towards its edge."""
    radius = int(min(width // 2, height // 2) * ratio)
    rows, columns = _edge_distances(height), _edge_distances(width)
    distance = torch.minimum(rows.view(-1, 1), columns.view(1, -1))
    mask = torch.where(distance < radius, (distance / max(radius, 1)) ** 2, 1.0)
    if height % 2:  # the extension fades half by half and so leaves out the middle
        mask[height // 2] = 1
    if width % 2:
        mask[:, width // 2] = 1
    return mask


def _edge_distances(length: int) -> Tensor:
    """Cells from the nearer edge."""
    numbers = torch.arange(length, dtype=torch.float32)
    return torch.minimum(numbers, length - 1 - numbers)


@dataclass
class Foreground:
    """Foreground regions' predictions, averaged where they overlap."""

    total: Tensor
    mask: Tensor = field(init=False)
    count: Tensor = field(init=False)

    def __post_init__(self) -> None:
        self.total = torch.zeros_like(self.total)
        self.mask = self.total.new_zeros(self.total.shape[-2:])
        self.count = self.total.new_zeros(self.total.shape[-2:])

    def add(self, region: Region, prediction: Tensor) -> None:
        rows, columns = region.box
        self.total[..., rows, columns] += prediction
        mask = feather_mask(region.width, region.height, region.feather)
        self.mask[rows, columns] += like(mask, self.mask)
        self.count[rows, columns] += 1

    def over(self, under: Tensor) -> Tensor:
        """The predictions laid over others."""
        count = self.count.clamp(min=1)
        share = self.mask / count
        return torch.where(self.count > 0, under * (1 - share) + self.total / count * share, under)
