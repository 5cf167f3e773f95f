"""The noise levels at which a pass calls the model.

Source: k-diffusion's samplers and A1111 v1.10.1 ``modules/sd_samplers_timesteps_impl.py``.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import pairwise

from translator.schedules.floats import linspace
from translator.schedules.noise_table import TRAIN_STEPS
from translator.schedules.passes import Pass, sampler_table


def called_levels(one: Pass, eta: float) -> tuple[float, ...]:
    """What A1111 sees at each model call: a sigma, or of a timestep sampler a timestep.

    DPM adaptive chooses its own levels, and Restart adds some, for which those of the schedule
    stand.

    Args:
        eta: share of the noise that an ancestral sampler draws anew.
    """
    if one.sampler.uses_timesteps:
        walked = one.walked_timesteps
        again = walked[1:2] if one.sampler.evaluation == "plms" else ()
        return (*walked[: len(again)], *again, *walked[len(again) : -1])
    if one.sampler.evaluation == "range":
        return tuple(_levels_of_range(one, eta))
    return tuple(_levels_of_steps(one, eta))


def refiner_call(one: Pass, eta: float, switch_at: float | None, *, by_steps: bool) -> int | None:
    """The model call (0-based) before which the refiner takes over; None where it never does.

    A1111 asks before every call, see `Pass.refiner_step`, which knows the schedule's levels alone.

    Args:
        eta: see `called_levels`.
        switch_at: the request's refiner_switch_at; None switches before the first call.
        by_steps: option refiner_switch_by_sample_steps.
    """
    table = sampler_table(one.spec)
    for call, level in enumerate(called_levels(one, eta)):
        entry = int(level) if one.sampler.uses_timesteps else table.nearest(level)
        ratio = (TRAIN_STEPS - 1 - entry) / TRAIN_STEPS
        if by_steps:
            ratio = call / max(one.total_steps, 1)
        if switch_at is None or ratio >= switch_at:
            return call
    return None


def _levels_of_steps(one: Pass, eta: float) -> Iterator[float]:
    sampler = one.sampler
    ancestral = sampler.eta_option is not None and not sampler.brownian_noise
    for sigma, following in pairwise(one.step_sigmas):
        yield sigma
        if following <= 0:
            continue
        if sampler.evaluation == "midpoint":
            end = _without_noise(sigma, following, eta) if ancestral else following
            if end > 0:
                yield math.sqrt(sigma * end)
        elif sampler.evaluation in ("endpoint", "restart"):
            yield following


def _levels_of_range(one: Pass, eta: float) -> Iterator[float]:
    """DPM fast: steps of three calls each, evenly spaced in log sigma, and a remainder."""
    if one.sigma_min <= 0 or one.sigma_max <= 0:
        return
    full, rest = divmod(one.planned_steps, 3)
    orders = [3] * full + [rest] if rest else [3] * (full - 1) + [2, 1]
    end = -math.log(one.sigma_min)
    times = linspace(-math.log(one.sigma_max), end, full + 2)
    for order, (time, following) in zip(orders, pairwise(times), strict=False):
        down = _without_noise(math.exp(-time), math.exp(-following), eta)
        length = (min(end, -math.log(down)) if down > 0 else end) - time
        yield from (math.exp(-time - length * part / order) for part in range(order))


def _without_noise(sigma: float, following: float, eta: float) -> float:
    """The level that a step goes down to before it draws noise up to `following`.

    On a step that goes up nothing is drawn.
    """
    if following > sigma:
        return following
    drawn = eta * math.sqrt(following**2 * (sigma**2 - following**2) / sigma**2)
    return math.sqrt(following**2 - min(following, drawn) ** 2)
