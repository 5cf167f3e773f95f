"""A1111's inpainting around the sampler: mask blur, the only-masked box, resizing, overlay, paste.

Pictures are 8-bit RGB `PIL.Image` objects and masks 8-bit `L` ones (255 is made anew), since A1111
truncates to bytes between all of these steps. Boxes are (left, top, right, bottom) in pixels, the
right and bottom side excluded. Source of the rules: A1111 v1.10.1 `modules/masking.py`,
`modules/images.py` (resize_image) and `modules/processing.py` (StableDiffusionProcessingImg2Img),
restated in the shared facts `semantics.md` section 3.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

Box = tuple[int, int, int, int]

STRETCH, COVER, FIT = 0, 1, 2
"""A1111's resize modes: both sides as they are, cut what stands over, fill what is missing."""

_LANCZOS = Image.Resampling.LANCZOS


def blur_mask(mask: Image.Image, horizontal: float, vertical: float) -> Image.Image:
    """OpenCV's Gaussian blur, one direction after the other; a radius of 0 and below is off."""
    import cv2

    levels = np.array(mask)
    for radius, across in ((horizontal, True), (vertical, False)):
        if radius > 0:
            size = 2 * int(2.5 * radius + 0.5) + 1
            levels = cv2.GaussianBlur(levels, (size, 1) if across else (1, size), radius)
    return Image.fromarray(levels)


def masked_box(mask: Image.Image, padding: int, width: int, height: int) -> Box | None:
    """The box that is worked on at `width` x `height` where only the masked area is inpainted.

    It holds every pixel of `mask` (as blurred) above 0 and `padding` pixels around, cut at the
    picture's border and then grown to the proportions of `width` to `height` as far as the picture
    goes. None for a black mask.
    """
    bounds = mask.getbbox()
    if bounds is None:
        return None
    left, top = max(bounds[0] - padding, 0), max(bounds[1] - padding, 0)
    right = min(bounds[2] + padding, mask.width)
    bottom = min(bounds[3] + padding, mask.height)
    wanted = width / height
    if (right - left) / (bottom - top) > wanted:
        top, bottom = _grown(top, bottom, (right - left) / wanted, mask.height)
    else:
        left, right = _grown(left, right, (bottom - top) * wanted, mask.width)
    return left, top, right, bottom


def _grown(start: int, end: int, length: float, limit: int) -> tuple[int, int]:
    """An interval made `length` long about its middle, shifted back within 0..limit and cut."""
    more = int(length - (end - start))
    start, end = start - more // 2, end + more - more // 2
    over = max(end - limit, 0)
    start, end = start - over, end - over
    if start < 0:
        start, end = 0, end - start
    return start, min(end, limit)


def resize(image: Image.Image, width: int, height: int, mode: int) -> Image.Image:
    """Resize by Lanczos in one of A1111's modes.

    `STRETCH` keeps the image's mode; `COVER` and `FIT` give RGB, as A1111's do. `FIT` fills the
    bands beside the picture by stretching its outermost row or column.
    """
    if mode == STRETCH:
        return image.resize((width, height), _LANCZOS)
    wanted, own = width / height, image.width / image.height
    if wanted > own if mode == COVER else wanted < own:
        size = width, image.height * width // image.width
    else:
        size = image.width * height // image.height, height
    scaled = image.resize(size, _LANCZOS)
    left, top = width // 2 - size[0] // 2, height // 2 - size[1] // 2
    result = Image.new("RGB", (width, height))
    result.paste(scaled, (left, top))
    if mode == FIT:
        _fill_bands(result, scaled, left, top)
    return result


def _fill_bands(result: Image.Image, scaled: Image.Image, left: int, top: int) -> None:
    """Cover the bands beside `scaled`, which lies at (left, top), with its outermost pixels."""
    width, height = scaled.size
    if top > 0:
        _stretch(result, scaled, (0, 0, width, 0), (width, top), (0, 0))
        _stretch(result, scaled, (0, height, width, height), (width, top), (0, top + height))
    elif left > 0:
        _stretch(result, scaled, (0, 0, 0, height), (left, height), (0, 0))
        _stretch(result, scaled, (width, 0, width, height), (left, height), (left + width, 0))


def _stretch(
    result: Image.Image,
    scaled: Image.Image,
    line: Box,
    size: tuple[int, int],
    place: tuple[int, int],
) -> None:
    """Paste a border line (a box without area) of `scaled`, stretched to `size`, at `place`."""
    result.paste(scaled.resize(size, box=line), place)


def overlay(picture: Image.Image, mask: Image.Image) -> Image.Image:
    """The picture as RGBA, transparent where `mask` is white: laid over what was made anew."""
    kept = Image.new("RGBa", picture.size)
    kept.paste(picture.convert("RGBA").convert("RGBa"), mask=ImageOps.invert(mask.convert("L")))
    return kept.convert("RGBA")


def doubled(mask: Image.Image) -> Image.Image:
    """The overlay's mask of a whole picture: twice the blurred mask, at most 255."""
    return Image.fromarray(np.clip(np.array(mask).astype(np.float32) * 2, 0, 255).astype(np.uint8))


def lay_over(result: Image.Image, cover: Image.Image, box: Box | None) -> Image.Image:
    """The result under an overlay of `overlay`, as RGB.

    Args:
        box: where the result belongs in the picture (resized to it); None where it is all of it.
    """
    if box is not None:
        scaled = resize(result, box[2] - box[0], box[3] - box[1], COVER)
        result = Image.new("RGBA", cover.size)
        result.paste(scaled, box[:2])
    whole = result.convert("RGBA")
    whole.alpha_composite(cover)
    return whole.convert("RGB")


def latent_mask(mask: Image.Image, width: int, height: int, rounded: bool) -> NDArray[Any]:
    """The mask of the latent's `width` x `height` cells, float32 in 0..1, [height, width].

    `rounded` makes each cell 0 or 1 (soft inpainting alone does without).
    """
    cells = np.array(mask.convert("RGB").resize((width, height)), dtype=np.float32)[:, :, 0] / 255
    return np.around(cells) if rounded else cells


@dataclass(frozen=True)
class Prepared:
    """What an inpainting pass works on, and how its result goes back.

    Attributes:
        picture: RGB, of the pass' size.
        mask: blurred, of the pass' size; `latent_mask` makes the sampler's of it.
        cover: the overlay, RGBA, of the size of what comes out.
        box: where the result is pasted; None where the whole picture was worked on.
    """

    picture: Image.Image
    mask: Image.Image
    cover: Image.Image
    box: Box | None

    def finish(self, result: Image.Image) -> Image.Image:
        """The finished picture for a pass' decoded `result`."""
        return lay_over(result, self.cover, self.box)


def prepare(
    picture: Image.Image,
    mask: Image.Image,
    size: tuple[int, int],
    blur: tuple[float, float],
    padding: int | None,
    mode: int = STRETCH,
) -> Prepared | None:
    """Bring picture and mask to a pass' `size` (width, height).

    Args:
        picture: RGB.
        mask: L, of the picture's size, 255 where it is made anew, not blurred yet.
        blur: horizontal and vertical radius.
        padding: pixels around the masked area where only it is worked on; None works on the whole
            picture, which then comes out in `size`.
        mode: the resize mode of a whole picture.

    None where only the masked area is wanted and the mask is black.
    """
    width, height = size
    blurred = blur_mask(mask, *blur)
    if padding is None:
        fitted = resize(picture, width, height, mode)
        small = resize(blurred, width, height, mode).convert("L")
        return Prepared(fitted, small, overlay(fitted, doubled(small)), None)
    box = masked_box(blurred, padding, width, height)
    if box is None:
        return None
    return Prepared(
        resize(picture.crop(box), width, height, FIT),
        resize(blurred.crop(box), width, height, FIT).convert("L"),
        overlay(picture, blurred),
        box,
    )
