"""Schedules against those of a real A1111, and the rules they are cut by."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.translator import goldens
from translator.schedules import betadist, samplers
from translator.schedules import passes as schedule
from translator.schedules import sigmas as full_schedule
from translator.schedules.noise_table import lcm_table, model_table
from translator.schedules.passes import ScheduleOptions, ScheduleSpec

TOLERANCE = 2e-6
"""Relative; A1111 computes in float32."""

SIGMA_LISTS = goldens.sigma_lists()["sigmas"]
STEP_RULES = goldens.sigma_lists()["img2img_steps_t_enc"]
PASSES = goldens.passes()

CHURNED = {"misc/churn_heun"}
"""Cases whose sampler calls the model above the schedule's sigmas."""


def agree(ours: Sequence[float], theirs: Sequence[float], tolerance: float = TOLERANCE) -> bool:
    return len(ours) == len(theirs) and all(
        math.isclose(a, b, rel_tol=tolerance, abs_tol=0.0)
        for a, b in zip(ours, theirs, strict=True)
    )


def spec_of(
    sampler: str, scheduler: str | None, steps: int, *, sdxl: bool = False, **options: Any
) -> ScheduleSpec:
    resolved = samplers.resolve(sampler, scheduler)
    return ScheduleSpec(
        resolved.sampler, resolved.scheduler, steps, sdxl, ScheduleOptions(**options)
    )


def sigmas(
    sampler: str, scheduler: str | None, steps: int, *, sdxl: bool = False, **options: Any
) -> tuple[float, ...]:
    return schedule.sigmas(spec_of(sampler, scheduler, steps, sdxl=sdxl, **options))


# --- Against A1111 ------------------------------------------------------------------------------


@pytest.mark.parametrize("key", SIGMA_LISTS)
def test_full_schedule_is_that_of_a1111(key: str) -> None:
    sampler, scheduler, steps = key.split("|")
    spec = spec_of(sampler, scheduler, int(steps))
    if spec.sampler.uses_timesteps:
        assert list(schedule.timesteps(spec)) == SIGMA_LISTS[key]
    else:
        assert agree(schedule.sigmas(spec), SIGMA_LISTS[key])


@pytest.mark.parametrize("key", STEP_RULES)
def test_step_rules_are_those_of_a1111(key: str) -> None:
    steps, denoise = key.split("|")
    asked = int(steps), float(denoise)
    assert list(schedule.default_steps(*asked)) == STEP_RULES[key]["default"]
    assert list(schedule.explicit_steps(*asked)) == STEP_RULES[key]["explicit"]


@pytest.mark.parametrize("case", PASSES)
def test_passes_run_what_a1111_ran(case: str) -> None:
    ours, golden = goldens.plan_passes(PASSES[case]), PASSES[case]
    assert [one.sampler.name for one in ours] == [ran["sampler"] for ran in golden["passes"]]
    for one, ran in zip(ours, golden["passes"], strict=True):
        assert one.spec.steps == ran["steps"]
        if "timesteps" in ran:
            assert list(schedule.timesteps(one.spec)) == ran["timesteps"]
        else:
            assert agree(one.full_sigmas, ran["sigmas"])


@pytest.mark.parametrize("case", PASSES)
def test_model_is_called_as_often_and_first_where_a1111_calls_it(case: str) -> None:
    ours, calls = goldens.plan_passes(PASSES[case]), PASSES[case]["calls"]
    counts = [one.model_calls for one in ours]
    if None in counts:
        assert ours[0].sampler.name == "DPM adaptive"
        return
    assert sum(filter(None, counts)) == len(calls)
    if case in CHURNED:
        return
    position = 0
    for one, count in zip(ours, counts, strict=True):
        if count:
            table = schedule.noise_table(one.spec.options)
            first = calls[position]
            sigma = table.sigma(first) if one.sampler.uses_timesteps else first
            assert math.isclose(one.step_sigmas[0], sigma, rel_tol=TOLERANCE)
        position += count or 0


@pytest.mark.parametrize("sampler", ["DPM++ 2M SDE", "DPM++ 2M SDE Heun", "DPM++ 3M SDE"])
def test_multistep_sde_fails_on_a_single_step(sampler: str) -> None:
    resolved = samplers.resolve(sampler, None)
    with pytest.raises(schedule.ScheduleError, match="with a single step"):
        schedule.first_pass(resolved, 1)
    with pytest.raises(schedule.ScheduleError, match="with a single step"):
        schedule.img2img_pass(resolved, 10, 0.05)
    assert schedule.img2img_pass(resolved, 10, 0.1).steps_run == 2


def test_unipc_walks_its_own_times() -> None:
    case = PASSES["hires/s_unipc"]
    first, second = goldens.plan_passes(case)
    table = schedule.noise_table()
    walked = [table.entry(sigma) for one in (first, second) for sigma in one.step_sigmas[:-1]]
    assert walked == pytest.approx(case["calls"], rel=1e-5)


# --- Schedulers ---------------------------------------------------------------------------------


def test_align_your_steps_has_another_table_for_sdxl() -> None:
    assert sigmas("Euler", "Align Your Steps", 11, sdxl=True) == (
        *(14.615, 6.315, 3.771, 2.181, 1.342, 0.862, 0.555, 0.380, 0.234, 0.113, 0.029),
        0.0,
    )
    assert sigmas("Euler", "Align Your Steps", 5, sdxl=True) == pytest.approx(
        (14.615, 2.86785, 0.862, 0.298195, 0.029, 0.0), rel=1e-5
    )


def test_options_replace_the_range() -> None:
    ranged = sigmas("Euler", "Karras", 10, sigma_min=0.1, sigma_max=5.0)
    assert (ranged[0], ranged[-2]) == pytest.approx((5.0, 0.1))
    old = sigmas("Euler", "Exponential", 10, use_old_karras_scheduler_sigmas=True)
    assert (old[0], old[-2]) == pytest.approx((10.0, 0.1))
    both = sigmas("Euler", "Karras", 10, use_old_karras_scheduler_sigmas=True, sigma_max=20.0)
    assert (both[0], both[-2]) == pytest.approx((20.0, 0.1))


def test_uniform_ignores_the_range() -> None:
    assert sigmas("Euler", "Uniform", 10, sigma_max=5.0) == sigmas("Euler", "Uniform", 10)


def test_rho_counts_for_schedulers_that_have_one() -> None:
    assert sigmas("Euler", "Karras", 10, rho=3.0) != sigmas("Euler", "Karras", 10)
    assert sigmas("Euler", "Exponential", 10, rho=3.0) == sigmas("Euler", "Exponential", 10)
    assert agree(sigmas("Euler", "Polyexponential", 10), sigmas("Euler", "Exponential", 10))


def test_normal_and_sgm_uniform_lie_between_the_options_range() -> None:
    normal = sigmas("Euler", "Normal", 5, sigma_min=0.5, sigma_max=5.0)
    assert (normal[0], normal[-2]) == pytest.approx((5.0, 0.5), rel=1e-6)
    quantized = sigmas("Euler", "Normal", 5, sigma_max=5.0, enable_quantization=True)
    table = model_table()
    assert quantized[0] == pytest.approx(table.sigmas[table.nearest(5.0)], rel=1e-6)


def test_lcm_rounds_the_range_to_its_own_levels() -> None:
    levels = lcm_table().sigmas
    first = sigmas("LCM", "Normal", 4, sigma_max=3.0)[0]
    assert min(abs(first / level - 1) for level in levels) < 1e-6


def test_discard_drops_the_last_sigma_but_one() -> None:
    longer = sigmas("Euler", "Karras", 11)
    shorter = sigmas("Euler", "Karras", 10, always_discard_next_to_last_sigma=True)
    assert shorter == (*longer[:-2], 0.0)
    assert sigmas("DPM2", "Karras", 10) == shorter


def test_half_precision_and_zero_terminal_snr_exclude_each_other() -> None:
    options = {"sd_noise_schedule": "Zero Terminal SNR", "use_downcasted_alpha_bar": True}
    for sampler in ("Euler", "LCM"):
        with pytest.raises(schedule.ScheduleError, match="not finite"):
            sigmas(sampler, None, 10, **options)


@pytest.mark.parametrize("scheduler", ["KL Optimal", "Simple", "DDIM"])
def test_no_steps_fail_where_a1111_divides_by_them(scheduler: str) -> None:
    with pytest.raises(schedule.ScheduleError, match="0 steps"):
        sigmas("Euler", scheduler, 0)


@pytest.mark.parametrize("options", [{"sigma_min": -1}, {"sigma_max": -1}, {"rho": 0.001}])
def test_options_that_give_no_schedule_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(schedule.ScheduleError, match="option"):
        sigmas("Euler", "Karras", 5, **options)


@pytest.mark.parametrize("rho", [-3.0, 5e-324, 1e-300])
@pytest.mark.parametrize("scheduler", ["Polyexponential", "Karras"])
def test_a_rho_gives_finite_sigmas_or_is_refused(rho: float, scheduler: str) -> None:
    try:
        found = sigmas("Euler", scheduler, 5, rho=rho)
    except schedule.ScheduleError as error:
        assert "option rho" in str(error)
    else:
        assert all(map(math.isfinite, found))


def test_beta_refuses_shapes_that_are_none() -> None:
    with pytest.raises(schedule.ScheduleError, match="positive"):
        sigmas("Euler", "Beta", 5, beta_dist_alpha=0)


@given(st.integers(0, 300), st.sampled_from([row.label for row in samplers.schedulers()]))
def test_every_schedule_falls(steps: int, scheduler: str) -> None:
    try:
        drawn = sigmas("Euler", scheduler, steps)
    except schedule.ScheduleError:
        assert steps == 0
        return
    assert all(above > below for above, below in pairwise(drawn))
    assert drawn[-1] == 0.0 or scheduler == "KL Optimal"


def test_300_karras_steps_take_a_fraction_of_a_millisecond() -> None:
    resolved = samplers.resolve("DPM++ 2M", "Karras")
    schedule.first_pass(resolved, 300)

    def run() -> float:
        full_schedule.sigmas.cache_clear()
        begin = time.perf_counter()
        schedule.first_pass(resolved, 300)
        return time.perf_counter() - begin

    assert min(run() for _ in range(20)) < 3e-4


# --- The beta distribution ----------------------------------------------------------------------


@given(
    st.floats(0.3, 20),
    st.floats(0.3, 20),
    st.lists(st.floats(0.001, 0.999), min_size=1, max_size=5),
)
@pytest.mark.slow
def test_quantiles_of_the_beta_distribution_have_their_probability(
    alpha: float, beta: float, probabilities: list[float]
) -> None:
    found = betadist.beta_quantiles(probabilities, alpha, beta)
    for probability, x in zip(probabilities, found, strict=True):
        assert incomplete_beta(x, alpha, beta) == pytest.approx(probability, abs=1e-7)


def incomplete_beta(x: float, a: float, b: float) -> float:
    """I_x(a, b) by Gauss-Legendre quadrature over s, t = s**(3 / a), below the mean."""
    if x > a / (a + b):
        return 1.0 - incomplete_beta(1.0 - x, b, a)
    nodes, weights = np.polynomial.legendre.leggauss(200)
    top = x ** (a / 3)
    s = (nodes + 1) / 2 * top
    norm = math.exp(math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b))
    return float(norm * 3 / a * np.sum(weights * s**2 * (1 - s ** (3 / a)) ** (b - 1)) * top / 2)


def test_quantiles_known_in_closed_form() -> None:
    # Uniform, the arcsine law, and alpha 2, beta 1 (cdf x**2).
    assert betadist.beta_quantiles([0.0, 0.25, 1.0], 1, 1) == pytest.approx([0.0, 0.25, 1.0])
    assert betadist.beta_quantiles([0.25, 0.9], 0.5, 0.5) == pytest.approx(
        [math.sin(math.pi / 2 * p) ** 2 for p in (0.25, 0.9)], rel=1e-9
    )
    assert betadist.beta_quantiles([0.25, 0.81], 2, 1) == pytest.approx([0.5, 0.9], rel=1e-9)


# --- Noise table --------------------------------------------------------------------------------


@given(st.floats(0.0, 999.0))
def test_sigma_and_entry_are_inverse(entry: float) -> None:
    table = model_table()
    assert table.entry(table.sigma(entry)) == pytest.approx(entry, abs=1e-6)


def test_entries_outside_the_table_are_its_ends() -> None:
    table = model_table()
    assert (table.entry(1e-6), table.entry(1e6)) == (0.0, 999.0)
    assert (table.nearest(0.0), table.nearest(1e6)) == (0, 999)


# --- Passes -------------------------------------------------------------------------------------


def test_seed_request_refines_at_the_very_end() -> None:
    """15 steps at 0.05: the last 16 sigmas of a schedule of 300."""
    resolved = samplers.resolve("DPM++ SDE Karras")
    hires = schedule.second_pass(samplers.resolve_hires(resolved, None, None), 15, 0.05)
    assert (hires.spec.steps, hires.start_at_step, len(hires.sigmas)) == (300, 285, 16)
    assert (hires.sigmas[0], hires.sigmas[-2]) == pytest.approx((0.0459188, 0.0291672), rel=2e-5)
    assert hires.sigma_max == pytest.approx(14.614643)
    assert hires.model_calls == 29


def test_brownian_tree_spans_the_full_schedule() -> None:
    resolved = samplers.resolve("DPM++ 2M SDE", "KL Optimal")
    cut = schedule.img2img_pass(resolved, 20, 0.5)
    assert (cut.sigma_min, cut.sigma_max) == (cut.full_sigmas[-1], cut.full_sigmas[0])


def test_dpm_fast_spans_the_table_or_the_cut() -> None:
    resolved = samplers.resolve("DPM fast")
    first = schedule.first_pass(resolved, 10)
    table = schedule.noise_table()
    assert (first.sigma_min, first.sigma_max) == (table.sigmas[0], table.sigmas[-1])
    cut = schedule.img2img_pass(resolved, 10, 0.5)
    assert (cut.sigma_min, cut.sigma_max) == (cut.sigmas[-2], cut.sigmas[0])


def test_no_denoising_runs_no_step() -> None:
    euler = samplers.resolve("Euler", "Karras")
    nothing = schedule.second_pass(euler, 20, 0.0)
    assert (nothing.sigmas, nothing.steps_run, nothing.model_calls) == ((0.0,), 0, 0)
    for name in ("DPM++ SDE", "DPM fast", "DDIM"):
        with pytest.raises(schedule.ScheduleError):
            schedule.second_pass(samplers.resolve(name), 20, 0.0)


def test_unipc_needs_as_many_steps_as_its_order() -> None:
    resolved = samplers.resolve("UniPC")
    with pytest.raises(schedule.ScheduleError, match="order 3"):
        schedule.first_pass(resolved, 1)
    lower = ScheduleOptions(uni_pc_order=1)
    assert schedule.first_pass(resolved, 1, options=lower).model_calls == 1


def test_timestep_pass_from_an_image_is_noised_one_step_above() -> None:
    hires = schedule.second_pass(samplers.resolve("DDIM"), 8, 0.7)
    table = schedule.noise_table()
    assert hires.timesteps[-1] == 541
    assert table.entry(hires.sigmas[0]) == pytest.approx(631, abs=1e-6)
    assert table.entry(hires.step_sigmas[0]) == pytest.approx(541, abs=1e-6)
    assert hires.full_sigmas[hires.start_at_step] == hires.sigmas[0]


@pytest.mark.parametrize(("steps", "calls"), [(19, 37), (20, 39), (35, 69), (36, 71), (60, 119)])
def test_restart_keeps_the_number_of_steps(steps: int, calls: int) -> None:
    assert schedule.first_pass(samplers.resolve("Restart"), steps).model_calls == calls


def test_infotext_names_the_options_that_count() -> None:
    one = spec_of(
        "Euler",
        "Karras",
        10,
        always_discard_next_to_last_sigma=True,
        sigma_min=0.1,
        sigma_max=5,
        rho=3,
    )
    assert list(schedule.infotext(one).items()) == [
        ("Discard penultimate sigma", True),
        ("Schedule min sigma", 0.1),
        ("Schedule max sigma", 5),
        ("Schedule rho", 3),
    ]
    assert schedule.infotext(spec_of("Euler", "Beta", 10)) == {
        "Beta schedule alpha": 0.6,
        "Beta schedule beta": 0.6,
    }
    assert schedule.infotext(spec_of("Euler", "Uniform", 10, rho=3)) == {}
    assert schedule.infotext(spec_of("DDIM", "Karras", 10, sigma_max=5)) == {}


# --- Percents and the refiner -------------------------------------------------------------------


@pytest.mark.parametrize(("step", "percent"), [(4, 0.148), (10, 0.573), (16, 0.975), (18, 0.996)])
def test_percent_before_a_karras_step(step: int, percent: float) -> None:
    """Shares of timesteps, not of steps."""
    one = schedule.first_pass(samplers.resolve("DPM++ 2M", "Karras"), 20)
    assert one.percent_before_step(step) == pytest.approx(percent, abs=0.02)


@pytest.mark.parametrize("name", [row.name for row in samplers.samplers()])
def test_percents_part_the_steps(name: str) -> None:
    """ComfyUI's threshold for a percent lies between the two steps' sigmas."""
    one = schedule.first_pass(samplers.resolve(name), 12)
    table = schedule.noise_table()
    assert one.percent_before_step(0) == 0.0
    assert one.percent_before_step(one.steps_run) == 1.0
    for step in range(1, one.steps_run):
        threshold = table.sigma((1.0 - one.percent_before_step(step)) * 999)
        assert one.step_sigmas[step - 1] > threshold > one.step_sigmas[step]


def test_percents_part_the_two_calls_of_a_midpoint_step() -> None:
    one = schedule.first_pass(samplers.resolve("DPM2"), 10)
    table = schedule.noise_table()
    for step in range(1, one.steps_run - 1):
        middle = math.sqrt(one.step_sigmas[step] * one.step_sigmas[step + 1])
        before_first, before_second, before_next = (
            table.sigma((1.0 - one.percent_before_call(call)) * 999)
            for call in (2 * step, 2 * step + 1, 2 * step + 2)
        )
        assert before_first > one.step_sigmas[step] > before_second > middle > before_next


def test_percent_before_a_heun_steps_second_call_lies_before_the_next_sigma() -> None:
    one = schedule.first_pass(samplers.resolve("Heun"), 10)
    assert one.percent_before_call(5) == one.percent_before_step(3)
    assert one.percent_before_call(4) == one.percent_before_step(2)


def test_refiner_takes_over_by_timestep() -> None:
    one = schedule.first_pass(samplers.resolve("Euler", "Karras"), 20)
    step = one.refiner_step(0.8)
    assert one.step_sigmas[step] <= 0.57 < one.step_sigmas[step - 1]
    assert one.refiner_step(None) == 0
    assert one.refiner_step(1.1) == one.steps_run
    assert one.refiner_step(0.8, by_steps=True) == 16


def test_refiner_on_timesteps() -> None:
    one = schedule.first_pass(samplers.resolve("DDIM"), 10)
    walked = list(reversed(one.timesteps))
    assert (999 - walked[one.refiner_step(0.5)]) / 1000 >= 0.5
    assert (999 - walked[one.refiner_step(0.5) - 1]) / 1000 < 0.5


def test_refiner_counts_calls_of_second_order_samplers() -> None:
    one = schedule.first_pass(samplers.resolve("Heun"), 10)
    assert (one.total_steps, one.refiner_step(0.5, by_steps=True)) == (20, 5)


def test_a_tiny_strength_lays_out_no_endless_schedule() -> None:
    resolved = samplers.resolve("Euler")
    assert len(schedule.second_pass(resolved, 20, 0.001).sigmas) == 21
    with pytest.raises(schedule.ScheduleError, match="at most 200000"):
        schedule.second_pass(resolved, 20, 1e-9)
