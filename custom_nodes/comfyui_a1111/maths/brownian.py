"""Brownian noise for the SDE samplers: one tree per image, whatever the noise source.

k-diffusion draws the noise of its SDE samplers as increments of a Brownian path over the noise
levels, so that the noise does not depend on the steps taken. A1111 gives every image its own path,
seeded with the image's seed, over the range of the FULL schedule (also when only a part of it is
run), and draws the path's random numbers from the chosen noise source.
"""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Callable, Sequence
from types import ModuleType

import torch

from .noise import PhiloxGenerator, like

NoiseSampler = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


class BrownianNoise:
    """Unit noise between two noise levels: the path's increment over the root of its length.

    `seeds`: one per image of `x` (B, C, H, W); with a single int one path spans the whole batch.
    `sigma_min` and `sigma_max` bound the path; both are rounded to float32 as A1111's schedules
    are.
    """

    def __init__(
        self,
        x: torch.Tensor,
        sigma_min: float,
        sigma_max: float,
        seeds: Sequence[int] | int,
        source: str,
    ) -> None:
        low, high = torch.tensor(sigma_min), torch.tensor(sigma_max)
        per_image = not isinstance(seeds, int)
        origin = torch.zeros_like(x[0] if per_image else x)
        if source == "CPU":
            origin = origin.cpu()
        tree = _philox_tree if source == "NV" else _torch_tree
        trees = [tree(low, high, origin, seed) for seed in (seeds if per_image else [seeds])]
        if per_image and len(trees) != x.shape[0]:
            raise ValueError(f"{len(trees)} seeds were given for a batch of {x.shape[0]} images")
        self._trees = trees
        self._per_image = per_image
        self._like = x

    def __call__(self, sigma: torch.Tensor, sigma_next: torch.Tensor) -> torch.Tensor:
        start, end = sigma.cpu(), sigma_next.cpu()
        backwards = bool(start > end)
        low, high = (end, start) if backwards else (start, end)
        increments = [tree(low, high) for tree in self._trees]
        noise = torch.stack(increments) if self._per_image else increments[0]
        noise = like(noise, self._like) * (-1 if backwards else 1)
        return noise / (end - start).abs().sqrt()


def _torch_tree(
    low: torch.Tensor, high: torch.Tensor, origin: torch.Tensor, seed: int
) -> Callable[..., torch.Tensor]:
    import torchsde

    return torchsde.BrownianTree(low, origin, high, entropy=seed)


def _philox_tree(
    low: torch.Tensor, high: torch.Tensor, origin: torch.Tensor, seed: int
) -> Callable[..., torch.Tensor]:
    return _philox_intervals().BrownianInterval(
        t0=low,
        t1=high,
        size=origin.shape,
        dtype=origin.dtype,
        device=origin.device,
        entropy=seed,
        tol=1e-6,
        pool_size=24,
        halfway_tree=True,
    )


@functools.cache
def _philox_intervals() -> ModuleType:
    """A private copy of torchsde's interval module that draws from the emulated CUDA generator.

    torchsde offers no parameter for the source of its random numbers, and replacing its function in
    place would change the noise of every other sampler in the process.
    """
    spec = importlib.util.find_spec("torchsde._brownian.brownian_interval")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module._randn = _philox_normal
    return module


def _philox_normal(
    size: Sequence[int], dtype: torch.dtype, device: torch.device, seed: int
) -> torch.Tensor:
    return PhiloxGenerator(int(seed), device).normal(size).to(device=device, dtype=dtype)
