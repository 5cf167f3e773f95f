"""The part of a schedule that each sampling pass runs.

The way from a request to the numbers a node takes::

    resolved = samplers.resolve(...)
    one = schedule.first_pass(resolved, steps, options=..., sdxl=...)
    two = schedule.second_pass(resolve_hires(...), hires_steps, denoise, ...)   # hires
    one = schedule.img2img_pass(resolved, steps, denoise, ...)                  # img2img

A `Pass` holds what runs (`Pass.sigmas`, `Pass.timesteps`), the range the sampler's noise lives on,
the number of model calls, and converts steps and calls into ComfyUI's percents. `sigmas` and
`timesteps` are the full lists of one `ScheduleSpec` (`translator.schedules.sigmas`).

Sources: A1111 v1.10.1 ``modules/sd_samplers_kdiffusion.py`` (sample, sample_img2img),
``sd_samplers_timesteps.py``, ``sd_samplers_common.py`` (setup_img2img_steps, apply_refiner),
``sd_samplers_extra.py``. Sigmas are in units of the latent's standard deviation, timesteps run from
0 to 999.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from translator.schedules.floats import linspace
from translator.schedules.noise_table import TRAIN_STEPS, NoiseTable
from translator.schedules.samplers import ResolvedSampler, Sampler
from translator.schedules.sigmas import (
    DEFAULT_OPTIONS,
    ScheduleError,
    ScheduleOptions,
    ScheduleSpec,
    infotext,
    karras,
    noise_table,
    sampler_table,
    sigmas,
    timesteps,
)

__all__ = [
    "DEFAULT_OPTIONS",
    "MAX_DENOISE",
    "NoiseTable",
    "Pass",
    "ScheduleError",
    "ScheduleOptions",
    "ScheduleSpec",
    "default_steps",
    "explicit_steps",
    "first_pass",
    "img2img_pass",
    "infotext",
    "model_calls",
    "noise_table",
    "sampler_table",
    "second_pass",
    "sigmas",
    "timesteps",
]

MAX_SCHEDULED = 200_000
"""Steps of the longest schedule that is laid out."""

_LEAST_RESTARTED = 20
"""Steps from which on Restart lays out a schedule of its own."""

MAX_DENOISE = 0.999
"""A1111 takes a denoising strength above this for it."""


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
    def sampler_extra(self) -> dict[str, Any]:
        """What A1111Sampler takes of the pass beside sigmas and timesteps."""
        return {"steps": self.planned_steps} if self.sampler.evaluation == "range" else {}

    @property
    def steps_run(self) -> int:
        """Steps from one sigma to the next that are really run."""
        return max(len(self.step_sigmas) - 1, 0)

    @property
    def model_calls(self) -> int | None:
        """How often the model is called; None where only the run itself can tell (DPM adaptive)."""
        return model_calls(self.sampler, self.step_sigmas)

    @property
    def walked_timesteps(self) -> tuple[float, ...]:
        """Of a timestep sampler: those that it calls the model at, and the one it ends on."""
        return tuple(_walked_timesteps(self.spec, self.timesteps, self.from_image))

    @property
    def counts_calls(self) -> bool:
        """Whether noise levels do not tell the model calls apart.

        Restart goes up again; DPM fast and DPM adaptive make their own levels.
        """
        match self.sampler.evaluation:
            case "range" | "adaptive":
                return True
            case "restart":
                return self.steps_run >= _LEAST_RESTARTED
            case _:
                return False

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
            entries = [int(timestep) for timestep in self.walked_timesteps]
        else:
            table = sampler_table(self.spec)
            entries = [table.nearest(sigma) for sigma in self.step_sigmas]
        return ((TRAIN_STEPS - 1 - entry) / TRAIN_STEPS for entry in entries[: self.steps_run])


def first_pass(
    resolved: ResolvedSampler,
    steps: int,
    *,
    sdxl: bool = False,
    options: ScheduleOptions = DEFAULT_OPTIONS,
) -> Pass:
    """The pass that starts from noise: the whole schedule.

    Raises:
        ScheduleError: A1111 fails on these steps or options.
    """
    spec = ScheduleSpec(resolved.sampler, resolved.scheduler, steps, sdxl, options)
    if spec.sampler.uses_timesteps:
        return _timestep_pass(spec, len(timesteps(spec)), steps, from_image=False)
    full = sigmas(spec)
    _check_count(spec, full)
    low, high = _sampler_range(spec, full, None)
    return Pass(spec, full, (), full, 0, steps, low, high, from_image=False)


def second_pass(
    resolved: ResolvedSampler,
    steps: int,
    denoise: float,
    *,
    sdxl: bool = False,
    options: ScheduleOptions = DEFAULT_OPTIONS,
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
    options: ScheduleOptions = DEFAULT_OPTIONS,
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
    """(schedule length, t_enc) where exactly ``steps`` steps are run: hires, img2img_fix_steps.

    Raises:
        ScheduleError: a strength so small that the schedule would have more steps than
            `MAX_SCHEDULED`; A1111 lays it out and runs out of memory, sooner or later.
    """
    if denoise <= 0:
        return 0, steps - 1
    if steps / denoise > MAX_SCHEDULED:
        raise ScheduleError(
            f"{steps} steps at a strength of {denoise:g} are the end of a schedule of "
            f"{steps / denoise:.0f} steps; at most {MAX_SCHEDULED} are laid out"
        )
    return int(steps / min(denoise, MAX_DENOISE)), steps - 1


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


def _image_pass(
    resolved: ResolvedSampler, scheduled: int, t_enc: int, sdxl: bool, options: ScheduleOptions
) -> Pass:
    spec = ScheduleSpec(resolved.sampler, resolved.scheduler, scheduled, sdxl, options)
    if spec.sampler.uses_timesteps:
        return _timestep_pass(spec, t_enc, t_enc + 1, from_image=True)
    full = sigmas(spec)
    start = scheduled - t_enc - 1
    cut = full[start:]
    _check_count(spec, cut)
    low, high = _sampler_range(spec, full, cut)
    return Pass(spec, cut, (), full, len(full) - len(cut), t_enc + 1, low, high, from_image=True)


def _check_count(spec: ScheduleSpec, run: Sequence[float]) -> None:
    """Refuse what k-diffusion's multistep SDE samplers fail on: a first step that is the last."""
    if spec.sampler.multistep_sde and len(run) == 2 and run[-1] == 0:
        raise ScheduleError(
            f"A1111 fails on {spec.sampler.name} with a single step; ask for more steps, from a "
            "picture for more steps or strength, or for another sampler"
        )


def _timestep_pass(spec: ScheduleSpec, count: int, planned_steps: int, *, from_image: bool) -> Pass:
    """A pass over the first ``count`` timesteps, noised (from an image) to the one after them."""
    every = timesteps(spec)
    if from_image and count >= len(every):
        raise ScheduleError(
            f"{spec.sampler.name} starts at timestep {count + 1} of {len(every)}: there is none"
        )
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
        logs = linspace(start, end, steps + 1)
        return [table.entry(math.exp(log_sigma)) for log_sigma in logs]
    order = 2.0 if spec.options.uni_pc_skip_type == "time_quadratic" else 1.0
    times = linspace(top ** (1.0 / order), bottom ** (1.0 / order), steps + 1)
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
    if steps < _LEAST_RESTARTED:
        return 0
    length, times = (steps // 4, 2) if steps >= 36 else (9, 1)
    main = karras(steps - length * times, step_sigmas[-2], step_sigmas[0], 7.0)
    low = min(range(len(main)), key=lambda i: abs(main[i] - 0.1))
    high = min(range(len(main)), key=lambda i: abs(main[i] - 2.0))
    restarted = length * times if high < low else 0
    return len(main) - 1 + restarted - steps
