"""The sampler of a pass, and its sigmas; what A1111 does not know is reported."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from translator.models.names import Checkpoint
from translator.report import Report
from translator.request.generation import Generation
from translator.request.txt2img import Txt2Img
from translator.schedules import passes as schedule
from translator.schedules import samplers
from translator.schedules.samplers import ResolvedSampler
from translator.scope import Scope

_SAME = "; leave the field out for the first pass's"
"""What is asked for by the page's "Use same sampler", which A1111's API does not know."""


def first_sampler(request: Generation, scope: Scope) -> ResolvedSampler:
    """Sampler and scheduler of a generation's first pass; a stand-in for an unknown one."""
    report = scope.report
    resolved = samplers.resolve(request.sampler_name, request.scheduler, request.sampler_index)
    field = "sampler_name" if request.sampler_name else "sampler_index"
    report_unknown(resolved, resolved, (field, "scheduler"), report)
    if resolved.ignored_suffix is not None:
        report.warn(
            "sampler_name",
            f"the scheduler {resolved.ignored_suffix} at its end is ignored, as "
            "the field scheduler goes before in A1111",
        )
    _warn_beyond(resolved, "sampler_name", "scheduler", scope)
    return resolved


def report_unknown(
    asked: ResolvedSampler, used: ResolvedSampler, fields: tuple[str, str], report: Report
) -> None:
    """Report names that A1111 does not know.

    Args:
        asked: what the names come to; `used` is what is run.
        fields: paths of the sampler's name and the scheduler's.
    """
    if asked.unknown_sampler is not None:
        meant = _meant(asked.suggestions, "; GET sdapi/v1/samplers lists them")
        report.unsupported(
            fields[0],
            f'A1111 has no sampler "{asked.unknown_sampler}"{meant}',
            instead=f"{used.sampler.name} is used, as A1111 does",
            value=asked.unknown_sampler,
        )
    if asked.unknown_scheduler is not None:
        meant = _meant(asked.suggestions, "; GET sdapi/v1/schedulers lists them")
        report.unsupported(
            fields[1],
            f'A1111 has no scheduler "{asked.unknown_scheduler}"{meant}',
            instead=f"{used.schedule_type} is used, as A1111 does",
            value=asked.unknown_scheduler,
        )


def hires_sampler(request: Txt2Img, first: ResolvedSampler, scope: Scope) -> ResolvedSampler | None:
    """Sampler and scheduler of the hires pass; None, and a problem, where A1111 fails on it."""
    report = scope.report
    try:
        resolved = samplers.resolve_hires(first, request.hr_sampler_name, request.hr_scheduler)
    except samplers.UnknownSamplerError as error:
        meant = _meant(error.suggestions, _SAME)
        if error.parts:
            meant = ': send hr_sampler_name "{}" and hr_scheduler "{}"'.format(*error.parts)
        report.invalid("hr_sampler_name", f'A1111 has no sampler "{error.name}"{meant}', error.name)
        return None
    if resolved.unknown_scheduler is not None:
        report.unsupported(
            "hr_scheduler",
            f'A1111 has no scheduler "{resolved.unknown_scheduler}"'
            f"{_meant(resolved.suggestions, _SAME)}",
            instead="the model's uniform schedule is used, as A1111 does",
            value=resolved.unknown_scheduler,
        )
    _warn_beyond(resolved, "hr_sampler_name", "hr_scheduler", scope)
    return resolved


def _meant(suggestions: Sequence[str], otherwise: str = "") -> str:
    """What a message on an unknown name ends with."""
    return f" (did you mean {', '.join(suggestions)}?)" if suggestions else otherwise


def _warn_beyond(resolved: ResolvedSampler, path: str, scheduler_path: str, scope: Scope) -> None:
    """Warn of names that A1111 does not have: there is no picture of A1111's to be equal to.

    A pack that is older than the translator may lack one of A1111's own.
    """
    report, sampler, scheduler = scope.report, resolved.sampler, resolved.scheduler
    stand_in = f"ComfyUI's own sampler {sampler.comfy.sampler_name} is run"
    installed = scope.catalog.options("A1111Sampler", "sampler")
    if sampler.beyond_a1111:
        report.warn(path, f"A1111 has no {sampler.name}: {stand_in}")
    elif scope.options.fidelity == "exact" and installed and sampler.name not in installed:
        report.missing(
            path,
            f"our node pack on this ComfyUI has no sampler {sampler.name}: update its "
            "custom_nodes/comfyui_a1111",
            instead=stand_in,
            value=sampler.name,
        )
    if scheduler is not None and scheduler.beyond_a1111:
        report.warn(scheduler_path, f"A1111 has no scheduler {scheduler.label}")


class SchedulePlanner:
    """Lays out the sigmas of passes, all under the same options of A1111.

    Each method gives None, and reports a problem, where A1111 fails on the steps.
    """

    def __init__(self, scope: Scope) -> None:
        self._report = scope.report
        self.options = schedule.ScheduleOptions.from_a1111_options(scope.a1111_options)

    def first(
        self, steps: int, sampler: ResolvedSampler, checkpoint: Checkpoint
    ) -> schedule.Pass | None:
        """A pass that starts from noise alone."""
        sdxl = _is_sdxl(checkpoint)
        return self._or_refused(
            lambda: schedule.first_pass(sampler, steps, sdxl=sdxl, options=self.options),
            "steps",
            steps,
        )

    def hires(
        self, steps: int, denoise: float, sampler: ResolvedSampler, checkpoint: Checkpoint
    ) -> schedule.Pass | None:
        """A pass that starts from the pass before it; `denoise` is 0..1."""
        sdxl = _is_sdxl(checkpoint)
        return self._or_refused(
            lambda: schedule.second_pass(sampler, steps, denoise, sdxl=sdxl, options=self.options),
            "denoising_strength",
            denoise,
        )

    def img2img(
        self, steps: int, denoise: float, sampler: ResolvedSampler, checkpoint: Checkpoint
    ) -> schedule.Pass | None:
        """A pass that starts from pictures of the request; `denoise` is 0..1."""
        sdxl = _is_sdxl(checkpoint)
        return self._or_refused(
            lambda: schedule.img2img_pass(sampler, steps, denoise, sdxl=sdxl, options=self.options),
            "denoising_strength" if denoise else "steps",
            denoise,
        )

    def _or_refused(
        self, lay_out: Callable[[], schedule.Pass], path: str, value: float
    ) -> schedule.Pass | None:
        try:
            return lay_out()
        except schedule.ScheduleError as error:
            self._report.invalid(path, str(error), value)
            return None


def _is_sdxl(checkpoint: Checkpoint) -> bool:
    return checkpoint.family.schedule == "SDXL"
