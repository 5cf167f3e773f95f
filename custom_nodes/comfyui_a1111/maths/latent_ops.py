"""A1111's latent-space hires steps: interpolation and cropping of `[B, C, H, W]` latents."""

from __future__ import annotations

import torch
import torch.nn.functional as F

UPSCALE_MODES = ("nearest", "nearest-exact", "bilinear", "bicubic")
LATENT_CELL = 8
"""Pixels per latent cell, per side."""


def upscale_latent(
    samples: torch.Tensor, width: int, height: int, mode: str, antialias: bool
) -> torch.Tensor:
    """Interpolate to `height // 8` x `width // 8` cells (`width`, `height` in pixels).

    Linear in the samples, so ComfyUI's unscaled latents give the same as A1111's scaled ones.
    `antialias` only exists for bilinear and bicubic and is ignored for the others, none of which
    A1111 offers with it.
    """
    size = (height // LATENT_CELL, width // LATENT_CELL)
    smooth = antialias and mode in ("bilinear", "bicubic")
    return F.interpolate(samples, size=size, mode=mode, antialias=smooth)


def crop_latent(
    samples: torch.Tensor, left: int, top: int, right: int, bottom: int
) -> torch.Tensor:
    """Remove that many latent cells from each side.

    Raises ValueError when nothing would be left.
    """
    height, width = samples.shape[-2:]
    if left + right >= width or top + bottom >= height:
        raise ValueError(
            f"A1111LatentCrop: cannot remove {left}+{right} columns and {top}+{bottom} rows "
            f"from a latent of {width}x{height} cells"
        )
    return samples[..., top : height - bottom, left : width - right]


def sample_posterior(moments: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
    """Draw a latent from the VAE's posterior, given as `[B, 2C, H, W]` mean and log-variance.

    mean + exp(logvar / 2) * noise with logvar clamped to -30..20, as in A1111's ldm code.
    `noise` is `[B, C, H, W]`.
    """
    mean, logvar = moments.chunk(2, dim=1)
    return mean + torch.exp(0.5 * logvar.clamp(-30.0, 20.0)) * noise


def posterior_noise(shape: tuple[int, int, int, int], generator: torch.Generator) -> torch.Tensor:
    """The noise A1111's VAE encoder adds, `[B, C, H, W]` on the CPU, one draw per image.

    The encoder draws from torch's global CPU generator. In the hires pass that is in a known
    state: drawing the first pass's noise seeds it with the seed of the batch's last image, and
    nothing else draws from it (with `randn_source` NV it is not seeded). In img2img it is in
    whatever state the last request left.
    """
    batch, *image = shape
    return torch.cat([torch.randn((1, *image), generator=generator) for _ in range(batch)])
