"""Tiled Diffusion: a model that predicts in overlapping tiles."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..maths.tiled_diffusion import METHODS, Tiling, tiled

_WRAPPER = "model_function_wrapper"
_MOST = 2048
"""Cells of the longest side."""


def _cells(default: int, least: int) -> tuple[str, dict[str, int]]:
    return ("INT", {"default": default, "min": least, "max": _MOST})


class A1111TiledDiffusion:
    """Sampling in tiles whose predictions are averaged."""

    CATEGORY = "A1111/sampling"
    RETURN_TYPES = ("MODEL",)
    FUNCTION = "patch"

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {
            "required": {
                "model": ("MODEL",),
                "method": (list(METHODS),),
                "width": _cells(0, 0),
                "height": _cells(0, 0),
                "tile_width": _cells(96, 1),
                "tile_height": _cells(96, 1),
                "tile_overlap": _cells(48, 0),
                "tile_batch_size": _cells(4, 1),
            }
        }

    def patch(
        self,
        model: Any,
        method: str,
        width: int,
        height: int,
        tile_width: int,
        tile_height: int,
        tile_overlap: int,
        tile_batch_size: int,
    ) -> tuple[Any]:
        tiling = Tiling(
            method, width, height, tile_width, tile_height, tile_overlap, tile_batch_size
        )
        patched = model.clone()
        before = patched.model_options.get(_WRAPPER)

        def predict(apply_model: Any, arguments: Mapping[str, Any]) -> Any:
            def inner(some: Mapping[str, Any]) -> Any:
                if before is not None:
                    return before(apply_model, some)
                return apply_model(some["input"], some["timestep"], **some["c"])

            return tiled(tiling, inner, arguments)

        patched.set_model_unet_function_wrapper(predict)
        return (patched,)
