"""Stage: what a pass' checkpoint reads beside the latent is made of, as both targets take it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from translator.comfy.graph import Image, Latent, Mask, Vae
from translator.plan.starts import ImageConditioning
from translator.plan.values import SamplingPass

LATENT_CHANNELS = 4

Shape = tuple[int, ...]
"""Of a tensor that is drawn; of a latent: batch, channels, height and width."""


@dataclass(frozen=True)
class PictureBeside:
    """The picture that an inpainting or editing checkpoint reads beside the latent.

    Attributes:
        settings: how it is read.
        latent: what is sampled.
        vae: what encodes the picture.
        source: what the picture is: `pixels`, the latent decoded, or an even grey.
        size: of the grey, in pixels.
        pixels, mask: the picture, and what of it is made anew (None: all of it).
        signed: whether A1111 takes its 0..1 for -1..1.
        posterior_seed: with which its posterior is sampled; -1 takes its mean.
        drawn: what was drawn from that seed before.
    """

    settings: ImageConditioning
    latent: Latent
    vae: Vae
    source: Literal["pixels", "samples", "blank"]
    size: tuple[int, int]
    pixels: Image | None = None
    mask: Mask | None = None
    signed: bool = False
    posterior_seed: int = -1
    drawn: tuple[Shape, ...] = ()


def latent_shape(size: tuple[int, int], batch_size: int) -> Shape:
    """A latent's shape for a size in pixels."""
    return batch_size, LATENT_CHANNELS, size[1] // 8, size[0] // 8


def drawn_by(passes: Sequence[SamplingPass], batch_size: int) -> tuple[Shape, ...]:
    """What passes from noise drew from torch's generator to encode what they read."""
    return tuple(
        latent_shape(item.size, batch_size)
        for item in passes
        if item.image_conditioning is not None and item.image_conditioning.kind == "inpaint"
    )
