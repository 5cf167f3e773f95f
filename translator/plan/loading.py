"""What A1111 has loaded in the course of a generation, and what loading another checkpoint undoes.

Tiling and token merging are changes of the loaded model, made once before the first batch. Taking
the model out for another checkpoint ends tiling; token merging goes on wherever only weights are
loaded, and is lost where A1111 builds another model. (``undo_hijack``, ``apply_token_merging``.)
"""

from __future__ import annotations

from translator.models.names import Checkpoint
from translator.plan.values import Plan, SamplingPass


def is_tiled(plan: Plan, index: int, *, is_first_batch: bool) -> bool:
    """Whether the model of a pass tiles when the pass begins.

    Args:
        index: of the pass.
    """
    if not plan.tiling:
        return False
    before = plan.passes[:index] if is_first_batch else plan.passes
    used = {plan.passes[index].checkpoint.name, *_used(before), plan.first.checkpoint.name}
    return len(used) == 1


def merges_tokens(
    plan: Plan, sampling_pass: SamplingPass, checkpoint: Checkpoint, *, is_first_batch: bool
) -> bool:
    """Whether a pass merges tokens while a checkpoint samples.

    ControlNet's reference units take the place of the blocks that would merge them.

    Args:
        checkpoint: the pass' own or its refiner.
    """
    if sampling_pass.token_merging_ratio <= 0 or _references(plan):
        return False
    if checkpoint.name != sampling_pass.checkpoint.name:
        return not checkpoint.is_built_anew_after(sampling_pass.checkpoint)
    if is_first_batch or sampling_pass.role == "hires":
        return True
    return not plan.first.checkpoint.is_built_anew_after(plan.passes[-1].left_loaded)


def _references(plan: Plan) -> bool:
    return any(unit.module.role == "reference" for unit in plan.control.units)


def _used(passes: tuple[SamplingPass, ...]) -> set[str]:
    return {name for item in passes for name in (item.checkpoint.name, item.left_loaded.name)}
