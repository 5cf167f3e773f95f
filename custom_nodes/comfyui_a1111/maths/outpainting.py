"""The noise that "Outpainting mk2" starts from: shaped like the spectrum of the picture around it.

Source: A1111 v1.10.1 ``scripts/outpainting_mk_2.py``, restated. Pictures are float64 in 0..1,
`[height, width, 3]`; masks `[height, width]`, 1 where a picture is made anew.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Array = NDArray[Any]

_MASKED, _KEPT = 1e-6, 1e-3
"""Above the first a pixel is made anew, below the second it counts as the picture's own."""

_SEED = 0
"""The noise is the same for every picture; only what shapes it differs."""


def noised(image: Image.Image, mask: Image.Image, falloff: float, colors: float) -> Image.Image:
    """A picture (RGB) whose mask (L, 255 = made anew) is filled with noise shaped like the rest.

    Args:
        falloff: power of the picture's spectrum; lower has more detail.
        colors: 0..1, how far the channels' noise differs.
    """
    source = np.asarray(image) / 255.0
    shown = matched_noise(source, np.asarray(mask) / 255.0, falloff, colors)
    return Image.fromarray(np.clip(shown * 255.0, 0.0, 255.0).astype(np.uint8))


def matched_noise(source: Array, mask: Array, falloff: float, colors: float) -> Array:
    """The picture with noise of its own spectrum and histogram where the mask is."""
    planes = np.repeat(mask[..., None], 3, axis=2)
    with np.errstate(divide="ignore", invalid="ignore"):
        noise = _shaped(source, planes, falloff, _plain_noise(source.shape, colors))
        noise -= np.min(noise)
        noise /= np.max(noise)
    noise = np.nan_to_num(noise)
    made, kept = mask > _MASKED, mask < _KEPT
    if made.any() and kept.any():
        for channel in range(3):
            noise[made, channel] = match_histogram(noise[made, channel], source[kept, channel])
    return np.clip(source * (1.0 - planes) + noise * planes, 0.0, 1.0)


def _shaped(source: Array, planes: Array, falloff: float, noise: Array) -> Array:
    """Noise whose spectrum is the picture's, the masked part of which counts as its mean."""
    windowed = source * (1.0 - planes)
    windowed /= np.max(windowed)
    windowed += np.average(source) * planes
    spectrum = _forward(windowed)
    strength = np.absolute(spectrum)
    power = np.absolute(_forward(noise)) ** 2
    return np.real(_backward(power * strength**falloff * (spectrum / strength)))


def _plain_noise(shape: tuple[int, ...], colors: float) -> Array:
    """Even noise, its channels drawn together, its high frequencies damped."""
    noise = np.random.default_rng(_SEED).random(shape)
    grey = np.sum(noise, axis=2) / 3.0
    noise *= colors
    noise += (1.0 - colors) * grey[..., None]
    window = _window(shape[0], shape[1])[..., None]
    return np.real(_backward(_forward(noise) * window))


def _window(height: int, width: int) -> Array:
    """1 in the middle of the spectrum, falling off by the square of the distance."""
    shorter = min(height, width)
    down = (np.arange(height) / height * 2.0 - 1.0) * (height / shorter)
    across = (np.arange(width) / width * 2.0 - 1.0) * (width / shorter)
    window: Array = 1 / ((down[:, None] ** 2 + 1.0) * (across[None, :] ** 2 + 1.0))
    return window


def _forward(planes: Array) -> Array:
    """The spectrum of each channel, its middle the mean."""
    shifted = np.fft.fftshift(planes, axes=(0, 1))
    return np.fft.ifftshift(np.fft.fft2(shifted, axes=(0, 1), norm="ortho"), axes=(0, 1))


def _backward(spectra: Array) -> Array:
    shifted = np.fft.fftshift(spectra, axes=(0, 1))
    return np.fft.ifftshift(np.fft.ifft2(shifted, axes=(0, 1), norm="ortho"), axes=(0, 1))


def match_histogram(levels: Array, wanted: Array) -> Array:
    """Numbers mapped so that their cumulative shares are those of `wanted`, as scikit-image's."""
    _, places, counts = np.unique(levels, return_inverse=True, return_counts=True)
    values, wanted_counts = np.unique(wanted, return_counts=True)
    shares = np.cumsum(counts) / levels.size
    wanted_shares = np.cumsum(wanted_counts) / wanted.size
    matched: Array = np.interp(shares, wanted_shares, values)[places.reshape(-1)]
    return matched
