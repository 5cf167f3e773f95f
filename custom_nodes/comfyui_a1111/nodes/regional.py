"""Regional Prompter: prompts of regions in cross-attention, or as parts of a prompt."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..maths.guider import PART
from ..maths.region_colors import region_numbers
from ..maths.regional import HALVES, SHARES, Counts, Division, Masks, Matrix, Regional
from ..vendor.plan import lines as division_lines
from .inputs import flag, whole
from .text import ComfyTextEncoder, EncodeSettings, embedding_folders

CALCULATIONS = ATTENTION, LATENT = ("Attention", "Latent")
DIVISIONS = ROWS, COLUMNS, MASK, WHOLE = ("rows", "columns", "mask", "whole")

MOST_PARTS = 64
CATEGORY = "A1111/conditioning"


class A1111RegionalPrompter:
    """A model whose prompts act in their regions, as Regional Prompter divides the picture.

    `texts` and `negative_texts` are the prompts' texts, as pieces with weights; they are only
    counted here, since the prompts come as conditioning. Latent needs no texts and our guider.
    """

    CATEGORY = CATEGORY
    RETURN_TYPES = ("MODEL",)
    FUNCTION = "patch"

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        text = ("STRING", {"default": "[]", "multiline": False})
        return {
            "required": {
                "model": ("MODEL",),
                "calculation": (list(CALCULATIONS),),
                "division": (list(DIVISIONS),),
                "base": flag(),
                "lines": text,
                "base_shares": text,
            },
            "optional": {
                "mask": ("IMAGE",),
                "clip": ("CLIP",),
                "texts": text,
                "negative_texts": text,
                "comma_padding_backtrack": whole(20, -1000, 1000),
                "swaps": flag(),
            },
        }

    def patch(
        self,
        model: Any,
        calculation: str,
        division: str,
        base: bool,
        lines: str,
        base_shares: str,
        mask: Any = None,
        clip: Any = None,
        texts: str = "[]",
        negative_texts: str = "[]",
        comma_padding_backtrack: int = 20,
        swaps: bool = False,
    ) -> tuple[Any]:
        divided = _division(division, base, json.loads(lines), json.loads(base_shares), mask)
        patched = model.clone()
        if calculation == LATENT:
            if divided is not None:
                patched.model_options[SHARES] = divided.shares
            return (patched,)
        if clip is None:
            raise ValueError("A1111RegionalPrompter: Attention needs the text encoder")
        counts = Counts(
            *(
                _chunks(clip, json.loads(some), comma_padding_backtrack)
                for some in (texts, negative_texts)
            )
        )
        _check(divided, counts)
        regional = Regional(divided, counts, swaps)
        patched.set_model_attn2_patch(regional.before)
        patched.set_model_attn2_output_patch(regional.after)
        patched.model_options["transformer_options"][HALVES] = regional.halves_heads
        return (patched,)


def _division(
    kind: str, base: bool, lines: Sequence[Any], base_shares: Sequence[float], mask: Any
) -> Division | None:
    if kind == WHOLE:
        return None
    if kind == MASK:
        if mask is None:
            raise ValueError("A1111RegionalPrompter: division mask needs a mask")
        picture = (mask[0, ..., :3].cpu().numpy() * 255).round().astype(np.uint8)
        numbers, count = region_numbers(picture, base)
        if base and len(base_shares) < count:
            raise ValueError(
                f"Regional Prompter: the mask has {count} regions, and the prompt has parts for "
                f"{len(base_shares)}"
            )
        return Masks(numbers, count, base, tuple(base_shares[:count]))
    return Matrix(kind == ROWS, base, division_lines.from_json(lines))


def _chunks(clip: Any, texts: Sequence[Any], backtrack: int) -> tuple[int, ...]:
    """How many chunks each text has."""
    settings = EncodeSettings(comma_backtrack=backtrack)
    encoder = ComfyTextEncoder(clip, settings, embedding_folders())
    pieces = [tuple((str(piece), float(weight)) for piece, weight in text) for text in texts]
    return tuple(len(encoder.chunk(encoder.names[0], text)) for text in pieces)


def _check(division: Division | None, counts: Counts) -> None:
    """Raise where a region has no text."""
    if division is None:
        return
    wanted = max(division.texts()) + 1
    for name, own in (("prompt", counts.positive), ("negative prompt", counts.negative)):
        divided = name == "prompt" or (len(own) > 1 and not counts.alike)
        if divided and len(own) < wanted:
            raise ValueError(
                f"Regional Prompter: the {name} has {len(own)} parts, and {wanted} are needed"
            )


class A1111JoinParts:
    """Prompts as the AND parts of one, in order; each keeps its weight."""

    CATEGORY = CATEGORY
    RETURN_TYPES = ("CONDITIONING",)
    FUNCTION = "join"

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        more = {f"part_{number}": ("CONDITIONING",) for number in range(1, MOST_PARTS)}
        return {"required": {"part": ("CONDITIONING",)}, "optional": more}

    def join(self, part: Any, **more: Any) -> tuple[list[list[Any]]]:
        others = (more[name] for name in sorted(more, key=lambda name: int(name.split("_")[1])))
        return (
            [
                [cond, {**tags, PART: number}]
                for number, entries in enumerate((part, *others))
                for cond, tags in entries
            ],
        )
