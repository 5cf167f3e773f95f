"""From a picture back to the noise that it could have come from ("img2img alternative test").

Source: A1111 v1.10.1 ``scripts/img2imgalt.py``, restated. Latents are in the model's own scale.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from .guider import CALL, Call

Denoise = Callable[[Tensor, Tensor], Tensor]
"""(x, sigma) -> the model's clean latent."""

Progress = Callable[[int, Tensor], None]
"""Told the number of a step and what it has reached."""


def noise_of(
    denoise: Denoise,
    latent: Tensor,
    sigmas: Tensor,
    adjusts: bool,
    progress: Progress,
) -> Tensor:
    """Euler's method upwards: the noise (unit variance, about) that a latent leads back to.

    Args:
        sigmas: ascending from 0.
        adjusts: whether a step's direction is taken at its lower end, and the result divided by the
            last sigma; else at its upper end, and by the result's own deviation.
    """
    x = latent
    for step in range(1, len(sigmas)):
        low, high = sigmas[step - 1], sigmas[step]
        level = low if adjusts else high
        if level > 0:
            x = x + (x - denoise(x, level)) / level * (high - low)
        progress(step - 1, x)
    return x / (sigmas[-1] if adjusts else x.std())


def mixed(found: Tensor, drawn: Tensor, randomness: float) -> Tensor:
    """Found and drawn noise, `randomness` (0..1) of it the drawn one's, in unit variance again."""
    share = 1 - randomness
    return (share * found + randomness * drawn) / (randomness**2 + share**2) ** 0.5


class UpwardSampler(ABC):
    """ComfyUI's SAMPLER interface over a walk upwards; sigmas ascend, no noise comes in."""

    @abstractmethod
    def walk(
        self, model_wrap: Any, denoise: Denoise, latent: Tensor, sigmas: Tensor, progress: Progress
    ) -> Tensor:
        """The noise behind a latent. model_wrap: what `denoise` calls, as ComfyUI gives it."""

    def sample(
        self,
        model_wrap: Any,
        sigmas: Tensor,
        extra_args: dict[str, Any],
        callback: Any,
        noise: Tensor,
        latent_image: Tensor,
        denoise_mask: Tensor | None = None,
        disable_pbar: bool = False,
    ) -> Tensor:
        """The noise behind `latent_image`; a mask does not count, as in A1111."""
        del noise, denoise_mask, disable_pbar
        total = len(sigmas) - 1

        def denoise(x: Tensor, sigma: Tensor) -> Tensor:
            options = {**extra_args["model_options"], CALL: Call(float(sigma))}
            levels = sigma * x.new_ones([x.shape[0]])
            clean: Tensor = model_wrap(x, levels, **{**extra_args, "model_options": options})
            return clean

        def progress(step: int, x: Tensor) -> None:
            if callback is not None:
                callback(step, x, x, total)

        return self.walk(model_wrap, denoise, latent_image, sigmas.cpu(), progress)


@dataclass(frozen=True)
class ReversingSampler(UpwardSampler):
    """Walks upwards by `noise_of`."""

    adjusts: bool

    def walk(
        self, model_wrap: Any, denoise: Denoise, latent: Tensor, sigmas: Tensor, progress: Progress
    ) -> Tensor:
        return noise_of(denoise, latent, sigmas, self.adjusts, progress)
