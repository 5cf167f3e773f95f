"""A1111's ControlNet preprocessors and post-processing that need no model, on arrays.

Source of the rules: sd-webui-controlnet v1.1.455. Images are `[H, W, 3]` uint8, channels red,
green, blue. Most of them need OpenCV, as they do in the extension.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from . import controlnet_ops

Array = NDArray[Any]

_SHUFFLE_CELL = 256
"""Pixels between the random points of the shuffle flow."""

_KEPT_BELOW_RATE = 1.1
"""tile_resample leaves the image alone below this rate."""

_BLACK_UP_TO, _WHITE_FROM = 5, 250
"""A mask this dark or this bright everywhere is no drawing."""

RECOLOR_CHANNELS: Mapping[str, tuple[str, int]] = {
    "luminance": ("LAB", 0),
    "intensity": ("HSV", 2),
}
"""Way of recolouring -> OpenCV's colour space, and the channel of it that is kept."""


@functools.cache
def _opencv() -> ModuleType:
    try:
        import cv2
    except ImportError as error:
        raise RuntimeError(
            "this ControlNet module needs OpenCV: pip install opencv-python-headless"
        ) from error
    return cv2


@dataclass(frozen=True)
class Settings:
    """A unit's values: short side in pixels, both sliders, seed of numpy's old generator."""

    resolution: int
    threshold: float
    seed: int
    second_threshold: float = 0.0


def threshold(image: Array, settings: Settings) -> Array:
    """White where the darkest channel is above the threshold (0..255), else black."""
    scaled = controlnet_ops.scale_short_side(image, settings.resolution)
    bright = scaled.min(axis=2) > settings.threshold
    return np.where(bright[..., None], 255, 0).astype(np.uint8).repeat(3, axis=2)


def blur_gaussian(image: Array, settings: Settings) -> Array:
    """Blur with a sigma in pixels of the scaled image."""
    scaled = controlnet_ops.scale_short_side(image, settings.resolution)
    return np.asarray(_opencv().GaussianBlur(scaled, (0, 0), settings.threshold))


def invert(image: Array, settings: Settings) -> Array:
    """The negative, in whole levels."""
    return np.asarray(255 - image)


def _on_padded(image: Array, settings: Settings, work: Callable[[Array], Array]) -> Array:
    """What a preprocessor makes of the scaled image, padded while it works."""
    scaled = controlnet_ops.scale_short_side(image, settings.resolution)
    height, width = scaled.shape[:2]
    made = work(controlnet_ops.pad_to_multiple(scaled))[:height, :width]
    return np.atleast_3d(made).repeat(3 if made.ndim == 2 else 1, axis=2)


def canny(image: Array, settings: Settings) -> Array:
    """Edges by hysteresis: from the second threshold up they start, from the first they go on."""
    low, high = settings.threshold, settings.second_threshold
    return _on_padded(image, settings, lambda padded: _opencv().Canny(padded, low, high))


def scribble_xdog(image: Array, settings: Settings) -> Array:
    """White where the image is darker than its surroundings by half the threshold."""

    def lines(padded: Array) -> Array:
        near, far = (_blurred(padded, sigma) for sigma in (0.5, 5.0))
        lighter = (255 - (far - near).min(axis=2)).clip(0, 255).astype(np.uint8)
        darkness = 2 * (255 - lighter.astype(np.int32))
        # The extension multiplies in 8 bits: 128 counts as 0.
        return np.where(darkness % 256 > settings.threshold, 255, 0).astype(np.uint8)

    return _on_padded(image, settings, lines)


def lineart_standard(image: Array, settings: Settings) -> Array:
    """How much darker a pixel is than its surroundings, brightened by the median of such pixels."""

    return _on_padded(image, settings, _lines)


def _lines(padded: Array) -> Array:
    darker = (_blurred(padded, 6.0) - padded).min(axis=2).clip(0, 255)
    marked = darker[darker > 8]
    # The median of nothing is not a number, and max() then keeps 16.
    level = max(16.0, float(np.median(marked))) if marked.size else 16.0
    return (darker / level * 127).clip(0, 255).astype(np.uint8)


_ANYLINE_LEVEL = 1
_ANYLINE_LEAST = 12
"""Pixels of the smallest patch that is kept: the extension counts 36 in three channels."""


def anyline(image: Array, edges: Array, settings: Settings) -> Array:
    """softedge_anyline: the edges of its network with what the extension lays over them.

    It means to lay the drawing of lineart_standard over them, but looks for levels from 0 to 1 in a
    picture whose levels go to 255: only patches of level 1 are left, and become 1 in the map.

    Args:
        edges: `[H, W, 3]` of the network, at the size of the scaled image without padding.
    """
    import scipy.ndimage

    def patches(padded: Array) -> Array:
        faint = _lines(padded) == _ANYLINE_LEVEL
        labels, count = scipy.ndimage.label(faint)
        sizes = np.bincount(labels.ravel(), minlength=count + 1)
        return (faint & (sizes[labels] >= _ANYLINE_LEAST)).astype(np.uint8)

    kept = _on_padded(image, settings, patches).astype(bool)
    return np.where(kept, np.uint8(_ANYLINE_LEVEL), edges)


def _blurred(image: Array, sigma: float) -> Array:
    return np.asarray(_opencv().GaussianBlur(image.astype(np.float32), (0, 0), sigma))


def scribble_of_edges(image: Array, settings: Settings) -> Array:
    """Soft edges -> scribble: thinned along the ridges of the blurred edges, then thickened."""
    cv2 = _opencv()
    ridges = controlnet_ops.suppress_non_maxima(_blurred(image[..., 0], 3.0))
    lines = np.where(ridges > 127, 255, 0).astype(np.uint8)
    thick = np.asarray(cv2.GaussianBlur(lines, (0, 0), 3.0))
    return np.where(thick > 4, 255, 0).astype(np.uint8)[..., None].repeat(3, axis=2)


def shuffle(image: Array, settings: Settings) -> Array:
    """Pull the picture about along a smooth random flow."""
    scaled = controlnet_ops.scale_short_side(image, settings.resolution)
    height, width = scaled.shape[:2]
    random = np.random.RandomState(settings.seed)
    across = _noise_disk(height, width, random) * float(width - 1)
    down = _noise_disk(height, width, random) * float(height - 1)
    flow = np.stack([across, down], axis=2).astype(np.float32)
    cv2 = _opencv()
    return np.asarray(cv2.remap(scaled, flow, None, cv2.INTER_LINEAR))


def _noise_disk(height: int, width: int, random: np.random.RandomState) -> Array:
    """Smooth noise `[height, width]` from 0 to 1."""
    cell = _SHUFFLE_CELL
    points = random.uniform(low=0, high=1, size=(height // cell + 2, width // cell + 2, 1))
    size = width + 2 * cell, height + 2 * cell
    cv2 = _opencv()
    smooth = cv2.resize(points, size, interpolation=cv2.INTER_CUBIC)
    noise = np.asarray(smooth)[cell : cell + height, cell : cell + width]
    noise = noise - noise.min()
    return np.asarray(noise / noise.max())


def tile_resample(image: Array, settings: Settings) -> Array:
    """Make the picture smaller by a rate of 1.1 or more."""
    rate = settings.threshold
    if rate < _KEPT_BELOW_RATE:
        return image
    height, width = image.shape[:2]
    return controlnet_ops.resample(image, int(width / rate), int(height / rate), "area")


def recolor_luminance(image: Array, settings: Settings) -> Array:
    """LAB lightness to the power of gamma; A1111 reads red as blue here."""
    cv2 = _opencv()
    return _gamma(cv2.cvtColor(image, cv2.COLOR_BGR2LAB)[..., 0], settings.threshold)


def recolor_intensity(image: Array, settings: Settings) -> Array:
    """HSV value to the power of gamma."""
    cv2 = _opencv()
    return _gamma(cv2.cvtColor(image, cv2.COLOR_BGR2HSV)[..., 2], settings.threshold)


def _gamma(channel: Array, gamma: float) -> Array:
    scaled = (channel.astype(np.float32) / 255.0) ** gamma
    levels = (scaled * 255.0).clip(0, 255).astype(np.uint8)
    return levels[..., None].repeat(3, axis=2)


_ANIME_FACE_SIDE = 512
"""Pixels that anime_face_segment's network sees the short side at."""


def anime_face_input(image: Array, settings: Settings) -> Array:
    """What anime_face_segment shows its network: scaled and padded, then 512 pixels short."""
    scaled = controlnet_ops.scale_short_side(image, settings.resolution)
    padded = controlnet_ops.pad_to_multiple(scaled)
    height, width = padded.shape[:2]
    short, long = sorted((height, width))
    if short == _ANIME_FACE_SIDE:
        return padded
    longer = int(_ANIME_FACE_SIDE * long / short)
    size = (_ANIME_FACE_SIDE, longer) if width <= height else (longer, _ANIME_FACE_SIDE)
    return np.asarray(Image.fromarray(padded).resize(size, Image.Resampling.BICUBIC))


MODULES: Mapping[str, Callable[[Array, Settings], Array]] = {
    "threshold": threshold,
    "invert": invert,
    "canny": canny,
    "scribble_xdog": scribble_xdog,
    "lineart_standard": lineart_standard,
    "scribble_of_edges": scribble_of_edges,
    "blur_gaussian": blur_gaussian,
    "shuffle": shuffle,
    "tile_resample": tile_resample,
    "recolor_luminance": recolor_luminance,
    "recolor_intensity": recolor_intensity,
    "anime_face_input": anime_face_input,
}


def on_white(colours: Array, alpha: Array) -> Array:
    """Transparent colours laid on white, cut to whole levels as the extension cuts them.

    Args:
        colours: `[H, W, 3]` uint8.
        alpha: `[H, W]` uint8, 255 where the colours cover.
    """
    cover = alpha[..., None].astype(np.float32) / 255.0
    mixed = colours.astype(np.float32) * cover + 255.0 * (1.0 - cover)
    return np.asarray(mixed.clip(0, 255).astype(np.uint8))


def is_drawing(mask: Array) -> bool:
    """Whether a mask `[H, W]` uint8 is a scribble that stands for the image itself."""
    return not (bool((mask <= _BLACK_UP_TO).all()) or bool((mask >= _WHITE_FROM).all()))


def recolor(picture: Array, kept: Array, channel: str) -> Array:
    """Put the map's lightness into a finished picture.

    Args:
        picture: `[H, W, 3]` float 0..1.
        kept: `[H, W]` uint8, the first channel of the fitted map.
        channel: a key of RECOLOR_CHANNELS.
    """
    space, index = RECOLOR_CHANNELS[channel]
    cv2 = _opencv()
    levels = (picture * 255).clip(0, 255).astype(np.uint8)
    converted = cv2.cvtColor(levels, getattr(cv2, f"COLOR_RGB2{space}"))
    converted[..., index] = kept
    back = cv2.cvtColor(converted, getattr(cv2, f"COLOR_{space}2RGB"))
    return np.asarray(back).astype(np.float32) / 255.0


def paste_outside(picture: Array, source: Array, mask: Array, width: int) -> Array:
    """inpaint_only's last step: the source again, outside of the grown and softened mask.

    Args:
        picture, source: `[H, W, 3]` float 0..1.
        mask: `[H, W]` float, 1 where it was made anew.
        width: pixels by which the mask grows and is then averaged.
    """
    if width > 0:
        cv2 = _opencv()
        grown = cv2.dilate(mask.astype(np.float32), np.ones((width, width), dtype=np.uint8))
        mask = np.asarray(cv2.blur(grown, (width, width)))
    soft = mask[..., None]
    return np.clip(soft * np.clip(picture, 0, 1) + (1 - soft) * source, 0, 1)
