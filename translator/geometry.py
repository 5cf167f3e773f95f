"""Picture sizes of both passes, to the pixel as A1111 computes them (semantics: hires fix 2.1)."""

from __future__ import annotations

import math
from dataclasses import dataclass

LATENT_CELL = 8
"""Pixels of one latent cell's side, for every architecture this worker knows."""

LARGEST_SCALED = 1 << 27
"""Pixels that a picture may have on its way: what is scaled to cover a size is cropped afterwards,
and a narrow strip is then larger by far than what comes out."""

_OLD_RULE_AREA = 512 * 512
_OLD_RULE_STEP = 64


@dataclass(frozen=True)
class Crop:
    """Latent cells cut from each side."""

    left: int = 0
    top: int = 0
    right: int = 0
    bottom: int = 0

    def __bool__(self) -> bool:
        return any((self.left, self.top, self.right, self.bottom))


@dataclass(frozen=True)
class HiresSize:
    """The sizes of a hires request, in pixels.

    Attributes:
        first: width and height of the first pass, as A1111 names them in the infotext.
        upscaled: what the first pass is enlarged to; SDXL's size conditioning names it.
        crop: what is then cut from the latent, where both hr_resize fields are given.
    """

    first: tuple[int, int]
    upscaled: tuple[int, int]
    crop: Crop

    @property
    def result(self) -> tuple[int, int]:
        """Width and height of the picture that comes out, multiples of 8."""
        width, height = (side // LATENT_CELL for side in self.upscaled)
        return (
            (width - self.crop.left - self.crop.right) * LATENT_CELL,
            (height - self.crop.top - self.crop.bottom) * LATENT_CELL,
        )


def latent_pixels(side: int) -> int:
    """A side as the latent gives it back: floored to a multiple of 8."""
    return side // LATENT_CELL * LATENT_CELL


def covering(size: tuple[int, int], target: tuple[int, int]) -> tuple[int, int]:
    """A picture's size, scaled so that it just covers another one."""
    factor = max(wanted / own for own, wanted in zip(size, target, strict=True))
    return round(size[0] * factor), round(size[1] * factor)


def too_large(width: int, height: int) -> str | None:
    """What is wrong with the size to which a picture would be scaled; None where nothing is."""
    if width * height <= LARGEST_SCALED:
        return None
    return (
        f"the picture is too narrow for what it is scaled to: {width}x{height} pixels before it is "
        f"cropped, where {LARGEST_SCALED} in all are made; send it cropped"
    )


def hires_size(
    width: int, height: int, scale: float, resize_x: int, resize_y: int, *, old_rule: bool = False
) -> HiresSize:
    """The sizes of a hires request.

    Args:
        width, height: of the request, in pixels.
        scale: hr_scale, used where both resize fields are 0.
        resize_x, resize_y: hr_resize_x and hr_resize_y; 0 derives the side from the other.
        old_rule: option use_old_hires_fix_width_height: width and height are the target, and the
            first pass has about 512 * 512 pixels.
    """
    if old_rule:
        resize_x, resize_y = width, height
        width, height = _old_first_pass(width, height)
    if not resize_x and not resize_y:
        return HiresSize((width, height), (int(width * scale), int(height * scale)), Crop())
    if not resize_y:
        return HiresSize((width, height), (resize_x, resize_x * height // width), Crop())
    if not resize_x:
        return HiresSize((width, height), (resize_y * width // height, resize_y), Crop())
    if width / height < resize_x / resize_y:
        upscaled = (resize_x, resize_x * height // width)
    else:
        upscaled = (resize_y * width // height, resize_y)
    return HiresSize((width, height), upscaled, _centre_crop(upscaled, (resize_x, resize_y)))


def _centre_crop(size: tuple[int, int], target: tuple[int, int]) -> Crop:
    across = (size[0] - target[0]) // LATENT_CELL
    down = (size[1] - target[1]) // LATENT_CELL
    return Crop(across // 2, down // 2, (across + 1) // 2, (down + 1) // 2)


def _old_first_pass(width: int, height: int) -> tuple[int, int]:
    factor = math.sqrt(_OLD_RULE_AREA / (width * height))
    return _up_to_step(factor * width), _up_to_step(factor * height)


def _up_to_step(side: float) -> int:
    return math.ceil(side / _OLD_RULE_STEP) * _OLD_RULE_STEP
