"""A picture's own noise, and sampling from that: img2img alternative test, noise inversion."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch

from ..maths.image_ops import to_pil
from ..maths.noise_inversion import InvertingSampler, combined, renoise_mask
from ..maths.reversal import ReversingSampler, mixed
from .inputs import flag, number, whole
from .sampling import NoiseObject

CATEGORY = "A1111/scripts"

_LEVEL = number(14.6146, 0.001, 100000.0)
"""A noise level."""

_FOUND = {"noise": ("NOISE",), "model": ("MODEL",), "latent": ("LATENT",), "found": ("LATENT",)}
"""Drawn noise, what a pass starts from, and what was found behind it."""


class A1111ReversingSampler:
    """Samples upwards: from a picture's latent to the noise that it could have come from.

    Its sigmas ascend from 0. `sigma_adjustment` is the script's.
    """

    CATEGORY = CATEGORY
    RETURN_TYPES = ("SAMPLER",)
    FUNCTION = "make"

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {"required": {"sigma_adjustment": flag()}}

    def make(self, sigma_adjustment: bool) -> tuple[ReversingSampler]:
        return (ReversingSampler(sigma_adjustment),)


class ReversedNoise(NoiseObject):
    """The noise that leads from an init latent to what was found behind it.

    found, start: in the model's scale. sigma_max: of the model.
    """

    def __init__(
        self,
        noise: NoiseObject,
        found: torch.Tensor,
        start: torch.Tensor,
        randomness: float,
        sigma_max: float,
    ) -> None:
        super().__init__(replace(noise.settings, multiplier=1.0, steps_repeat_start=True))
        self._found = found
        self._start = start
        self._randomness = randomness
        self._sigma_max = sigma_max

    def generate_noise(self, input_latent: dict[str, Any]) -> torch.Tensor:
        drawn = super().generate_noise(input_latent)
        return mixed(self._found, drawn, self._randomness) - self._start / self._sigma_max


class A1111ReversedNoise:
    """Noise for sampling a picture anew from what A1111ReversingSampler found behind it.

    `latent` is what the pass starts from, `found` what the reversing sampler answered for it;
    `randomness` (0 to 1) of the noise is `noise`, which the steps draw from the beginning.
    """

    CATEGORY = CATEGORY
    RETURN_TYPES = ("NOISE",)
    FUNCTION = "make"

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        share = number(0.0, 0.0, 1.0, 0.01)
        return {"required": {**_FOUND, "randomness": share, "sigma_max": _LEVEL}}

    def make(
        self,
        noise: NoiseObject,
        model: Any,
        latent: dict[str, Any],
        found: dict[str, Any],
        randomness: float,
        sigma_max: float,
    ) -> tuple[ReversedNoise]:
        behind, start = _in_scale(model, found), _in_scale(model, latent)
        return (ReversedNoise(noise, behind, start, randomness, sigma_max),)


class A1111InvertingSampler:
    """Samples upwards as Tiled Diffusion's noise inversion does; its sigmas ascend from 0.

    `retouch` divides the timestep that the model is told.
    """

    CATEGORY = CATEGORY
    RETURN_TYPES = ("SAMPLER",)
    FUNCTION = "make"

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {"required": {"retouch": number(1.0, 1.0, 100.0, 0.1)}}

    def make(self, retouch: float) -> tuple[InvertingSampler]:
        return (InvertingSampler(retouch),)


class InvertedNoise(NoiseObject):
    """The noise behind a picture, mixed with drawn noise at its details.

    found, start: in the model's scale. sigma: at which the pass' whole schedule begins.
    """

    def __init__(
        self,
        noise: NoiseObject,
        found: torch.Tensor,
        start: torch.Tensor,
        mask: torch.Tensor | None,
        sigma: float,
    ) -> None:
        super().__init__(noise.settings)
        self._inverse = found - start / sigma
        self._mask = mask

    def generate_noise(self, input_latent: dict[str, Any]) -> torch.Tensor:
        return combined(self._inverse, super().generate_noise(input_latent), self._mask)


class A1111InvertedNoise:
    """Noise for sampling a picture anew from what A1111InvertingSampler found behind it.

    Where the picture has details, as a guided filter of `kernel` pixels tells, `strength` of the
    noise is `noise`; 0 takes none of it.
    """

    CATEGORY = CATEGORY
    RETURN_TYPES = ("NOISE",)
    FUNCTION = "make"

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {
            "required": {
                **_FOUND,
                "picture": ("IMAGE",),
                "strength": number(1.0, 0.0, 2.0, 0.01),
                "kernel": whole(64, 2, 512),
                "sigma": _LEVEL,
            }
        }

    def make(
        self,
        noise: NoiseObject,
        model: Any,
        latent: dict[str, Any],
        found: dict[str, Any],
        picture: Any,
        strength: float,
        kernel: int,
        sigma: float,
    ) -> tuple[InvertedNoise]:
        behind, start = _in_scale(model, found), _in_scale(model, latent)
        mask = None
        if strength > 0:
            gray = np.asarray(to_pil(picture[:1])[0].convert("L"))
            mask = renoise_mask(gray, kernel, strength, (start.shape[-2], start.shape[-1]))
        return (InvertedNoise(noise, behind, start, mask, sigma),)


def _in_scale(model: Any, latent: dict[str, Any]) -> torch.Tensor:
    """A latent in the model's own scale, on the CPU in single precision."""
    scaled: torch.Tensor = model.model.process_latent_in(latent["samples"])
    return scaled.cpu().float()
