"""Prompts of regions: in cross-attention each counts where its mask says.

Sources: sd-forge-couple ``lib_couple/attention_couple.py`` and sd-webui-regional-prompter
``scripts/attention.py`` (after laksjdjf's attention couple), restated.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

POSITIVE = 0
"""ComfyUI's number of the positive prompt in ``cond_or_uncond``."""

Box = tuple[int, int, int, int, float]
"""Left, top, right and bottom in pixels, the last two excluded, and a weight."""


def region_masks(
    boxes: Sequence[Box],
    width: int,
    height: int,
    pictures: Mapping[int, Image.Image] | None = None,
) -> Tensor:
    """What each region counts at each pixel, `[regions, 1, height, width]`; together 1.

    Args:
        pictures: the grey pictures of regions that have one, by their positions; white counts.

    Raises:
        ValueError: a pixel is in no region.
    """
    masks = torch.zeros(len(boxes), 1, height, width)
    for mask, (left, top, right, bottom, weight) in zip(masks, boxes, strict=True):
        mask[:, top:bottom, left:right] = weight
    for number, picture in (pictures or {}).items():
        sized = picture.resize((width, height), Image.Resampling.NEAREST)
        masks[number] *= torch.from_numpy(np.asarray(sized, dtype=np.float32) / 255)
    total = masks.sum(dim=0, keepdim=True)
    if float(total.min()) <= 0:
        raise ValueError("the regions leave a part of the picture without a prompt")
    return masks / total


def grid(tokens: int, shape: Sequence[int]) -> tuple[int, int]:
    """Height and width of a layer with that many tokens.

    Args:
        shape: of the latent, `[B, C, H, W]`; every level below halves it, rounding up.
    """
    height, width = shape[2], shape[3]
    for _ in range(math.ceil(math.log2(math.sqrt(height * width / tokens)))):
        height, width = math.ceil(height / 2), math.ceil(width / 2)
    return height, width


def at_tokens(masks: Tensor, tokens: int, shape: Sequence[int]) -> Tensor:
    """Masks at a layer's tokens, `[regions, tokens, 1]`.

    Args:
        tokens: of the layer.
        shape: of the latent, see `grid`.
    """
    size = grid(tokens, shape)
    resized = torch.nn.functional.interpolate(masks, size=size, mode="nearest")
    return resized.view(masks.shape[0], tokens, 1)


@dataclass(frozen=True)
class Couple:
    """The patches of cross-attention.

    Attributes:
        masks: see `region_masks`.
        texts: the regions' prompts, each `[1, tokens, channels]`.
    """

    masks: Tensor
    texts: tuple[Tensor, ...]

    def before(
        self, q: Tensor, k: Tensor, v: Tensor, options: Mapping[str, Any]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The positive prompt's queries once a region, each with that region's prompt as text."""
        kinds = options["cond_or_uncond"]
        size = q.shape[0] // len(kinds)
        length = math.lcm(k.shape[1], *(text.shape[1] for text in self.texts))
        queries, texts = [], []
        for kind, own_q, own_k in zip(kinds, q.chunk(len(kinds)), k.chunk(len(kinds)), strict=True):
            if kind == POSITIVE:
                queries += [own_q] * len(self.texts)
                texts += [repeated(text.to(k), length).repeat(size, 1, 1) for text in self.texts]
            else:
                queries.append(own_q)
                texts.append(repeated(own_k, length))
        text = torch.cat(texts)
        return torch.cat(queries), text, text

    def after(self, out: Tensor, options: Mapping[str, Any]) -> Tensor:
        """The regions' results joined by their masks."""
        kinds = options["cond_or_uncond"]
        regions = len(self.texts)
        count = sum(regions if kind == POSITIVE else 1 for kind in kinds)
        size = out.shape[0] // count
        masks = at_tokens(self.masks.to(out), out.shape[1], options["original_shape"])
        joined, place = [], 0
        for kind in kinds:
            parts = regions if kind == POSITIVE else 1
            chunk = out[place : place + parts * size]
            place += parts * size
            if kind == POSITIVE:
                chunk = (chunk.view(regions, size, *out.shape[1:]) * masks.unsqueeze(1)).sum(dim=0)
            joined.append(chunk)
        return torch.cat(joined)


def repeated(text: Tensor, length: int) -> Tensor:
    """A text as often as it takes; attention to it stays what it was."""
    return text.repeat(1, length // text.shape[1], 1)
