"""Prompts of regions by cross-attention."""

from __future__ import annotations

import json
from typing import Any

from PIL import Image

from ..maths.attention_couple import Couple, region_masks
from ..maths.image_ops import to_pil
from .inputs import whole

MOST_REGIONS = 32


class A1111AttentionCouple:
    """A model whose positive prompt is, region by region, another one."""

    CATEGORY = "A1111/conditioning"
    RETURN_TYPES = ("MODEL",)
    FUNCTION = "patch"

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        side = whole(512, 8)
        more = {f"region_{number}": ("CONDITIONING",) for number in range(1, MOST_REGIONS)}
        masks = {f"mask_{number}": ("IMAGE",) for number in range(MOST_REGIONS)}
        return {
            "required": {
                "model": ("MODEL",),
                "width": side,
                "height": side,
                "boxes": ("STRING", {"default": "[]", "multiline": False}),
                "region": ("CONDITIONING",),
            },
            "optional": {**more, **masks},
        }

    def patch(
        self, model: Any, width: int, height: int, boxes: str, region: Any, **more: Any
    ) -> tuple[Any]:
        names = sorted((name for name in more if name.startswith("region_")), key=_number)
        regions = [region, *(more[name] for name in names)]
        placed = [(*map(int, box[:4]), float(box[4])) for box in json.loads(boxes)]
        if len(placed) != len(regions):
            raise ValueError(f"{len(regions)} regions have {len(placed)} boxes")
        pictures = {_number(name): _gray(more[name]) for name in more if name not in names}
        couple = Couple(
            region_masks(placed, width, height, pictures),
            tuple(entries[0][0] for entries in regions),
        )
        patched = model.clone()
        patched.set_model_attn2_patch(couple.before)
        patched.set_model_attn2_output_patch(couple.after)
        return (patched,)


def _gray(picture: Any) -> Image.Image:
    """The first picture of a batch `[B, H, W, C]` as Pillow's grey."""
    return to_pil(picture)[0].convert("L")


def _number(name: str) -> int:
    return int(name.rpartition("_")[2])
