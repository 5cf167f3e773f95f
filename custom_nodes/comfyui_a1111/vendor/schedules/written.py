# Copied from translator/schedules/written.py by tools/pack_shared.py: edit it there.
"""A pass by what A1111's page shows of it: sampler, schedule type, steps, denoising strength."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, fields

from ..schedules.passes import Pass, first_pass, img2img_pass, second_pass
from ..schedules.samplers import AUTOMATIC, ResolvedSampler, resolve
from ..schedules.sigmas import DEFAULT_OPTIONS, ScheduleError, ScheduleOptions

TABLES = ("SD1", "SDXL")
"""The checkpoints that a schedule may be made for: Align Your Steps has a table for each."""

STARTS = ("noise", "hires fix", "img2img")
"""What a pass may start from: noise alone, the enlarged first pass, a picture of the request."""


def lay_out(
    sampler: str,
    scheduler: str,
    steps: int,
    denoise: float,
    start: str,
    *,
    table: str = TABLES[0],
    options: str = "",
) -> Pass:
    """The pass of these settings.

    Args:
        sampler: a sampler's name.
        scheduler: a scheduler's label; Automatic is the sampler's own.
        denoise: denoising strength, 0..1; without effect on a pass that starts from noise.
        start: one of `STARTS`.
        table: one of `TABLES`.
        options: see `options_text`.

    Raises:
        ScheduleError: a name that is none, or steps or options with which A1111 fails.
    """
    resolved = resolve(sampler, scheduler)
    if resolved.unknown_sampler or resolved.unknown_scheduler:
        raise ScheduleError(
            f"A1111 has no {resolved.unknown_sampler or resolved.unknown_scheduler}"
        )
    settings, sdxl = _options(options), table == TABLES[1]
    if start == STARTS[0]:
        return first_pass(resolved, steps, sdxl=sdxl, options=settings)
    lay_out_from = second_pass if start == STARTS[1] else img2img_pass
    return lay_out_from(resolved, steps, denoise, sdxl=sdxl, options=settings)


def scheduler_label(resolved: ResolvedSampler) -> str:
    """The label by which `lay_out` finds the scheduler that runs."""
    return resolved.scheduler.label if resolved.scheduler else AUTOMATIC


def options_text(options: ScheduleOptions) -> str:
    """The options that are not A1111's defaults as a JSON object; empty without any."""
    usual = asdict(DEFAULT_OPTIONS)
    changed = {name: value for name, value in asdict(options).items() if value != usual[name]}
    return json.dumps(changed) if changed else ""


def _options(text: str) -> ScheduleOptions:
    values = json.loads(text) if text.strip() else {}
    known = {item.name for item in fields(ScheduleOptions)}
    if not isinstance(values, Mapping) or not known.issuperset(values):
        raise ScheduleError(f"options is a JSON object of {', '.join(sorted(known))}")
    return ScheduleOptions(**values)
