"""The noise levels a model was trained on, as k-diffusion's wrapper holds them.

Sources: k-diffusion's ``external.py`` (DiscreteSchedule); A1111 v1.10.1 ``modules/sd_models.py``
(apply_alpha_schedule_override, rescale_zero_terminal_snr_abar) and ``sd_samplers_lcm.py``; the
betas are Stable Diffusion's scaled-linear ones, of SD 1.x, 2.x and SDXL alike. Sigmas are in units
of the latent's standard deviation.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from functools import lru_cache
from itertools import accumulate
from operator import mul

from translator.schedules.floats import linspace, to_half, to_single

TRAIN_STEPS = 1000
"""Timesteps the model was trained on."""

LCM_SKIP = 20
"""LCM was distilled on every 20th timestep: 50 entries, from 19 to 999."""

_LINEAR_START, _LINEAR_END = 0.00085, 0.012
_ZERO_SNR_LAST_ABAR = 4.8973451890853435e-08


class NoiseTable:
    """The noise levels a model was trained on: k-diffusion's DiscreteSchedule.

    Attributes:
        sigmas: ascending; ``sigmas[t]`` belongs to entry ``t``.
        log_sigmas: their logarithms.
    """

    def __init__(
        self, sigmas: Sequence[float], log_sigmas: Sequence[float], *, quantized: bool = False
    ) -> None:
        self.sigmas = sigmas
        self.log_sigmas = log_sigmas
        self._quantized = quantized

    def entry(self, sigma: float) -> float:
        """Position of ``sigma`` > 0 in the table, interpolated in log sigma, 0 to length - 1."""
        log_sigma = math.log(sigma)
        logs = self.log_sigmas
        low = min(max(bisect_right(logs, log_sigma) - 1, 0), len(logs) - 2)
        if self._quantized:
            return float(low + (abs(logs[low + 1] - log_sigma) < abs(logs[low] - log_sigma)))
        gap = logs[low + 1] - logs[low]
        weight = (log_sigma - logs[low]) / gap if gap else 0.0
        return low + min(max(weight, 0.0), 1.0)

    def sigma(self, entry: float) -> float:
        """Sigma at a position, interpolated in log sigma."""
        low = int(entry)
        weight = entry - low
        if not weight:
            return math.exp(self.log_sigmas[low])
        return math.exp((1.0 - weight) * self.log_sigmas[low] + weight * self.log_sigmas[low + 1])

    def nearest(self, sigma: float) -> int:
        """The entry whose sigma is nearest, by plain difference."""
        above = min(bisect_right(self.sigmas, sigma), len(self.sigmas) - 1)
        below = max(above - 1, 0)
        return below if sigma - self.sigmas[below] <= self.sigmas[above] - sigma else above


@lru_cache(maxsize=8)
def model_table(
    *, zero_terminal_snr: bool = False, half: bool = False, quantized: bool = False
) -> NoiseTable:
    """The model's 1000 levels.

    Args:
        zero_terminal_snr: option sd_noise_schedule "Zero Terminal SNR".
        half: option use_downcasted_alpha_bar: float16 instead of float32.
        quantized: option enable_quantization: `NoiseTable.entry` answers whole entries.

    Raises:
        ValueError: zero terminal SNR in float16, where the last level is infinite.
    """
    return _from_abar(_abar(zero_terminal_snr, half), half, quantized)


@lru_cache(maxsize=8)
def lcm_table(*, zero_terminal_snr: bool = False, half: bool = False) -> NoiseTable:
    """The 50 levels of LCM's wrapper, which computes in float32 and rounds to an entry.

    Raises:
        ValueError: as for `model_table`.
    """
    return _from_abar(_abar(zero_terminal_snr, half)[LCM_SKIP - 1 :: LCM_SKIP], False, True)


def _from_abar(abar: Sequence[float], half: bool, quantized: bool) -> NoiseTable:
    """sigma = sqrt((1 - abar) / abar), rounded after each operation as torch does."""
    rounded = to_half if half else to_single
    noise = rounded(1.0 - a for a in abar)
    levels = rounded(map(math.sqrt, rounded(n / a for n, a in zip(noise, abar, strict=True))))
    return NoiseTable(levels, rounded(map(math.log, levels)), quantized=quantized)


def _abar(zero_terminal_snr: bool, half: bool) -> list[float]:
    """Cumulative alphas of the scaled-linear betas, and A1111's two changes to them."""
    roots = linspace(math.sqrt(_LINEAR_START), math.sqrt(_LINEAR_END), TRAIN_STEPS)
    abar = to_single(accumulate((1.0 - root * root for root in roots), mul))
    if zero_terminal_snr and half:
        raise ValueError(
            "the levels of option sd_noise_schedule's Zero Terminal SNR are not finite beside "
            "use_downcasted_alpha_bar; send one of the two"
        )
    if zero_terminal_snr:
        return _rescaled(abar)
    return to_half(abar) if half else abar


def _rescaled(abar: Sequence[float]) -> list[float]:
    """sqrt(abar) shifted so that it ends at 0 and scaled so that it begins where it did."""
    roots = to_single(map(math.sqrt, abar))
    first, last = roots[0], roots[-1]
    scale = to_single([first / to_single([first - last])[0]])[0]
    scaled = to_single(root * scale for root in to_single(root - last for root in roots))
    return to_single([*(root * root for root in scaled[:-1]), _ZERO_SNR_LAST_ABAR])
