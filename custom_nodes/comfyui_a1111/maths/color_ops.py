"""A1111's colour correction: the result gets the colours of the picture it was made from.

Source: A1111 v1.10.1 ``modules/processing.py`` (setup_color_correction, apply_color_correction):
scikit-image's histogram matching of each LAB channel, then blendmodes' luminosity mode.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .inpaint import _opencv

_LUMINANCE = np.array([0.299, 0.587, 0.114])

Array = NDArray[Any]


def correct(image: Image.Image, source: Image.Image) -> Image.Image:
    """The picture (RGB) with the source's colours and its own luminosity."""
    cv2 = _opencv()
    wanted = cv2.cvtColor(np.asarray(source), cv2.COLOR_RGB2LAB)
    own = cv2.cvtColor(np.asarray(image), cv2.COLOR_RGB2LAB)
    channels = [match_histogram(own[..., k], wanted[..., k]) for k in range(3)]
    colored = cv2.cvtColor(np.stack(channels, axis=-1), cv2.COLOR_LAB2RGB)
    blended = with_luminosity(colored / 255, np.asarray(image) / 255)
    return Image.fromarray((np.clip(blended, 0, 1) * 255).astype(np.uint8))


def match_histogram(levels: Array, wanted: Array) -> Array:
    """Levels (uint8) mapped so that their cumulative shares are those of `wanted`, cut to uint8."""
    counts = np.bincount(levels.reshape(-1))
    wanted_counts = np.bincount(wanted.reshape(-1))
    values = np.nonzero(wanted_counts)[0]
    shares = np.cumsum(counts) / levels.size
    wanted_shares = np.cumsum(wanted_counts[values]) / wanted.size
    return np.interp(shares, wanted_shares, values)[levels].astype(np.uint8)


def with_luminosity(colors: Array, other: Array) -> Array:
    """Colours `[H, W, 3]` in 0..1 with the other picture's luminosity, pulled back into range."""
    shifted = colors + ((other - colors) @ _LUMINANCE)[..., None]
    luminosity = (shifted @ _LUMINANCE)[..., None]
    low, high = shifted.min(axis=2, keepdims=True), shifted.max(axis=2, keepdims=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        raised = luminosity + (shifted - luminosity) * luminosity / (luminosity - low)
        shifted = np.where(low < 0, raised, shifted)
        lowered = luminosity + (shifted - luminosity) * (1 - luminosity) / (high - luminosity)
    return np.where(high > 1, lowered, shifted)
