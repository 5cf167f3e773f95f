"""Tiled Diffusion's noise inversion: the noise behind a picture, with new noise at its details.

Source: multidiffusion-upscaler-for-automatic1111 ``tile_methods/abstractdiffusion.py``
(find_noise_for_image_sigma_adjustment, sample_img2img) and ``tile_utils/utils.py``
(get_retouch_mask), restated. Latents are in the model's own scale.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .reversal import Denoise, Progress, UpwardSampler

_EPSILON = 0.01
"""Of the guided filter."""


def inverted(
    denoise: Denoise,
    latent: Tensor,
    sigmas: Tensor,
    retouched: Callable[[Tensor], tuple[Tensor, Tensor]],
    progress: Progress,
) -> Tensor:
    """Euler's method upwards, the result in unit variance.

    Args:
        sigmas: ascending from 0.
        retouched: see `Retouch`.
    """
    x = latent
    for step in range(1, len(sigmas)):
        low, high = sigmas[step - 1], sigmas[step]
        other, factor = retouched(high)
        shown = x * factor
        direction = (shown - denoise(shown, other)) / other
        x = x + direction * (high - low)
        progress(step - 1, x)
    return x / sigmas[-1]


@dataclass(frozen=True)
class Retouch:
    """Tells the model an earlier timestep than that of its noise.

    Attributes:
        sampling: the model's sampling.
        divisor: of the timestep; 1 tells the truth.
    """

    sampling: Any
    divisor: float

    def __call__(self, sigma: Tensor) -> tuple[Tensor, Tensor]:
        """The noise level to call the model at, and what x is multiplied by.

        So the network sees x as it is scaled for its own noise.
        """
        if self.divisor == 1:
            return sigma, torch.ones_like(sigma)
        told = self.sampling.timestep(sigma.view(1)).float() / self.divisor
        other = self.sampling.sigma(told).view(()).to(sigma)
        return other, ((other**2 + 1) / (sigma**2 + 1)) ** 0.5


@dataclass(frozen=True)
class InvertingSampler(UpwardSampler):
    """Walks upwards by `inverted`."""

    retouch: float

    def walk(
        self, model_wrap: Any, denoise: Denoise, latent: Tensor, sigmas: Tensor, progress: Progress
    ) -> Tensor:
        retouch = Retouch(model_wrap.inner_model.model_sampling, self.retouch)
        return inverted(denoise, latent, sigmas, retouch, progress)


def renoise_mask(
    gray: NDArray[np.uint8], kernel: int, strength: float, size: tuple[int, int]
) -> Tensor:
    """How much of the noise is drawn anew at every cell `[height, width]`, 0..1.

    Args:
        gray: the picture, `[H, W]`.
        size: height and width of the latent.
    """
    kept = torch.from_numpy(retouch_mask(gray, kernel))[None, None]
    resized = torch.nn.functional.interpolate(kept, size=size, mode="bilinear")[0, 0]
    return ((1 - resized) * strength).clamp(0, 1)


def retouch_mask(gray: NDArray[np.uint8], kernel: int) -> NDArray[np.float32]:
    """What a guided filter takes off a picture, 0..1; what it adds wraps around to near 1."""
    picture = gray.astype(np.float32) / 255
    mean = _blurred(picture, kernel)
    spread = _blurred(picture * picture, kernel) - mean * mean
    slope = spread / (spread + _EPSILON)
    changed = (slope * picture + (mean - slope * mean) - picture) * 255
    bytes_ = np.trunc(changed).astype(np.int64).astype(np.uint8)
    return bytes_.astype(np.float32) / 255


def _blurred(picture: NDArray[np.float32], kernel: int) -> NDArray[np.float32]:
    """OpenCV's box blur, whose borders reflect without their edge."""
    import scipy.ndimage

    found: NDArray[np.float32] = scipy.ndimage.uniform_filter(
        picture.astype(np.float64), size=kernel, mode="mirror"
    ).astype(np.float32)
    return found


def combined(found: Tensor, drawn: Tensor, mask: Tensor | None) -> Tensor:
    """Noise behind a picture, and drawn noise where the mask says so; in unit variance again."""
    if mask is None:
        return found
    mask = mask.to(drawn)
    return ((1 - mask) * found + mask * drawn) / (mask**2 + (1 - mask) ** 2) ** 0.5
