"""Prompts of regions: in cross-attention each counts where its mask says.

Sources: sd-forge-couple ``lib_couple/attention_couple.py`` and sd-webui-regional-prompter
``scripts/attention.py`` (after laksjdjf's attention couple), restated.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from .unet_layers import Kept, layer_size

POSITIVE = 0
"""ComfyUI's number of the positive prompt in ``cond_or_uncond``."""

KINDS = "cond_or_uncond"
"""Key of a layer's options: what each chunk of its rows is."""

_WHOLE = "a1111_chunks_before_regions"
"""Key of a layer's options: what `KINDS` was before chunks were repeated for regions."""

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


def at_tokens(masks: Tensor, tokens: int, shape: Sequence[int]) -> Tensor:
    """Masks at a layer's tokens, `[regions, tokens, 1]`.

    Args:
        tokens: of the layer.
        shape: of the latent, `[B, C, H, W]`.
    """
    size = layer_size(shape, tokens)
    resized = torch.nn.functional.interpolate(masks, size=size, mode="nearest")
    return resized.view(masks.shape[0], tokens, 1)


def repeat_chunks(options: MutableMapping[str, Any], times: Sequence[int]) -> None:
    """Tell a layer's other patches (image prompts) how often each of its chunks is there.

    Args:
        options: what ComfyUI gives to the patches of one run of one layer.
        times: of each chunk.
    """
    kinds = options[KINDS]
    options[_WHOLE] = kinds
    options[KINDS] = [kind for kind, count in zip(kinds, times, strict=True) for _ in range(count)]


def join_chunks(options: MutableMapping[str, Any]) -> Sequence[int]:
    """Take `repeat_chunks` back: what each chunk is."""
    kinds: Sequence[int] = options.pop(_WHOLE)
    options[KINDS] = kinds
    return kinds


@dataclass(frozen=True, eq=False)
class Couple:
    """The patches of cross-attention.

    Attributes:
        masks: see `region_masks`.
        texts: the regions' prompts, each `[1, tokens, channels]`.
    """

    masks: Tensor
    texts: tuple[Tensor, ...]
    _kept: Kept = field(default_factory=Kept, init=False)

    def __deepcopy__(self, memo: Any) -> Couple:
        """Itself, which never changes: ComfyUI copies a model's options deeply."""
        return self

    def before(
        self, q: Tensor, k: Tensor, v: Tensor, options: MutableMapping[str, Any]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The positive prompt's queries once a region, each with that region's prompt as text."""
        kinds = options[KINDS]
        size = q.shape[0] // len(kinds)
        length = math.lcm(k.shape[1], *(text.shape[1] for text in self.texts))
        queries, texts = [], []
        for kind, own_q, own_k in zip(kinds, q.chunk(len(kinds)), k.chunk(len(kinds)), strict=True):
            if kind == POSITIVE:
                queries += [own_q] * len(self.texts)
                texts += [
                    repeated(self._text(number, own_k), length).repeat(size, 1, 1)
                    for number in range(len(self.texts))
                ]
            else:
                queries.append(own_q)
                texts.append(repeated(own_k, length))
        repeat_chunks(options, [self._count(kind) for kind in kinds])
        text = torch.cat(texts)
        return torch.cat(queries), text, text

    def after(self, out: Tensor, options: MutableMapping[str, Any]) -> Tensor:
        """The regions' results joined by their masks."""
        kinds = join_chunks(options)
        size = out.shape[0] // sum(map(self._count, kinds))
        joined, place = [], 0
        for kind in kinds:
            parts = self._count(kind)
            chunk = out[place : place + parts * size]
            place += parts * size
            if kind == POSITIVE:
                masks = self._masks(out, options).unsqueeze(1)
                chunk = (chunk.view(parts, size, *out.shape[1:]) * masks).sum(dim=0)
            joined.append(chunk)
        return torch.cat(joined)

    def _count(self, kind: int) -> int:
        """How often a chunk's rows are there."""
        return len(self.texts) if kind == POSITIVE else 1

    def _text(self, number: int, like: Tensor) -> Tensor:
        return self._kept.get(("text", number), like, lambda: self.texts[number])

    def _masks(self, out: Tensor, options: Mapping[str, Any]) -> Tensor:
        """What each region counts at a layer's tokens, `[regions, tokens, 1]`."""
        tokens, shape = out.shape[1], options["original_shape"]
        return self._kept.get(
            (tokens, *shape[-2:]), out, lambda: at_tokens(self.masks, tokens, shape)
        )


def repeated(text: Tensor, length: int) -> Tensor:
    """A text as often as it takes; attention to it stays what it was."""
    return text.repeat(1, length // text.shape[1], 1)
