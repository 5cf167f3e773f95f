"""The script "SD upscale": a picture is enlarged and sampled tile by tile.

Source: A1111 v1.10.1 ``scripts/sd_upscale.py``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from translator.infotext.text import GenerationFacts
from translator.models import upscalers
from translator.plan.answer import Assembled, Output
from translator.plan.pictures import EnlargedBy, Made, Picture, Sent, placeholder
from translator.plan.starts import ImageUpscale
from translator.request.images import ImageUpload
from translator.scripts import tiles
from translator.scripts.chains import (
    ChainExpansion,
    first_picture,
    number,
    upscaler_name,
    whole,
    without_masks,
)
from translator.scripts.expansion import (
    Fields,
    ScriptContext,
    fix_seeds,
    prompt_length,
    settled_sampler,
    within_bounds,
)

TITLE = "SD upscale"

ARGUMENTS = ("info", "overlap", "upscaler_index", "scale_factor")

_OVERLAP, _UPSCALER, _FACTOR = (f"script_args[{index}]" for index in (1, 2, 3))

_CELL = 8
"""Upscalers answer sides that are multiples of this."""

MAX_SIDE = 16384
"""The longest side of a picture in pixels."""

_NONE = "None"
"""The upscaler that leaves the picture as it is."""


@dataclass(frozen=True)
class SdUpscaleExpansion(ChainExpansion):
    """The tiles of a picture, a generation for as many as a batch holds."""

    def info(self, facts: Sequence[GenerationFacts], now: datetime | None = None) -> dict[str, Any]:
        """`ChainExpansion.info`; prompts and seeds are those of a whole batch.

        A1111 lays them out before it sees how many tiles the last batch has.
        """
        info = super().info(facts, now)
        count, last = self.fields["batch_size"], facts[-1]
        varied = bool(last.subseed_strength)
        return {
            **info,
            "all_prompts": [last.prompts[0]] * count,
            "all_negative_prompts": [last.negative_prompts[0]] * count,
            "all_seeds": [last.seeds[0] + (0 if varied else place) for place in range(count)],
            "all_subseeds": [last.subseeds[0] + place for place in range(count)],
        }


def expand_sd_upscale(
    fields: Fields, args: Sequence[Any], context: ScriptContext
) -> SdUpscaleExpansion | None:
    """The generations of an upscaled picture, or None after a report.

    Args:
        fields: the request.
        args: script_args, as many as `ARGUMENTS`.
    """
    given = dict(zip(ARGUMENTS, args, strict=True))
    name = upscaler_name(given["upscaler_index"], _UPSCALER, context)
    sent = first_picture(fields, context)
    enlarged = None if sent is None or name is None else _enlarged(sent, name, given, context)
    if enlarged is None or name is None:
        return None
    picture, size = enlarged
    cut = _tiles(fields, size, given["overlap"], context)
    if cut is None:
        return None
    without_masks(fields, TITLE, context)
    base = fix_seeds(settled_sampler(fields), context.draw_seed)
    names = {corner: f"tile {index} of {TITLE}" for index, corner in enumerate(cut.corners)}
    variants, outputs = _generations(base, cut, names)
    return SdUpscaleExpansion(
        base,
        context.a1111_options,
        variants,
        outputs,
        made={names[corner]: cut.cut(picture, corner) for corner in names},
        parameters={f"{TITLE} overlap": given["overlap"], f"{TITLE} upscaler": name},
        crops_control=True,
    )


def _generations(
    base: Fields, cut: tiles.Tiles, names: Mapping[tuple[int, int], str]
) -> tuple[tuple[Fields, ...], tuple[Output, ...]]:
    """The generations, a batch of tiles each, and the pictures that they are put together to.

    Args:
        names: corner of a tile -> the name that stands for it.
    """
    corners, size = list(cut.corners), base["batch_size"]
    batches = [corners[start : start + size] for start in range(0, len(corners), size)]
    variants: list[Fields] = []
    outputs: list[Output] = []
    for repeat in range(base["n_iter"]):
        results: list[Made] = []
        for index, batch in enumerate(batches):
            results += [Picture(len(variants), place) for place in range(len(batch))]
            variants.append(
                {
                    **base,
                    "n_iter": 1,
                    "batch_size": len(batch) if len(batch) > 1 else size,
                    "seed": base["seed"] + repeat + index,
                    "init_images": [placeholder(names[corner], cut.tile) for corner in batch],
                }
            )
        outputs.append(Assembled(cut.joined(results)))
    return tuple(variants), tuple(outputs)


def _enlarged(
    sent: ImageUpload, name: str, given: dict[str, Any], context: ScriptContext
) -> tuple[Made, tuple[int, int]] | None:
    """The picture that is cut into tiles, and its size; None after a report.

    Options are the server's: A1111 takes the request's own only while it generates.
    """
    options, size = context.server_options, (sent.width, sent.height)
    source = Sent(sent, options.img2img_background_color)
    if name == _NONE:
        return source, size
    factor = given["scale_factor"]
    if not number(factor, _FACTOR, "the scale factor", context.report):
        return None
    if not 0 < factor <= MAX_SIDE:
        context.report.invalid(
            _FACTOR, f"the scale factor is above 0 and at most {MAX_SIDE}", factor
        )
        return None
    upscaler = upscalers.find(name, context.catalog, options)
    if not isinstance(upscaler, ImageUpscale):
        context.report.invalid(_UPSCALER, f"{name} enlarges latents, not pictures", name)
        return None
    width, height = (int(side * factor // _CELL * _CELL) for side in size)
    if not (0 < width <= MAX_SIDE and 0 < height <= MAX_SIDE):
        context.report.invalid(
            _FACTOR,
            f"a picture of {size[0]}x{size[1]} becomes {width:.5g}x{height:.5g}; sides of 8 to "
            f"{MAX_SIDE} pixels can be made",
            factor,
        )
        return None
    return EnlargedBy(source, upscaler, float(factor), size, (width, height)), (width, height)


def _tiles(
    fields: Fields, size: tuple[int, int], overlap: Any, context: ScriptContext
) -> tiles.Tiles | None:
    """The picture's tiles of width x height, as many as a request may have; None after a report."""
    if not whole(overlap, _OVERLAP, "the tile overlap", context.report):
        return None
    tile = (fields["width"], fields["height"])
    try:
        count = tiles.tile_count(size, tile, overlap)
    except tiles.TileError as error:
        context.report.invalid(_OVERLAP, str(error), overlap)
        return None
    batches = -(-count // fields["batch_size"]) * fields["n_iter"]
    if not within_bounds(batches, prompt_length(fields), "script_args", context.report):
        return None
    return tiles.split(size, tile, overlap)
