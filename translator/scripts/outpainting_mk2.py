"""The script "Outpainting mk2": a picture is enlarged side by side, from noise of its own spectrum.

Source: A1111 v1.10.1 ``scripts/outpainting_mk_2.py``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from translator.geometry import latent_pixels
from translator.plan import pictures
from translator.plan.answer import Assembled, Grid, Output
from translator.plan.pictures import Frame, Made, Noised, Pasted, Picture, Sent, Size, placeholder
from translator.request.images import ImageUpload
from translator.scripts import borders
from translator.scripts.chains import ChainExpansion, first_picture, number, without_masks
from translator.scripts.expansion import (
    Fields,
    ScriptContext,
    grid_rows,
    prompt_length,
    settled_sampler,
    within_bounds,
)

TITLE = "Outpainting mk2"

ARGUMENTS = ("info", "pixels", "mask_blur", "direction", "noise_q", "color_variation")

_PIXELS, _BLUR, _DIRECTION, _FALLOFF, _COLORS = (f"script_args[{index}]" for index in range(1, 6))

_BLUR_FACTOR = 4
"""The mask's sigma is the blur times this."""


@dataclass(frozen=True)
class _Noise:
    falloff: float
    colors: float


@dataclass(frozen=True)
class _Side:
    """One side of a picture, about to be enlarged.

    Attributes:
        name: of `borders.DIRECTIONS`.
        pixels: that are added.
        size: of the picture before.
        most: width and height of the request, which bound the part that is sampled.
        blur: of the mask.
    """

    name: str
    pixels: int
    size: Size
    most: Size
    blur: int

    @property
    def across(self) -> bool:
        """Whether the picture grows in width."""
        return self.name in ("left", "right")

    @property
    def leads(self) -> bool:
        """Whether what is new comes before the picture."""
        return self.name in ("left", "up")

    @property
    def result(self) -> Size:
        """The picture's size afterwards."""
        width, height = self.size
        return (width + self.pixels, height) if self.across else (width, height + self.pixels)

    @property
    def canvas(self) -> Size:
        """The size of what is worked on."""
        return borders.up_to_multiple(self.result[0]), borders.up_to_multiple(self.result[1])

    @property
    def sampled(self) -> Size:
        """The size of the part that is sampled: all of the canvas along the border."""
        if self.across:
            return min(self.most[0], self.result[0]), self.canvas[1]
        return self.canvas[0], min(self.most[1], self.result[1])

    def place(self, part: Size) -> tuple[int, int]:
        """Where a part that holds the border lies on the canvas: at its beginning, or its end."""
        if self.leads:
            return (0, 0)
        return self.canvas[0] - part[0], self.canvas[1] - part[1]

    def kept(self, size: Size, inset: int) -> tuple[int, int, int, int]:
        """What a mask of a size leaves, its last pixels included, `inset` away from the border."""
        away = self.pixels + inset
        left, top, right, bottom = 0, 0, *self.result
        match self.name:
            case "left":
                left = away
            case "up":
                top = away
            case "right":
                right = size[0] - away
            case _:
                bottom = size[1] - away
        return left, top, right, bottom


def expand_outpainting_mk2(
    fields: Fields, args: Sequence[Any], context: ScriptContext
) -> ChainExpansion | None:
    """The generations of every side, batch by batch; None after a report.

    Args:
        fields: the request.
        args: script_args, as many as `ARGUMENTS`.
    """
    report = context.report
    paths = _PIXELS, _BLUR, _DIRECTION
    asked = borders.read_enlargement((args[1], args[2], args[3]), paths, report)
    numbers = number(args[4], _FALLOFF, "the fall-off exponent", report)
    numbers = number(args[5], _COLORS, "the colour variation", report) and numbers
    sent = first_picture(fields, context)
    if asked is None or sent is None or not numbers:
        return None
    count = len(asked.directions) * fields["n_iter"]
    if not within_bounds(count, prompt_length(fields), "script_args", report):
        return None
    without_masks(fields, TITLE, context)
    chain = _Chain(fields, asked, _Noise(float(args[4]), float(args[5])), context)
    size = (sent.width, sent.height)
    sides = borders.borders(size, asked.pixels, asked.directions)
    shown: list[Made] = []
    for _ in range(fields["n_iter"]):
        shown += chain.outpaint(Sent(sent, None), size, sides)
    if report.refused("script_args"):
        return None
    return ChainExpansion(
        chain.base,
        context.a1111_options,
        tuple(chain.variants),
        _outputs([Assembled(picture) for picture in shown], context),
        made=chain.made,
    )


_AXES = (("left", "right"), ("up", "down"))


class _Chain:
    """The generations so far, and the pictures that they start from.

    Args:
        fields: the request.

    Attributes:
        base: the request that every generation shares.
    """

    def __init__(
        self, fields: Fields, asked: borders.Enlargement, noise: _Noise, context: ScriptContext
    ) -> None:
        self.variants: list[Fields] = []
        self.made: dict[str, Made] = {}
        self._most = (fields["width"], fields["height"])
        self._blurs = tuple(
            asked.blur if any(name in asked.directions for name in pair) else 0 for pair in _AXES
        )
        self.base: Fields = {
            **settled_sampler(fields),
            "mask_blur": None,
            "mask_blur_x": self._blurs[0] * _BLUR_FACTOR,
            "mask_blur_y": self._blurs[1] * _BLUR_FACTOR,
            "inpainting_fill": 1,
            "inpaint_full_res": False,
            "n_iter": 1,
        }
        self._noise = noise
        self._context = context

    def outpaint(self, picture: Made, size: Size, sides: borders.Borders) -> list[Made]:
        """The pictures of one batch, all of their sides enlarged one after the other."""
        batch: list[Made] = [picture] * self.base["batch_size"]
        for name in borders.DIRECTIONS:
            pixels = getattr(sides, name)
            if pixels > 0:
                blur = self._blurs[0 if name in _AXES[0] else 1]
                side = _Side(name, pixels, size, self._most, blur)
                batch = self._expand(batch, side)
                size = side.result
        return batch

    def _expand(self, batch: Sequence[Made], side: _Side) -> list[Made]:
        """Every picture of a batch with one side enlarged."""
        report, number = self._context.report, len(self.variants)
        mask = borders.kept_frame(side.canvas, side.kept(side.canvas, side.blur), _BLUR, report)
        latent_mask = borders.kept_frame(
            side.sampled, side.kept(side.sampled, side.blur * 2), _BLUR, report
        )
        if mask is None or latent_mask is None:
            return list(batch)
        canvases = [self._canvas(picture, side, mask) for picture in batch]
        corner = side.place(side.sampled)
        held = {
            "mask": (pictures.cut(mask, side.canvas, corner, side.sampled), "L"),
            "latent_mask": (latent_mask, "L"),
        }
        starts = [pictures.cut(item, side.canvas, corner, side.sampled) for item in canvases]
        self.variants.append(
            {
                **self.base,
                "width": side.sampled[0],
                "height": side.sampled[1],
                "init_images": [
                    self._hold(f"picture {number}.{place}", start, side.sampled, "RGB")
                    for place, start in enumerate(starts)
                ],
                **{
                    name: self._hold(f"{name} {number}", picture, side.sampled, mode)
                    for name, (picture, mode) in held.items()
                },
            }
        )
        made = (latent_pixels(side.sampled[0]), latent_pixels(side.sampled[1]))
        pasted = (
            Pasted(canvas, Picture(number, place), side.place(made), side.canvas)
            for place, canvas in enumerate(canvases)
        )
        return [pictures.cut(item, side.canvas, (0, 0), side.result) for item in pasted]

    def _canvas(self, picture: Made, side: _Side, mask: Frame) -> Made:
        """A picture at its place on the canvas, noise beside it."""
        at = {"left": (side.pixels, 0), "up": (0, side.pixels)}.get(side.name, (0, 0))
        placed = Pasted(None, picture, at, side.canvas)
        return Noised(placed, mask, self._noise.falloff, self._noise.colors)

    def _hold(self, name: str, picture: Made, size: Size, mode: str) -> ImageUpload:
        self.made[f"{name} of {TITLE}"] = picture
        return placeholder(f"{name} of {TITLE}", size, mode)


def _outputs(shown: Sequence[Assembled], context: ScriptContext) -> tuple[Output, ...]:
    """The pictures, after their grid where option return_grid asks for one."""
    options = context.server_options
    alone = len(shown) < 2 and options.grid_only_if_multiple
    if alone or not options.return_grid:
        return tuple(shown)
    grid = Grid(
        tuple(shown),
        rows=grid_rows(len(shown), 1, options),
        background=options.grid_background_color,
    )
    return (grid, *shown)
