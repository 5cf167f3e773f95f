"""Full schedules: the sigmas or timesteps that A1111 lays out for a number of steps.

Sources: A1111 v1.10.1 ``modules/sd_schedulers.py``, ``sd_samplers_kdiffusion.py`` (get_sigmas),
``sd_samplers_timesteps.py`` (get_timesteps). A1111 computes in float32; here the model's table is
rounded to float32 and the rest is double, which agrees to about 1e-6.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Any

from translator.schedules.betadist import beta_quantiles
from translator.schedules.floats import linspace
from translator.schedules.noise_table import TRAIN_STEPS, NoiseTable, lcm_table, model_table
from translator.schedules.samplers import Sampler, Scheduler

_ZERO_TERMINAL_SNR = "Zero Terminal SNR"
_OLD_KARRAS_RANGE = 0.1, 10.0

_ALIGN_YOUR_STEPS = {
    False: (14.615, 6.475, 3.861, 2.697, 1.886, 1.396, 0.963, 0.652, 0.399, 0.152, 0.029),
    True: (14.615, 6.315, 3.771, 2.181, 1.342, 0.862, 0.555, 0.380, 0.234, 0.113, 0.029),
}
"""The optimized schedules of SD 1.x (False) and SDXL (True)."""


class ScheduleError(ValueError):
    """Steps or options for which A1111 itself fails; the message says why."""


@dataclass(frozen=True)
class ScheduleOptions:
    """The A1111 options that shape a schedule, under A1111's own keys and defaults."""

    sigma_min: float = 0.0
    sigma_max: float = 0.0
    rho: float = 0.0
    use_old_karras_scheduler_sigmas: bool = False
    beta_dist_alpha: float = 0.6
    beta_dist_beta: float = 0.6
    always_discard_next_to_last_sigma: bool = False
    sd_noise_schedule: str = "Default"
    use_downcasted_alpha_bar: bool = False
    enable_quantization: bool = False
    img2img_fix_steps: bool = False
    uni_pc_order: int = 3
    uni_pc_skip_type: str = "time_uniform"

    @classmethod
    def from_a1111_options(cls, a1111_options: object) -> ScheduleOptions:
        """Those among A1111's options; an option that is not honoured has its default."""
        honoured = [item.name for item in fields(cls) if hasattr(a1111_options, item.name)]
        return cls(**{name: getattr(a1111_options, name) for name in honoured})

    @property
    def zero_terminal_snr(self) -> bool:
        return self.sd_noise_schedule == _ZERO_TERMINAL_SNR


DEFAULT_OPTIONS = ScheduleOptions()
"""What A1111 does out of the box."""


@dataclass(frozen=True)
class ScheduleSpec:
    """What a full schedule depends on.

    Attributes:
        sampler: the sampler that runs it.
        scheduler: the scheduler that draws it; None is the model's uniform schedule.
        steps: the steps it is laid out for, before any discard.
        sdxl: whether the checkpoint is of the SDXL family (Align Your Steps has two tables).
        options: A1111's options.
    """

    sampler: Sampler
    scheduler: Scheduler | None
    steps: int
    sdxl: bool = False
    options: ScheduleOptions = DEFAULT_OPTIONS

    @property
    def discards(self) -> bool:
        """Whether one step more is laid out (and, of sigmas, the last but one is dropped)."""
        return self.sampler.discard_penultimate or self.options.always_discard_next_to_last_sigma


@lru_cache(maxsize=256)
def sigmas(spec: ScheduleSpec) -> tuple[float, ...]:
    """The full schedule of a k-diffusion or LCM sampler, descending; most end with 0.

    KL Optimal ends at sigma_min; DDIM may hold more than ``steps + 1`` values.

    Raises:
        ScheduleError: no steps for a scheduler that divides by them, options that no schedule
            can be drawn from, or a noise table that is not finite (zero terminal SNR in half
            precision).
        ValueError: as `timesteps` is for the timestep samplers, not this.
    """
    if spec.sampler.uses_timesteps:
        raise ValueError(f"{spec.sampler.name} runs on timesteps")
    try:
        values = _draw(spec, spec.steps + spec.discards)
    except ArithmeticError:
        values = [math.inf]
    if not all(map(math.isfinite, values)):
        raise ScheduleError(f"option rho {spec.options.rho}: the sigmas are not finite")
    if spec.discards:
        values = [*values[:-2], *values[-1:]]
    return tuple(values)


@lru_cache(maxsize=256)
def timesteps(spec: ScheduleSpec) -> tuple[int, ...]:
    """The timesteps of DDIM, DDIM CFG++, PLMS and UniPC, ascending; may be more than ``steps``.

    Raises:
        ScheduleError: no steps, or more than 1000.
    """
    n = spec.steps + spec.discards
    if not 1 <= n <= TRAIN_STEPS:
        raise ScheduleError(f"{spec.sampler.name} cannot lay out {n} steps: it takes 1 to 1000")
    return tuple(min(t + 1, TRAIN_STEPS - 1) for t in range(0, TRAIN_STEPS, TRAIN_STEPS // n))


def infotext(spec: ScheduleSpec) -> dict[str, Any]:
    """Infotext keys that A1111's get_sigmas adds, in its order, without "Schedule type"."""
    options, sampler = spec.options, spec.sampler
    keys: dict[str, Any] = {}
    if options.always_discard_next_to_last_sigma and not sampler.discard_penultimate:
        keys["Discard penultimate sigma"] = True
    scheduler = spec.scheduler
    if scheduler is None or sampler.uses_timesteps:
        return keys
    table = sampler_table(spec)
    if options.sigma_min not in (0, table.sigmas[0]):
        keys["Schedule min sigma"] = options.sigma_min
    if options.sigma_max not in (0, table.sigmas[-1]):
        keys["Schedule max sigma"] = options.sigma_max
    if _option_rho(spec) is not None:
        keys["Schedule rho"] = options.rho
    if scheduler.name == "beta":
        keys["Beta schedule alpha"] = options.beta_dist_alpha
        keys["Beta schedule beta"] = options.beta_dist_beta
    return keys


def sampler_table(spec: ScheduleSpec) -> NoiseTable:
    """The table the sampler's model wrapper holds: LCM's 50 entries, or all 1000.

    Raises:
        ScheduleError: options that give no finite table.
    """
    options = spec.options
    if spec.sampler.family != "lcm":
        return noise_table(options)
    try:
        return lcm_table(
            zero_terminal_snr=options.zero_terminal_snr,
            half=bool(options.use_downcasted_alpha_bar),
        )
    except ValueError as error:
        raise ScheduleError(str(error)) from error


def noise_table(options: ScheduleOptions = DEFAULT_OPTIONS) -> NoiseTable:
    """The model's 1000 noise levels under A1111's options.

    Raises:
        ScheduleError: options that give no finite table.
    """
    try:
        return model_table(
            zero_terminal_snr=options.zero_terminal_snr,
            half=bool(options.use_downcasted_alpha_bar),
            quantized=bool(options.enable_quantization),
        )
    except ValueError as error:
        raise ScheduleError(str(error)) from error


# --- The schedulers: n points -> sigmas ---------------------------------------------------------


def _draw(spec: ScheduleSpec, n: int) -> list[float]:
    """The sigmas of a scheduler for ``n`` points, before a discard."""
    table = sampler_table(spec)
    if spec.scheduler is None or spec.scheduler.name == "uniform":
        return _uniform(table, n)
    options = spec.options
    low, high = table.sigmas[0], table.sigmas[-1]
    if options.use_old_karras_scheduler_sigmas:
        low, high = _OLD_KARRAS_RANGE
    if options.sigma_min not in (0, table.sigmas[0]):
        low = float(options.sigma_min)
    if options.sigma_max not in (0, table.sigmas[-1]):
        high = float(options.sigma_max)
    if low <= 0 or high <= 0:
        raise ScheduleError(f"options sigma_min, sigma_max: {low} to {high} is not above 0")
    rho = _option_rho(spec)
    return _SCHEDULERS[spec.scheduler.name](
        _Range(n, low, high, spec.scheduler.default_rho if rho is None else rho, table, spec)
    )


def _option_rho(spec: ScheduleSpec) -> float | None:
    """Option rho where it counts: the scheduler has one and the option changes it."""
    scheduler, rho = spec.scheduler, spec.options.rho
    if scheduler is None or scheduler.default_rho == -1 or rho in (0, scheduler.default_rho):
        return None
    return rho


@dataclass(frozen=True)
class _Range:
    """What a scheduler's function is given."""

    n: int
    sigma_min: float
    sigma_max: float
    rho: float
    table: NoiseTable
    spec: ScheduleSpec


def _uniform(table: NoiseTable, n: int) -> list[float]:
    return [*map(table.sigma, linspace(len(table.sigmas) - 1, 0, n)), 0.0]


def karras(n: int, sigma_min: float, sigma_max: float, rho: float) -> list[float]:
    """k-diffusion's get_sigmas_karras: ``n`` points from sigma_max to sigma_min, then 0."""
    high, low = sigma_max ** (1 / rho), sigma_min ** (1 / rho)
    return [*(root**rho for root in linspace(high, low, n)), 0.0]


def _exponential(given: _Range) -> list[float]:
    logs = linspace(math.log(given.sigma_max), math.log(given.sigma_min), given.n)
    return [*map(math.exp, logs), 0.0]


def _polyexponential(given: _Range) -> list[float]:
    low, high = math.log(given.sigma_min), math.log(given.sigma_max)
    return [*(math.exp(r**given.rho * (high - low) + low) for r in linspace(1, 0, given.n)), 0.0]


def _normal(given: _Range) -> list[float]:
    start, end = given.table.entry(given.sigma_max), given.table.entry(given.sigma_min)
    return [*map(given.table.sigma, linspace(start, end, given.n)), 0.0]


def _sgm_uniform(given: _Range) -> list[float]:
    start, end = given.table.entry(given.sigma_max), given.table.entry(given.sigma_min)
    return [*map(given.table.sigma, linspace(start, end, given.n + 1)[:-1]), 0.0]


def _kl_optimal(given: _Range) -> list[float]:
    if not given.n:
        raise ScheduleError("KL Optimal cannot lay out 0 steps")
    angles = linspace(math.atan(given.sigma_max), math.atan(given.sigma_min), given.n + 1)
    return [math.tan(angle) for angle in angles]


def _align_your_steps(given: _Range) -> list[float]:
    points = _ALIGN_YOUR_STEPS[given.spec.sdxl]
    if given.n == len(points):
        return [*points, 0.0]
    logs = [math.log(sigma) for sigma in reversed(points)]
    resampled = [_interpolate(logs, x) for x in linspace(0, len(logs) - 1, given.n)]
    return [*(math.exp(value) for value in reversed(resampled)), 0.0]


def _simple(given: _Range) -> list[float]:
    if not given.n:
        raise ScheduleError("Simple cannot lay out 0 steps")
    stride = len(given.table.sigmas) / given.n
    return [*(given.table.sigmas[-(1 + int(i * stride))] for i in range(given.n)), 0.0]


def _ddim(given: _Range) -> list[float]:
    if not given.n:
        raise ScheduleError("DDIM cannot lay out 0 steps")
    stride = max(len(given.table.sigmas) // given.n, 1)
    return [*reversed(given.table.sigmas[1::stride]), 0.0]


def _beta(given: _Range) -> list[float]:
    shares = _beta_shares(
        given.n, float(given.spec.options.beta_dist_alpha), float(given.spec.options.beta_dist_beta)
    )
    spread = given.sigma_max - given.sigma_min
    return [*(given.sigma_min + share * spread for share in shares), 0.0]


@lru_cache(maxsize=64)
def _beta_shares(n: int, alpha: float, beta: float) -> tuple[float, ...]:
    """Quantiles of the beta distribution at n even probabilities from 1 down to 0."""
    try:
        return tuple(beta_quantiles((1.0 - share for share in linspace(0, 1, n)), alpha, beta))
    except ValueError as error:
        raise ScheduleError(f"Beta schedule: {error}") from error


_SCHEDULERS: Mapping[str, Callable[[_Range], list[float]]] = {
    "karras": lambda given: karras(given.n, given.sigma_min, given.sigma_max, given.rho),
    "exponential": _exponential,
    "polyexponential": _polyexponential,
    "sgm_uniform": _sgm_uniform,
    "kl_optimal": _kl_optimal,
    "align_your_steps": _align_your_steps,
    "simple": _simple,
    "normal": _normal,
    "ddim": _ddim,
    "beta": _beta,
}


SCHEDULER_NAMES = ("automatic", "uniform", *_SCHEDULERS)
"""The schedulers that can be laid out, by internal name."""


def _interpolate(values: Sequence[float], position: float) -> float:
    low = min(int(position), len(values) - 2)
    return values[low] + (values[low + 1] - values[low]) * (position - low)
