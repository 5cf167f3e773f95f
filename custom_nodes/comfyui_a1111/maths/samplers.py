"""The samplers that A1111 v1.10.1 runs on noise levels (sigmas), in plain torch.

Each function takes a `Run`, the start latent x (B, C, H, W) and the sigmas of the pass (descending,
float32, on the CPU wherever x is) and returns the last latent. The formulas are those of
k-diffusion at the commit A1111 pins (ab527a9a), in the same order of operations, so that float
rounding agrees as well; Restart and LCM are A1111's own. Sources: Karras et al. 2022 (Euler, Heun,
churn), Lu et al. 2022 (DPM-Solver, DPM-Solver++), Xu et al. 2023 (Restart), Luo et al. 2023 (LCM).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

Denoiser = Callable[[Tensor, Tensor], Tensor]
NoiseSource = Callable[[Tensor, Tensor], Tensor]
Progress = Callable[[int, Tensor, Tensor], None]
Sampler = Callable[["Run", Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Churn:
    """Noise added back before a step (Karras et al. 2022, algorithm 2), and at which sigmas."""

    amount: float = 0.0
    sigma_from: float = 0.0
    sigma_to: float = math.inf


@dataclass(frozen=True)
class Run:
    """One sampling pass, as far as a sampler has to know it.

    denoise(x, sigma): the guided prediction of the clean latent, sigma a 0-dim tensor. noise(sigma,
    sigma_next): unit noise like x for that interval; one call is one draw of every image's stream.
    progress(step, x, denoised): told once per step. sigma_min, sigma_max and steps are used by DPM
    fast and DPM adaptive, which make their own levels.
    """

    denoise: Denoiser
    noise: NoiseSource
    progress: Progress
    eta: float = 1.0
    s_noise: float = 1.0
    churn: Churn = field(default_factory=Churn)
    sigma_min: float = 0.0
    sigma_max: float = 0.0
    steps: int = 0


def karras_sigmas(
    count: int, sigma_min: float, sigma_max: float, like: Tensor, rho: float = 7.0
) -> Tensor:
    """`count` sigmas from sigma_max to sigma_min, evenly spaced in sigma^(1/rho) (Karras et al.
    2022, eq. 5).
    """
    ramp = torch.linspace(0, 1, count, device=like.device)
    low, high = sigma_min ** (1 / rho), sigma_max ** (1 / rho)
    return (high + ramp * (low - high)) ** rho


def derivative(x: Tensor, sigma: Tensor, denoised: Tensor) -> Tensor:
    """dx/dsigma of the probability flow."""
    return (x - denoised) / sigma


def ancestral_step(sigma: Tensor, sigma_next: Tensor, eta: float) -> tuple[Tensor, Tensor | float]:
    """The level to go down to and the noise to add, which together give sigma_next."""
    if not eta:
        return sigma_next, 0.0
    up = min(sigma_next, eta * (sigma_next**2 * (sigma**2 - sigma_next**2) / sigma**2) ** 0.5)
    down = (sigma_next**2 - up**2) ** 0.5
    return down, up


def _time(sigma: Tensor) -> Tensor:
    """DPM-Solver's time: -log sigma."""
    return sigma.log().neg()


def _sigma(time: Tensor) -> Tensor:
    return time.neg().exp()


def _churned(run: Run, x: Tensor, sigmas: Tensor, i: int) -> tuple[Tensor, Tensor]:
    """Latent and sigma after churn.

    With churn on, the noise is drawn on every step, also outside its range, as k-diffusion does;
    without it no draw is ever used.
    """
    sigma = sigmas[i]
    if run.churn.amount == 0:
        return x, sigma
    inside = run.churn.sigma_from <= sigma <= run.churn.sigma_to
    gamma = min(run.churn.amount / (len(sigmas) - 1), 2**0.5 - 1) if inside else 0.0
    eps = run.noise(sigma, sigmas[i + 1]) * run.s_noise
    sigma_hat = sigma * (gamma + 1)
    if gamma > 0:
        x = x + eps * (sigma_hat**2 - sigma**2) ** 0.5
    return x, sigma_hat


def _heun_step(run: Run, x: Tensor, d: Tensor, sigma: Tensor, sigma_next: Tensor) -> Tensor:
    """One Heun step along the derivative `d`; a step to 0 is Euler's."""
    dt = sigma_next - sigma
    if sigma_next == 0:
        return x + d * dt
    ahead = x + d * dt
    d_next = derivative(ahead, sigma_next, run.denoise(ahead, sigma_next))
    return x + (d + d_next) / 2 * dt


def euler(run: Run, x: Tensor, sigmas: Tensor) -> Tensor:
    """Euler's method with churn (Karras et al. 2022, algorithm 2)."""
    for i in range(len(sigmas) - 1):
        x, sigma_hat = _churned(run, x, sigmas, i)
        denoised = run.denoise(x, sigma_hat)
        run.progress(i, x, denoised)
        x = x + derivative(x, sigma_hat, denoised) * (sigmas[i + 1] - sigma_hat)
    return x


def heun(run: Run, x: Tensor, sigmas: Tensor) -> Tensor:
    """Heun's method with churn (Karras et al. 2022, algorithm 2): two calls a step."""
    for i in range(len(sigmas) - 1):
        x, sigma_hat = _churned(run, x, sigmas, i)
        denoised = run.denoise(x, sigma_hat)
        run.progress(i, x, denoised)
        x = _heun_step(run, x, derivative(x, sigma_hat, denoised), sigma_hat, sigmas[i + 1])
    return x


def dpm_2(run: Run, x: Tensor, sigmas: Tensor) -> Tensor:
    """DPM-Solver-2 with churn: the derivative at the middle of each step."""
    for i in range(len(sigmas) - 1):
        x, sigma_hat = _churned(run, x, sigmas, i)
        denoised = run.denoise(x, sigma_hat)
        run.progress(i, x, denoised)
        d = derivative(x, sigma_hat, denoised)
        if sigmas[i + 1] == 0:
            x = x + d * (sigmas[i + 1] - sigma_hat)
        else:
            x = _midpoint_step(run, x, d, sigma_hat, sigmas[i + 1])
    return x


def dpm_2_ancestral(run: Run, x: Tensor, sigmas: Tensor) -> Tensor:
    """DPM-Solver-2 down to a lower level, then noise back up."""
    for i in range(len(sigmas) - 1):
        denoised = run.denoise(x, sigmas[i])
        run.progress(i, x, denoised)
        down, up = ancestral_step(sigmas[i], sigmas[i + 1], run.eta)
        d = derivative(x, sigmas[i], denoised)
        if down == 0:
            x = x + d * (down - sigmas[i])
        else:
            x = _midpoint_step(run, x, d, sigmas[i], down)
            x = x + run.noise(sigmas[i], sigmas[i + 1]) * run.s_noise * up
    return x


def _midpoint_step(run: Run, x: Tensor, d: Tensor, sigma: Tensor, sigma_next: Tensor) -> Tensor:
    """DPM-Solver-2: the derivative at the two levels' geometric mean carries the whole step."""
    middle = sigma.log().lerp(sigma_next.log(), 0.5).exp()
    halfway = x + d * (middle - sigma)
    d_middle = derivative(halfway, middle, run.denoise(halfway, middle))
    return x + d_middle * (sigma_next - sigma)


def euler_ancestral(run: Run, x: Tensor, sigmas: Tensor) -> Tensor:
    """Euler's method down to a lower level, then noise back up."""
    for i in range(len(sigmas) - 1):
        denoised = run.denoise(x, sigmas[i])
        run.progress(i, x, denoised)
        down, up = ancestral_step(sigmas[i], sigmas[i + 1], run.eta)
        x = x + derivative(x, sigmas[i], denoised) * (down - sigmas[i])
        if sigmas[i + 1] > 0:
            x = x + run.noise(sigmas[i], sigmas[i + 1]) * run.s_noise * up
    return x


def lms(run: Run, x: Tensor, sigmas: Tensor, order: int = 4) -> Tensor:
    """Linear multistep over the last `order` derivatives, also on the step to 0."""
    levels = sigmas.detach().cpu().numpy().astype(np.float64)
    history: list[Tensor] = []
    for i in range(len(sigmas) - 1):
        denoised = run.denoise(x, sigmas[i])
        run.progress(i, x, denoised)
        history = [derivative(x, sigmas[i], denoised), *history[: order - 1]]
        weights = _adams_bashforth_weights(levels, i, len(history))
        x = x + sum(weight * d for weight, d in zip(weights, history, strict=True))
    return x


def _adams_bashforth_weights(levels: np.ndarray, i: int, order: int) -> list[float]:
    """Weights of the last `order` derivatives, newest first.

    They are the integrals of the Lagrange basis over step i.
    """
    nodes = levels[i - np.arange(order)]
    weights = []
    for j in range(order):
        others = np.delete(nodes, j)
        integral = np.poly1d(others, r=True).integ() / np.prod(nodes[j] - others)
        weights.append(float(integral(levels[i + 1]) - integral(levels[i])))
    return weights


def dpmpp_2s_ancestral(run: Run, x: Tensor, sigmas: Tensor) -> Tensor:
    """DPM-Solver++(2S) down to a lower level, then noise back up."""
    for i in range(len(sigmas) - 1):
        denoised = run.denoise(x, sigmas[i])
        run.progress(i, x, denoised)
        down, up = ancestral_step(sigmas[i], sigmas[i + 1], run.eta)
        if down == 0:
            x = x + derivative(x, sigmas[i], denoised) * (down - sigmas[i])
        else:
            t, t_next = _time(sigmas[i]), _time(down)
            h = t_next - t
            middle = _sigma(t + 0.5 * h)
            halfway = (middle / _sigma(t)) * x - (-h * 0.5).expm1() * denoised
            x = (_sigma(t_next) / _sigma(t)) * x - (-h).expm1() * run.denoise(halfway, middle)
        if sigmas[i + 1] > 0:
            x = x + run.noise(sigmas[i], sigmas[i + 1]) * run.s_noise * up
    return x


def dpmpp_sde(run: Run, x: Tensor, sigmas: Tensor) -> Tensor:
    """DPM-Solver++ SDE with the midpoint at half of each step."""
    for i in range(len(sigmas) - 1):
        denoised = run.denoise(x, sigmas[i])
        run.progress(i, x, denoised)
        if sigmas[i + 1] == 0:
            x = x + derivative(x, sigmas[i], denoised) * (sigmas[i + 1] - sigmas[i])
            continue
        t, t_next = _time(sigmas[i]), _time(sigmas[i + 1])
        middle = t + (t_next - t) * 0.5
        halfway = _sde_step(run, x, denoised, t, middle)
        # With the midpoint at r = 1/2 the weights of the two predictions are 0 and 1.
        x = _sde_step(run, x, run.denoise(halfway, _sigma(middle)), t, t_next)
    return x


def _sde_step(run: Run, x: Tensor, denoised: Tensor, t: Tensor, t_next: Tensor) -> Tensor:
    down, up = ancestral_step(_sigma(t), _sigma(t_next), run.eta)
    t_down = _time(down)
    moved = (_sigma(t_down) / _sigma(t)) * x - (t - t_down).expm1() * denoised
    return moved + run.noise(_sigma(t), _sigma(t_next)) * run.s_noise * up


def dpmpp_2m(run: Run, x: Tensor, sigmas: Tensor) -> Tensor:
    """DPM-Solver++(2M): the previous prediction gives the second order."""
    previous = None
    for i in range(len(sigmas) - 1):
        denoised = run.denoise(x, sigmas[i])
        run.progress(i, x, denoised)
        t, t_next = _time(sigmas[i]), _time(sigmas[i + 1])
        h = t_next - t
        guess = denoised
        if previous is not None and sigmas[i + 1] > 0:
            r = (t - _time(sigmas[i - 1])) / h
            guess = (1 + 1 / (2 * r)) * denoised - (1 / (2 * r)) * previous
        x = (_sigma(t_next) / _sigma(t)) * x - (-h).expm1() * guess
        previous = denoised
    return x


def dpmpp_2m_sde(run: Run, x: Tensor, sigmas: Tensor) -> Tensor:
    """DPM-Solver++(2M) SDE, midpoint form."""
    return _dpmpp_2m_sde(run, x, sigmas, _midpoint_correction)


def dpmpp_2m_sde_heun(run: Run, x: Tensor, sigmas: Tensor) -> Tensor:
    """DPM-Solver++(2M) SDE, Heun form."""
    return _dpmpp_2m_sde(run, x, sigmas, _heun_correction)


def _midpoint_correction(drift: Tensor) -> Tensor:
    return 0.5 * drift.expm1().neg()


def _heun_correction(drift: Tensor) -> Tensor:
    return drift.expm1().neg() / drift + 1


def _dpmpp_2m_sde(
    run: Run, x: Tensor, sigmas: Tensor, correction: Callable[[Tensor], Tensor]
) -> Tensor:
    previous, h_last = None, None
    for i in range(len(sigmas) - 1):
        denoised = run.denoise(x, sigmas[i])
        run.progress(i, x, denoised)
        if sigmas[i + 1] == 0:
            x = denoised
            continue
        h = _time(sigmas[i + 1]) - _time(sigmas[i])
        eta_h = run.eta * h
        drift = -h - eta_h
        x = sigmas[i + 1] / sigmas[i] * (-eta_h).exp() * x + drift.expm1().neg() * denoised
        if previous is not None:
            x = x + correction(drift) * (1 / (h_last / h)) * (denoised - previous)
        if run.eta:
            unit = run.noise(sigmas[i], sigmas[i + 1])
            x = x + unit * sigmas[i + 1] * (-2 * eta_h).expm1().neg().sqrt() * run.s_noise
        previous, h_last = denoised, h
    return x


def dpmpp_3m_sde(run: Run, x: Tensor, sigmas: Tensor) -> Tensor:
    """DPM-Solver++(3M) SDE: two previous predictions."""
    past: list[tuple[Tensor, Tensor]] = []  # (denoised, h), newest first
    for i in range(len(sigmas) - 1):
        denoised = run.denoise(x, sigmas[i])
        run.progress(i, x, denoised)
        if sigmas[i + 1] == 0:
            x = denoised
            continue
        h = _time(sigmas[i + 1]) - _time(sigmas[i])
        h_eta = h * (run.eta + 1)
        x = torch.exp(-h_eta) * x + (-h_eta).expm1().neg() * denoised
        if past:
            x = x + _third_order_correction(denoised, past, h, h_eta)
        if run.eta:
            unit = run.noise(sigmas[i], sigmas[i + 1])
            x = x + unit * sigmas[i + 1] * (-2 * h * run.eta).expm1().neg().sqrt() * run.s_noise
        past = [(denoised, h), *past[:1]]
    return x


def _third_order_correction(
    denoised: Tensor, past: list[tuple[Tensor, Tensor]], h: Tensor, h_eta: Tensor
) -> Tensor:
    phi_2 = h_eta.neg().expm1() / h_eta + 1
    denoised_1, h_1 = past[0]
    r0 = h_1 / h
    d1_0 = (denoised - denoised_1) / r0
    if len(past) == 1:
        return phi_2 * d1_0
    denoised_2, h_2 = past[1]
    r1 = h_2 / h
    d1_1 = (denoised_1 - denoised_2) / r1
    d1 = d1_0 + (d1_0 - d1_1) * r0 / (r0 + r1)
    d2 = (d1_0 - d1_1) / (r0 + r1)
    phi_3 = phi_2 / h_eta - 0.5
    return phi_2 * d1 - phi_3 * d2


class _DpmSolver:
    """Singlestep DPM-Solver of orders 1 to 3 from time t = -log sigma.

    One object serves one step and keeps its noise predictions.
    """

    def __init__(self, run: Run, x: Tensor, t: Tensor) -> None:
        self._run = run
        self.x = x
        self.t = t
        self.eps = self._eps(x, t)
        self._inner: dict[float, Tensor] = {}

    @property
    def denoised(self) -> Tensor:
        return self.x - _sigma(self.t) * self.eps

    def _eps(self, x: Tensor, t: Tensor) -> Tensor:
        return (x - self._run.denoise(x, _sigma(t))) / _sigma(t)

    def _eps_at(self, r: float, h: Tensor) -> Tensor:
        """The prediction after a first order step over the share `r` of the step h."""
        if r not in self._inner:
            t = self.t + r * h
            self._inner[r] = self._eps(self.x - _sigma(t) * (r * h).expm1() * self.eps, t)
        return self._inner[r]

    def first(self, t_next: Tensor) -> Tensor:
        return self.x - _sigma(t_next) * (t_next - self.t).expm1() * self.eps

    def second(self, t_next: Tensor, r1: float = 1 / 2) -> Tensor:
        h = t_next - self.t
        difference = self._eps_at(r1, h) - self.eps
        return self.first(t_next) - _sigma(t_next) / (2 * r1) * h.expm1() * difference

    def third(self, t_next: Tensor, r1: float = 1 / 3, r2: float = 2 / 3) -> Tensor:
        h = t_next - self.t
        difference = self._eps_at(r1, h) - self.eps
        t2 = self.t + r2 * h
        bend = ((r2 * h).expm1() / (r2 * h) - 1) * difference
        ahead = self.x - _sigma(t2) * (r2 * h).expm1() * self.eps - _sigma(t2) * (r2 / r1) * bend
        eps_2 = self._eps(ahead, t2)
        return self.first(t_next) - _sigma(t_next) / r2 * (h.expm1() / h - 1) * (eps_2 - self.eps)


def _dpm_ancestral(
    t: Tensor, t_next: Tensor, t_end: Tensor, eta: float
) -> tuple[Tensor, Tensor | float]:
    """Time to step to, and noise to add to be at t_next after all."""
    if not eta:
        return t_next, 0.0
    down, _ = ancestral_step(_sigma(t), _sigma(t_next), eta)
    t_down = torch.minimum(t_end, _time(down))
    return t_down, (_sigma(t_next) ** 2 - _sigma(t_down) ** 2) ** 0.5


def dpm_fast(run: Run, x: Tensor, sigmas: Tensor) -> Tensor:
    """DPM-Solver-Fast: `run.steps` model calls from run.sigma_max to run.sigma_min."""
    t_start, t_end = _dpm_range(run)
    full = run.steps // 3
    orders = [3] * (full - 1) + [2, 1] if run.steps % 3 == 0 else [3] * full + [run.steps % 3]
    times = torch.linspace(t_start, t_end, full + 2)
    for i, order in enumerate(orders):
        t_down, up = _dpm_ancestral(times[i], times[i + 1], t_end, run.eta)
        solver = _DpmSolver(run, x, times[i])
        run.progress(i, x, solver.denoised)
        step = (solver.first, solver.second, solver.third)[order - 1]
        x = step(t_down) + up * run.s_noise * run.noise(_sigma(times[i]), _sigma(times[i + 1]))
    return x


def dpm_adaptive(run: Run, x: Tensor, sigmas: Tensor) -> Tensor:
    """DPM-Solver-23 with A1111's tolerances 0.05 and 0.0078, first step 0.05, acceptance 0.81.

    The error is taken over the whole batch, so an image depends on the others of its batch.
    """
    t, t_end = _dpm_range(run)
    absolute, relative = torch.tensor(0.0078), torch.tensor(0.05)
    step_size, accept_from, order = 0.05, 0.81, 1.5 if run.eta else 3
    previous, tries = x, 0
    while t < t_end - 1e-5:
        t_next = torch.minimum(t_end, t + step_size)
        t_down, up = _dpm_ancestral(t, t_next, t_end, run.eta)
        solver = _DpmSolver(run, x, t)
        denoised = solver.denoised
        low, high = solver.second(t_down, r1=1 / 3), solver.third(t_down)
        tolerance = torch.maximum(absolute, relative * torch.maximum(low.abs(), previous.abs()))
        error = torch.linalg.norm((low - high) / tolerance) / x.numel() ** 0.5
        factor = 1 + math.atan((1 / (float(error) + 1e-8)) ** (1 / order) - 1)
        if factor >= accept_from:
            previous = low
            x = high + up * run.s_noise * run.noise(_sigma(t), _sigma(t_next))
            t = t_next
        step_size *= factor
        run.progress(tries, x, denoised)
        tries += 1
    return x


def _dpm_range(run: Run) -> tuple[Tensor, Tensor]:
    """Start and end time; raises ValueError unless both sigmas are positive."""
    if run.sigma_min <= 0 or run.sigma_max <= 0:
        raise ValueError("DPM fast and DPM adaptive need sigma_min and sigma_max above 0")
    ends = [torch.tensor(sigma) for sigma in (run.sigma_max, run.sigma_min)]
    return _time(ends[0]), _time(ends[1])


def restart(run: Run, x: Tensor, sigmas: Tensor) -> Tensor:
    """Heun steps that jump back up once or twice when the picture is almost done."""
    last = None
    for i, (sigma, sigma_next) in enumerate(restart_steps(sigmas)):
        if last is not None and last < sigma:
            x = x + run.noise(last, sigma) * run.s_noise * (sigma**2 - last**2) ** 0.5
        denoised = run.denoise(x, sigma)
        run.progress(i, x, denoised)
        x = _heun_step(run, x, derivative(x, sigma, denoised), sigma, sigma_next)
        last = sigma_next
    return x


def restart_steps(sigmas: Tensor) -> list[tuple[Tensor, Tensor]]:
    """The steps (from, to) that A1111's Restart makes of a schedule.

    With fewer than 20 steps that is the schedule itself. From 20 steps one restart of 9 steps, from
    36 on two of a quarter of the steps each; their number is taken from the main schedule, which
    then becomes Karras between the first and the last positive sigma.
    """
    steps = len(sigmas) - 1
    if steps < 20:
        return list(itertools.pairwise(sigmas))
    length, times = (steps // 4, 2) if steps >= 36 else (9, 1)
    main = karras_sigmas(steps - length * times, sigmas[-2].item(), sigmas[0].item(), sigmas)
    main = torch.cat([main, main.new_zeros(1)])
    low, high = (int(torch.argmin(abs(main - sigma), dim=0)) for sigma in (0.1, 2))
    result = list(itertools.pairwise(main))
    if low == 0 or high >= low:
        return result
    again = karras_sigmas(length + 1, main[low].item(), main[high].item(), sigmas)
    return result[:low] + list(itertools.pairwise(again)) * times + result[low:]


def lcm(run: Run, x: Tensor, sigmas: Tensor) -> Tensor:
    """Predict the clean latent and put noise of the next level on it."""
    for i in range(len(sigmas) - 1):
        x = run.denoise(x, sigmas[i])
        run.progress(i, x, x)
        if sigmas[i + 1] > 0:
            x = x + sigmas[i + 1] * run.noise(sigmas[i], sigmas[i + 1])
    return x
