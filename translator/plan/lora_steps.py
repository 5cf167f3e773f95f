"""When a LoRA acts on the UNet within a pass: its strength by step -> factors by percent."""

from __future__ import annotations

from collections.abc import Iterable

from translator.control.windows import calls_of, percent_before, table_of
from translator.plan.values import Network, SamplingPass
from translator.report import Report
from translator.schedules.passes import Pass

Frames = tuple[tuple[float, float], ...]
"""From which percent of ComfyUI's noise schedule on, and the factor of the strength."""


def frames(network: Network, schedule: Pass) -> Frames:
    """The factors of a network's strength on the UNet, a pair for each change."""
    steps = network.steps
    calls = calls_of(schedule)
    if steps is None or not calls:
        return ((0.0, 1.0),)
    planned = schedule.planned_steps
    factors = [steps.at(round(call.progress * planned), planned) for call in calls]
    changes = [
        (percent_before(calls, index, table_of(schedule)), factor)
        for index, factor in enumerate(factors)
        if index and factor != factors[index - 1]
    ]
    return ((0.0, factors[0]), *changes)


def warn_of_nearness(passes: Iterable[SamplingPass], report: Report) -> None:
    """Warn where a sampler makes noise levels of its own, by which windows cannot be told."""
    for item in passes:
        if item.schedule.counts_calls and any(net.steps for net in item.prompt.networks):
            name = item.sampler.sampler.name
            report.warn(
                "prompt",
                f"with {name} a LoRA's steps (start=, stop=, strengths by step) are told by noise "
                "levels: it may begin and end a step beside A1111's",
            )
