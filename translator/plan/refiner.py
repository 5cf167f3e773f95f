"""Which passes are refined, and from which step on."""

from __future__ import annotations

from collections.abc import Mapping

from translator.models.names import Checkpoint, Models
from translator.plan.values import Refiner
from translator.request.a1111_options import A1111Options
from translator.request.generation import Generation
from translator.request.txt2img import Txt2Img
from translator.schedules.passes import Pass
from translator.scope import Scope

_NO_REFINER = (None, "", "None", "none")

_REFINED_PASSES: Mapping[str, tuple[bool, bool]] = {
    "first pass": (True, False),
    "second pass": (False, True),
    "both passes": (True, True),
}
"""Option hires_fix_refiner_pass -> whether the first and the hires pass are refined."""


def refined_passes(request: Generation, a1111_options: A1111Options) -> tuple[bool, bool]:
    """Whether the first pass is refined, and whether the hires pass is."""
    if request.refiner_checkpoint in _NO_REFINER:
        return False, False
    if not isinstance(request, Txt2Img) or not request.enable_hr:
        return True, False
    return _REFINED_PASSES.get(a1111_options.hires_fix_refiner_pass, (False, True))


def refiner_of(
    request: Generation,
    laid_out: Pass,
    refined: Checkpoint,
    models: Models,
    scope: Scope,
) -> Refiner | None:
    """The refiner of a pass that is refined; None where it is the pass's own checkpoint.

    None, and a problem, where there is no such file.

    Args:
        refined: the pass's checkpoint.
    """
    name = request.refiner_checkpoint or ""
    checkpoint = models.checkpoint_fuzzy(name, "refiner_checkpoint", None)
    if checkpoint is None:
        return None
    if checkpoint.name == refined.name:
        scope.report.warn(
            "refiner_checkpoint", "without effect: it is the checkpoint that is refined"
        )
        return None
    options = scope.a1111_options
    by_steps = options.refiner_switch_by_sample_steps
    switch_at = request.refiner_switch_at
    return Refiner(
        checkpoint=checkpoint,
        vae=models.vae(options.sd_vae, checkpoint, options.path_of("sd_vae")),
        switch_at=0.0 if switch_at is None else switch_at,
        by_steps=by_steps,
        step=laid_out.refiner_step(switch_at, by_steps=by_steps),
    )
