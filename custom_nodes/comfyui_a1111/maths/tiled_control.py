"""ControlNets beside tiles: each tile's run sees the picture's part behind the tile.

ComfyUI works out a ControlNet's residuals before the model's wrapper is called. Under tiles they
are put off until the wrapper knows its boxes. Source of the rule: Tiled Diffusion's
``tile_methods/abstractdiffusion.py`` (prepare_controlnet_tensors), restated.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from .control_ops import control_chain

TILES = "a1111_tiles"
"""Key in model_options: whether a wrapper of the model takes `Later` for a ControlNet's output."""

PIXELS = 8
"""Of a latent's cell."""

Box = tuple[slice, slice]
"""Rows and columns of a latent."""

Upscale = Callable[[Tensor, int, int, str], Tensor]
"""A hint `[B, C, H, W]` at a width and height in pixels."""


class Postponed:
    """A ControlNet in a prompt's entry that gives `Later` instead of residuals."""

    def __init__(self, control: Any, upscale: Upscale) -> None:
        self._control = control
        self._upscale = upscale

    def get_control(
        self, x: Tensor, t: Tensor, cond: Mapping[str, Any], number: int, options: Any = None
    ) -> Later:
        return Later(self._control, self._upscale, number)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._control, name)


class Later:
    """What a ControlNet gives to a call of the model, worked out by who runs it.

    Args:
        number: chunks of the batch.
        finish: what is done to the model's inputs when they have the residuals.
    """

    def __init__(
        self,
        control: Any,
        upscale: Upscale,
        number: int,
        finish: Callable[[dict[str, Any]], dict[str, Any]] | None = None,
    ) -> None:
        self._control = control
        self._upscale = upscale
        self._number = number
        self._finish = finish

    def then(self, finish: Callable[[dict[str, Any]], dict[str, Any]]) -> Later:
        """The same, with something more done to the inputs, after what is done already."""
        before = self._finish
        after = finish if before is None else lambda c: finish(before(c))
        return Later(self._control, self._upscale, self._number, after)

    def whole(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """The model's arguments with the residuals of the whole latent."""
        return self._with(arguments, self._number)

    def of_tiles(
        self, arguments: Mapping[str, Any], boxes: Sequence[Box], size: tuple[int, int]
    ) -> dict[str, Any]:
        """The arguments of tiles with residuals of the hints behind them.

        Args:
            arguments: of the tiles, one after the other, each with all rows of the batch.
            boxes: where they lie in the latent.
            size: height and width of the latent.
        """
        rows = arguments["input"].shape[0] // len(boxes)
        kept = [(control, control.cond_hint_original) for control in control_chain(self._control)]
        try:
            for control, hint in kept:
                control.cond_hint_original = self._cut(control, hint, boxes, rows, size)
                _forget(control)
            return self._with(arguments, self._number * len(boxes))
        finally:
            for control, hint in kept:
                control.cond_hint_original = hint
                _forget(control)

    def _with(self, arguments: Mapping[str, Any], number: int) -> dict[str, Any]:
        c = {name: value for name, value in arguments["c"].items() if name != "control"}
        residuals = self._control.get_control(
            arguments["input"], arguments["timestep"], c, number, c["transformer_options"]
        )
        if residuals is not None:
            c["control"] = residuals
            c = c if self._finish is None else self._finish(c)
        return {**arguments, "c": c}

    def _cut(
        self, control: Any, hint: Tensor, boxes: Sequence[Box], rows: int, size: tuple[int, int]
    ) -> Tensor:
        """A hint's parts, one for every row of every tile."""
        height, width = (side * PIXELS for side in size)
        if hint.shape[-2:] != (height, width):
            hint = self._upscale(hint, width, height, control.upscale_algorithm)
        images = rows // self._number
        each = [hint[image % hint.shape[0]] for _ in range(self._number) for image in range(images)]
        whole = torch.stack(each)
        return torch.cat([whole[..., _pixels(down), _pixels(across)] for down, across in boxes])


def _pixels(cells: slice) -> slice:
    return slice(cells.start * PIXELS, cells.stop * PIXELS)


def _forget(control: Any) -> None:
    """Let a ControlNet prepare its hint anew."""
    control.cond_hint = None
    if hasattr(control, "control_input"):
        control.control_input = None
