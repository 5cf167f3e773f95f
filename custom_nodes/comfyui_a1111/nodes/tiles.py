"""Nodes of the scripts that work on a picture in tiles: SD upscale and the outpaintings."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import torch

from ..maths import image_ops, outpainting
from .img2img import _PLAIN, UPSCALER, UpscalerObject, _mask_images
from .inputs import InputTypes, number, whole

CATEGORY = "A1111/scripts"

MORE_IMAGES = 99
"""Inputs that A1111JoinTiles has beside its first; each takes a whole batch."""


class A1111EnlargeBy:
    """A1111's upscalers by a factor: sides end at multiples of 8; method "none" leaves all."""

    CATEGORY = CATEGORY
    RETURN_TYPES = ("IMAGE",)
    FUNCTION = "enlarge"

    @classmethod
    def INPUT_TYPES(cls) -> InputTypes:
        return {
            "required": {"image": ("IMAGE",), "factor": number(2.0, 0.001, 100.0)},
            "optional": {"upscaler": (UPSCALER,)},
        }

    def enlarge(
        self, image: torch.Tensor, factor: float, upscaler: UpscalerObject = _PLAIN
    ) -> tuple[torch.Tensor]:
        with upscaler.ready() as ready:
            enlarged = [ready.enlarge(picture, factor) for picture in image_ops.to_pil(image)]
        return (image_ops.to_tensor(enlarged),)


class A1111JoinTiles:
    """A1111's tiles put together, line by line, each faded over what lies left of it and above.

    The tiles are the pictures of all inputs in order, on black where they are smaller than a tile;
    what is beyond columns x rows is left out.
    """

    CATEGORY = CATEGORY
    RETURN_TYPES = ("IMAGE",)
    FUNCTION = "join"

    @classmethod
    def INPUT_TYPES(cls) -> InputTypes:
        more = {f"image_{number}": ("IMAGE",) for number in range(1, MORE_IMAGES + 1)}
        return {
            "required": {
                "images": ("IMAGE",),
                "width": whole(1024, 1),
                "height": whole(1024, 1),
                "columns": ("STRING", {"default": "[0]"}),
                "rows": ("STRING", {"default": "[0]"}),
                "tile_width": whole(512, 1),
                "tile_height": whole(512, 1),
                "overlap": whole(64, 0),
            },
            "optional": more,
        }

    def join(
        self,
        images: torch.Tensor,
        width: int,
        height: int,
        columns: str,
        rows: str,
        tile_width: int,
        tile_height: int,
        overlap: int,
        **more: torch.Tensor,
    ) -> tuple[torch.Tensor]:
        numbered = sorted(more, key=lambda name: int(name.removeprefix("image_")))
        batches = [images, *(more[name] for name in numbered)]
        tile = (0, 0, tile_width, tile_height)
        tiles = [picture.crop(tile) for batch in batches for picture in image_ops.to_pil(batch)]
        across, down = _offsets(columns), _offsets(rows)
        if len(tiles) < len(across) * len(down):
            raise ValueError(
                f"A1111JoinTiles: {len(tiles)} tiles for {len(across)} columns and {len(down)} rows"
            )
        lines = [tiles[start * len(across) :][: len(across)] for start in range(len(down))]
        joined = image_ops.join_tiles(lines, across, down, (width, height), overlap)
        return (image_ops.to_tensor([joined]),)


def _offsets(text: str) -> Sequence[int]:
    """A JSON list of whole numbers."""
    offsets: Any = json.loads(text)
    return [int(offset) for offset in offsets]


class A1111OutpaintNoise:
    """A picture whose mask is filled with noise shaped like the rest of it (Outpainting mk2)."""

    CATEGORY = CATEGORY
    RETURN_TYPES = ("IMAGE",)
    FUNCTION = "fill"

    @classmethod
    def INPUT_TYPES(cls) -> InputTypes:
        return {
            "required": {
                "image": ("IMAGE",),
                "mask": ("MASK",),
                "falloff": number(1.0, -100.0, 100.0, 0.01),
                "colors": number(0.05, -100.0, 100.0, 0.01),
            }
        }

    def fill(
        self, image: torch.Tensor, mask: torch.Tensor, falloff: float, colors: float
    ) -> tuple[torch.Tensor]:
        (area,) = _mask_images(mask)[:1]
        filled = [
            outpainting.noised(picture, area, falloff, colors)
            for picture in image_ops.to_pil(image)
        ]
        return (image_ops.to_tensor(filled),)
