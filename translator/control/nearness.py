"""Where units are near to A1111 rather than equal, said in warnings."""

from __future__ import annotations

from translator.control import checks
from translator.control.context import ControlContext
from translator.control.models import Kind
from translator.control.plan import ControlPlan, UnitPlan
from translator.report import Report


def warn_of_unit(plan: UnitPlan, report: Report, *, exact: bool) -> None:
    """Say where a unit is not as in A1111.

    Args:
        exact: whether our nodes are used.
    """
    unit, module = plan.unit, plan.module
    why = module.why
    if module.weights is not None and plan.weights is None:
        why = module.without_weights
    if module.status == "near" and why and not _is_exact_at(plan):
        report.warn(f"{unit.path}.module", f'"{module.name}" is near, not equal: {why}')
    if module.without_own_node and not exact:
        report.warn(
            f"{unit.path}.module",
            f'"{module.name}" without our node pack is near, not equal: {module.without_own_node}',
        )
    if plan.pools is not None and not exact:
        how = "place by place" if plan.pools else "alike all over the picture"
        report.warn(
            f"{unit.path}.model",
            'ComfyUI takes a file for a shuffle model where its name ends in "_shuffle": '
            f"without our node pack this one acts {how}",
        )
    if unit.advanced_weighting is not None and not checks.has_blocks(module, plan.kind):
        report.warn(f"{unit.path}.advanced_weighting", f'"{module.name}" has no blocks: no effect')


def _is_exact_at(plan: UnitPlan) -> bool:
    """Whether a module that is near otherwise is exact with a unit's values and model."""
    near_with = plan.module.near_with
    if near_with and plan.model is not None:
        return not any(part in plan.model.stem.lower() for part in near_with)
    values = {"processor_res": plan.processor_res, "threshold_a": plan.unit.threshold_a}
    wanted = plan.module.exact_at
    return bool(wanted) and all(int(values[name]) == value for name, value in wanted.items())


def warn_of_drawn_anew(plan: ControlPlan, report: Report) -> None:
    """Say what A1111 draws once in a generation, where each of its images is made alone."""
    if any(item.drawn for item in plan.passes):
        report.warn(
            "alwayson_scripts.controlnet",
            "the pictures of reference, color fix, inpaint_only and revision units are encoded "
            "anew for each image; A1111 draws for them once, in the first batch: near, not equal",
        )


def warn_of_counted(plan: ControlPlan, context: ControlContext, report: Report) -> None:
    """Say that core nodes cannot tell the calls of some samplers apart."""
    schedules = [item.schedule for item in context.passes if item.schedule]
    if plan.units and any(schedule.counts_calls for schedule in schedules):
        report.warn(
            "",
            "without our node pack a unit's range goes by the noise level, which Restart, DPM fast "
            "and DPM adaptive do not lower step by step: near, not equal",
        )


def warn_of_core(plan: ControlPlan, report: Report) -> None:
    if any(unit.module.returns_image for unit in plan.units):
        report.warn(
            "",
            "ControlNet maps are scaled by core nodes, without our node pack: near, not equal "
            "(no thinning of binary maps, and Resize and Fill pads with black)",
        )
    faces = any(item.kind is Kind.INSTANT_ID and item.reads_text for item in plan.units)
    if faces and not all(item.tells_negative for item in plan.passes):
        report.warn(
            "",
            "without our node pack InstantID's ControlNet reads the face's negative tokens for the "
            "negative prompt of the hires pass, where A1111's reads the positive ones",
        )
    if any(item.module.is_ip_adapter and len(item.images) > 1 for item in plan.units):
        report.warn(
            "",
            "without our node pack an image prompt of several pictures is the mean of the pictures "
            "rather than of their tokens",
        )
    readers = [item for item in plan.units if item.reads_text]
    if len(readers) > 1 and faces:
        report.warn(
            "",
            "without our node pack every ControlNet reads the last InstantID unit's face in place "
            "of the prompt",
        )
    if any(item.kind is Kind.LLLITE for item in plan.units):
        report.warn(
            "",
            "without our node pack a ControlLLLite fits pictures whose sides are multiples of 32 "
            "only, and two units of one file show the first one's picture",
        )
    if any(item.features for unit in plan.units for item in unit.passes):
        report.warn(
            "",
            "without our node pack a T2I-Adapter works its features out for each unit and pass, "
            "and those that do not fit the picture's size are left out: near, not equal",
        )
    if sum(item.module.is_ip_adapter for item in plan.units) > 1:
        report.warn(
            "",
            "without our node pack several image prompts share attention patches: a cached run may "
            "keep an earlier request's weights",
        )
