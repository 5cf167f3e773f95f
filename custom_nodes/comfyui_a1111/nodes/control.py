"""ControlNet nodes: preprocessors without a model, what units do to predictions and pictures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from ..maths import control_ops, preprocess_ops
from ..maths.image_ops import from_levels, to_levels
from ..maths.noise import like
from .inputs import InputTypes, number, whole

CATEGORY = "A1111/controlnet"

_POST_CFG = "sampler_post_cfg_function"
"""Where a model keeps its post-CFG functions."""


class A1111ControlNetPreprocessor:
    """A1111's preprocessors that need no model and have no equal in other packs."""

    CATEGORY = CATEGORY
    RETURN_TYPES = ("IMAGE",)
    FUNCTION = "preprocess"

    @classmethod
    def INPUT_TYPES(cls) -> InputTypes:
        return {
            "required": {
                "image": ("IMAGE",),
                "module": (list(preprocess_ops.MODULES),),
                "resolution": whole(512, 1, 16384),
                "threshold_a": number(0.5, 0.0, 255.0),
                "seed": whole(0, 0, 2**32 - 1),
            },
            "optional": {"threshold_b": number(0.0, 0.0, 255.0)},
        }

    def preprocess(
        self,
        image: torch.Tensor,
        module: str,
        resolution: int,
        threshold_a: float,
        seed: int,
        threshold_b: float = 0.0,
    ) -> tuple[torch.Tensor]:
        settings = preprocess_ops.Settings(resolution, threshold_a, seed, threshold_b)
        work = preprocess_ops.MODULES[module]
        return (from_levels([work(picture, settings) for picture in to_levels(image)]),)


class A1111ControlNetAnyline:
    """softedge_anyline's last step: what A1111 lays over the edges that its network found.

    `image` is the unit's picture, `edges` what AnyLineArtPreprocessor_aux makes of it without line
    drawing (lineart_lower_bound 1, lineart_upper_bound 0).
    """

    CATEGORY = CATEGORY
    RETURN_TYPES = ("IMAGE",)
    FUNCTION = "lay"

    @classmethod
    def INPUT_TYPES(cls) -> InputTypes:
        return {
            "required": {
                "image": ("IMAGE",),
                "edges": ("IMAGE",),
                "resolution": whole(1280, 1, 16384),
            }
        }

    def lay(self, image: torch.Tensor, edges: torch.Tensor, resolution: int) -> tuple[torch.Tensor]:
        settings = preprocess_ops.Settings(resolution, 0.0, 0)
        pairs = zip(to_levels(image), to_levels(edges), strict=True)
        return (from_levels([preprocess_ops.anyline(*pair, settings) for pair in pairs]),)


class A1111ControlNetOnWhite:
    """A transparent picture laid on white, cut to whole levels as A1111's ControlNet cuts them.

    `transparency` is LoadImage's mask: 1 where nothing covers.
    """

    CATEGORY = CATEGORY
    RETURN_TYPES = ("IMAGE",)
    FUNCTION = "lay"

    @classmethod
    def INPUT_TYPES(cls) -> InputTypes:
        return {"required": {"image": ("IMAGE",), "transparency": ("MASK",)}}

    def lay(self, image: torch.Tensor, transparency: torch.Tensor) -> tuple[torch.Tensor]:
        cover = np.rint(255.0 * (1.0 - transparency.cpu().float().numpy())).astype(np.uint8)
        arrays = [
            preprocess_ops.on_white(colours, alpha)
            for colours, alpha in zip(to_levels(image), cover, strict=True)
        ]
        return (from_levels(arrays),)


class A1111ControlNetInput:
    """A unit's image, or the drawing on it: a mask that is neither all black nor all white."""

    CATEGORY = CATEGORY
    RETURN_TYPES = ("IMAGE",)
    FUNCTION = "choose"

    @classmethod
    def INPUT_TYPES(cls) -> InputTypes:
        return {"required": {"image": ("IMAGE",), "mask": ("MASK",)}}

    def choose(self, image: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor]:
        drawing = np.rint(255.0 * mask[0].cpu().float().numpy()).astype(np.uint8)
        if not preprocess_ops.is_drawing(drawing):
            return (image,)
        return (from_levels([drawing[..., None].repeat(3, axis=2)]),)


class A1111ControlNetRecolor:
    """Put a recolor unit's map back as the lightness of the finished pictures."""

    CATEGORY = CATEGORY
    RETURN_TYPES = ("IMAGE",)
    FUNCTION = "recolor"

    @classmethod
    def INPUT_TYPES(cls) -> InputTypes:
        return {
            "required": {
                "image": ("IMAGE",),
                "control_map": ("IMAGE",),
                "channel": (list(preprocess_ops.RECOLOR_CHANNELS),),
            }
        }

    def recolor(
        self, image: torch.Tensor, control_map: torch.Tensor, channel: str
    ) -> tuple[torch.Tensor]:
        kept = (control_map[0, ..., 0].cpu().float().numpy() * 255).clip(0, 255).astype(np.uint8)
        pictures = image.cpu().float().numpy()
        arrays = [preprocess_ops.recolor(picture, kept, channel) for picture in pictures]
        return (torch.from_numpy(np.stack(arrays)),)


class A1111ControlNetPaste:
    """inpaint_only's last step: the unit's image again outside of its mask, softly."""

    CATEGORY = CATEGORY
    RETURN_TYPES = ("IMAGE",)
    FUNCTION = "paste"

    @classmethod
    def INPUT_TYPES(cls) -> InputTypes:
        return {
            "required": {
                "image": ("IMAGE",),
                "source": ("IMAGE",),
                "mask": ("MASK",),
                "blur": whole(7, 0, 64),
            }
        }

    def paste(
        self, image: torch.Tensor, source: torch.Tensor, mask: torch.Tensor, blur: int
    ) -> tuple[torch.Tensor]:
        outside = source[0].cpu().float().numpy()
        masked = mask[0].cpu().float().numpy()
        arrays = [
            preprocess_ops.paste_outside(picture, outside, masked, blur)
            for picture in image.cpu().float().numpy()
        ]
        return (torch.from_numpy(np.stack(arrays).astype(np.float32)),)


class A1111ControlNetColorFix:
    """tile_colorfix: at every call the prediction gets the low frequencies of the unit's image.

    `sharpness` (A1111's slider) is for tile_colorfix+sharp, 0 for plain tile_colorfix.
    """

    CATEGORY = CATEGORY
    RETURN_TYPES = ("MODEL",)
    FUNCTION = "patch"

    @classmethod
    def INPUT_TYPES(cls) -> InputTypes:
        return {
            "required": {
                "model": ("MODEL",),
                "source": ("LATENT",),
                "radius": whole(8, 1, 64),
                "sharpness": number(0.0, 0.0, 2.0),
                "weight": number(1.0, 0.0, 1.0),
            }
        }

    def patch(
        self, model: Any, source: dict[str, Any], radius: int, sharpness: float, weight: float
    ) -> tuple[Any]:
        def made(args: Mapping[str, Any]) -> tuple[control_ops.Change, control_ops.Change]:
            latent = _in_model_scale(args, source)
            positive = control_ops.color_fix(latent, radius, weight)
            return positive, control_ops.color_fix(latent, radius, weight, sharpness * 0.01)

        return (_with_change(model, control_ops.PredictionChange(False, made)),)


class A1111ControlNetInpaintOnly:
    """inpaint_only: at every call the prediction outside of the mask is the unit's image."""

    CATEGORY = CATEGORY
    RETURN_TYPES = ("MODEL",)
    FUNCTION = "patch"

    @classmethod
    def INPUT_TYPES(cls) -> InputTypes:
        return {
            "required": {
                "model": ("MODEL",),
                "source": ("LATENT",),
                "mask": ("MASK",),
                "weight": number(1.0, 0.0, 1.0),
            }
        }

    def patch(
        self, model: Any, source: dict[str, Any], mask: torch.Tensor, weight: float
    ) -> tuple[Any]:
        cells = control_ops.latent_mask(mask[:1].unsqueeze(1).float())

        def made(args: Mapping[str, Any]) -> tuple[control_ops.Change, control_ops.Change]:
            latent = _in_model_scale(args, source)
            change = control_ops.keep_source(latent, like(cells, latent), weight)
            return change, change

        return (_with_change(model, control_ops.PredictionChange(True, made)),)


def _in_model_scale(args: Mapping[str, Any], latent: dict[str, Any]) -> torch.Tensor:
    scaled: torch.Tensor = args["model"].process_latent_in(latent["samples"][:1])
    return like(scaled, args["denoised"])


def _with_change(model: Any, change: control_ops.PredictionChange) -> Any:
    """A model with one more change of its predictions."""
    patched = model.clone()
    functions = patched.model_options.get(_POST_CFG, [])
    patched.model_options[_POST_CFG] = control_ops.with_change(functions, change)
    return patched
