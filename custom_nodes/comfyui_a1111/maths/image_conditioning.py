"""The picture that inpainting and editing checkpoints read beside the latent.

Source: A1111 v1.10.1 ``modules/processing.py`` (txt2img_image_conditioning,
inpainting_image_conditioning, edit_image_conditioning) and ``sd_samplers_cfg_denoiser.py``.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

KINDS = ("inpaint", "edit")
"""A mask and the picture without what is masked (9 channels in all), or the picture (8)."""

SOURCES = ("pixels", "samples", "blank")
"""What the picture is: pixels, a latent decoded, or an even grey."""

GREY = 0.5


def without_masked(pixels: Tensor, mask: Tensor | None, weight: float) -> Tensor:
    """Pixels `[B, H, W, C]` in 0..1 whose masked part is pulled towards grey.

    Args:
        mask: `[1, H, W]`, 1 where the picture is made anew; None masks all of it.
        weight: 0 leaves the picture as it is, 1 leaves nothing of what is masked.
    """
    signed = pixels * 2 - 1
    levels = torch.ones_like(signed[..., :1]) if mask is None else mask[..., None].to(signed)
    return (torch.lerp(signed, signed * (1 - levels), weight) + 1) / 2


def as_signed(pixels: Tensor) -> Tensor:
    """Pixels in 0..1 read as if they were A1111's -1..1, back in 0..1.

    So A1111 takes the enlarged picture of hires fix.
    """
    return (pixels + 1) / 2


def latent_mask(mask: Tensor | None, height: int, width: int) -> Tensor:
    """The mask `[1, 1, height, width]` at a latent's size, by its nearest pixels; 1 without one."""
    if mask is None:
        return torch.ones((1, 1, height, width))
    return F.interpolate(mask[:1, None].float(), size=(height, width))


def channels(latent: Tensor, mask: Tensor | None) -> Tensor:
    """What is joined to the latent: the mask, if there is one, before the picture's latent."""
    if mask is None:
        return latent
    return torch.cat([mask.to(latent).expand(latent.shape[0], -1, -1, -1), latent], dim=1)


def image_guidance(with_image: Tensor, without: Tensor, scale: float) -> Tensor:
    """What guidance by the picture adds to guidance by the text around `with_image`.

    A1111's without + cfg * (text - with_image) + scale * (with_image - without) is
    with_image + cfg * (text - with_image) and this.
    """
    return (scale - 1) * (with_image - without)
