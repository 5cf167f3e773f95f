"""A1111's fractions of steps against ComfyUI's percents, call by call."""

from __future__ import annotations

import math

import pytest

from translator.control.windows import Call, Window, calls_of, table_of, window
from translator.schedules import passes, samplers
from translator.schedules.passes import NoiseTable, Pass

FRACTIONS = [0.0, 0.05, 0.1, 0.2, 0.25, 1 / 3, 0.5, 0.6, 0.75, 0.9, 0.99, 1.0]
STEPS = [1, 2, 3, 5, 10, 15, 20, 28, 50]


def first_pass(sampler: str, scheduler: str, steps: int) -> Pass:
    return passes.first_pass(samplers.resolve(sampler, scheduler), steps)


def a1111_is_active(progress: float, start: float, end: float) -> bool:
    """The extension's guidance_schedule_handler."""
    return not (progress < start or progress > end)


def comfy_is_active(sigma: float, found: Window | None, table: NoiseTable) -> bool:
    """ComfyUI's ControlBase.get_control: sigma(end) <= sigma <= sigma(start)."""
    if found is None:
        return False
    low, high = (percent_to_sigma(percent, table) for percent in (found.end, found.start))
    return low <= sigma <= high


def percent_to_sigma(percent: float, table: NoiseTable) -> float:
    """ComfyUI's ModelSamplingDiscrete.percent_to_sigma."""
    if percent <= 0:
        return math.inf
    if percent >= 1:
        return 0.0
    return table.sigma((1.0 - percent) * 999.0)


def a1111_calls(steps: int, second_order: bool) -> list[tuple[int, float]]:
    """(step, progress) of each call: the counter is written after the first call of a step."""
    made = []
    counter = 0
    for step in range(steps):
        made.append((step, counter / steps))
        counter = step
        if second_order and step < steps - 1:
            made.append((step, counter / steps))
    return made


@pytest.mark.parametrize("scheduler", ["Karras", "Uniform", "SGM Uniform"])
@pytest.mark.parametrize("steps", STEPS)
def test_every_first_order_call_is_active_where_a1111s_is(scheduler: str, steps: int) -> None:
    laid_out = first_pass("Euler", scheduler, steps)
    table = table_of(laid_out)
    for start in FRACTIONS:
        for end in (end for end in FRACTIONS if end >= start):
            found = window(start, end, calls_of(laid_out), table)
            for step, progress in a1111_calls(steps, second_order=False):
                sigma = laid_out.step_sigmas[step]
                assert comfy_is_active(sigma, found, table) == a1111_is_active(
                    progress, start, end
                ), (start, end, step)


@pytest.mark.parametrize("sampler", ["DPM++ SDE", "DPM2", "DPM++ 2S a", "Heun", "DPM2 a"])
@pytest.mark.parametrize("steps", STEPS)
def test_every_second_order_call_is_active_where_a1111s_is(sampler: str, steps: int) -> None:
    """The second call lies between the geometric mean of both sigmas and the next one."""
    laid_out = first_pass(sampler, "Karras", steps)
    table = table_of(laid_out)
    sigmas = laid_out.step_sigmas
    for start in FRACTIONS:
        for end in (end for end in FRACTIONS if end >= start):
            found = window(start, end, calls_of(laid_out), table)
            seen: set[int] = set()
            for step, progress in a1111_calls(steps, second_order=True):
                wanted = a1111_is_active(progress, start, end)
                if step not in seen:
                    seen.add(step)
                    assert comfy_is_active(sigmas[step], found, table) == wanted
                    continue
                for second in (math.sqrt(sigmas[step] * sigmas[step + 1]), sigmas[step + 1]):
                    assert comfy_is_active(second, found, table) == wanted, (start, end, step)


@pytest.mark.parametrize(
    ("start", "end", "steps", "active"),
    [
        (0.0, 1.0, 10, range(10)),
        (0.3, 1.0, 10, range(4, 10)),
        (0.0, 0.5, 10, range(7)),
        (0.3, 0.3, 10, range(4, 5)),
        (0.25, 0.75, 20, range(6, 17)),
        (0.0, 0.0, 20, range(2)),
    ],
)
def test_the_steps_of_the_facts(start: float, end: float, steps: int, active: range) -> None:
    """Active from ceil(start * N) + 1, through floor(end * N) + 1."""
    laid_out = first_pass("Euler", "Karras", steps)
    table = table_of(laid_out)
    found = window(start, end, calls_of(laid_out), table)
    sigmas = laid_out.step_sigmas[:-1]
    assert [i for i in range(steps) if comfy_is_active(sigmas[i], found, table)] == list(active)


def test_the_whole_pass_is_zero_to_one() -> None:
    laid_out = first_pass("Euler", "Karras", 20)
    assert window(0.0, 1.0, calls_of(laid_out), table_of(laid_out)) == Window(0.0, 1.0)


def test_a_range_past_the_last_step_is_none() -> None:
    laid_out = first_pass("Euler", "Karras", 20)
    assert window(0.97, 1.0, calls_of(laid_out), table_of(laid_out)) is None


def test_a_hires_pass_counts_its_own_steps() -> None:
    laid_out = passes.second_pass(samplers.resolve("Euler", "Karras"), 10, 0.5)
    table = table_of(laid_out)
    found = window(0.0, 0.5, calls_of(laid_out), table)
    sigmas = laid_out.step_sigmas[:-1]
    assert len(sigmas) == 10
    assert [comfy_is_active(sigma, found, table) for sigma in sigmas] == [True] * 7 + [False] * 3


def test_a_zero_terminal_snr_table_is_heeded() -> None:
    options = passes.ScheduleOptions(sd_noise_schedule="Zero Terminal SNR")
    laid_out = passes.first_pass(samplers.resolve("Euler", "Uniform"), 10, options=options)
    table = table_of(laid_out)
    found = window(0.3, 0.6, calls_of(laid_out), table)
    sigmas = laid_out.step_sigmas[:-1]
    active = [i for i, sigma in enumerate(sigmas) if comfy_is_active(sigma, found, table)]
    assert active == [4, 5, 6, 7]


def test_nothing_sampled_has_no_calls() -> None:
    assert calls_of(None) == []


def test_the_calls_of_a_second_order_step() -> None:
    laid_out = first_pass("DPM2", "Karras", 2)
    first, last, _ = laid_out.step_sigmas
    assert calls_of(laid_out) == [
        Call(first, 0.0),
        Call(math.sqrt(first * last), 0.0),
        Call(last, 0.0),
    ]
