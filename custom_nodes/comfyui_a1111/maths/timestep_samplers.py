"""The samplers that A1111 v1.10.1 runs on timesteps: DDIM, DDIM CFG++, PLMS and UniPC.

They work in variance preserving scale: x_t = sqrt(abar_t) x_0 + sqrt(1 - abar_t) eps, with abar the
model's table of cumulative alphas. Each function takes a `TimestepRun`, the start latent x (B, C,
H, W) in that scale and the timesteps of the pass, ascending; it returns the latent in the same
scale. DDIM and PLMS stop at the first timestep of the list, they take no step to 0. Sources: Song
et al. 2021 (DDIM), Chung et al. 2024 (CFG++), Liu et al. 2022 (PLMS).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from .unipc import UniPCOptions, VPSchedule, unipc_sample

Eps = tuple[Tensor, Tensor]
TimestepSampler = Callable[["TimestepRun", Tensor, Tensor], Tensor]

CFGPP_GUIDANCE = 1 / 12.5
"""DDIM CFG++ reads the request's CFG scale 0..12.5 as 0..1."""


@dataclass(frozen=True)
class TimestepRun:
    """One sampling pass on timesteps.

    predict(x, t): the guided and the unconditional noise prediction at timestep t (a float, may be
    fractional). noise(): the next unit noise like x. progress(step, x, denoised) is told once per
    step. abar: cumulative alphas by timestep, float32. img2img tells UniPC to begin at the last
    timestep of the list instead of the table's end.
    """

    predict: Callable[[Tensor, float], Eps]
    noise: Callable[[], Tensor]
    progress: Callable[[int, Tensor, Tensor], None]
    abar: Tensor
    eta: float = 0.0
    img2img: bool = False
    unipc: UniPCOptions = field(default_factory=UniPCOptions)


def ddim(run: TimestepRun, x: Tensor, timesteps: Tensor) -> Tensor:
    """DDIM; eta 0 is deterministic, 1 adds the noise of DDPM."""
    return _ddim(run, x, timesteps, use_unconditional=False)


def ddim_cfgpp(run: TimestepRun, x: Tensor, timesteps: Tensor) -> Tensor:
    """DDIM along the unconditional prediction; takes guidance scaled by `CFGPP_GUIDANCE`."""
    return _ddim(run, x, timesteps, use_unconditional=True)


def _ddim(run: TimestepRun, x: Tensor, timesteps: Tensor, use_unconditional: bool) -> Tensor:
    for step, level in enumerate(_descend(run.abar, timesteps)):
        eps, eps_unconditional = run.predict(x, level.timestep)
        direction = eps_unconditional if use_unconditional else eps
        spread = run.eta * level.ancestral_spread()
        x0 = level.clean(x, eps)
        x = level.alpha_prev.sqrt() * x0 + (1.0 - level.alpha_prev - spread**2).sqrt() * direction
        x = x + spread * run.noise()
        run.progress(step, x, x0)
    return x


@dataclass(frozen=True)
class _Level:
    """A timestep, the one below, and abar at both in the table's own precision."""

    timestep: float
    below: float
    abar: Tensor
    abar_prev: Tensor

    @property
    def alpha_prev(self) -> Tensor:
        return self.abar_prev.float()

    def clean(self, x: Tensor, eps: Tensor) -> Tensor:
        """The clean latent that `eps` implies."""
        return (x - torch.sqrt(1 - self.abar).float() * eps) / self.abar.float().sqrt()

    def move(self, x: Tensor, eps: Tensor) -> tuple[Tensor, Tensor]:
        """Latent at the timestep below without added noise, and the clean latent."""
        x0 = self.clean(x, eps)
        return self.alpha_prev.sqrt() * x0 + (1.0 - self.alpha_prev).sqrt() * eps, x0

    def ancestral_spread(self) -> Tensor:
        """DDIM's sigma_t for eta = 1 (Song et al. 2021, eq. 16)."""
        prev = self.abar_prev.double()
        ratio = (1 - prev) / (1 - self.abar).double()
        return torch.sqrt(ratio * (1 - self.abar.double() / prev)).float()


def _descend(abar: Tensor, timesteps: Tensor) -> list[_Level]:
    """The levels from the last timestep down to the second."""
    alphas = abar[timesteps]
    return [
        _Level(float(timesteps[i]), float(timesteps[i - 1]), alphas[i], alphas[i - 1])
        for i in range(len(timesteps) - 1, 0, -1)
    ]


def plms(run: TimestepRun, x: Tensor, timesteps: Tensor) -> Tensor:
    """Pseudo linear multistep: a two-call Euler step, then Adams-Bashforth of orders 2 to 4."""
    past: list[Tensor] = []  # newest first
    for step, level in enumerate(_descend(run.abar, timesteps)):
        eps, _ = run.predict(x, level.timestep)
        if past:
            mixed = _adams_bashforth(eps, past)
        else:
            ahead, _ = level.move(x, eps)
            mixed = (eps + run.predict(ahead, level.below)[0]) / 2
        x, x0 = level.move(x, mixed)
        past = [eps, *past[:2]]
        run.progress(step, x, x0)
    return x


def _adams_bashforth(eps: Tensor, past: list[Tensor]) -> Tensor:
    if len(past) == 1:
        return (3 * eps - past[0]) / 2
    if len(past) == 2:
        return (23 * eps - 16 * past[0] + 5 * past[1]) / 12
    return (55 * eps - 59 * past[0] + 37 * past[1] - 9 * past[2]) / 24


def unipc(run: TimestepRun, x: Tensor, timesteps: Tensor) -> Tensor:
    """UniPC with as many steps as there are timesteps, evenly spaced in time (see unipc.py)."""
    schedule = VPSchedule(run.abar)
    start = timesteps[-1] / 1000 + 1 / 1000 if run.img2img else 1.0
    return unipc_sample(
        lambda latent, t: run.predict(latent, t)[0],
        x,
        schedule.times(run.unipc.skip_type, start, len(timesteps)),
        schedule,
        run.unipc,
        run.progress,
    )
