"""A1111's resize modes: stretch, crop, and fit with the border pulled outwards, on Pillow images.

Source: A1111 v1.10.1 ``modules/images.py`` (resize_image, flatten), restated in shared facts
`semantics.md` section 3.2.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from PIL import Image, ImageColor

from . import image_ops

JUST_RESIZE, CROP_AND_RESIZE, RESIZE_AND_FILL = 0, 1, 2
"""A1111's resize_mode; 3 (latent upscale) acts as 2 wherever pixels are resized."""

Resize = Callable[[Image.Image, int, int], Image.Image]
"""(picture, width, height) -> the picture of that size."""


@dataclass(frozen=True)
class Upscaler:
    """What enlarges pictures in img2img: option upscaler_for_img2img.

    method: ``none`` (one Lanczos resize), ``lanczos``, ``nearest``, or ``model``. run: of a model,
    enlarges by the model's own factor.
    """

    method: str = "none"
    run: image_ops.PilFilter | None = None

    def resize(self, image: Image.Image, width: int, height: int) -> Image.Image:
        """The picture of that size; masks (mode L) are always resized by Lanczos."""
        if image.mode == "L" or self.method == "none":
            return image_ops.resize(image, width, height)
        if self.run is not None:
            return image_ops.upscale(image, width, height, self.run)
        return image_ops.scale_image(image, width, height, self.method)

    def enlarge(self, image: Image.Image, factor: float) -> Image.Image:
        """The picture enlarged by a factor, its sides down to multiples of 8; ``none`` does not."""
        if self.method == "none":
            return image
        run = self.run or image_ops.by_factor(self.method, factor)
        return image_ops.enlarge(image, factor, run)


PLAIN = Upscaler()


def flatten(image: Image.Image, color: str) -> Image.Image:
    """A picture (RGBA) on a background of one colour, as RGB."""
    background = Image.new("RGBA", image.size, ImageColor.getrgb(color))
    background.paste(image, mask=image)
    return background.convert("RGB")


def covering_size(width: int, height: int, image: Image.Image) -> tuple[int, int]:
    """The size, at the picture's aspect, that just covers width x height."""
    wide, own = width / height, image.width / image.height
    return (
        width if wide > own else image.width * height // image.height,
        height if wide <= own else image.height * width // image.width,
    )


def fitting_size(width: int, height: int, image: Image.Image) -> tuple[int, int]:
    """The size, at the picture's aspect, that just fits into width x height."""
    wide, own = width / height, image.width / image.height
    return (
        width if wide < own else image.width * height // image.height,
        height if wide >= own else image.height * width // image.width,
    )


def resize_image(
    image: Image.Image, width: int, height: int, mode: int, upscaler: Upscaler = PLAIN
) -> Image.Image:
    """A picture (RGB or L) brought to width x height by a resize mode.

    Modes 1 and 2 answer RGB, whatever comes in.
    """
    if mode == JUST_RESIZE:
        return upscaler.resize(image, width, height)
    fills = mode != CROP_AND_RESIZE
    inner = (fitting_size if fills else covering_size)(width, height, image)
    resized = upscaler.resize(image, *inner)
    left, top = width // 2 - inner[0] // 2, height // 2 - inner[1] // 2
    canvas = Image.new("RGB", (width, height))
    canvas.paste(resized, (left, top))
    if fills:
        _fill_borders(canvas, resized, left, top)
    return canvas


def _fill_borders(canvas: Image.Image, inner: Image.Image, left: int, top: int) -> None:
    """Pull the outermost rows or columns of the inner picture to the canvas' borders."""
    width, height = canvas.size
    if inner.width == width and top > 0:
        bands = ((0, 0), (inner.height, top + inner.height))
        for row, y in bands:
            canvas.paste(inner.resize((width, top), box=(0, row, width, row)), (0, y))
    elif inner.height == height and left > 0:
        bands = ((0, 0), (inner.width, left + inner.width))
        for column, x in bands:
            canvas.paste(inner.resize((left, height), box=(column, 0, column, height)), (x, 0))
