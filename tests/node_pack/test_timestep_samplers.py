"""DDIM, PLMS and UniPC on the known problem of test_samplers.py, in variance preserving scale."""

from __future__ import annotations

from dataclasses import replace

import pytest

torch = pytest.importorskip("torch")

from custom_nodes.comfyui_a1111.maths import timestep_samplers as ts  # noqa: E402
from custom_nodes.comfyui_a1111.maths.model_sampling import scaled_linear_abar  # noqa: E402
from custom_nodes.comfyui_a1111.maths.unipc import UniPCOptions, VPSchedule  # noqa: E402

pytestmark = pytest.mark.torch

ABAR = scaled_linear_abar()
SCHEDULE = VPSchedule(ABAR)
DATA_VAR = 0.64


def variance(t: float) -> float:
    """Variance of x_t where the data has variance DATA_VAR."""
    a = float(SCHEDULE.alpha(torch.tensor((t + 1) / 1000)) ** 2)
    return a * DATA_VAR + 1 - a


class Problem:
    def __init__(self, shape: tuple[int, ...] = (2, 4, 8, 8)) -> None:
        self.timesteps: list[float] = []
        self.draws = 0
        self.reported: list[int] = []
        self._generator = torch.Generator().manual_seed(0)
        self.start = torch.randn(shape, generator=self._generator)

    def predict(self, x: torch.Tensor, t: float) -> ts.Eps:
        self.timesteps.append(t)
        a = SCHEDULE.alpha(torch.tensor((t + 1) / 1000)) ** 2
        eps = torch.sqrt(1 - a) * x / (a * DATA_VAR + 1 - a)
        return eps, eps

    def noise(self) -> torch.Tensor:
        self.draws += 1
        return torch.randn(self.start.shape, generator=self._generator)

    def run(self, **settings: object) -> ts.TimestepRun:
        def progress(step: int, x: torch.Tensor, denoised: torch.Tensor) -> None:
            self.reported.append(step)

        base = ts.TimestepRun(self.predict, self.noise, progress, ABAR)
        return replace(base, **settings)


def steps_of(count: int) -> torch.Tensor:
    """A1111's list of timesteps."""
    return torch.clip(torch.arange(0, 1000, 1000 // count) + 1, 0, 999)


def error(sampler: ts.TimestepSampler, count: int, **settings: object) -> float:
    """Mean distance from the flow's solution at the list's first timestep."""
    problem = Problem()
    timesteps = steps_of(count)
    last = sampler(problem.run(**settings), problem.start, timesteps)
    is_unipc = sampler is ts.unipc
    first, end = (999.0, 0.0) if is_unipc else (float(timesteps[-1]), 1.0)
    expected = problem.start * (variance(end) / variance(first)) ** 0.5
    return float((last - expected).abs().mean())


@pytest.mark.parametrize("sampler", [ts.ddim, ts.ddim_cfgpp])
def test_ddim_is_first_order(sampler: ts.TimestepSampler) -> None:
    coarse, fine = error(sampler, 25), error(sampler, 50)
    assert coarse / fine == pytest.approx(2, rel=0.3)


def test_plms_is_closer_than_ddim() -> None:
    assert error(ts.plms, 25) < error(ts.ddim, 25) / 8


@pytest.mark.parametrize(("variant", "gain"), [("bh1", 3), ("bh2", 3), ("vary_coeff", 1.5)])
@pytest.mark.parametrize("order", [2, 3])
@pytest.mark.parametrize("skip_type", ["time_uniform", "time_quadratic", "logSNR"])
def test_unipc_beats_ddim(variant: str, gain: float, order: int, skip_type: str) -> None:
    options = UniPCOptions(variant, skip_type, order)
    assert error(ts.unipc, 25, unipc=options) < error(ts.ddim, 25) / gain


def test_ddim_step_by_hand() -> None:
    problem = Problem()
    timesteps = torch.tensor([1, 501])
    last = ts.ddim(problem.run(), problem.start, timesteps)
    eps, _ = Problem().predict(problem.start, 501.0)
    a, a_prev = ABAR[501], ABAR[1]
    x0 = (problem.start - (1 - a).sqrt() * eps) / a.sqrt()
    assert torch.allclose(last, a_prev.sqrt() * x0 + (1 - a_prev).sqrt() * eps, atol=1e-5)


def test_ddim_with_full_eta_keeps_the_distribution() -> None:
    problem = Problem((1, 4, 64, 64))
    timesteps = steps_of(200)
    start = problem.start * variance(float(timesteps[-1])) ** 0.5
    last = ts.ddim(problem.run(eta=1.0), start, timesteps)
    assert float(last.std()) == pytest.approx(variance(1.0) ** 0.5, rel=0.03)
    quiet = ts.ddim(Problem((1, 4, 64, 64)).run(), start, timesteps)
    assert not torch.allclose(last, quiet, atol=0.1)


def test_ddim_stops_at_the_first_timestep_and_draws_every_step() -> None:
    problem = Problem()
    ts.ddim(problem.run(), problem.start, steps_of(20))
    assert problem.timesteps == list(range(951, 1, -50))
    assert problem.draws == 19
    assert problem.reported == list(range(19))


def test_cfgpp_moves_along_the_unconditional_prediction() -> None:
    problem = Problem()

    def predict(x: torch.Tensor, t: float) -> ts.Eps:
        eps, _ = problem.predict(x, t)
        return eps, eps * 0.5

    timesteps = torch.tensor([1, 501])
    last = ts.ddim_cfgpp(problem.run(predict=predict), problem.start, timesteps)
    eps, _ = Problem().predict(problem.start, 501.0)
    a, a_prev = ABAR[501], ABAR[1]
    x0 = (problem.start - (1 - a).sqrt() * eps) / a.sqrt()
    assert torch.allclose(last, a_prev.sqrt() * x0 + (1 - a_prev).sqrt() * eps * 0.5, atol=1e-5)


def test_plms_calls_twice_on_its_first_step() -> None:
    problem = Problem()
    ts.plms(problem.run(), problem.start, steps_of(5))
    assert problem.timesteps == [801.0, 601.0, 601.0, 401.0, 201.0]


def test_unipc_walks_from_the_tables_end() -> None:
    problem = Problem()
    ts.unipc(problem.run(), problem.start, steps_of(9))
    recorded = [999.0, 899.1, 799.2, 699.3, 599.4, 499.5, 399.6, 299.7, 199.8, 99.9]
    assert problem.timesteps == pytest.approx(recorded, abs=1e-3)
    assert len(problem.reported) == 10


def test_unipc_from_an_image_begins_at_the_last_timestep() -> None:
    problem = Problem()
    ts.unipc(problem.run(img2img=True), problem.start, steps_of(20)[:8])
    assert problem.timesteps[0] == pytest.approx(351.0, abs=1e-3)


def test_unipc_needs_as_many_steps_as_its_order() -> None:
    problem = Problem()
    with pytest.raises(ValueError, match="UniPC order must be < sampling steps"):
        ts.unipc(problem.run(), problem.start, torch.tensor([1, 501]))


@pytest.mark.parametrize(("variant", "skip_type"), [("bh3", "logSNR"), ("bh1", "even")])
def test_unipc_options_are_checked(variant: str, skip_type: str) -> None:
    with pytest.raises(ValueError, match="is none of"):
        UniPCOptions(variant, skip_type)


def test_schedule_is_exact_on_the_tables_entries() -> None:
    times = torch.tensor([1, 112, 556, 1000]) / 1000
    assert torch.allclose(SCHEDULE.alpha(times) ** 2, ABAR[[0, 111, 555, 999]], rtol=1e-5)
    assert torch.allclose(SCHEDULE.time_of_lambda(SCHEDULE.lambda_(times)), times, atol=1e-5)
