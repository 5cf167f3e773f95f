"""Pixel sizes of ControlNet's images and maps, rounded as the extension rounds them."""

from __future__ import annotations

from dataclasses import dataclass

PADDING = 64
"""Preprocessors see images padded to a multiple of this."""

RESOLUTION_UNSEEN = 512
"""Pixels of the short side that a module without a slider for it works on."""

CROP_AND_RESIZE = "Crop and Resize"
"""The resize mode under which a map covers the pass, and is cropped."""

_KEPT_BELOW_RATE = 1.1


@dataclass(frozen=True, slots=True)
class Size:
    """Pixels."""

    width: int
    height: int

    @property
    def short(self) -> int:
        """The shorter side."""
        return min(self.width, self.height)

    @property
    def needs_no_padding(self) -> bool:
        """Whether both sides are whole multiples of the padding."""
        return self.width % PADDING == 0 and self.height % PADDING == 0

    def scaled(self, factor: float) -> Size:
        """Both sides times `factor`, rounded half to even."""
        return Size(round(self.width * factor), round(self.height * factor))

    def with_short_side(self, pixels: int) -> Size:
        """Scaled so that the shorter side has `pixels`: the size a preprocessor works at."""
        return self.scaled(pixels / self.short)


def pixel_perfect(image: Size, target: Size, resize_mode: str) -> int:
    """The processor resolution at which a map needs no more scaling.

    Args:
        target: the size of the first pass, with hires fix too.
    """
    factors = (target.height / image.height, target.width / image.width)
    factor = min(factors) if resize_mode == "Resize and Fill" else max(factors)
    return round(factor * image.short)


def fit_factor(image: Size, target: Size, resize_mode: str) -> float:
    """How a map is scaled before it is cropped (Crop and Resize) or padded (Resize and Fill)."""
    factors = (target.height / image.height, target.width / image.width)
    return max(factors) if resize_mode == CROP_AND_RESIZE else min(factors)


def tile_size(image: Size, rate: float) -> Size:
    """What tile_resample makes of an image: smaller by a rate of 1.1 or more, else as it is."""
    if rate < _KEPT_BELOW_RATE:
        return image
    return Size(int(image.width / rate), int(image.height / rate))
