"""Sigma schedules as A1111 makes them, and the part of them that each pass runs.

The way from a request to the numbers a node takes::

    resolved = samplers.resolve(...)
    one = schedule.first_pass(resolved, steps, options=..., sdxl=...)
    two = schedule.second_pass(resolve_hires(...), hires_steps, denoise, ...)   # hires
    one = schedule.img2img_pass(resolved, steps, denoise, ...)                  # img2img

A `Pass` holds what runs (`Pass.sigmas`, `Pass.timesteps`), the range the sampler's noise lives on,
the number of model calls, and converts steps and calls into ComfyUI's percents. `sigmas` and
`timesteps` are the full lists of one `ScheduleSpec`.

Sources: A1111 v1.10.1 ``modules/sd_schedulers.py``, ``sd_samplers_kdiffusion.py`` (get_sigmas,
sample_img2img), ``sd_samplers_timesteps.py``, ``sd_samplers_common.py`` (setup_img2img_steps),
``sd_samplers_lcm.py``, ``sd_models.py`` (apply_alpha_schedule_override), k-diffusion's
``external.py`` (DiscreteSchedule); the betas are Stable Diffusion's scaled-linear ones. Sigmas are
in units of the latent's standard deviation, timesteps run from 0 to 999. A1111 computes in float32;
here the model's table is rounded to float32 and the rest is double, which agrees to about 1e-6.
"""

from __future__ import annotations

import math
import struct
from array import array
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import lru_cache
from itertools import accumulate
from operator import mul
from typing import Any

from translator.betadist import beta_quantiles
from translator.samplers import ResolvedSampler, Sampler, Scheduler

TRAIN_STEPS = 1000
"""Timesteps the model was trained on."""

LCM_SKIP = 20
"""LCM was distilled on every 20th timestep: 50 entries, from 19 to 999."""

MAX_DENOISE = 0.999
"""A1111 takes a denoising strength above this for it."""

_LINEAR_START, _LINEAR_END = 0.00085, 0.012
_ZERO_SNR_LAST_ABAR = 4.8973451890853435e-08
_ZERO_TERMINAL_SNR = "Zero Terminal SNR"

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
    def from_settings(cls, settings: Mapping[str, Any]) -> ScheduleOptions:
        """The options among ``settings`` (A1111 option key -> value); other keys are left alone."""
        return cls(
            **{item.name: settings[item.name] for item in fields(cls) if item.name in settings}
        )

    @property
    def zero_terminal_snr(self) -> bool:
        return self.sd_noise_schedule == _ZERO_TERMINAL_SNR


class NoiseTable:
    """The noise levels a model was trained on: k-diffusion's DiscreteSchedule.

    Attributes:
        sigmas: ascending; ``sigmas[t]`` belongs to entry ``t``.
        log_sigmas: their logarithms.
    """

    def __init__(
        self, sigmas: Sequence[float], log_sigmas: Sequence[float], *, quantized: bool = False
    ) -> None:
        self.sigmas = sigmas
        self.log_sigmas = log_sigmas
        self._quantized = quantized

    def entry(self, sigma: float) -> float:
        """Position of ``sigma`` > 0 in the table, interpolated in log sigma, 0 to length - 1."""
        log_sigma = math.log(sigma)
        logs = self.log_sigmas
        low = min(max(bisect_right(logs, log_sigma) - 1, 0), len(logs) - 2)
        if self._quantized:
            return float(low + (abs(logs[low + 1] - log_sigma) < abs(logs[low] - log_sigma)))
        gap = logs[low + 1] - logs[low]
        weight = (log_sigma - logs[low]) / gap if gap else 0.0
        return low + min(max(weight, 0.0), 1.0)

    def sigma(self, entry: float) -> float:
        """Sigma at a position, interpolated in log sigma."""
        low = int(entry)
        weight = entry - low
        if not weight:
            return math.exp(self.log_sigmas[low])
        return math.exp((1.0 - weight) * self.log_sigmas[low] + weight * self.log_sigmas[low + 1])

    def nearest(self, sigma: float) -> int:
        """The entry whose sigma is nearest, by plain difference."""
        above = min(bisect_right(self.sigmas, sigma), len(self.sigmas) - 1)
        below = max(above - 1, 0)
        return below if sigma - self.sigmas[below] <= self.sigmas[above] - sigma else above


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
    options: ScheduleOptions = ScheduleOptions()

    @property
    def discards(self) -> bool:
        """Whether one step more is laid out (and, of sigmas, the last but one is dropped)."""
        return self.sampler.discard_penultimate or self.options.always_discard_next_to_last_sigma


@dataclass(frozen=True)
class Pass:
    """One sampling pass.

    Attributes:
        spec: the schedule it is cut from.
        sigmas: what runs, descending. k-diffusion samplers go from value to value. For the
            timestep samplers these are the noise levels of the timesteps walked; where such a pass
            starts from an image, the level that the image is noised to stands before them.
        timesteps: for the timestep samplers the list handed to A1111's function, ascending (it
            walks from the end); else empty.
        full_sigmas: the uncut schedule (of the timestep samplers, the sigmas of all timesteps).
        start_at_step: index in ``full_sigmas`` of the level at which the pass starts.
        planned_steps: the steps A1111 announces (progress, ControlNet's and the refiner's ratio).
        sigma_min, sigma_max: the range of the sampler's own: of the Brownian tree, of DPM fast and
            DPM adaptive; for others the table's range.
        from_image: whether it starts from a noised latent rather than from noise alone.
    """

    spec: ScheduleSpec
    sigmas: tuple[float, ...]
    timesteps: tuple[int, ...]
    full_sigmas: tuple[float, ...]
    start_at_step: int
    planned_steps: int
    sigma_min: float
    sigma_max: float
    from_image: bool

    @property
    def sampler(self) -> Sampler:
        return self.spec.sampler

    @property
    def total_steps(self) -> int:
        """Model calls A1111 counts on: twice the steps for a second-order sampler."""
        return self.sampler.total_steps(self.planned_steps)

    @property
    def step_sigmas(self) -> tuple[float, ...]:
        """Sigma at the start of each step, and the one at which the last step ends."""
        noised_apart = self.sampler.uses_timesteps and self.from_image
        return self.sigmas[1:] if noised_apart else self.sigmas

    @property
    def steps_run(self) -> int:
        """Steps from one sigma to the next that are really run."""
        return max(len(self.step_sigmas) - 1, 0)

    @property
    def model_calls(self) -> int | None:
        """How often the model is called; None where only the run itself can tell (DPM adaptive)."""
        return model_calls(self.sampler, self.step_sigmas)

    @property
    def infotext(self) -> dict[str, Any]:
        """Infotext keys of the schedule, in A1111's order, "Schedule type" not among them."""
        return infotext(self.spec)

    def percent_before_step(self, step: int) -> float:
        """ComfyUI's percent that lies between step ``step - 1`` and ``step`` (0-based).

        0.0 before the first step and 1.0 after the last. Percents are shares of the training
        timesteps: percent p is timestep 999 * (1 - p). The boundary lies midway in timesteps, and
        for samplers with a call between two sigmas a quarter of the way above the lower one, so
        that call stays with its step.
        """
        return self._percent(step, 0.25 if self.sampler.evaluation == "midpoint" else 0.5)

    def percent_before_call(self, call: int) -> float:
        """ComfyUI's percent that lies between model call ``call - 1`` and ``call`` (0-based).

        The second call of a Heun step sits on the next step's sigma and cannot be told from that
        step's first call: both get what the earlier of them should have.
        """
        if not self.sampler.second_order:
            return self.percent_before_step(call)
        step, second = divmod(call, 2)
        if not second:
            return self.percent_before_step(step)
        return self._percent(step + 1, 0.75 if self.sampler.evaluation == "midpoint" else 0.5)

    def _percent(self, step: int, share: float) -> float:
        if step <= 0:
            return 0.0
        if step >= self.steps_run:
            return 1.0
        table = noise_table(self.spec.options)
        above, below = (table.entry(sigma) for sigma in self.step_sigmas[step - 1 : step + 1])
        return 1.0 - (below + (above - below) * share) / (TRAIN_STEPS - 1)

    def refiner_step(self, switch_at: float | None, *, by_steps: bool = False) -> int:
        """The first step that the refiner runs; `steps_run` where it never takes over.

        A1111 asks before every model call whether (999 - t) / 1000 >= switch_at, t being the table
        entry nearest to the call's sigma (for the timestep samplers the timestep cut to a whole
        number); with option refiner_switch_by_sample_steps whether the share of calls done has
        come to it (``apply_refiner`` in ``sd_samplers_common.py``).

        Args:
            switch_at: the request's refiner_switch_at; None switches before the first call.
        """
        if switch_at is None:
            return 0
        ratios = self._ratios_by_step() if by_steps else self._ratios_by_timestep()
        return next(
            (step for step, ratio in enumerate(ratios) if ratio >= switch_at), self.steps_run
        )

    def _ratios_by_step(self) -> Iterable[float]:
        total = self.sampler.total_steps
        return (total(step) / max(self.total_steps, 1) for step in range(self.steps_run))

    def _ratios_by_timestep(self) -> Iterable[float]:
        if self.sampler.uses_timesteps:
            walked: Iterable[float] = _walked_timesteps(self.spec, self.timesteps, self.from_image)
            entries = [int(timestep) for timestep in walked]
        else:
            table = sampler_table(self.spec)
            entries = [table.nearest(sigma) for sigma in self.step_sigmas]
        return ((TRAIN_STEPS - 1 - entry) / TRAIN_STEPS for entry in entries[: self.steps_run])


def first_pass(
    resolved: ResolvedSampler,
    steps: int,
    *,
    sdxl: bool = False,
    options: ScheduleOptions = ScheduleOptions(),
) -> Pass:
    """The pass that starts from noise: the whole schedule.

    Raises:
        ScheduleError: A1111 fails on these steps or options.
    """
    spec = ScheduleSpec(resolved.sampler, resolved.scheduler, steps, sdxl, options)
    if spec.sampler.uses_timesteps:
        return _timestep_pass(spec, len(timesteps(spec)), steps, from_image=False)
    full = sigmas(spec)
    low, high = _sampler_range(spec, full, None)
    return Pass(spec, full, (), full, 0, steps, low, high, from_image=False)


def second_pass(
    resolved: ResolvedSampler,
    steps: int,
    denoise: float,
    *,
    sdxl: bool = False,
    options: ScheduleOptions = ScheduleOptions(),
) -> Pass:
    """The hires pass: ``steps`` steps at the end of a schedule for int(steps / denoise).

    Args:
        steps: hr_second_pass_steps, or the request's steps where that is 0.
        denoise: denoising_strength, 0 to 1.

    Raises:
        ScheduleError: A1111 fails on these steps or options.
    """
    scheduled, t_enc = explicit_steps(steps, denoise)
    return _image_pass(resolved, scheduled, t_enc, sdxl, options)


def img2img_pass(
    resolved: ResolvedSampler,
    steps: int,
    denoise: float,
    *,
    sdxl: bool = False,
    options: ScheduleOptions = ScheduleOptions(),
) -> Pass:
    """The pass of an img2img request: the last int(steps * denoise) + 1 steps of the schedule.

    Option img2img_fix_steps makes it count as the hires pass does (`second_pass`).

    Raises:
        ScheduleError: A1111 fails on these steps or options.
    """
    count = explicit_steps if options.img2img_fix_steps else default_steps
    scheduled, t_enc = count(steps, denoise)
    return _image_pass(resolved, scheduled, t_enc, sdxl, options)


def default_steps(steps: int, denoise: float) -> tuple[int, int]:
    """(schedule length, t_enc) of img2img: t_enc + 1 steps of ``steps`` are run."""
    return steps, int(min(denoise, MAX_DENOISE) * steps)


def explicit_steps(steps: int, denoise: float) -> tuple[int, int]:
    """(schedule length, t_enc) where exactly ``steps`` steps are run: hires, img2img_fix_steps."""
    return int(steps / min(denoise, MAX_DENOISE)) if denoise > 0 else 0, steps - 1


@lru_cache(maxsize=256)
def sigmas(spec: ScheduleSpec) -> tuple[float, ...]:
    """The full schedule of a k-diffusion or LCM sampler, descending; most end with 0.

    KL Optimal ends at sigma_min; DDIM may hold more than ``steps + 1`` values.

    Raises:
        ScheduleError: no steps for a scheduler that divides by them, or a noise table that is not
            finite (zero terminal SNR in half precision).
        ValueError: as `timesteps` is for the timestep samplers, not this.
    """
    if spec.sampler.uses_timesteps:
        raise ValueError(f"{spec.sampler.name} runs on timesteps")
    n = spec.steps + spec.discards
    values = _draw(spec, n)
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


def model_calls(sampler: Sampler, step_sigmas: Sequence[float]) -> int | None:
    """How often a sampler calls the model on its way through ``step_sigmas``.

    None for DPM adaptive, whose step size follows the picture.
    """
    steps = max(len(step_sigmas) - 1, 0)
    to_zero = bool(steps) and step_sigmas[-1] == 0.0
    match sampler.evaluation:
        case "adaptive":
            return None
        case "midpoint" | "endpoint":
            return 2 * steps - to_zero
        case "restart":
            return 2 * (steps + _restart_extra(step_sigmas)) - to_zero
        case "plms":
            return steps + 1 if steps else 0
        case _:
            return steps


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


def control_steps(start: float, end: float, steps: int) -> range:
    """The steps at which a ControlNet unit acts, of a pass of ``steps`` steps.

    Its counter lags a step behind: before step i it has seen max(i - 1, 0) / steps of the pass, and
    it acts while start <= that <= end (both 0 to 1, shares of steps).
    """
    active = [i for i in range(steps) if start <= max(i - 1, 0) / steps <= end]
    return range(active[0], active[-1] + 1) if active else range(0)


def sampler_table(spec: ScheduleSpec) -> NoiseTable:
    """The table the sampler's model wrapper holds: LCM's 50 entries, or all 1000."""
    return _lcm_table(spec.options) if spec.sampler.family == "lcm" else noise_table(spec.options)


def noise_table(options: ScheduleOptions = ScheduleOptions()) -> NoiseTable:
    """The model's 1000 noise levels."""
    return _table(
        options.zero_terminal_snr,
        bool(options.use_downcasted_alpha_bar),
        bool(options.enable_quantization),
    )


def _image_pass(
    resolved: ResolvedSampler, scheduled: int, t_enc: int, sdxl: bool, options: ScheduleOptions
) -> Pass:
    spec = ScheduleSpec(resolved.sampler, resolved.scheduler, scheduled, sdxl, options)
    if spec.sampler.uses_timesteps:
        return _timestep_pass(spec, t_enc, t_enc + 1, from_image=True)
    full = sigmas(spec)
    start = scheduled - t_enc - 1
    cut = full[start:]
    low, high = _sampler_range(spec, full, cut)
    return Pass(spec, cut, (), full, len(full) - len(cut), t_enc + 1, low, high, from_image=True)


def _timestep_pass(spec: ScheduleSpec, count: int, planned_steps: int, *, from_image: bool) -> Pass:
    """A pass over the first ``count`` timesteps, noised (from an image) to the one after them."""
    every = timesteps(spec)
    run = every[:count]
    if spec.sampler.evaluation == "unipc" and len(run) < spec.options.uni_pc_order:
        raise ScheduleError(
            f"UniPC of order {spec.options.uni_pc_order} needs at least as many steps; "
            f"there are {len(run)}"
        )
    table = noise_table(spec.options)
    walked = [table.sigma(t) for t in _walked_timesteps(spec, run, from_image)]
    noised = [table.sigma(every[count])] if from_image else []
    full = tuple(table.sigma(t) for t in reversed(every))
    return Pass(
        spec,
        (*noised, *walked),
        run,
        full,
        len(full) - 1 - count if from_image else 0,
        planned_steps,
        table.sigmas[0],
        table.sigmas[-1],
        from_image,
    )


def _walked_timesteps(spec: ScheduleSpec, run: Sequence[int], from_image: bool) -> Sequence[float]:
    """The timesteps a sampler calls the model at, in order, and the one it ends on.

    UniPC takes the number of timesteps for its steps and lays out its own from t = 1 (or from the
    last one, starting from an image) to t = 1/1000; the model's timestep is 1000 t - 1.
    """
    if spec.sampler.evaluation != "unipc" or not run:
        return tuple(reversed(run))
    top = (run[-1] + 1) / TRAIN_STEPS if from_image else 1.0
    bottom = 1.0 / TRAIN_STEPS
    steps = len(run)
    if spec.options.uni_pc_skip_type == "logSNR":
        table = noise_table(spec.options)
        start, end = (math.log(table.sigma(t * TRAIN_STEPS - 1)) for t in (top, bottom))
        logs = _linspace(start, end, steps + 1)
        return [table.entry(math.exp(log_sigma)) for log_sigma in logs]
    order = 2.0 if spec.options.uni_pc_skip_type == "time_quadratic" else 1.0
    times = _linspace(top ** (1.0 / order), bottom ** (1.0 / order), steps + 1)
    return [max(time**order * TRAIN_STEPS - 1.0, 0.0) for time in times]


def _sampler_range(
    spec: ScheduleSpec, full: Sequence[float], cut: Sequence[float] | None
) -> tuple[float, float]:
    """The range of `Pass.sigma_min` and `Pass.sigma_max`; ``cut`` is None for a first pass.

    The Brownian tree spans the positive sigmas of the full schedule, cut or not. DPM fast and
    DPM adaptive span the model's table, but from an image the first sigma to the last but one.
    """
    table = sampler_table(spec)
    if spec.sampler.brownian_noise:
        positive = [sigma for sigma in full if sigma > 0]
        if not positive:
            raise ScheduleError(f"{spec.sampler.name} needs a step to draw its noise for")
        return min(positive), max(positive)
    if cut is None or spec.sampler.evaluation not in ("range", "adaptive"):
        return table.sigmas[0], table.sigmas[-1]
    if len(cut) < 2:
        raise ScheduleError(f"{spec.sampler.name} needs a step to run from an image")
    return cut[-2], cut[0]


def _restart_extra(step_sigmas: Sequence[float]) -> int:
    """The change in steps that Restart makes to a schedule (``sd_samplers_extra.py``)."""
    steps = len(step_sigmas) - 1
    if steps < 20:
        return 0
    length, times = (steps // 4, 2) if steps >= 36 else (9, 1)
    main = _karras(steps - length * times, step_sigmas[-2], step_sigmas[0], 7.0)
    low = min(range(len(main)), key=lambda i: abs(main[i] - 0.1))
    high = min(range(len(main)), key=lambda i: abs(main[i] - 2.0))
    restarted = length * times if high < low else 0
    return len(main) - 1 + restarted - steps


# --- The schedulers: n points -> sigmas ---------------------------------------------------------


def _draw(spec: ScheduleSpec, n: int) -> list[float]:
    """The sigmas of a scheduler for ``n`` points, before a discard."""
    table = sampler_table(spec)
    if spec.scheduler is None or spec.scheduler.name == "uniform":
        return _uniform(table, n)
    options = spec.options
    low, high = (
        (0.1, 10.0)
        if options.use_old_karras_scheduler_sigmas
        else (table.sigmas[0], table.sigmas[-1])
    )
    if options.sigma_min not in (0, table.sigmas[0]):
        low = float(options.sigma_min)
    if options.sigma_max not in (0, table.sigmas[-1]):
        high = float(options.sigma_max)
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
    return [*map(table.sigma, _linspace(len(table.sigmas) - 1, 0, n)), 0.0]


def _karras(n: int, sigma_min: float, sigma_max: float, rho: float) -> list[float]:
    high, low = sigma_max ** (1 / rho), sigma_min ** (1 / rho)
    return [*(root**rho for root in _linspace(high, low, n)), 0.0]


def _exponential(given: _Range) -> list[float]:
    logs = _linspace(math.log(given.sigma_max), math.log(given.sigma_min), given.n)
    return [*map(math.exp, logs), 0.0]


def _polyexponential(given: _Range) -> list[float]:
    low, high = math.log(given.sigma_min), math.log(given.sigma_max)
    return [*(math.exp(r**given.rho * (high - low) + low) for r in _linspace(1, 0, given.n)), 0.0]


def _normal(given: _Range) -> list[float]:
    start, end = given.table.entry(given.sigma_max), given.table.entry(given.sigma_min)
    return [*map(given.table.sigma, _linspace(start, end, given.n)), 0.0]


def _sgm_uniform(given: _Range) -> list[float]:
    start, end = given.table.entry(given.sigma_max), given.table.entry(given.sigma_min)
    return [*map(given.table.sigma, _linspace(start, end, given.n + 1)[:-1]), 0.0]


def _kl_optimal(given: _Range) -> list[float]:
    if not given.n:
        raise ScheduleError("KL Optimal cannot lay out 0 steps")
    angles = _linspace(math.atan(given.sigma_max), math.atan(given.sigma_min), given.n + 1)
    return [math.tan(angle) for angle in angles]


def _align_your_steps(given: _Range) -> list[float]:
    points = _ALIGN_YOUR_STEPS[given.spec.sdxl]
    if given.n == len(points):
        return [*points, 0.0]
    logs = [math.log(sigma) for sigma in reversed(points)]
    resampled = [_interpolate(logs, x) for x in _linspace(0, len(logs) - 1, given.n)]
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
        return tuple(beta_quantiles((1.0 - share for share in _linspace(0, 1, n)), alpha, beta))
    except ValueError as error:
        raise ScheduleError(f"Beta schedule: {error}") from error


_SCHEDULERS: Mapping[str, Callable[[_Range], list[float]]] = {
    "karras": lambda given: _karras(given.n, given.sigma_min, given.sigma_max, given.rho),
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


def _linspace(start: float, end: float, n: int) -> list[float]:
    """``n`` even points from ``start`` to ``end``; one point is ``start``."""
    if n <= 1:
        return [float(start)] * n
    step = (end - start) / (n - 1)
    return [start + step * i for i in range(n - 1)] + [float(end)]


def _interpolate(values: Sequence[float], position: float) -> float:
    low = min(int(position), len(values) - 2)
    return values[low] + (values[low + 1] - values[low]) * (position - low)


# --- The model's table --------------------------------------------------------------------------


@lru_cache(maxsize=8)
def _table(zero_terminal_snr: bool, half: bool, quantized: bool) -> NoiseTable:
    return _from_abar(_abar(zero_terminal_snr, half), half, quantized)


@lru_cache(maxsize=8)
def _lcm_table_of(zero_terminal_snr: bool, half: bool) -> NoiseTable:
    """LCM's wrapper keeps every 20th entry, in float32, and always rounds to an entry."""
    return _from_abar(_abar(zero_terminal_snr, half)[LCM_SKIP - 1 :: LCM_SKIP], False, True)


def _lcm_table(options: ScheduleOptions) -> NoiseTable:
    return _lcm_table_of(options.zero_terminal_snr, bool(options.use_downcasted_alpha_bar))


def _from_abar(abar: Sequence[float], half: bool, quantized: bool) -> NoiseTable:
    """sigma = sqrt((1 - abar) / abar), rounded after each operation as torch does."""
    rounded = _to_half if half else _to_single
    ratios = rounded(
        share / a for share, a in zip(rounded(1.0 - a for a in abar), abar, strict=True)
    )
    levels = rounded(math.sqrt(ratio) for ratio in ratios)
    return NoiseTable(levels, rounded(map(math.log, levels)), quantized=quantized)


def _abar(zero_terminal_snr: bool, half: bool) -> Sequence[float]:
    """Cumulative alphas of the scaled-linear betas, and A1111's two changes to them."""
    roots = _linspace(math.sqrt(_LINEAR_START), math.sqrt(_LINEAR_END), TRAIN_STEPS)
    abar: Sequence[float] = _to_single(accumulate((1.0 - root * root for root in roots), mul))
    rounded = _to_half if half else _to_single
    abar = rounded(abar)
    if not zero_terminal_snr:
        return abar
    if half:
        raise ScheduleError("zero terminal SNR is not finite in half precision")
    square_roots = rounded(math.sqrt(a) for a in abar)
    first, last = square_roots[0], square_roots[-1]
    scale = rounded([first / rounded([first - last])[0]])[0]
    shifted = rounded(root - last for root in square_roots)
    scaled = rounded(root * scale for root in shifted)
    return [*rounded(root * root for root in scaled[:-1]), _to_single([_ZERO_SNR_LAST_ABAR])[0]]


def _to_single(values: Iterable[float]) -> Sequence[float]:
    return array("f", values).tolist()


def _to_half(values: Iterable[float]) -> Sequence[float]:
    items = list(values)
    layout = f"<{len(items)}e"
    return struct.unpack(layout, struct.pack(layout, *items))
