"""Seamless tiling: circular padding in the convolutions, only while a tiled job calls them."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator
from typing import Any

import torch

WRAPPER_KEY = "a1111_tiling"


@contextlib.contextmanager
def circular_padding(module: torch.nn.Module) -> Iterator[None]:
    """Switch every Conv2d below `module` to circular padding, and back on leaving.

    ComfyUI shares one module between all jobs, so the change must not outlive the call.
    """
    convolutions = [
        (layer, layer.padding_mode)
        for layer in module.modules()
        if isinstance(layer, torch.nn.Conv2d)
    ]
    try:
        for layer, _ in convolutions:
            layer.padding_mode = "circular"
        yield
    finally:
        for layer, mode in convolutions:
            layer.padding_mode = mode


def tile_model(model: Any) -> Any:
    """A clone of a ComfyUI MODEL whose diffusion model runs with circular padding."""
    from comfy.patcher_extension import WrappersMP

    def run_circular(executor: Any, *args: Any, **kwargs: Any) -> Any:
        with circular_padding(executor.class_obj):
            return executor(*args, **kwargs)

    tiled = model.clone()
    tiled.remove_wrappers_with_key(WrappersMP.DIFFUSION_MODEL, WRAPPER_KEY)
    tiled.add_wrapper_with_key(WrappersMP.DIFFUSION_MODEL, WRAPPER_KEY, run_circular)
    return tiled


def tile_vae(vae: Any) -> Any:
    """A copy of a ComfyUI VAE whose encoding and decoding run with circular padding."""

    def circular(method: Any) -> Any:
        def run(*args: Any, **kwargs: Any) -> Any:
            with circular_padding(vae.first_stage_model):
                return method(*args, **kwargs)

        return run

    tiled = copy.copy(vae)
    for name in ("encode", "decode", "encode_tiled", "decode_tiled"):
        setattr(tiled, name, circular(getattr(vae, name)))
    return tiled
