"""Perturbed-attention guidance in a range of steps, weakening from call to call.

Source: Forge 2025-06 ``sd_forge_perturbed_attention``, restated.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from .reference import WholeBatch


@dataclass
class Perturbed:
    """The guidance of one pass after the other.

    Attributes:
        scale: at first.
        attenuation: how much of `scale` is lost with each call that it acted in, in percent.
        start, end: shares of the steps that it acts in, both included.
        steps: of the pass.
    """

    scale: float
    attenuation: float
    start: float
    end: float
    steps: int
    _left: float = 0.0

    def scale_at(self, batch: WholeBatch) -> float:
        """The scale of a call; 0 where it does not act. Calls come in their order."""
        if not batch.call:
            self._left = self.scale
        done = batch.step / max(self.steps - 1, 1)
        if self._left <= 0 or not self.start <= done <= self.end:
            return 0.0
        now = self._left
        self._left -= self.scale * self.attenuation / 100
        return now


def guided(denoised: Tensor, cond: Tensor, degraded: Tensor, scale: float) -> Tensor:
    """The prediction led away from that without self-attention."""
    return denoised + (cond - degraded) * scale
