"""What the passes of a plan start from: noise, an enlarged picture, pictures of the request."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from translator.geometry import Crop
from translator.models.families import PictureKind
from translator.models.names import ModelFile
from translator.request.images import ImageUpload


@dataclass(frozen=True)
class LatentUpscale:
    """Enlarging the latent by interpolation."""

    mode: str
    antialias: bool


@dataclass(frozen=True)
class ImageUpscale:
    """Enlarging the decoded picture.

    Attributes:
        method: ``lanczos`` or ``nearest``: Pillow's, alone or after the model.
        model: the upscaler's file, or None.
        tile, tile_overlap: the model's tiles in pixels; tile 0 is one piece.
        tile_options: the A1111 options that say so.
    """

    method: str
    model: ModelFile | None
    tile: int = 0
    tile_overlap: int = 0
    tile_options: tuple[str, str] = ("ESRGAN_tile", "ESRGAN_tile_overlap")


@dataclass(frozen=True)
class EmptyLatent:
    """A pass starts from noise alone."""


@dataclass(frozen=True)
class Enlarged:
    """A pass starts from the pass before it, enlarged.

    Attributes:
        upscale: how it is enlarged.
        source: its size in pixels, multiples of 8.
        target: to which size in pixels, before `crop`.
        crop: what is cut from the latent then.
    """

    upscale: LatentUpscale | ImageUpscale
    source: tuple[int, int]
    target: tuple[int, int]
    crop: Crop


@dataclass(frozen=True)
class Resizing:
    """How a picture comes to a pass' size.

    Attributes:
        mode: A1111's resize_mode: 0 stretches, 1 crops, 3 resizes the latent, any other fills.
        upscaler: what enlarges, or None for one Lanczos resize.
    """

    mode: int
    upscaler: ImageUpscale | None

    @property
    def in_latent_space(self) -> bool:
        """Whether the latent is resized, not the picture."""
        return self.mode == LATENT_UPSCALE_MODE


LATENT_UPSCALE_MODE = 3
"""The resize_mode that resizes the latent."""


MaskedContent = Literal["fill", "original", "latent noise", "latent nothing"]


@dataclass(frozen=True)
class SoftInpainting:
    """A1111's Soft Inpainting: how a masked part and its surroundings go over into each other.

    Numbers as the request has them, since the infotext shows them so.

    Attributes:
        bias: power of the noise level at which the original counts.
        preservation: factor of that.
        contrast_boost: power in which the lengths of latent vectors are mixed.
        mask_influence: 0..1, how far the mask decides what is put back.
        threshold: the distance in latent space at which the original covers by half.
        contrast: of that transition.
    """

    bias: float
    preservation: float
    contrast_boost: float
    mask_influence: float
    threshold: float
    contrast: float


@dataclass(frozen=True)
class Inpainting:
    """Which part of a picture is made anew, and from what.

    Attributes:
        mask: the picture of the mask.
        rounds: whether the latent's mask is 0 or 1 only.
        inverts: whether what is not masked is made anew.
        blur: sigma across and down, in pixels.
        only_masked: whether only the mask's surroundings are cut out and made anew.
        padding: around the mask's bounding box, in pixels.
        latent_mask: the picture of the mask that is sampled and filled, where it is not `mask`.
        content: what the mask starts from.
        noise_seeds: of latent noise, one an image of the first batch.
        soft: Soft Inpainting, or None.
    """

    mask: ImageUpload
    rounds: bool
    inverts: bool
    blur: tuple[int, int]
    only_masked: bool
    padding: int
    content: MaskedContent
    noise_seeds: tuple[int, ...]
    soft: SoftInpainting | None
    latent_mask: ImageUpload | None = None


@dataclass(frozen=True)
class Encoded:
    """A pass starts from pictures of the request.

    Attributes:
        images: one for all of a batch, or one an image.
        background: colour under transparent parts, as ``#rrggbb``.
        resizing: how they come to the pass' size.
        inpainting: None makes all of them anew.
        posterior_seed: with which the VAE's posterior is sampled; -1 takes its mean, where A1111
            draws without a seed.
    """

    images: tuple[ImageUpload, ...]
    background: str
    resizing: Resizing
    inpainting: Inpainting | None
    posterior_seed: int

    @property
    def uploads(self) -> tuple[ImageUpload, ...]:
        """The pictures, and the mask's."""
        return (*self.images, *((self.inpainting.mask,) if self.inpainting else ()))


@dataclass(frozen=True)
class ImageConditioning:
    """The picture that an inpainting or editing checkpoint reads beside the latent.

    Attributes:
        kind: ``inpaint`` (a mask, and the picture without what is masked) or ``edit`` (a picture).
        mask_weight: option inpainting_mask_weight: 1 takes what is masked out, 0 leaves it.
        rounds: whether the mask is 0 or 1 only.
        image_cfg_scale: guidance by the picture of an editing checkpoint; None is by text alone.
    """

    kind: PictureKind
    mask_weight: float
    rounds: bool
    image_cfg_scale: float | None


@dataclass(frozen=True)
class OfRegion:
    """A pass starts from a region of a finished picture, found while the graph runs.

    Attributes:
        soft: Soft Inpainting, or None.
    """

    soft: SoftInpainting | None = None


Start = EmptyLatent | Enlarged | Encoded | OfRegion
"""What a pass starts from."""
