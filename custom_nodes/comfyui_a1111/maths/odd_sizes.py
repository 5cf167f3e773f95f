"""Latent sizes that the UNet cannot halve evenly (pictures whose sides are not multiples of 64).

On the way up A1111 doubles the features, convolves, and then resizes them to the skip connection
they are joined with; ComfyUI resizes first and convolves the smaller features, which gives another
picture.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


def fit_to_skip(
    features: Tensor, skip: Tensor, transformer_options: dict[str, Any]
) -> tuple[Tensor, Tensor]:
    """Resize features (B, C, h, w) to their skip connection: a patch for output blocks."""
    del transformer_options
    if features.shape[-2:] != skip.shape[-2:]:
        features = torch.nn.functional.interpolate(features, skip.shape[-2:], mode="nearest")
    return features, skip


def _double(forward: Callable[[Tensor], Tensor], x: Tensor, output_shape: Any = None) -> Tensor:
    """An Upsample layer's forward at its plain factor of 2, whatever size ComfyUI asks for."""
    del output_shape
    return forward(x)


def patch_odd_sizes(patched: Any) -> None:
    """Make a MODEL (a clone of its own) join uneven sizes as A1111 does.

    Models without a UNet have no such joints and stay as they are.
    """
    from comfy.ldm.modules.diffusionmodules.openaimodel import UNetModel, Upsample

    unet = patched.model.diffusion_model
    if not isinstance(unet, UNetModel):
        return
    for i, block in enumerate(unet.output_blocks):
        for j, layer in enumerate(block):
            if isinstance(layer, Upsample) and layer.dims == 2:
                name = f"diffusion_model.output_blocks.{i}.{j}.forward"
                own = functools.partial(type(layer).forward, layer)
                forward = patched.object_patches.get(name, own)
                patched.add_object_patch(name, functools.partial(_double, forward))
    patched.set_model_output_block_patch(fit_to_skip)
