"""When a unit acts: A1111's fractions of steps -> ComfyUI's percents of the noise schedule."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from translator.schedules.passes import NoiseTable, Pass, noise_table


@dataclass(frozen=True, slots=True)
class Window:
    """ComfyUI's start and end percent: active while sigma(end) <= sigma <= sigma(start)."""

    start: float
    end: float


ALWAYS = Window(0.0, 1.0)

_LAGS: Mapping[str, int] = {"unipc": 2}
"""How a sampler calls the model -> steps by which A1111's counter is behind, where it is not 1."""


@dataclass(frozen=True, slots=True)
class Call:
    """A call of the model within a sampling pass.

    Attributes:
        sigma: the noise level it is made at.
        progress: A1111's fraction of steps done, as ControlNet sees it at that call.
    """

    sigma: float
    progress: float


def calls_of(schedule: Pass | None) -> list[Call]:
    """The model calls of a pass; none where nothing is sampled."""
    if schedule is None:
        return []
    per_step = 2 if schedule.sampler.second_order else 1
    lag = _LAGS.get(schedule.sampler.evaluation, 1)
    return calls(schedule.step_sigmas, per_step, schedule.planned_steps, lag)


def table_of(schedule: Pass | None) -> NoiseTable:
    """The noise levels of the model that a pass samples with."""
    return noise_table(schedule.spec.options) if schedule else noise_table()


def calls(sigmas: Sequence[float], calls_per_step: int, steps: int, lag: int = 1) -> list[Call]:
    """The model calls of a pass in order.

    A1111's step counter is written after the first call of a step, so that call still sees the
    step before: progress max(i - lag, 0) / steps at the first call of step i, i / steps at the
    second. Where the second call lies depends on the sampler: at the latest on the next sigma,
    where progress is the same; at the earliest, as given here, on the geometric mean.

    Args:
        sigmas: falling noise levels of the pass, the final one included.
        calls_per_step: 2 for samplers of second order, whose last step to 0 is a single call.
        steps: what A1111 divides by: the steps it announces.
        lag: steps by which its counter is behind at the first call of a step.
    """
    count = len(sigmas) - 1
    made: list[Call] = []
    for index in range(count):
        made.append(Call(sigmas[index], max(index - lag, 0) / steps))
        if calls_per_step > 1 and sigmas[index + 1] > 0:
            middle = math.sqrt(sigmas[index] * sigmas[index + 1])
            made.append(Call(middle, index / steps))
    return made


def window(start: float, end: float, made: Sequence[Call], table: NoiseTable) -> Window | None:
    """The percents at which ComfyUI acts in the very calls in which A1111 does.

    A1111 acts where ``start <= progress <= end``. A bound between two calls is put on the geometric
    mean of their sigmas.

    Args:
        start, end: fractions of steps, 0..1.
        made: the calls of the pass.
        table: the model's noise levels.

    Returns:
        None where no call lies within.
    """
    active = [index for index, call in enumerate(made) if start <= call.progress <= end]
    if not active:
        return None
    first, last = active[0], active[-1]
    return Window(
        start=0.0 if first == 0 else percent_before(made, first, table),
        end=1.0 if last == len(made) - 1 else percent_before(made, last + 1, table),
    )


def percents_of_calls(schedule: Pass, *, counted: bool) -> list[float]:
    """ComfyUI's percents of a pass's model calls, with which windows are compared.

    Args:
        counted: whether ranges may go by A1111's step counter (see `counted_window`).
    """
    made = calls_of(schedule)
    if counted and schedule.counts_calls:
        return [call.progress / (1.0 + call.progress) for call in made]
    table = table_of(schedule)
    return [1.0 - table.entry(call.sigma) / (len(table.sigmas) - 1) for call in made]


def counted_window(start: float, end: float, steps: int) -> Window:
    """The percents where ranges go by A1111's step counter (node input ``counted_steps``).

    There percent p / (1 + p) stands for progress p; bounds lie midway between two states. A1111
    also stops at ``guidance_end`` 1 where a sampler makes more steps than were announced.

    Args:
        start, end: fractions of steps, 0..1.
        steps: what A1111 divides its counter by.
    """
    first = next(step for step in range(steps + 1) if step / steps >= start)
    last = next(step for step in range(steps, -1, -1) if step / steps <= end)
    return Window(_counted_percent(first - 0.5, steps), _counted_percent(last + 0.5, steps))


def _counted_percent(step: float, steps: int) -> float:
    progress = max(step, 0.0) / steps
    return progress / (1.0 + progress)


def percent_before(made: Sequence[Call], index: int, table: NoiseTable) -> float:
    """The percent between a call, not the first, and the one before it.

    Percent p is timestep 999 * (1 - p).
    """
    sigma = math.sqrt(made[index - 1].sigma * made[index].sigma)
    return 1.0 - table.entry(sigma) / (len(table.sigmas) - 1)
