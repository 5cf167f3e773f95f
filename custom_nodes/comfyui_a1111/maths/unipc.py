"""UniPC (Zhao et al. 2023), the multistep data-prediction form that A1111 runs.

Time runs from 1 down to 1/1000; table entry i stands for time (i + 1) / 1000. With alpha_t =
sqrt(abar_t), sigma_t = sqrt(1 - abar_t) and lambda_t = log(alpha_t / sigma_t), a step from s to t
with h = lambda_t - lambda_s is
    x_t = sigma_t / sigma_s x_s - alpha_t (e^-h - 1) m_s - (correction by earlier predictions m)
once without (predictor) and once with (corrector) the prediction at t.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

VARIANTS = ("bh1", "bh2", "vary_coeff")
SKIP_TYPES = ("time_uniform", "time_quadratic", "logSNR")


@dataclass(frozen=True)
class UniPCOptions:
    """A1111's uni_pc_* options."""

    variant: str = "bh1"
    skip_type: str = "time_uniform"
    order: int = 3
    lower_order_final: bool = True

    def __post_init__(self) -> None:
        if self.variant not in VARIANTS:
            raise ValueError(f"UniPC variant {self.variant!r} is none of {', '.join(VARIANTS)}")
        if self.skip_type not in SKIP_TYPES:
            raise ValueError(
                f"UniPC skip type {self.skip_type!r} is none of {', '.join(SKIP_TYPES)}"
            )


class VPSchedule:
    """log alpha over continuous time: straight between the table's entries and beyond its ends."""

    def __init__(self, abar: Tensor) -> None:
        self._log_alphas = (0.5 * torch.log(abar)).float()
        self._times = torch.linspace(0.0, 1.0, len(abar) + 1, device=abar.device)[1:]

    def log_alpha(self, t: Tensor) -> Tensor:
        return _interpolate(t, self._times, self._log_alphas)

    def alpha(self, t: Tensor) -> Tensor:
        return torch.exp(self.log_alpha(t))

    def sigma(self, t: Tensor) -> Tensor:
        return torch.sqrt(1.0 - torch.exp(2.0 * self.log_alpha(t)))

    def lambda_(self, t: Tensor) -> Tensor:
        log_alpha = self.log_alpha(t)
        return log_alpha - 0.5 * torch.log(1.0 - torch.exp(2.0 * log_alpha))

    def time_of_lambda(self, lambda_: Tensor) -> Tensor:
        log_alpha = -0.5 * torch.logaddexp(torch.zeros_like(lambda_), -2.0 * lambda_)
        return _interpolate(log_alpha, self._log_alphas.flip(0), self._times.flip(0))

    def timestep(self, t: Tensor) -> float:
        """The model's (fractional) timestep for time t."""
        return float((t - 1.0 / len(self._times)) * 1000.0)

    def times(self, skip_type: str, start: float | Tensor, steps: int) -> Tensor:
        """steps + 1 times from `start` down to one table entry, spaced by `skip_type`."""
        device = self._times.device
        end = 1.0 / len(self._times)
        if skip_type == "logSNR":
            ends = torch.tensor([float(start), end], device=device)
            first, last = (float(value) for value in self.lambda_(ends))
            return self.time_of_lambda(torch.linspace(first, last, steps + 1, device=device))
        if skip_type == "time_quadratic":
            return torch.linspace(float(start) ** 0.5, end**0.5, steps + 1, device=device) ** 2
        return torch.linspace(float(start), end, steps + 1, device=device)


def _interpolate(x: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """Straight lines between ascending `keys`, at `x` (any shape), extended beyond both ends."""
    piece = (torch.searchsorted(keys, x.contiguous()) - 1).clamp(0, len(keys) - 2)
    x0, x1, y0, y1 = keys[piece], keys[piece + 1], values[piece], values[piece + 1]
    return y0 + (x - x0) * (y1 - y0) / (x1 - x0)


def unipc_sample(
    predict: Callable[[Tensor, float], Tensor],
    x: Tensor,
    times: Tensor,
    schedule: VPSchedule,
    options: UniPCOptions,
    progress: Callable[[int, Tensor, Tensor], None],
) -> Tensor:
    """Run UniPC over `times`; predict(x, timestep) gives the noise.

    The last time is stepped to, not evaluated.
    Raises ValueError if there are fewer steps than the order.
    """
    steps, order = len(times) - 1, options.order
    if steps < order:
        raise ValueError(f"UniPC order must be < sampling steps: {steps} steps for order {order}")

    def data_prediction(latent: Tensor, t: Tensor) -> Tensor:
        eps = predict(latent, schedule.timestep(t))
        return (latent - schedule.sigma(t) * eps) / schedule.alpha(t)

    update = _vary_update if options.variant == "vary_coeff" else _bh_update
    past = [(times[0], data_prediction(x, times[0]))]  # (time, prediction), newest first
    for step in range(1, steps + 1):
        step_order = min(step, order)
        if options.lower_order_final and step >= order:
            step_order = min(order, steps + 1 - step)
        move = _Move(schedule, times[step], past[:step_order], options.variant)
        ahead, corrected = update(move, x)
        if step == steps:
            progress(step - 1, ahead, past[0][1])
            return ahead
        prediction = data_prediction(ahead, times[step])
        x = corrected(prediction)
        past = [(times[step], prediction), *past[: order - 1]]
        progress(step - 1, x, prediction)
    return x


class _Move:
    """The numbers of one step: levels at its ends, and the slopes to the earlier predictions."""

    def __init__(
        self, schedule: VPSchedule, t: Tensor, past: list[tuple[Tensor, Tensor]], variant: str
    ) -> None:
        start, self.prediction = past[0]
        lambda_start = schedule.lambda_(start)
        h = schedule.lambda_(t) - lambda_start
        self.order = len(past)
        self.variant = variant
        self.alpha = schedule.alpha(t)
        self.shrink = schedule.sigma(t) / schedule.sigma(start)
        self.hh = -h
        ratios = [(schedule.lambda_(time) - lambda_start) / h for time, _ in past[1:]]
        self.slopes = [
            (prediction - self.prediction) / ratio
            for ratio, (_, prediction) in zip(ratios, past[1:], strict=True)
        ]
        self.ratios = torch.stack([*ratios, torch.ones_like(h)])

    def base(self, x: Tensor) -> Tensor:
        """The first order step."""
        return self.shrink * x - self.alpha * torch.expm1(self.hh) * self.prediction


Update = tuple[Tensor, Callable[[Tensor], Tensor]]


def _weighted(weights: Tensor, slopes: list[Tensor]) -> Tensor | float:
    return sum((weight * slope for weight, slope in zip(weights, slopes, strict=True)), 0.0)


def _bh_update(move: _Move, x: Tensor) -> Update:
    """Predictor and corrector with B(h) = h (bh1) or e^h - 1 (bh2)."""
    hh = move.hh
    phi = torch.expm1(hh) / hh - 1
    scale = hh if move.variant == "bh1" else torch.expm1(hh)
    factorial, rows, right = 1, [], []
    for i in range(1, move.order + 1):
        rows.append(move.ratios ** (i - 1))
        right.append(phi * factorial / scale)
        factorial *= i + 1
        phi = phi / hh - 1 / factorial
    matrix, right_side = torch.stack(rows), torch.stack(right)
    half = torch.full_like(right_side[:1], 0.5)
    predictor = half if move.order == 2 else torch.linalg.solve(matrix[:-1, :-1], right_side[:-1])
    corrector = half if move.order == 1 else torch.linalg.solve(matrix, right_side)
    base = move.base(x)

    def corrected(prediction: Tensor) -> Tensor:
        newest = corrector[-1] * (prediction - move.prediction)
        return base - move.alpha * scale * (_weighted(corrector[:-1], move.slopes) + newest)

    return base - move.alpha * scale * _weighted(predictor, move.slopes), corrected


def _vary_update(move: _Move, x: Tensor) -> Update:
    """Predictor and corrector with varying coefficients, from the inverse of the Taylor matrix.

    The newest slope is weighted with the last but one row of the inverse, as in the reference
    implementation.
    """
    order, hh = move.order, move.hh
    phis, factorial = [torch.expm1(hh)], 1
    for k in range(1, order + 1):
        phis.append(phis[-1] / hh - 1 / factorial)
        factorial *= k + 1
    factorials = torch.arange(1, order + 1, device=hh.device, dtype=hh.dtype).cumprod(0)
    taylor = torch.stack([move.ratios**k / factorials[k] for k in range(order)], dim=1)
    predictor, corrector = torch.linalg.inv(taylor[:-1, :-1]), torch.linalg.inv(taylor)
    base = move.base(x)

    def shifted(weights: Tensor) -> Tensor:
        result = base
        for k in range(order - 1):
            result = result - move.alpha * phis[k + 1] * _weighted(weights[k], move.slopes)
        return result

    def corrected(prediction: Tensor) -> Tensor:
        newest = corrector[max(order - 2, 0)][-1] * (prediction - move.prediction)
        return shifted(corrector[:, :-1]) - move.alpha * phis[order] * newest

    return shifted(predictor), corrected
