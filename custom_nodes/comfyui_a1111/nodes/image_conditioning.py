"""The node of inpainting and editing checkpoints: what they read beside the latent."""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from typing import Any

import torch

from ..maths import image_conditioning
from .image import encode_posterior
from .inputs import InputTypes, flag, number, whole


class A1111ImageConditioning:
    """What A1111Guider joins to the latent for an inpainting or editing checkpoint.

    `samples` is the latent that is sampled; it gives the mask its size. `source` is what the
    picture is: `pixels`, `samples` decoded, or an even grey of `width` x `height`. For inpainting
    the part of it under `mask` (all of it without one) is pulled towards grey by `mask_weight`;
    `round` makes the mask 0 or 1. `signed` reads pixels in 0..1 as if they were A1111's -1..1,
    which is what happens to the picture of hires fix. `posterior_seed` and `drawn` are the inputs
    `seed` and `drawn` of A1111VAEEncode.
    """

    CATEGORY = "A1111/img2img"
    RETURN_TYPES = ("LATENT",)
    RETURN_NAMES = ("image_conditioning",)
    FUNCTION = "make"

    @classmethod
    def INPUT_TYPES(cls) -> InputTypes:
        side = whole(512, 8)
        return {
            "required": {
                "vae": ("VAE",),
                "samples": ("LATENT",),
                "kind": (list(image_conditioning.KINDS),),
                "source": (list(image_conditioning.SOURCES),),
                "width": side,
                "height": side,
                "mask_weight": number(1.0, -100.0, 100.0, 0.01),
                "round": flag(True),
                "signed": flag(),
                "posterior_seed": whole(-1, -1, 2**64 - 1),
                "drawn": ("STRING", {"default": "[]"}),
            },
            "optional": {"pixels": ("IMAGE",), "mask": ("MASK",)},
        }

    def make(
        self,
        vae: Any,
        samples: dict[str, Any],
        kind: str,
        source: str,
        width: int,
        height: int,
        mask_weight: float,
        round: bool,
        signed: bool,
        posterior_seed: int,
        drawn: str,
        pixels: torch.Tensor | None = None,
        mask: torch.Tensor | None = None,
    ) -> tuple[dict[str, Any]]:
        latent = samples["samples"]
        picture = _picture(vae, latent, source, width, height, pixels)
        picture = image_conditioning.as_signed(picture) if signed else picture
        if kind == "edit":
            return ({"samples": encode_posterior(vae, picture, -1)},)
        if mask is not None and round:
            mask = torch.round(mask)
        if source != "blank":
            picture = image_conditioning.without_masked(picture, mask, mask_weight)
        encoded = encode_posterior(vae, picture, posterior_seed, json.loads(drawn))
        cells = image_conditioning.latent_mask(mask, *latent.shape[-2:])
        return ({"samples": encoded, "noise_mask": cells},)


def for_region(
    guider: Any,
    vae: Any,
    latent: torch.Tensor,
    pixels: torch.Tensor,
    mask: torch.Tensor,
    mask_weight: float,
    *,
    posterior_seed: int,
    drawn: Sequence[Sequence[int]],
) -> Any:
    """The guider with what its model reads beside the latent of an inpainting pass; as it is else.

    Args:
        pixels, mask: `[1, H, W, 3]` and `[1, H, W]`, of the pass.
        posterior_seed: with which an inpainting model's picture is sampled from its posterior; -1
            takes the mean.
        drawn: shapes of what was drawn from that seed before, the latent among them.
    """
    kind = {5: "inpaint", 4: "edit"}.get(guider.beside)
    if kind is None:
        return guider
    (image,) = A1111ImageConditioning().make(
        vae=vae,
        samples={"samples": latent},
        kind=kind,
        source="pixels",
        width=pixels.shape[2],
        height=pixels.shape[1],
        mask_weight=mask_weight,
        round=True,
        signed=False,
        posterior_seed=posterior_seed,
        drawn=json.dumps(drawn),
        pixels=pixels,
        mask=mask,
    )
    guider = copy.copy(guider)
    guider.set_image(image)
    return guider


def _picture(
    vae: Any,
    latent: torch.Tensor,
    source: str,
    width: int,
    height: int,
    pixels: torch.Tensor | None,
) -> torch.Tensor:
    """The picture `[B, H, W, C]` in 0..1; a decoded one may go beyond, as in A1111."""
    if source == "blank":
        grey = image_conditioning.GREY
        return torch.full((latent.shape[0], height, width, 3), grey)
    if source == "samples":
        whole = copy.copy(vae)
        whole.process_output = lambda image: (image + 1) / 2
        decoded: torch.Tensor = whole.decode(latent)
        return decoded
    if pixels is None:
        raise ValueError("A1111ImageConditioning: source pixels needs pixels")
    return pixels
