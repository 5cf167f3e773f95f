"""Masks, crops, masked content and overlays of A1111's inpainting, on Pillow images.

Source: A1111 v1.10.1 ``modules/processing.py`` (StableDiffusionProcessingImg2Img.init,
create_binary_mask, apply_overlay, uncrop) and ``modules/masking.py``, restated in shared facts
`semantics.md` section 3.3. Masks are 0..255, 255 where the picture is made anew.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from types import ModuleType

import numpy as np
from PIL import Image, ImageFilter, ImageOps

from . import resize_ops
from .resize_ops import PLAIN, RESIZE_AND_FILL, Upscaler, resize_image

Box = tuple[int, int, int, int]
"""Left, top, right, bottom in pixels; right and bottom are the first outside."""

LATENT_UPSCALE = 3
"""The resize mode in which latents are resized instead of pixels."""

_ALPHA_THRESHOLD = 128

_FILL_BLURS = ((256, 1), (64, 1), (16, 2), (4, 4), (2, 2), (0, 1))
"""Radius of a blur, and how often its result is laid over what is there."""


@functools.cache
def _opencv() -> ModuleType:
    try:
        import cv2
    except ImportError as error:
        raise RuntimeError("inpainting needs OpenCV: pip install opencv-python-headless") from error
    return cv2


def binary_mask(mask: Image.Image, rounds: bool) -> Image.Image:
    """The mask (L) that a picture stands for: its alpha channel where some of it is transparent.

    An alpha channel becomes 0 or 255 (`rounds`); brightness is taken as it is.
    """
    if mask.mode != "RGBA" or mask.getextrema()[-1] == (255, 255):
        return mask.convert("L")
    alpha = mask.getchannel("A")
    return alpha.point(lambda level: 255 if level > _ALPHA_THRESHOLD else 0) if rounds else alpha


def inverted(mask: Image.Image) -> Image.Image:
    """The mask of everything that is not masked."""
    return ImageOps.invert(mask)


def blurred(mask: Image.Image, sigma_x: int, sigma_y: int) -> Image.Image:
    """A mask blurred across and then down by OpenCV's Gaussian; 0 does not blur."""
    levels = np.array(mask)
    for sigma, across in ((sigma_x, True), (sigma_y, False)):
        if sigma > 0:
            length = 2 * int(2.5 * sigma + 0.5) + 1
            kernel = (length, 1) if across else (1, length)
            levels = _opencv().GaussianBlur(levels, kernel, sigma)
    return Image.fromarray(levels)


def crop_box(mask: Image.Image, padding: int, width: int, height: int) -> Box | None:
    """The part of a picture that is inpainted at width x height: the mask's bounding box.

    It is padded, grown to the aspect of width x height and shifted back into the mask's picture.
    None for a mask without a pixel.
    """
    box = mask.getbbox()
    if box is None:
        return None
    if padding:
        left, top, right, bottom = box
        box = (
            max(left - padding, 0),
            max(top - padding, 0),
            min(right + padding, mask.width),
            min(bottom + padding, mask.height),
        )
    left, top, right, bottom = box
    own, wanted = (right - left) / (bottom - top), width / height
    if own > wanted:
        top, bottom = _grown(top, bottom, (right - left) / wanted, mask.height)
    else:
        left, right = _grown(left, right, (bottom - top) * wanted, mask.width)
    return left, top, right, bottom


def _grown(start: int, end: int, length: float, limit: int) -> tuple[int, int]:
    """A range grown to a length around its middle, within 0..limit as far as it can be."""
    more = int(length - (end - start))
    start -= more // 2
    end += more - more // 2
    if end >= limit:
        start, end = start - (end - limit), limit
    if start < 0:
        start, end = 0, end - start
    return start, min(end, limit)


def masked_out(image: Image.Image, mask: Image.Image) -> Image.Image:
    """A picture (RGBA with premultiplied alpha), transparent where its mask is white."""
    kept = Image.new("RGBa", image.size)
    kept.paste(image.convert("RGBA").convert("RGBa"), mask=ImageOps.invert(mask.convert("L")))
    return kept


def fill(image: Image.Image, mask: Image.Image) -> Image.Image:
    """Spread what lies around a mask into it, by laying ever finer blurs over each other."""
    kept = masked_out(image, mask)
    filled = Image.new("RGBA", image.size)
    for radius, repeats in _FILL_BLURS:
        layer = kept.filter(ImageFilter.GaussianBlur(radius)).convert("RGBA")
        for _ in range(repeats):
            filled.alpha_composite(layer)
    return filled.convert("RGB")


@dataclass(frozen=True)
class Overlay:
    """What is put back over the results.

    originals: the init pictures (RGBA), transparent where they are made anew; one for all results,
    or one each. masks: the overlay's mask (255 = made anew), likewise. sources: the pictures
    (RGB), whole. paste_to: the box of the originals that the results are, None for all of it.
    """

    originals: tuple[Image.Image, ...]
    masks: tuple[Image.Image, ...]
    sources: tuple[Image.Image, ...] = ()
    paste_to: Box | None = None

    def original(self, index: int) -> Image.Image:
        return self.originals[min(index, len(self.originals) - 1)]

    def source(self, index: int) -> Image.Image:
        return self.sources[min(index, len(self.sources) - 1)]

    def mask(self, index: int) -> Image.Image:
        return self.masks[min(index, len(self.masks) - 1)]


NOTHING = Overlay((), ())
"""The overlay of a request whose mask turned out to be empty."""


@dataclass(frozen=True)
class Prepared:
    """What an inpainting starts from.

    pixels: the pictures to be encoded. mask: which part of them is made anew, None for all.
    overlay: None where nothing is put back.
    """

    pixels: tuple[Image.Image, ...]
    mask: Image.Image | None
    overlay: Overlay | None


@dataclass(frozen=True)
class Settings:
    """The numbers of an inpainting.

    width, height: of the result in pixels. resize_mode: A1111's. only_masked: whether just the
    mask's surroundings are made anew, at full size. padding: around the mask's box, in pixels.
    fills: whether what lies around the mask is spread into it first.
    """

    width: int
    height: int
    resize_mode: int
    only_masked: bool
    padding: int
    fills: bool
    upscaler: Upscaler = PLAIN


def prepare(
    images: Sequence[Image.Image],
    mask: Image.Image,
    settings: Settings,
    latent_mask: Image.Image | None = None,
    before: Overlay = NOTHING,
) -> Prepared:
    """The pictures to be encoded, the mask at their size, and what is put back over the results.

    Args:
        images: RGB, brought to the result's size where the whole picture is made anew.
        mask: blurred, of its own size.
        latent_mask: what is filled where that is not `mask`, at the size of the pictures.
        before: of the picture before, where only the masked part of each is worked on by itself.
    """
    size = settings.width, settings.height
    box = None
    if settings.only_masked:
        box = crop_box(mask, settings.padding, *size)
        if box is None:
            resized = [_whole(image, settings) for image in images]
            return Prepared(tuple(resized), None, None)
        overlay_mask = before.masks[-1] if before.masks else mask
        image_mask = resize_image(mask.crop(box), *size, RESIZE_AND_FILL)
    else:
        image_mask = resize_image(mask, *size, settings.resize_mode)
        levels = np.array(image_mask).astype(np.float32) * 2
        overlay_mask = Image.fromarray(np.clip(levels, 0, 255).astype(np.uint8))
    pixels, originals = [], []
    for image in images:
        if overlay_mask.size != image.size:
            overlay_mask = resize_image(overlay_mask, *image.size, settings.resize_mode)
        originals.append(masked_out(image, overlay_mask).convert("RGBA"))
        if box is not None:
            image = resize_image(image.crop(box), *size, RESIZE_AND_FILL, settings.upscaler)
        pixels.append(fill(image, latent_mask or image_mask) if settings.fills else image)
    overlay = Overlay(tuple(originals), (overlay_mask,), tuple(images), box)
    return Prepared(tuple(pixels), image_mask.convert("L"), overlay)


def _whole(image: Image.Image, settings: Settings) -> Image.Image:
    """A picture of plain img2img, which an empty mask falls back to."""
    if settings.resize_mode == LATENT_UPSCALE:
        return image
    return resize_image(
        image, settings.width, settings.height, settings.resize_mode, settings.upscaler
    )


@dataclass(frozen=True)
class Area:
    """The part of a ControlNet unit's image that an inpainting of "only masked" makes anew.

    mask: of the inpainting. size: width and height that the part is brought to. resize_mode: by
    which the image comes to the mask's size first.
    """

    mask: Image.Image
    padding: int
    size: tuple[int, int]
    resize_mode: int

    def cut(self, channel: Image.Image) -> Image.Image:
        """The part of one channel (L); of all of it where the mask is empty."""
        box = crop_box(self.mask, self.padding, *self.size)
        fitted = resize_image(channel, *self.mask.size, self.resize_mode).convert("L")
        part = fitted if box is None else fitted.crop(box)
        return resize_image(part, *self.size, RESIZE_AND_FILL).convert("L")


def latent_mask(mask: Image.Image, width: int, height: int, rounds: bool) -> np.ndarray:
    """A mask as 0..1 for each latent cell, `[height, width]`, float32."""
    cells = mask.convert("RGB").resize((width, height))
    levels = np.asarray(cells, dtype=np.float32)[..., 0] / 255
    return np.around(levels) if rounds else levels


def uncrop(
    image: Image.Image, size: tuple[int, int], box: Box, upscaler: Upscaler = PLAIN
) -> Image.Image:
    """A result put where it was cut from, on a transparent canvas (RGBA)."""
    left, top, right, bottom = box
    canvas = Image.new("RGBA", size)
    part = resize_image(image, right - left, bottom - top, resize_ops.CROP_AND_RESIZE, upscaler)
    canvas.paste(part, (left, top))
    return canvas


@dataclass(frozen=True)
class Finished:
    """A result with what A1111 answers beside it.

    image: RGB. mask: of the overlay, RGB. composite: the result alone where it was made anew, RGBA.
    """

    image: Image.Image
    mask: Image.Image
    composite: Image.Image


def covered(
    image: Image.Image, overlay: Overlay, index: int, upscaler: Upscaler = PLAIN
) -> tuple[Image.Image, Image.Image]:
    """A result (RGB) under what is kept of its original, and the result alone where it belongs."""
    original = overlay.original(index)
    if overlay.paste_to is not None:
        image = uncrop(image, original.size, overlay.paste_to, upscaler)
    canvas = image.convert("RGBA")
    canvas.alpha_composite(original)
    return canvas.convert("RGB"), image


def put_back(
    image: Image.Image, overlay: Overlay, index: int, covers: bool, upscaler: Upscaler = PLAIN
) -> Finished:
    """A result under what is kept of its original.

    Args:
        covers: option overlay_inpaint; without it the result stays as it is, crop included.
    """
    result, made = image, image
    if covers:
        result, made = covered(image, overlay, index, upscaler)
    mask = overlay.mask(index)
    fitted = resize_image(mask, result.width, result.height, RESIZE_AND_FILL).convert("L")
    alone = Image.composite(
        made.convert("RGBA").convert("RGBa"), Image.new("RGBa", result.size), fitted
    )
    return Finished(result, mask.convert("RGB"), alone.convert("RGBA"))


def with_masks(
    overlay: Overlay, originals: Sequence[Image.Image], masks: Sequence[Image.Image]
) -> Overlay:
    """The overlay with other masks, one for each result, over the untouched originals."""
    kept = [
        masked_out(original, mask).convert("RGBA")
        for original, mask in zip(originals, masks, strict=True)
    ]
    return replace(overlay, originals=tuple(kept), masks=tuple(masks))
