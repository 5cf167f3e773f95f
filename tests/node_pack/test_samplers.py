"""The samplers on noise levels, against a problem whose solution is known.

For data distributed as N(0, s^2) the best denoiser is D(x, sigma) = x s^2 / (s^2 + sigma^2), and
the probability flow carries x from sigma_0 to sigma along x_0 sqrt((s^2 + sigma^2) / (s^2 +
sigma_0^2)). A sampler without noise has to arrive there, the closer the higher its order; one with
noise has to arrive at the distribution of the data.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from custom_nodes.comfyui_a1111.maths import samplers  # noqa: E402
from custom_nodes.comfyui_a1111.maths.samplers import Churn, Run  # noqa: E402

pytestmark = pytest.mark.torch

DATA_STD = 0.8
LOW, HIGH = 0.0291675, 14.6146


def denoise(x: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
    return x * DATA_STD**2 / (DATA_STD**2 + sigma**2)


def schedule(steps: int, low: float = LOW) -> torch.Tensor:
    karras = samplers.karras_sigmas(steps, low, HIGH, torch.zeros(1))
    return torch.cat([karras, torch.zeros(1)])


class Counter:
    """A run that counts what a sampler asks for."""

    def __init__(self, shape: tuple[int, ...] = (2, 4, 16, 16)) -> None:
        self.calls: list[float] = []
        self.draws = 0
        self.reported: list[int] = []
        self._generator = torch.Generator().manual_seed(0)
        self.start = torch.randn(shape, generator=self._generator)

    def denoise(self, x: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        self.calls.append(float(sigma))
        return denoise(x, sigma)

    def noise(self, sigma: torch.Tensor, sigma_next: torch.Tensor) -> torch.Tensor:
        self.draws += 1
        return torch.randn(self.start.shape, generator=self._generator)

    def progress(self, step: int, x: torch.Tensor, denoised: torch.Tensor) -> None:
        self.reported.append(step)

    def run(self, **settings: object) -> Run:
        base = Run(self.denoise, self.noise, self.progress, sigma_min=LOW, sigma_max=HIGH)
        return replace(base, **settings)


Function = Callable[[Run, torch.Tensor, torch.Tensor], torch.Tensor]

BY_NAME: dict[str, Function] = {
    name: getattr(samplers, name)
    for name in (
        "euler",
        "heun",
        "dpm_2",
        "dpm_2_ancestral",
        "euler_ancestral",
        "lms",
        "dpmpp_2s_ancestral",
        "dpmpp_sde",
        "dpmpp_2m",
        "dpmpp_2m_sde",
        "dpmpp_2m_sde_heun",
        "dpmpp_3m_sde",
        "dpm_fast",
        "dpm_adaptive",
        "restart",
        "lcm",
    )
}
FIRST_ORDER = ("euler", "euler_ancestral")
SECOND_ORDER = (
    "heun",
    "dpm_2",
    "dpm_2_ancestral",
    "dpmpp_2s_ancestral",
    "dpmpp_sde",
    "dpmpp_2m",
    "dpmpp_2m_sde",
    "dpmpp_2m_sde_heun",
    "dpm_fast",
)
HIGHER_ORDER = ("lms", "dpmpp_3m_sde")


def flow_error(function: Function, steps: int, end: float = 0.5) -> float:
    """Mean distance from the flow's solution at sigma `end`, without noise."""
    counter = Counter()
    sigmas = samplers.karras_sigmas(steps + 1, end, HIGH, torch.zeros(1)).double()
    run = counter.run(eta=0.0, sigma_min=end, steps=steps)
    start = counter.start.double() * HIGH
    ratio = ((DATA_STD**2 + end**2) / (DATA_STD**2 + HIGH**2)) ** 0.5
    return float((function(run, start, sigmas) - start * ratio).abs().mean())


@pytest.mark.parametrize("name", FIRST_ORDER)
def test_first_order(name: str) -> None:
    coarse, fine = (flow_error(BY_NAME[name], steps) for steps in (40, 80))
    assert coarse / fine == pytest.approx(2, rel=0.25)


@pytest.mark.parametrize("name", SECOND_ORDER)
def test_second_order(name: str) -> None:
    coarse, fine = (flow_error(BY_NAME[name], steps) for steps in (40, 80))
    assert coarse / fine > 3.2
    assert fine < 2e-3


@pytest.mark.parametrize("name", HIGHER_ORDER)
def test_higher_order(name: str) -> None:
    coarse, fine = (flow_error(BY_NAME[name], steps) for steps in (30, 60))
    assert coarse / fine > 5.5
    assert fine < 1e-4


def test_dpm_adaptive_keeps_its_tolerance() -> None:
    assert flow_error(samplers.dpm_adaptive, 1) < 0.05


def test_restart_follows_the_flow_between_restarts() -> None:
    assert flow_error(samplers.restart, 16) == pytest.approx(flow_error(samplers.heun, 16))


@pytest.mark.parametrize("name", sorted(set(BY_NAME) - {"lcm"}))
def test_ends_in_the_distribution_of_the_data(name: str) -> None:
    """With a converged number of steps the last latent has the data's spread."""
    counter = Counter((1, 4, 64, 64))
    run = counter.run(eta=1.0, steps=150, churn=Churn(5.0))
    last = BY_NAME[name](run, counter.start * HIGH, schedule(150))
    assert float(last.std()) == pytest.approx(DATA_STD, rel=0.03)


@pytest.mark.parametrize(
    ("name", "calls", "draws"),
    [
        ("euler", 6, 0),
        ("heun", 11, 0),
        ("dpm_2", 11, 0),
        ("dpm_2_ancestral", 11, 5),
        ("euler_ancestral", 6, 5),
        ("lms", 6, 0),
        ("dpmpp_2s_ancestral", 11, 5),
        ("dpmpp_sde", 11, 10),
        ("dpmpp_2m", 6, 0),
        ("dpmpp_2m_sde", 6, 5),
        ("dpmpp_3m_sde", 6, 5),
        ("dpm_fast", 6, 3),
        ("restart", 11, 0),
        ("lcm", 6, 5),
    ],
)
def test_model_calls_and_draws_of_six_steps(name: str, calls: int, draws: int) -> None:
    """Calls and draws as a real A1111 made them: a stream out of step gives another picture."""
    counter = Counter()
    BY_NAME[name](counter.run(steps=6), counter.start * HIGH, schedule(6))
    assert (len(counter.calls), counter.draws) == (calls, draws)


@pytest.mark.parametrize(("name", "draws"), [("euler", 6), ("heun", 6), ("dpm_2", 6)])
def test_churn_draws_on_every_step_also_outside_its_range(name: str, draws: int) -> None:
    counter = Counter()
    run = counter.run(steps=6, churn=Churn(1.0, sigma_from=1e6))
    BY_NAME[name](run, counter.start * HIGH, schedule(6))
    assert counter.draws == draws


@pytest.mark.parametrize("name", sorted(BY_NAME))
def test_progress_is_told_once_per_step(name: str) -> None:
    counter = Counter()
    BY_NAME[name](counter.run(steps=6), counter.start * HIGH, schedule(6))
    assert counter.reported == list(range(len(counter.reported)))
    assert counter.reported


@pytest.mark.parametrize("name", ["euler", "heun", "dpm_2"])
def test_churn_adds_noise_within_its_range(name: str) -> None:
    def last(churn: Churn) -> torch.Tensor:
        counter = Counter()
        return BY_NAME[name](counter.run(churn=churn), counter.start * HIGH, schedule(8))

    plain = last(Churn())
    assert not torch.allclose(last(Churn(3.0)), plain)
    assert torch.equal(last(Churn(3.0, sigma_from=20.0)), plain)
    assert torch.equal(last(Churn(3.0, sigma_to=0.01)), plain)


def test_churn_raises_sigma_by_at_most_root_two() -> None:
    counter = Counter()
    samplers.euler(counter.run(churn=Churn(1000.0)), counter.start * HIGH, schedule(4))
    expected = schedule(4)[:4] * 2**0.5
    assert counter.calls == pytest.approx(expected.tolist(), rel=1e-5)


@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_multistep_weights_integrate_polynomials(order: int) -> None:
    levels = np.array([14.6, 9.0, 5.5, 3.0, 1.0, 0.2])
    weights = samplers._adams_bashforth_weights(levels, 4, order)
    for degree in range(order):
        values = levels[4 - np.arange(order)] ** degree
        integral = (levels[5] ** (degree + 1) - levels[4] ** (degree + 1)) / (degree + 1)
        assert np.dot(weights, values) == pytest.approx(integral)


def test_lms_takes_the_multistep_formula_to_zero_as_well() -> None:
    """The last step is not replaced by the clean prediction."""
    counter = Counter()
    sigmas = schedule(5)
    last = samplers.lms(counter.run(), counter.start * HIGH, sigmas)
    before = samplers.lms(Counter().run(), counter.start * HIGH, sigmas[:-1])
    assert not torch.allclose(last, denoise(before, sigmas[-2]), atol=1e-4)


def test_ancestral_step_splits_the_variance() -> None:
    sigma, following = torch.tensor(5.0), torch.tensor(2.0)
    down, up = samplers.ancestral_step(sigma, following, 1.0)
    assert float(down**2 + up**2) == pytest.approx(4.0, rel=1e-5)
    assert float(up) == pytest.approx((4 * 21 / 25) ** 0.5)
    assert samplers.ancestral_step(sigma, following, 0.0) == (following, 0.0)


def test_lcm_renoises_the_clean_prediction() -> None:
    counter = Counter()
    sigmas = torch.tensor([10.0, 0.0])
    last = samplers.lcm(counter.run(), counter.start * 10, sigmas)
    assert torch.allclose(last, denoise(counter.start * 10, sigmas[0]))


@pytest.mark.parametrize(
    ("steps", "main", "restarts", "length"),
    [(19, 19, 0, 0), (20, 11, 1, 9), (35, 26, 1, 9), (36, 18, 2, 9), (50, 26, 2, 12)],
)
def test_restart_spends_the_steps(steps: int, main: int, restarts: int, length: int) -> None:
    pairs = samplers.restart_steps(schedule(steps))
    jumps = [
        i for i, (one, two) in enumerate(itertools.pairwise(pairs), 1) if two[0] > one[1] * 1.001
    ]
    assert len(pairs) == main + restarts * length
    assert len(jumps) == restarts
    for jump in jumps:
        assert float(pairs[jump][0]) == pytest.approx(2, rel=0.4)
        assert float(pairs[jump - 1][1]) == pytest.approx(0.1, rel=0.4)


def test_restart_jumps_with_the_missing_noise() -> None:
    counter = Counter()
    samplers.restart(counter.run(), counter.start * HIGH, schedule(40))
    assert counter.draws == 2


@pytest.mark.parametrize(("steps", "orders"), [(6, [3, 2, 1]), (7, [3, 3, 1]), (8, [3, 3, 2])])
def test_dpm_fast_makes_as_many_calls_as_asked(steps: int, orders: list[int]) -> None:
    counter = Counter()
    samplers.dpm_fast(counter.run(steps=steps), counter.start * HIGH, schedule(steps))
    assert len(counter.calls) == steps
    assert counter.draws == len(orders)


def test_dpm_solvers_need_a_positive_range() -> None:
    counter = Counter()
    with pytest.raises(ValueError, match="above 0"):
        samplers.dpm_adaptive(counter.run(sigma_min=0.0), counter.start, schedule(4))
