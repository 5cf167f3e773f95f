"""Weights of a unit's residuals: control modes, soft weights, weights per block."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from translator.models import families

SOFT_BASE = 0.825
"""Each block shallower gets this fraction of the next one's weight (soft weights)."""

T2I_SOFT = (0.25, 0.62, SOFT_BASE, 1.0)
"""T2I-Adapter's soft weights, shallow to deep."""

_MOST_BLOCKS = 13
"""Residuals of SD1's ControlNets, for which A1111's series of soft weights is written."""


def soft_strength(weight: float, architecture: str) -> float:
    """The strength that turns Advanced-ControlNet's scaled soft weights into A1111's.

    A1111's residual i gets ``weight * 0.825 ** (12 - i)``; SDXL takes the first ten of SD1's
    thirteen, so that its middle block gets 0.825 ** 3. The node's residual i of n + 1 gets
    ``strength * 0.825 ** (n - i)``, the middle one the strength itself: right for SD1's thirteen,
    and for SDXL's ten with the strength scaled by 0.825 ** 3.
    """
    return weight * SOFT_BASE ** (_MOST_BLOCKS - families.of(architecture).control_blocks)


@dataclass(frozen=True, slots=True)
class Weighting:
    """How the residuals of a unit are weighted in one pass.

    Attributes:
        strength: multiplies all of them.
        soft: whether each block gets 0.825 of the next deeper one's.
        blocks: a weight per block instead, shallow to deep and the middle last; `strength` is 1.
        prompt_only: whether the negative prompt's residuals are zeroed.
    """

    strength: float
    soft: bool = False
    blocks: tuple[float, ...] | None = None
    prompt_only: bool = False

    def each(self, count: int) -> tuple[float, ...]:
        """A factor for each residual, beside `strength`; empty where that says everything.

        Args:
            count: of the residuals.
        """
        if self.soft:
            return tuple(SOFT_BASE ** (count - 1 - place) for place in range(count))
        return self.blocks or ()

    @property
    def is_plain(self) -> bool:
        """Whether one strength for all says everything."""
        return not self.soft and self.blocks is None


def weighting(
    weight: float,
    control_mode: str,
    architecture: str,
    *,
    forced_soft: bool = False,
    pools_globally: bool = False,
    tells_negative: bool = True,
    advanced: Sequence[float] | None = None,
    t2i: bool = False,
) -> Weighting:
    """The weighting of a ControlNet or T2I-Adapter unit.

    Args:
        weight: the unit's.
        control_mode: A1111's name.
        forced_soft: canny and mlsd modules get soft weights in the hires pass, whatever the mode.
        pools_globally: a shuffle model, which steers the prompt only.
        tells_negative: whether the extension tells the negative prompt's rows in this pass; where
            it does not, nothing steers the prompt only.
        advanced: the unit's ``advanced_weighting``, which replaces everything else.
        t2i: a T2I-Adapter, whose soft weights are a series of its own and need no scaling.
    """
    one_sided = pools_globally or control_mode == "ControlNet is more important"
    prompt_only = one_sided and tells_negative
    if advanced is not None:
        return Weighting(1.0, blocks=tuple(advanced), prompt_only=prompt_only)
    soft = forced_soft or control_mode != "Balanced"
    strength = soft_strength(weight, architecture) if soft and not t2i else weight
    return Weighting(strength, soft=soft, prompt_only=prompt_only)
