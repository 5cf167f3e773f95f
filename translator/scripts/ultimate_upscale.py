"""The script "Ultimate SD upscale": a picture is enlarged and inpainted tile by tile.

Source: ultimate-upscale-for-automatic1111 ``scripts/ultimate-upscale.py``, restated. Every tile is
an "only masked" inpainting of the whole picture, which goes on from the one before it.
"""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from PIL import Image, ImageOps

from translator.infotext.text import GenerationFacts, create_info, create_infotext
from translator.models import upscalers
from translator.plan.answer import Assembled, Output
from translator.plan.pictures import (
    EnlargedBy,
    Frame,
    Made,
    Pasted,
    Picture,
    Sent,
    Size,
    Stretched,
    cut,
    placeholder,
)
from translator.plan.starts import ImageUpscale
from translator.request.images import ImageUpload
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
    share_parameters,
    within_bounds,
)

TITLE = "Ultimate SD upscale"

ARGUMENTS = (
    "info",
    "tile_width",
    "tile_height",
    "mask_blur",
    "padding",
    "seams_fix_width",
    "seams_fix_denoise",
    "seams_fix_padding",
    "upscaler_index",
    "save_upscaled_image",
    "redraw_mode",
    "save_seams_fix_image",
    "seams_fix_mask_blur",
    "seams_fix_type",
    "target_size_type",
    "custom_width",
    "custom_height",
    "custom_scale",
)

_LINEAR, _CHESS, _NO_REDRAW = range(3)
_NO_FIX, _BANDS, _HALF_TILES, _HALF_TILES_AND_CORNERS = range(4)
_FROM_REQUEST, _CUSTOM_SIZE, _CUSTOM_SCALE = range(3)

_WHOLE: Mapping[str, tuple[int, int]] = {
    "tile_width": (0, 2048),
    "tile_height": (0, 2048),
    "mask_blur": (0, 64),
    "padding": (0, 512),
    "seams_fix_width": (0, 128),
    "seams_fix_padding": (0, 128),
    "seams_fix_mask_blur": (0, 64),
    "redraw_mode": (_LINEAR, _NO_REDRAW),
    "seams_fix_type": (_NO_FIX, _HALF_TILES_AND_CORNERS),
    "target_size_type": (_FROM_REQUEST, _CUSTOM_SCALE),
}
"""Arguments that are whole numbers, and the page's bounds of them."""

_STEP = 64
"""Sides of a tile's pass, and of a scaled picture, are multiples of this."""

_CELL = 8
MAX_SIDE = 8192
"""The longest side of a picture in pixels, as on the page."""

_NONE = "None"
_GRADIENT = 256
"""Side of Pillow's gradients."""


def _path(name: str) -> str:
    return f"script_args[{ARGUMENTS.index(name)}]"


@dataclass(frozen=True)
class _Given:
    """The arguments, read.

    Attributes:
        tile: width and height of a tile.
        size: of the result.
        numbers: the others that are numbers, by name.
        upscaler: its name.
    """

    tile: Size
    size: Size
    numbers: Mapping[str, Any]
    upscaler: str

    @property
    def columns(self) -> int:
        return math.ceil(self.size[0] / self.tile[0])

    @property
    def rows(self) -> int:
        return math.ceil(self.size[1] / self.tile[1])


@dataclass(frozen=True)
class UltimateExpansion(ChainExpansion):
    """The tiles of a picture, a generation each.

    Attributes:
        size: of the whole picture.
    """

    size: Size = field(default=(0, 0), kw_only=True)

    def info(self, facts: Sequence[GenerationFacts], now: datetime | None = None) -> dict[str, Any]:
        """The last generation's ``info`` as if it had been one of the whole picture."""
        last = replace(share_parameters(facts)[-1], width=self.size[0], height=self.size[1])
        info = create_info(last, [create_infotext(last, 0)] * len(self.outputs), now=now)
        return {**info, "seed": self.fields["seed"], "subseed": -1}


@dataclass(frozen=True)
class _Step:
    """One inpainting.

    Attributes:
        mask: what is made anew, white on black, of the picture's size.
        size: width and height of the pass.
        changes: further fields.
    """

    mask: Made
    size: Size
    changes: Mapping[str, Any]


def expand_ultimate_upscale(
    fields: Fields, args: Sequence[Any], context: ScriptContext
) -> UltimateExpansion | None:
    """The generations of an upscaled picture, or None after a report.

    Args:
        fields: the request.
        args: script_args, as many as `ARGUMENTS`.
    """
    arguments = dict(zip(ARGUMENTS, args, strict=True))
    sent = first_picture(fields, context)
    given = None if sent is None else _read(arguments, fields, sent, context)
    enlarged = None if sent is None or given is None else _enlarged(sent, given, context)
    if given is None or enlarged is None:
        return None
    count = _redraws(given) + _fixes(given)
    if not count:
        context.report.invalid(
            _path("redraw_mode"),
            "neither tiles nor seams are made anew: enlarge by /sdapi/v1/extra-single-image",
        )
        return None
    if not within_bounds(count, prompt_length(fields), "script_args", context.report):
        return None
    without_masks(fields, TITLE, context)
    if context.a1111_options.img2img_color_correction:
        context.report.warn(
            "script_name",
            "img2img_color_correction takes each tile's own colours; A1111 those of the first tile",
        )
    return _expansion(fields, given, enlarged, context)


def _read(
    arguments: Mapping[str, Any], fields: Fields, sent: ImageUpload, context: ScriptContext
) -> _Given | None:
    """The arguments; None after a report."""
    report = context.report
    sound = [_is_within(name, arguments[name], context) for name in _WHOLE]
    sound.append(number(arguments["seams_fix_denoise"], _path("seams_fix_denoise"), "it", report))
    name = upscaler_name(arguments["upscaler_index"], _path("upscaler_index"), context)
    if name is None or not all(sound):
        return None
    width, height = arguments["tile_width"], arguments["tile_height"]
    tile = (width or height, height or width)
    if min(tile) < _CELL:
        report.invalid(_path("tile_width"), f"a tile's sides are at least {_CELL} pixels", width)
        return None
    if arguments["seams_fix_type"] == _BANDS and not arguments["seams_fix_width"]:
        report.invalid(_path("seams_fix_width"), "a band is at least 1 pixel wide", 0)
        return None
    size = _size(arguments, fields, sent, context)
    if size is None:
        return None
    return _Given(tile, size, arguments, name)


def _is_within(name: str, value: Any, context: ScriptContext) -> bool:
    low, high = _WHOLE[name]
    if not whole(value, _path(name), name, context.report):
        return False
    if not low <= value <= high:
        context.report.invalid(_path(name), f"{name} lies within {low}..{high}", value)
        return False
    return True


def _size(
    arguments: Mapping[str, Any], fields: Fields, sent: ImageUpload, context: ScriptContext
) -> Size | None:
    """Width and height of the result; None after a report."""
    names: tuple[str, ...] = ("width", "height")
    sides: list[Any] = [fields["width"], fields["height"]]
    kind = arguments["target_size_type"]
    if kind == _CUSTOM_SIZE:
        names = (_path("custom_width"), _path("custom_height"))
        sides = [arguments["custom_width"], arguments["custom_height"]]
    elif kind == _CUSTOM_SCALE:
        scale, names = arguments["custom_scale"], (_path("custom_scale"),) * 2
        if not number(scale, names[0], "the scale", context.report) or not math.isfinite(scale):
            return None
        sides = [math.ceil(side * scale / _STEP) * _STEP for side in (sent.width, sent.height)]
    for name, side in zip(names, sides, strict=True):
        if not whole(side, name, "a side of the result", context.report):
            return None
        if not _CELL <= side <= MAX_SIDE:
            context.report.invalid(
                name, f"a side of {side:.5g} pixels is not within {_CELL}..{MAX_SIDE}", side
            )
            return None
    return sides[0], sides[1]


def _redraws(given: _Given) -> int:
    return 0 if given.numbers["redraw_mode"] == _NO_REDRAW else given.rows * given.columns


def _fixes(given: _Given) -> int:
    """How many inpaintings correct seams."""
    rows, columns, kind = given.rows, given.columns, given.numbers["seams_fix_type"]
    if kind == _BANDS:
        return rows + columns - 2
    halves = rows * (columns - 1) + (rows - 1) * columns
    corners = (rows - 1) * (columns - 1)
    return {_HALF_TILES: halves, _HALF_TILES_AND_CORNERS: halves + corners}.get(kind, 0)


# --- enlarging -----------------------------------------------------------------------------------


def _enlarged(sent: ImageUpload, given: _Given, context: ScriptContext) -> Made | None:
    """The picture at the result's size; None after a report."""
    options, size = context.server_options, (sent.width, sent.height)
    source: Made = Sent(sent, options.img2img_background_color)
    if given.upscaler == _NONE:
        return Stretched(source, given.size)
    upscaler = upscalers.find(given.upscaler, context.catalog, options)
    path = _path("upscaler_index")
    if not isinstance(upscaler, ImageUpscale):
        context.report.invalid(path, f"{given.upscaler} enlarges latents, not pictures")
        return None
    factors = _factors(math.ceil(max(given.size) / max(size)))
    if factors is None:
        context.report.invalid(
            path, f"from {size} to {given.size} pixels the script finds no factors; choose a size"
        )
        return None
    for factor in factors:
        after = tuple(int(side * factor // _CELL * _CELL) for side in size)
        if max(after) > MAX_SIDE or min(after) < _CELL:
            context.report.invalid(path, f"the picture would be {after} pixels on the way")
            return None
        source = EnlargedBy(source, upscaler, float(factor), size, (after[0], after[1]))
        size = (after[0], after[1])
    return Stretched(source, given.size)


def _factor(scale: int) -> int:
    """The factor of one enlargement on the way to a scale; 0 where there is none."""
    if scale == 1:
        return 2
    return next((factor for factor in (4, 3, 2) if scale % factor == 0), 0)


def _factors(scale: int) -> list[int] | None:
    """The factors by which a picture is enlarged one after the other; None where it fails."""
    while not _factor(scale):
        scale += 1
    factors: list[int] = []
    current = 1
    while current < scale:
        factor = _factor(scale // current)
        if not factor:
            return None
        factors.append(factor)
        current *= factor
    return factors


# --- what is made anew ---------------------------------------------------------------------------


def _expansion(
    fields: Fields, given: _Given, enlarged: Made, context: ScriptContext
) -> UltimateExpansion:
    base = fix_seeds(settled_sampler(fields), context.draw_seed)
    base |= {"n_iter": 1, "batch_size": 1, "inpainting_fill": 1, "inpaint_full_res": True}
    made: dict[str, Made] = {}
    variants: list[Fields] = []
    outputs: list[Output] = []
    current = enlarged
    for steps in (_redraw(given), _fix(given, context)):
        if steps is None:
            continue
        for step in steps:
            index = len(variants)
            names = f"picture {index} of {TITLE}", f"mask {index} of {TITLE}"
            made |= zip(names, (current, step.mask), strict=True)
            variants.append(
                {
                    **base,
                    **step.changes,
                    "width": step.size[0],
                    "height": step.size[1],
                    "init_images": [placeholder(names[0], given.size)],
                    "mask": placeholder(names[1], given.size, "L"),
                }
            )
            current = Picture(index, 0)
        outputs.append(current if isinstance(current, Picture) else Assembled(current))
    if given.numbers["redraw_mode"] == _NO_REDRAW:
        outputs.insert(0, Assembled(enlarged))
    return UltimateExpansion(
        base,
        context.a1111_options,
        tuple(variants),
        tuple(outputs),
        made=made,
        parameters={
            f"{TITLE} upscaler": given.upscaler,
            f"{TITLE} tile_width": given.tile[0],
            f"{TITLE} tile_height": given.tile[1],
            f"{TITLE} mask_blur": given.numbers["mask_blur"],
            f"{TITLE} padding": given.numbers["padding"],
        },
        crops_control=True,
        size=given.size,
    )


def _redraw(given: _Given) -> Iterator[_Step] | None:
    """The tiles, line by line or first the one colour of a chess board and then the other."""
    mode = given.numbers["redraw_mode"]
    if mode == _NO_REDRAW:
        return None
    places = [(x, y) for y in range(given.rows) for x in range(given.columns)]
    if mode == _CHESS:
        places.sort(key=lambda place: (place[0] + place[1]) % 2)
    return (_tile(given, x, y) for x, y in places)


def _tile(given: _Given, x: int, y: int) -> _Step:
    """A tile, whose rectangle Pillow draws with its last line and column included."""
    width, height = given.tile
    padding = given.numbers["padding"]
    white = Frame((width + 1, height + 1), (0, 0, 0, 0))
    return _Step(
        Pasted(None, white, (x * width, y * height), given.size),
        _pass_size(given, padding),
        {"mask_blur": given.numbers["mask_blur"], "inpaint_full_res_padding": padding},
    )


def _pass_size(given: _Given, padding: int) -> Size:
    width, height = (math.ceil((side + padding) / _STEP) * _STEP for side in given.tile)
    return width, height


def _fix(given: _Given, context: ScriptContext) -> Iterator[_Step] | None:
    makers = {
        _BANDS: _bands,
        _HALF_TILES: _half_tiles,
        _HALF_TILES_AND_CORNERS: _half_tiles_and_corners,
    }
    maker = makers.get(given.numbers["seams_fix_type"])
    return None if maker is None else maker(given, context)


def _half_tiles_and_corners(given: _Given, context: ScriptContext) -> Iterator[_Step]:
    yield from _half_tiles(given, context)
    width, height = given.tile
    spot = Image.radial_gradient("L").resize(given.tile, Image.Resampling.BICUBIC)
    mask = _upload(ImageOps.invert(spot), context)
    for y in range(given.rows - 1):
        for x in range(given.columns - 1):
            at = (x * width + width // 2, y * height + height // 2)
            yield _seam(given, mask, at, given.tile, 0)


def _half_tiles(given: _Given, context: ScriptContext) -> Iterator[_Step]:
    """Tiles that lie over the seams between two others."""
    width, height = given.tile
    padding = given.numbers["seams_fix_padding"]
    gradient = Image.linear_gradient("L")
    lying = _mirrored(gradient, given.tile, (width, height // 2), (0, 180), (0, height // 2))
    rows = _upload(lying, context)
    for y in range(given.rows - 1):
        for x in range(given.columns):
            at = (x * width, y * height + height // 2)
            yield _seam(given, rows, at, given.tile, padding)
    standing = _mirrored(gradient, given.tile, (width // 2, height), (90, 270), (width // 2, 0))
    columns = _upload(standing, context)
    for y in range(given.rows):
        for x in range(given.columns - 1):
            at = (x * width + width // 2, y * height)
            yield _seam(given, columns, at, given.tile, padding)


def _bands(given: _Given, context: ScriptContext) -> Iterator[_Step]:
    """Bands along the seams: first the upright ones."""
    (width, height), (across, down) = given.tile, given.size
    band, padding = given.numbers["seams_fix_width"], given.numbers["seams_fix_padding"]
    half = (_GRADIENT, _GRADIENT // 2)
    gradient = Image.linear_gradient("L")
    mirrored = _mirrored(gradient, (_GRADIENT, _GRADIENT), half, (0, 180), (0, half[1]))
    bicubic = Image.Resampling.BICUBIC
    if given.columns > 1:
        upright = _upload(mirrored.rotate(90).resize((band, down), bicubic), context)
        for x in range(1, given.columns):
            size = (band + padding * 2, down)
            yield _seam(given, upright, (x * width - band // 2, 0), size, padding, blur=0)
    if given.rows > 1:
        flat = _upload(mirrored.resize((across, band), bicubic), context)
        for y in range(1, given.rows):
            size = (across, band + padding * 2)
            yield _seam(given, flat, (0, y * height - band // 2), size, padding, blur=0)


def _seam(
    given: _Given,
    mask: ImageUpload,
    at: tuple[int, int],
    size: Size,
    padding: int,
    blur: int | None = None,
) -> _Step:
    left, top = (max(place, 0) for place in at)
    hidden = (left - at[0], top - at[1])
    shown = cut(Sent(mask, None), (mask.width, mask.height), hidden, _less(mask, hidden))
    return _Step(
        Pasted(None, shown, (left, top), given.size),
        size,
        {
            "denoising_strength": given.numbers["seams_fix_denoise"],
            "mask_blur": given.numbers["seams_fix_mask_blur"] if blur is None else blur,
            "inpaint_full_res_padding": padding,
        },
    )


def _less(mask: ImageUpload, hidden: tuple[int, int]) -> Size:
    return mask.width - hidden[0], mask.height - hidden[1]


def _mirrored(
    gradient: Image.Image,
    size: Size,
    half: Size,
    turns: tuple[int, int],
    second: tuple[int, int],
) -> Image.Image:
    """A gradient that rises to the middle and falls again.

    Args:
        half: size of each half.
        turns: by how many degrees each is turned.
        second: where the second half lies.
    """
    made = Image.new("L", size, "black")
    for turn, at in zip(turns, ((0, 0), second), strict=True):
        made.paste(gradient.rotate(turn).resize(half, Image.Resampling.BICUBIC), at)
    return made


def _upload(mask: Image.Image, context: ScriptContext) -> ImageUpload:
    """A mask as a picture of the request."""
    stream = io.BytesIO()
    mask.save(stream, "PNG")
    text = base64.b64encode(stream.getvalue()).decode()
    found = context.images.read(text, "script_args")
    assert found is not None
    return found
