"""Nodes of "img2img alternative test": a picture's own noise, and sampling from that."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch

from ..maths.reversal import ReversingSampler, mixed
from .sampling import NoiseObject

CATEGORY = "A1111/scripts"


class A1111ReversingSampler:
    """Samples upwards: from a picture's latent to the noise that it could have come from.

    Its sigmas ascend from 0. `sigma_adjustment` is the script's.
    """

    CATEGORY = CATEGORY
    RETURN_TYPES = ("SAMPLER",)
    FUNCTION = "make"

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {"required": {"sigma_adjustment": ("BOOLEAN", {"default": False})}}

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
        share = {"default": 0.0, "min": 0.0, "max": 1.0, "step": 0.01, "round": False}
        level = {"default": 14.6146, "min": 0.001, "max": 100000.0, "step": 0.001, "round": False}
        return {
            "required": {
                "noise": ("NOISE",),
                "model": ("MODEL",),
                "latent": ("LATENT",),
                "found": ("LATENT",),
                "randomness": ("FLOAT", share),
                "sigma_max": ("FLOAT", level),
            }
        }

    def make(
        self,
        noise: NoiseObject,
        model: Any,
        latent: dict[str, Any],
        found: dict[str, Any],
        randomness: float,
        sigma_max: float,
    ) -> tuple[ReversedNoise]:
        scale = model.model.process_latent_in
        behind, start = (scale(item["samples"]).cpu().float() for item in (found, latent))
        return (ReversedNoise(noise, behind, start, randomness, sigma_max),)
