"""FreeU: the decoder's features scaled, by sd-webui-freeu's rules and by Forge's.

Sources: sd-webui-freeu ``lib_free_u/unet.py`` and ``global_state.py``; Forge 2025-06
``sd_forge_freeu``, restated.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..vendor.plan.free_u import Stage
from .reference import BATCH, WholeBatch

CHANNELS = (1280, 640, 320)
"""Which stage has how many channels."""

COUNTERS = CALLS, STEPS = ("calls", "steps")


@dataclass(frozen=True)
class Schedule:
    """When it acts.

    Attributes:
        start, stop: a share of the steps, or, as whole numbers, steps.
        smoothness: 0 switches, 1 fades in until the start and out until the stop.
        steps: of the pass.
        first_call: calls of the model that the passes before it made.
        counter: whether calls of the model are counted, or steps as A1111's counter has them: the
            bounds are then shares, and both belong to the range.
    """

    start: float
    stop: float
    smoothness: float
    steps: int
    first_call: int
    counter: str

    def ratio(self, batch: WholeBatch) -> float:
        """How much of the factors a call has, 0..1."""
        if self.counter == STEPS:
            done = batch.step / max(self.steps - 1, 1)
            return float(self.start <= done <= self.stop)
        start, stop = (
            int(bound * self.steps) if isinstance(bound, float) else bound
            for bound in (self.start, self.stop)
        )
        call = self.first_call + (batch.call or 0)
        if start == stop:
            smooth = 0.0
        elif call < start:
            smooth = call / start
        else:
            smooth = 1 + (call - start) / (start - stop)
        flat = float(start <= call < stop)
        return _between(flat, min(1.0, max(0.0, smooth)), self.smoothness)


@dataclass(frozen=True)
class FreeU:
    """The patch of a decoder's blocks.

    Attributes:
        stages: by `CHANNELS`.
        second: whether the backbone's factor follows the features' own mean (version 2).
        halves: whether the factor acts on the first half of the channels, as in Forge; the
            extension's own half has one channel more.
    """

    stages: tuple[Stage, ...]
    second: bool
    halves: bool
    schedule: Schedule

    def __call__(
        self, h: Tensor, skip: Tensor, options: Mapping[str, Any]
    ) -> tuple[Tensor, Tensor]:
        """A decoder block's features `[B, C, h, w]` and its skip connection's, scaled."""
        ratio = self.schedule.ratio(options.get(BATCH, WholeBatch()))
        channels = h.shape[1]
        if ratio == 0 or channels not in CHANNELS[: len(self.stages)]:
            return h, skip
        stage = self.stages[CHANNELS.index(channels)]
        factor = _between(1.0, stage.backbone, ratio)
        scale = 1 + (factor - 1) * spread_mean(h) if self.second else factor
        mask = self._channels(stage, channels, h.device).to(h.dtype).view(1, -1, 1, 1)
        low, high = (_between(1.0, value, ratio) for value in (stage.skip, stage.high))
        return h * (mask * scale + (1 - mask)), filtered(skip, stage.cutoff, low, high)

    def _channels(self, stage: Stage, count: int, device: torch.device) -> Tensor:
        """Which of the channels are scaled, bool `[count]`."""
        numbers = torch.arange(count, device=device)
        if self.halves:
            return numbers < count // 2
        first, last, outside = channel_range(stage.width, stage.offset, count)
        inside = (first <= numbers) & (numbers <= last)
        return ~inside if outside else inside


def spread_mean(h: Tensor) -> Tensor:
    """The mean over channels `[B, 1, h, w]`, spread to 0..1 in each picture."""
    mean = h.mean(dim=1, keepdim=True)
    low, high = mean.amin(dim=(2, 3), keepdim=True), mean.amax(dim=(2, 3), keepdim=True)
    return (mean - low) / (high - low)


def channel_range(width: float, offset: float, count: int) -> tuple[int, int, bool]:
    """First and last channel of a share, and whether what lies outside is meant."""
    if width < 0:
        offset, width = offset + width, -width
    width = min(width, 1)
    if offset < 0:
        offset = 1 + offset - int(offset)
    offset = math.fmod(offset, 1.0)
    if width + offset <= 1:
        return round(offset * count), round((width + offset) * count), False
    return round((width + offset - 1) * count), round(offset * count), True


def filtered(skip: Tensor, cutoff: float, low: float, high: float) -> Tensor:
    """Features with their low and their other frequencies scaled."""
    if low == high == 1:
        return skip
    spectrum = torch.fft.fftshift(torch.fft.fftn(skip.float(), dim=(-2, -1)), dim=(-2, -1))
    middle = [side // 2 for side in skip.shape[-2:]]
    reach = [max(1, math.floor(place * cutoff)) for place in middle]
    rows, columns = (
        slice(place - some, place + some) for place, some in zip(middle, reach, strict=True)
    )
    factors = torch.full(spectrum.shape[-2:], float(high), device=skip.device)
    factors[rows, columns] = low
    back = torch.fft.ifftshift(spectrum * factors, dim=(-2, -1))
    return torch.fft.ifftn(back, dim=(-2, -1)).real.to(skip.dtype)


def _between(one: float, other: float, share: float) -> float:
    return (1 - share) * one + share * other
