"""Tiled Diffusion: a model that predicts in overlapping tiles."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from ..maths.tiled_control import TILES
from ..maths.tiled_diffusion import METHODS, Tiling, tiled
from ..maths.tiled_regions import Region, region_at
from .inputs import Kind, flag, whole

MOST_REGIONS = 16
"""The extension's own bound."""

_WRAPPER = "model_function_wrapper"
_MOST = 2048
"""Cells of the longest side."""


def _cells(default: int, least: int) -> Kind:
    return whole(default, least, _MOST)


class A1111TiledDiffusion:
    """Sampling in tiles whose predictions are averaged.

    `regions` is a JSON list of [left, top, width, height, "Background" or "Foreground", feather],
    lengths as shares; each has prompts of its own. They need `width` and `height`, and our guider.
    """

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
            },
            "optional": {
                "regions": ("STRING", {"default": "[]", "multiline": False}),
                "draws_tiles": flag(True),
                **{
                    f"{kind}_{number}": ("CONDITIONING",)
                    for number in range(MOST_REGIONS)
                    for kind in ("positive", "negative")
                },
            },
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
        regions: str = "[]",
        draws_tiles: bool = True,
        **prompts: Any,
    ) -> tuple[Any]:
        tiling = Tiling(
            method, width, height, tile_width, tile_height, tile_overlap, tile_batch_size
        )
        placed = _regions(json.loads(regions), (width, height), prompts)
        patched = model.clone()
        before = patched.model_options.get(_WRAPPER)

        def predict(apply_model: Any, arguments: Mapping[str, Any]) -> Any:
            def inner(some: Mapping[str, Any]) -> Any:
                if before is not None:
                    return before(apply_model, some)
                return apply_model(some["input"], some["timestep"], **some["c"])

            return tiled(tiling, inner, arguments, placed, draws_tiles=draws_tiles)

        patched.set_model_unet_function_wrapper(predict)
        patched.model_options[TILES] = True
        return (patched,)


def _regions(
    given: Sequence[Sequence[Any]], size: tuple[int, int], prompts: Mapping[str, Any]
) -> list[Region]:
    """The regions that lie within a latent, with their prompts.

    Args:
        given: of each region left, top, width and height as shares, its kind and its feather.
        size: width and height of the latents that are cut.
    """
    found = []
    for number, (*place, kind, feather) in enumerate(given):
        region = region_at(place, kind, feather, size)
        if region is not None:
            positive, negative = (
                [{"cond": cond, **tags} for cond, tags in prompts[f"{side}_{number}"]]
                for side in ("positive", "negative")
            )
            found.append(replace(region, positive=positive, negative=negative))
    return found
