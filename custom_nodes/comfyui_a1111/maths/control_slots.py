"""Where ControlNet's residuals go in a UNet with fewer blocks than its architecture's usual one.

A1111's ControlNet keeps a fixed number of slots, `SLOTS` or `SLOTS_SDXL`. A ControlNet's residuals
fill them from the front, the middle block's behind those of the encoder; the UNet takes them from
the back, its middle block first. With as many blocks as slots that is one residual a block, as in
ComfyUI. A shorter UNet (a distilled one) meets empty slots first and gets the residuals of other
blocks, stretched to their size. Source of the rule: sd-webui-controlnet v1.1.455 (`hook.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from .tiled_control import Later

SLOTS = 13
"""Of SD 1 and 2: twelve blocks of the encoder and the middle one."""

SLOTS_SDXL = 10

Residuals = Sequence[Tensor | None]


def residuals_of_blocks(
    control: Mapping[str, Residuals], blocks: int, slots: int
) -> tuple[list[Tensor | None], Tensor | None]:
    """The residual of each skip connection, from the encoder's first block on, and the middle's.

    Args:
        control: ComfyUI's residuals: ``output`` from the encoder's first block on, ``middle``.
        blocks: how many blocks the UNet's encoder has, at most `slots` - 1.
        slots: A1111's.
    """
    filled = [*control.get("output", ()), *control.get("middle", ())][:slots]
    filled += [None] * (slots - len(filled))
    *skips, middle = filled
    return skips[len(skips) - blocks :], middle


def stretched(residual: Tensor, like: Tensor) -> Tensor:
    """A residual `[B, C, h, w]` at the size of a block's own values."""
    if residual.shape[-2:] == like.shape[-2:] or max(residual.shape[-2:]) == 1:
        return residual
    return torch.nn.functional.interpolate(residual, size=like.shape[-2:], mode="nearest")


def by_slots(inner: Callable[..., Any] | None, blocks: int, slots: int) -> Callable[..., Any]:
    """A model wrapper under which ControlNet's residuals go where A1111's slots lead them.

    Args:
        inner: the wrapper that was there before, or None.
        blocks, slots: as `residuals_of_blocks` takes them.
    """

    def wrapper(apply_model: Callable[..., Any], args: Mapping[str, Any]) -> Any:
        c = args["c"]
        control = c.get("control")
        if isinstance(control, Later):
            c = {**c, "control": control.then(lambda c: _with_slots(c, blocks, slots))}
        elif control is not None:
            c = _with_slots(c, blocks, slots)
        if inner is not None:
            return inner(apply_model, {**args, "c": c})
        return apply_model(args["input"], args["timestep"], **c)

    return wrapper


def _with_slots(c: Mapping[str, Any], blocks: int, slots: int) -> dict[str, Any]:
    """A call's inputs with skip residuals added by a patch, which knows each block's size."""
    skips, middle = residuals_of_blocks(c["control"], blocks, slots)

    def add(h: Tensor, skip: Tensor, _: Mapping[str, Any]) -> tuple[Tensor, Tensor]:
        residual = skips.pop()
        return h, skip if residual is None else skip + stretched(residual, skip)

    options = c["transformer_options"]
    patches = options.get("patches", {})
    before = [add, *patches.get("output_block_patch", ())]
    return {
        **c,
        "control": {**c["control"], "output": [], "middle": [] if middle is None else [middle]},
        "transformer_options": {**options, "patches": {**patches, "output_block_patch": before}},
    }
