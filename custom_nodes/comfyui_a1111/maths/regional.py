"""Regional Prompter's prompts by region: in cross-attention, or as shares of AND parts.

Source: sd-webui-regional-prompter ``scripts/attention.py``, ``latent.py`` and ``regions.py``,
restated. A prompt is cut into texts, each a number of chunks of 77 tokens; every region attends to
the chunks of its own text.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor

from ..vendor.plan.lines import Line
from .attention_couple import KINDS, POSITIVE, join_chunks, repeat_chunks, repeated
from .reference import BATCH, WholeBatch
from .unet_layers import Kept, layer_size

CHUNK = 77
"""Tokens of a chunk, start and end included."""

SHARES = "a1111_part_shares"
"""Key in model_options: A1111Guider weighs every AND part by ``shares(height, width)``."""

HALVES = "a1111_half_heads"
"""Key in transformer_options: whether a call of the model has half as many attention heads."""

_LAST = 0.999
"""Where a line ends, at the least; sums of shares may stay below 1."""


class Division(Protocol):
    """How a picture is divided among texts."""

    def texts(self) -> list[int]:
        """Which texts are attended to; the base first where there is one."""
        ...

    def joined(self, outs: Sequence[Tensor]) -> Tensor:
        """One picture `[B, h, w, C]` of one for each of `texts`."""
        ...

    def shares(self, height: int, width: int) -> list[Tensor]:
        """What each AND part counts at every cell of a latent, `[height, width]`."""
        ...


@dataclass(frozen=True)
class Matrix:
    """Lines of cells.

    Attributes:
        rows: whether a line is a row (its cells lie side by side), else a column.
        base: whether the first text lies under all regions.
    """

    rows: bool
    base: bool
    lines: tuple[Line, ...]

    def texts(self) -> list[int]:
        cells = [cell.text for line in self.lines for cell in line.cells]
        return [0, *cells] if self.base else cells

    def joined(self, outs: Sequence[Tensor]) -> Tensor:
        """Each region's part of its own picture, laid beside each other.

        Where rounding leaves the last one short, the extension takes its part from one cell before.
        """
        base, others = (outs[0], outs[1:]) if self.base else (None, outs)
        across, along = (1, 2) if self.rows else (2, 1)
        lines, place = [], 0
        ends = _cuts([(line.start, line.end) for line in self.lines], others[0].shape[across])
        for line, (low, high) in zip(self.lines, ends, strict=True):
            parts = []
            cuts = _cuts([(c.start, c.end) for c in line.cells], others[0].shape[along])
            for cell, (start, end) in zip(line.cells, cuts, strict=True):
                part = _part(others[place], across, low, high, along, start, end)
                if base is not None:
                    under = _part(base, across, low, high, along, start, end)
                    part = part * (1 - cell.base) + under * cell.base
                parts.append(part)
                place += 1
            lines.append(torch.cat(parts, dim=along))
        return torch.cat(lines, dim=across)

    def shares(self, height: int, width: int) -> list[Tensor]:
        under, found = torch.zeros(height, width), []
        for line in self.lines:
            for cell in line.cells:
                down, right = (line, cell) if self.rows else (cell, line)
                rows = slice(int(height * down.start), int(height * down.end))
                columns = slice(int(width * right.start), int(width * right.end))
                share = torch.zeros(height, width)
                share[rows, columns] = 1 - cell.base if self.base else 1.0
                under[rows, columns] = cell.base
                found.append(share)
        return [under, *found] if self.base else found


def _cuts(ranges: Sequence[tuple[float, float]], length: int) -> list[tuple[int, int]]:
    """Shares as whole cells; the last one begins earlier where all together are too short."""
    cuts = [(int(length * start), int(length * end)) for start, end in ranges]
    if ranges[-1][1] >= _LAST:
        start, end = cuts[-1]
        cuts[-1] = (start + end - length, end)
    return cuts


def _part(
    out: Tensor, across: int, low: int, high: int, along: int, start: int, end: int
) -> Tensor:
    return out.narrow(across, low, high - low).narrow(along, start, end - start)


@dataclass(frozen=True, eq=False)
class Masks:
    """A mask for each region.

    Attributes:
        numbers: the region at each pixel, `[height, width]` int16; -1 where there is none.
        count: of the regions.
        base: whether the first text has what no region covers, and a share of each region.
        base_shares: that share of each region, 0..1.
    """

    numbers: Tensor
    count: int
    base: bool
    base_shares: tuple[float, ...]
    _kept: Kept = field(default_factory=Kept, init=False)

    def texts(self) -> list[int]:
        return list(range(self.count + self.base))

    def joined(self, outs: Sequence[Tensor]) -> Tensor:
        under, others = (outs[0], outs[1:]) if self.base else (None, outs)
        height, width = outs[0].shape[1:3]
        masks = self._kept.get((height, width), outs[0], lambda: self._at(height, width))
        total = torch.zeros_like(outs[0])
        for number, (out, mask) in enumerate(zip(others, masks[1:], strict=True)):
            if under is not None:
                share = self.base_shares[number]
                out = out * (1 - share) + under * share
            total = total + out * mask.unsqueeze(-1)
        return total if under is None else total + under * masks[0].unsqueeze(-1)

    def shares(self, height: int, width: int) -> list[Tensor]:
        rest, *masks = self._at(height, width)
        if not self.base:
            return masks
        pairs = list(zip(masks, self.base_shares, strict=True))
        under = rest + sum((mask * share for mask, share in pairs), torch.zeros_like(rest))
        return [under, *(mask * (1 - share) for mask, share in pairs)]

    def _at(self, height: int, width: int) -> Tensor:
        """What no region covers, then each region, `[1 + regions, height, width]`, 0 or 1."""
        numbers = self.numbers.float()[None, None]
        sized = torch.nn.functional.interpolate(numbers, size=(height, width), mode="nearest")
        places = torch.arange(-1, self.count).view(-1, 1, 1)
        return (sized[0] == places).float()


@dataclass(frozen=True)
class Counts:
    """How many chunks each text of both prompts has."""

    positive: tuple[int, ...]
    negative: tuple[int, ...]

    @property
    def alike(self) -> bool:
        """Whether the extension divides the negative prompt as it does the positive one."""
        return len(self.positive) == len(self.negative) and sum(self.positive) == sum(self.negative)


@dataclass(frozen=True, eq=False)
class Regional:
    """The patches of cross-attention.

    Attributes:
        division: None attends to the prompts as they are, as where the extension is off in a pass.
        counts: see `Counts`.
        swaps: whether the extension takes the halves of a batch for each other, as it does for
            A1111's DDIM, PLMS and UniPC.
    """

    division: Division | None
    counts: Counts
    swaps: bool

    def __deepcopy__(self, memo: Any) -> Regional:
        """Itself, which never changes: ComfyUI copies a model's options deeply."""
        return self

    def before(
        self, q: Tensor, k: Tensor, v: Tensor, options: MutableMapping[str, Any]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The queries once a text, each with that text's tokens."""
        if self.division is None:
            return q, k, v
        kinds = options[KINDS]
        queries, texts, times = [], [], []
        for kind, own_q, own_k in zip(kinds, q.chunk(len(kinds)), k.chunk(len(kinds)), strict=True):
            slices = self._slices(kind, options)
            queries += [own_q] * len(slices)
            texts += [own_k[:, start:stop] for start, stop in slices]
            times.append(len(slices))
        repeat_chunks(options, times)
        length = math.lcm(*(text.shape[1] for text in texts))
        text = torch.cat([repeated(text, length) for text in texts])
        return torch.cat(queries), text, text

    def after(self, out: Tensor, options: MutableMapping[str, Any]) -> Tensor:
        """The texts' results joined."""
        if self.division is None:
            return out
        kinds = join_chunks(options)
        parts = [len(self._slices(kind, options)) for kind in kinds]
        size = out.shape[0] // sum(parts)
        height, width = layer_size(options["original_shape"], out.shape[1])
        joined, chunks = [], list(out.split(size))
        for count in parts:
            own, chunks = chunks[:count], chunks[count:]
            if count == 1:
                joined.append(own[0])
                continue
            pictures = [item.unflatten(1, (height, width)) for item in own]
            joined.append(self.division.joined(pictures).flatten(1, 2))
        return torch.cat(joined)

    def halves_heads(self, whole: WholeBatch) -> bool:
        """Whether the extension calls attention with half as many heads.

        It does where both prompts run in one batch and are divided otherwise.
        """
        together = whole.level and whole.has_negative and not self.swaps
        return together and (self.division is None or not self.counts.alike)

    def _slices(self, kind: int, options: Mapping[str, Any]) -> list[tuple[int, int]]:
        """From which to which token each text lies in a prompt of that kind."""
        assert self.division is not None
        whole = options.get(BATCH, WholeBatch())
        positive = kind == POSITIVE
        if self.swaps and whole.level and whole.has_negative:
            positive = not positive
        counts = self.counts.positive if positive or self.counts.alike else self.counts.negative
        texts = [0] if len(counts) == 1 else self.division.texts()
        ends = [sum(counts[: number + 1]) * CHUNK for number in range(len(counts))]
        return [(ends[text] - counts[text] * CHUNK, ends[text]) for text in texts]


Attention = Callable[[Tensor, Tensor, Tensor, int], Tensor]
"""Queries, keys and values of all heads `[B, tokens, channels]`, and how many heads."""


def half_heads(attention: Attention) -> Callable[..., Tensor]:
    """A replacement of cross-attention with half as many heads."""

    def replaced(q: Tensor, k: Tensor, v: Tensor, options: Mapping[str, Any]) -> Tensor:
        return attention(q, k, v, options["n_heads"] // 2)

    return replaced
