"""The script "Poor man's outpainting": a picture on a larger canvas, inpainted tile by tile.

Source: A1111 v1.10.1 ``scripts/poor_mans_outpainting.py``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from translator.plan.answer import Assembled
from translator.plan.pictures import Frame, Made, Pasted, Picture, Sent, placeholder
from translator.request.images import ImageUpload
from translator.scripts import borders, tiles
from translator.scripts.borders import Borders
from translator.scripts.chains import ChainExpansion, first_picture, whole, without_masks
from translator.scripts.expansion import (
    RANDOM_SEEDS,
    Fields,
    ScriptContext,
    prompt_length,
    settled_sampler,
    within_bounds,
)

TITLE = "Poor man's outpainting"

ARGUMENTS = ("pixels", "mask_blur", "inpainting_fill", "direction")

_PIXELS, _BLUR, _FILL, _DIRECTION = (f"script_args[{index}]" for index in range(4))
_FILLS = "the masked content (0 fill, 1 original, 2 latent noise, 3 latent nothing)"


@dataclass(frozen=True)
class _Canvas:
    """A picture on a larger canvas, with the mask of what is new there.

    Attributes:
        mask: what is blurred, and put back.
        latent_mask: what is sampled, as it is.
        grid: where all of it is cut into tiles.
    """

    picture: Made
    mask: Frame
    latent_mask: Frame
    borders: Borders
    grid: tiles.Tiles

    def is_new(self, corner: tuple[int, int]) -> bool:
        """Whether a tile holds something of the border."""
        (x, y), (width, height) = corner, self.grid.tile
        side, inside = self.borders, self.grid.size
        return not (
            x >= side.left
            and x + width <= inside[0] - side.right
            and y >= side.up
            and y + height <= inside[1] - side.down
        )


def expand_poor_mans_outpainting(
    fields: Fields, args: Sequence[Any], context: ScriptContext
) -> ChainExpansion | None:
    """The generations of the canvas' tiles, or None after a report.

    Args:
        fields: the request.
        args: script_args, as many as `ARGUMENTS`.
    """
    report = context.report
    paths = _PIXELS, _BLUR, _DIRECTION
    asked = borders.read_enlargement((args[0], args[1], args[3]), paths, report)
    fill = 0 if args[2] == "fill" else args[2]
    fill_is_whole = whole(fill, _FILL, _FILLS, report)
    sent = first_picture(fields, context)
    if asked is None or sent is None or not fill_is_whole:
        return None
    tile = (fields["width"], fields["height"])
    canvas = _canvas(sent, tile, asked, context)
    if canvas is None or not _fits(canvas.grid, fields, context):
        return None
    without_masks(fields, TITLE, context)
    base = settled_sampler(fields)
    base |= {
        "mask_blur": asked.blur * 2,
        "inpainting_fill": fill,
        "inpaint_full_res": False,
        "batch_size": 1,
        "n_iter": 1,
        "seed": context.draw_seed() if base["seed"] in RANDOM_SEEDS else base["seed"],
    }
    return _expansion(base, canvas, context)


def _canvas(
    sent: ImageUpload,
    tile: tuple[int, int],
    asked: borders.Enlargement,
    context: ScriptContext,
) -> _Canvas | None:
    size, pixels, blur = (sent.width, sent.height), asked.pixels, asked.blur
    side = borders.borders(size, pixels, asked.directions)
    whole_size = (borders.up_to_multiple(size[0]), borders.up_to_multiple(size[1]))
    if side.left or side.right:
        whole_size = (size[0] + side.left + side.right, whole_size[1])
    if side.up or side.down:
        whole_size = (whole_size[0], size[1] + side.up + side.down)
    frames = [
        borders.kept_frame(whole_size, _kept(whole_size, side, inset), _BLUR, context.report)
        for inset in (blur * 2, blur // 2)
    ]
    mask, latent_mask = frames
    if mask is None or latent_mask is None:
        return None
    picture = Pasted(None, Sent(sent, None), (side.left, side.up), whole_size)
    if max(whole_size) > borders.MOST_PIXELS:
        context.report.invalid(
            _PIXELS, f"the picture would be {whole_size[0]}x{whole_size[1]} pixels", pixels
        )
        return None
    try:
        tiles.tile_count(whole_size, tile, pixels)
    except tiles.TileError as error:
        context.report.invalid(_PIXELS, f"it is the tiles' overlap as well: {error}", pixels)
        return None
    return _Canvas(picture, mask, latent_mask, side, tiles.split(whole_size, tile, pixels))


def _kept(size: tuple[int, int], side: Borders, inset: int) -> tuple[int, int, int, int]:
    """The rectangle that is not made anew, its last pixels included, away from each border."""
    width, height = size
    return (
        side.left + (inset if side.left > 0 else 0),
        side.up + (inset if side.up > 0 else 0),
        width - side.right - (inset if side.right > 0 else 0),
        height - side.down - (inset if side.down > 0 else 0),
    )


def _fits(grid: tiles.Tiles, fields: Fields, context: ScriptContext) -> bool:
    count = len(grid.columns) * len(grid.rows)
    return within_bounds(count, prompt_length(fields), "script_args", context.report)


def _expansion(base: dict[str, Any], canvas: _Canvas, context: ScriptContext) -> ChainExpansion:
    made: dict[str, Made] = {}
    variants: list[Fields] = []
    results: list[Made] = []
    grid = canvas.grid
    for corner in grid.corners:
        if not canvas.is_new(corner):
            results.append(grid.cut(canvas.picture, corner))
            continue
        number = len(variants)
        parts = {
            "picture": (canvas.picture, "RGB"),
            "mask": (canvas.mask, "L"),
            "latent mask": (canvas.latent_mask, "L"),
        }
        held = {}
        for what, (whole_picture, mode) in parts.items():
            name = f"{what} {number} of {TITLE}"
            made[name] = grid.cut(whole_picture, corner)
            held[what] = placeholder(name, grid.tile, mode)
        variants.append(
            {
                **base,
                "seed": base["seed"] + number,
                "init_images": [held["picture"]],
                "mask": held["mask"],
                "latent_mask": held["latent mask"],
            }
        )
        results.append(Picture(number, 0))
    if not variants:
        context.report.invalid("script_args", "no tile of the picture is outside of it")
    return ChainExpansion(
        base,
        context.a1111_options,
        tuple(variants),
        (Assembled(grid.joined(results)),),
        made=made,
    )
