"""What the units share in a pass, and what A1111 draws for them before it samples."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from translator.control.context import ControlContext
from translator.control.plan import PassControl, UnitPlan
from translator.control.sizes import Size
from translator.geometry import LATENT_CELL

POOLED_WIDTH = 1280
"""Numbers in SDXL's pooled text, as many as A1111 draws for a revision unit."""


def shared_in(planned: Sequence[UnitPlan], context: ControlContext, index: int) -> PassControl:
    """What the units share in a pass."""
    size = context.passes[index].size
    by_revision = _drawn_by_revision(planned) if index == 0 else 0
    return PassControl(
        size=size,
        is_hires=context.is_hires(index),
        tells_negative=context.tells_negative(index),
        drawn=_drawn_by_encoder(planned, size, context.family.latent_channels, index == 0)
        + by_revision,
    )


def _drawn_by_encoder(
    planned: Iterable[UnitPlan], size: Size, channels: int, is_first: bool
) -> int:
    """Random numbers that A1111's VAE draws while it encodes the units' pictures for a pass.

    A picture that two units share, fitted alike, is encoded once; what LaMa fills in is encoded
    for the first pass before anything is drawn.
    """
    encoded = {
        (unit.image.name, unit.resize_mode, unit.module.role == "inpaint", unit.fills_mask)
        for unit in planned
        if unit.module.role in ("reference", "colorfix") or unit.module.keeps_source
        if not (unit.fills_mask and is_first)
    }
    return len(encoded) * channels * (size.width // LATENT_CELL) * (size.height // LATENT_CELL)


def _drawn_by_revision(planned: Iterable[UnitPlan]) -> int:
    """Random numbers that revision units draw once, in the first pass, before anything else."""
    return POOLED_WIDTH * sum(unit.module.role == "revision" for unit in planned)
