"""Guidance ranges: every sampler's calls, A1111's rule against what ComfyUI makes of our percents.

A1111 compares its step counter, of which the pack's samplers tell where A1111's do; ComfyUI the
noise level of the call, or where the guider counts, the level that stands for the counter.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from custom_nodes.comfyui_a1111.maths.guider import CALL, Call, percent_of_step  # noqa: E402
from custom_nodes.comfyui_a1111.maths.model_sampling import SamplingSettings  # noqa: E402
from custom_nodes.comfyui_a1111.maths.noise import NoiseSeed, NoiseSettings  # noqa: E402
from custom_nodes.comfyui_a1111.maths.sampler_object import (  # noqa: E402
    SAMPLER_NAMES,
    A1111SamplerObject,
    RareOptions,
)
from tests.node_pack.test_sampler_object import Model  # noqa: E402
from translator.control import windows  # noqa: E402
from translator.control.windows import Window  # noqa: E402
from translator.schedules import passes, samplers  # noqa: E402
from translator.schedules.noise_table import NoiseTable  # noqa: E402
from translator.schedules.passes import Pass  # noqa: E402

pytestmark = [pytest.mark.torch, pytest.mark.filterwarnings("ignore:Should have")]

SHAPE = (1, 4, 8, 8)
RANGES = [
    (0.0, 1.0),
    (0.0, 0.5),
    (0.5, 1.0),
    (0.2, 0.8),
    (0.0, 0.01),
    (0.9, 1.0),
    (0.3, 0.3),
    (0.0, 0.0),
    (1.0, 1.0),
    (1 / 3, 2 / 3),
]


class Recorder(Model):
    """Notes the noise level and A1111's step counter of every call."""

    def __init__(self, settings: SamplingSettings) -> None:
        super().__init__(settings)
        self.seen: list[tuple[float, int]] = []

    def __call__(
        self, x: torch.Tensor, sigma: torch.Tensor, model_options: dict[str, Any], seed: int
    ) -> torch.Tensor:
        call: Call = model_options[CALL]
        self.seen.append((float(sigma[0]), call.step))
        return super().__call__(x, sigma, model_options, seed)


def calls_of(schedule: Pass, eta: float) -> list[tuple[float, int]]:
    sampler = schedule.sampler
    model = Recorder(SamplingSettings(lcm=sampler.family == "lcm"))
    runs = A1111SamplerObject(
        sampler.name,
        eta=eta,
        sigma_min=schedule.sigma_min,
        sigma_max=schedule.sigma_max,
        timesteps=schedule.timesteps,
        rare=RareOptions(steps=schedule.planned_steps if sampler.evaluation == "range" else 0),
    )
    settings = NoiseSettings((5,), source="CPU")
    noise = settings.start(SHAPE, "cpu").next()
    latent = torch.full(SHAPE, 0.5) if schedule.from_image else torch.zeros(SHAPE)
    extra = {"model_options": {}, "seed": NoiseSeed(settings)}
    runs.sample(model, torch.tensor(schedule.sigmas), extra, None, noise, latent)
    return model.seen


def sigma_of(percent: float, table: NoiseTable) -> float:
    """ComfyUI's percent_to_sigma."""
    if percent <= 0.0:
        return 999999999.9
    return 0.0 if percent >= 1.0 else table.sigma((1.0 - percent) * 999.0)


def window_of(schedule: Pass, start: float, end: float) -> Window | None:
    if schedule.counts_calls:
        return windows.counted_window(start, end, schedule.planned_steps)
    table = windows.table_of(schedule)
    return windows.window(start, end, windows.calls_of(schedule), table)


def schedules(name: str, scheduler: str | None) -> Iterator[Pass]:
    resolved = samplers.resolve(name, scheduler)
    for steps in (4, 7, 12, 20, 36):
        yield passes.first_pass(resolved, steps)
        yield passes.second_pass(resolved, steps, 0.6)


CASES = [
    (row.name, scheduler)
    for row in samplers.samplers()
    if row.name in SAMPLER_NAMES
    for scheduler in ([None] if row.uses_timesteps else ["Automatic", "Karras", "SGM Uniform"])
]


@pytest.mark.parametrize(("name", "scheduler"), CASES)
def test_a_unit_acts_in_the_calls_in_which_a1111s_does(name: str, scheduler: str | None) -> None:
    for schedule in schedules(name, scheduler):
        table = windows.table_of(schedule)
        steps = schedule.planned_steps
        option = schedule.sampler.eta_option
        for eta in (0.0,) if option == "eta_ddim" else (1.0, 0.5) if option else (1.0,):
            calls = calls_of(schedule, eta)
            for start, end in RANGES:
                found = window_of(schedule, start, end)
                first, last = (
                    (0.0, -1.0)
                    if found is None
                    else (sigma_of(found.start, table), sigma_of(found.end, table))
                )
                for sigma, step in calls:
                    level = sigma
                    if schedule.counts_calls:
                        level = sigma_of(percent_of_step(step, steps), table)
                    acts = found is not None and last <= level <= first
                    assert acts == (start <= step / steps <= end), (
                        steps,
                        schedule.from_image,
                        eta,
                        (start, end),
                        step,
                    )


def test_a_range_to_the_end_ends_where_a_sampler_makes_more_steps_than_announced() -> None:
    schedule = passes.first_pass(samplers.resolve("DPM adaptive"), 4)
    assert any(step > 4 for _, step in calls_of(schedule, 1.0))
    assert windows.counted_window(0.0, 1.0, 4).end < percent_of_step(5, 4)


def test_restart_goes_by_noise_level_where_it_does_not_restart() -> None:
    assert passes.first_pass(samplers.resolve("Restart"), 20).counts_calls
    assert not passes.first_pass(samplers.resolve("Restart"), 19).counts_calls
