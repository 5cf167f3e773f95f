"""Whose features T2I-Adapters give: the extension works them out once a request.

A T2I-Adapter (a style adapter as well) keeps what its first call made of a picture: the hires pass
takes the first pass's features, stretched, and a second unit with the same model those of the unit
whose call came first. Source of the rule: sd-webui-controlnet v1.1.455 (`adapter.py`; the models
are shared by the name in the request, `controlnet.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from translator.control import windows
from translator.control.context import ControlContext
from translator.control.models import Kind
from translator.control.plan import FeatureSource, UnitPlan

_KEEPING = (Kind.T2I_ADAPTER, Kind.STYLE_ADAPTER)

_STRETCHED_UNLESS = 64
"""Pixels: sides that are multiples of it have features of the size of every block."""


def with_sources(planned: Sequence[UnitPlan], context: ControlContext) -> tuple[UnitPlan, ...]:
    """The units, with the source of its features in each pass of a T2I-Adapter's."""
    return tuple(
        _with_source(unit, planned, context) if unit.kind in _KEEPING and unit.model else unit
        for unit in planned
    )


def _with_source(unit: UnitPlan, planned: Sequence[UnitPlan], context: ControlContext) -> UnitPlan:
    sharing = [
        item for item in planned if item.kind is unit.kind and item.unit.model == unit.unit.model
    ]
    first = _first_source(sharing, context)
    passes = (
        replace(item, features=_differing(unit, index, first, context))
        for index, item in enumerate(unit.passes)
    )
    return replace(unit, passes=tuple(passes))


def _first_source(sharing: Sequence[UnitPlan], context: ControlContext) -> FeatureSource | None:
    """The unit and the pass whose call comes first of those that share a model."""
    calls = [
        (index, call, unit.unit.index)
        for unit in sharing
        for index in range(len(unit.passes))
        if (call := _first_call(unit, index, context)) is not None
    ]
    if not calls:
        return None
    index, _, number = min(calls)
    return FeatureSource(number, index)


def _first_call(unit: UnitPlan, index: int, context: ControlContext) -> int | None:
    """The number of the first call of a pass in which a unit acts, None without one."""
    if unit.passes[index].window is None:
        return None
    made = windows.calls_of(context.passes[index].schedule)
    start, end = unit.unit.guidance_start, unit.unit.guidance_end
    acting = (number for number, call in enumerate(made) if start <= call.progress <= end)
    return next(acting, None)


def _differing(
    unit: UnitPlan, index: int, first: FeatureSource | None, context: ControlContext
) -> FeatureSource | None:
    """The source of a unit's features in a pass; None where they are its own, of fitting sizes."""
    if first is None:
        return None
    size = context.passes[index].size
    if unit.kind is Kind.STYLE_ADAPTER:
        return None if first.unit == unit.unit.index else first
    if first.unit != unit.unit.index or context.passes[first.index].size != size:
        return first
    fits = size.width % _STRETCHED_UNLESS == size.height % _STRETCHED_UNLESS == 0
    return None if fits else first
