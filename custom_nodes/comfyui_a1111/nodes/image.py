"""Nodes that work on pixels and latents as A1111 and its ControlNet do."""

from __future__ import annotations

import contextlib
import copy
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..maths import controlnet_ops, face_restore, grid_ops, image_ops, latent_ops, tiling
from ..maths.image_ops import from_levels, to_levels
from .devices import on_device
from .inputs import InputTypes, flag, whole

GRID_INPUTS = 100
"""Links an A1111ImageGrid takes; each may carry a batch."""

Latent = dict[str, Any]


class A1111LatentUpscale:
    """The hires upscalers that stay in latent space; width and height in pixels."""

    CATEGORY = "A1111/latent"
    RETURN_TYPES = ("LATENT",)
    FUNCTION = "upscale"

    @classmethod
    def INPUT_TYPES(cls) -> InputTypes:
        return {
            "required": {
                "samples": ("LATENT",),
                "width": whole(512, 8),
                "height": whole(512, 8),
                "mode": (list(latent_ops.UPSCALE_MODES), {"default": "bilinear"}),
                "antialias": flag(),
            }
        }

    def upscale(
        self, samples: Latent, width: int, height: int, mode: str, antialias: bool
    ) -> tuple[Latent]:
        resized = latent_ops.upscale_latent(samples["samples"], width, height, mode, antialias)
        return ({**samples, "samples": resized},)


class A1111LatentCrop:
    """Remove latent cells from the sides: what hires does when both resize sides are given."""

    CATEGORY = "A1111/latent"
    RETURN_TYPES = ("LATENT",)
    FUNCTION = "crop"

    @classmethod
    def INPUT_TYPES(cls) -> InputTypes:
        sides = {side: whole(0, 0) for side in ("left", "top", "right", "bottom")}
        return {"required": {"samples": ("LATENT",), **sides}}

    def crop(self, samples: Latent, left: int, top: int, right: int, bottom: int) -> tuple[Latent]:
        cropped = latent_ops.crop_latent(samples["samples"], left, top, right, bottom)
        return ({**samples, "samples": cropped},)


class A1111VAEEncode:
    """Encode pixels as A1111's hires pass does: a draw from the posterior, not its mean.

    Sides that are no multiples of 8 are not cropped, as core does before it encodes: the encoder's
    convolutions see the whole picture.

    `seed` is the seed of the batch's last image, which is where A1111's encoder takes its noise
    from; -1 takes the posterior's mean, as core VAEEncode does. `drawn` is what was drawn from that
    seed before: a JSON list of [batch, channels, height, width]. `upscale_model` enlarged the
    pixels, `upscaled_from` (JSON: width, height) is their size before: A1111 builds the model anew
    for each of its runs, and random numbers fill it before its weights do.
    """

    CATEGORY = "A1111/latent"
    RETURN_TYPES = ("LATENT",)
    FUNCTION = "encode"

    @classmethod
    def INPUT_TYPES(cls) -> InputTypes:
        return {
            "required": {
                "pixels": ("IMAGE",),
                "vae": ("VAE",),
                "seed": whole(-1, -1, 2**64 - 1),
            },
            "optional": {
                "drawn": ("STRING", {"default": "[]"}),
                "upscale_model": ("UPSCALE_MODEL",),
                "upscaled_from": ("STRING", {"default": "[]"}),
            },
        }

    def encode(
        self,
        pixels: torch.Tensor,
        vae: Any,
        seed: int,
        drawn: str = "[]",
        upscale_model: Any = None,
        upscaled_from: str = "[]",
    ) -> tuple[Latent]:
        count, height, width, _ = pixels.shape
        built: tuple[Any, int] | None = None
        if upscale_model is not None and json.loads(upscaled_from):
            before = json.loads(upscaled_from)
            scale = upscale_model.scale
            runs = image_ops.upscale_runs((before[0], before[1]), (width, height), scale)
            built = (upscale_model, runs * count)
        return ({"samples": encode_posterior(vae, pixels, seed, json.loads(drawn), built)},)


def encode_posterior(
    vae: Any,
    pixels: torch.Tensor,
    seed: int,
    drawn: Sequence[Sequence[int]] = (),
    built: tuple[Any, int] | None = None,
) -> torch.Tensor:
    """Encode `[B, H, W, C]` with a draw from the posterior by `seed`, or its mean for -1.

    Args:
        drawn: shapes `[B, C, h, w]` of what was drawn from the seed before.
        built: an upscale model (spandrel's descriptor) that was built after that, and how often.
    """
    sampled = seed >= 0 and hasattr(vae.first_stage_model, "regularization")
    generator = torch.Generator("cpu").manual_seed(max(seed, 0))
    if sampled:
        _draw(generator, drawn, built)
    with _sampled_posterior(vae.first_stage_model, generator) if sampled else _unchanged():
        latent: torch.Tensor = _without_crop(vae).encode(pixels[:, :, :, :3])
        return latent


def _without_crop(vae: Any) -> Any:
    """The same VAE, but that its encoder gets pictures whole."""
    whole = copy.copy(vae)
    whole.vae_encode_crop_pixels = lambda pixels: pixels
    return whole


class _PosteriorSampler(torch.nn.Module):
    """Stands in for an autoencoder's regularization: keeps a draw instead of the mean."""

    def __init__(self, generator: torch.Generator) -> None:
        super().__init__()
        self.generator = generator

    def forward(self, moments: torch.Tensor) -> tuple[torch.Tensor, None]:
        batch, channels, height, width = moments.shape
        noise = latent_ops.posterior_noise((batch, channels // 2, height, width), self.generator)
        return latent_ops.sample_posterior(moments, noise.to(moments)), None


def _draw(
    generator: torch.Generator,
    drawn: Sequence[Sequence[int]],
    built: tuple[Any, int] | None,
) -> None:
    """Draw what A1111 has drawn before it encodes; see `encode_posterior`."""
    for batch, *image in drawn:
        latent_ops.posterior_noise((batch, *image), generator)
    if built is None:
        return
    from spandrel import ModelLoader

    model, times = built
    weights = model.model.state_dict()
    with torch.random.fork_rng(devices=[]):
        torch.random.set_rng_state(generator.get_state())
        for _ in range(times):
            ModelLoader().load_from_state_dict(dict(weights))
        generator.set_state(torch.random.get_rng_state())


@contextlib.contextmanager
def _sampled_posterior(first_stage: Any, generator: torch.Generator) -> Iterator[None]:
    """Let a VAE shared with other jobs sample its posterior, for one call only."""
    mean = first_stage.regularization
    first_stage.regularization = _PosteriorSampler(generator)
    try:
        yield
    finally:
        first_stage.regularization = mean


def _unchanged() -> contextlib.AbstractContextManager[None]:
    return contextlib.nullcontext()


class A1111ImageScale:
    """A1111's upscalers without a model: None (one Lanczos resize), Lanczos, Nearest; 8 bit."""

    CATEGORY = "A1111/image"
    RETURN_TYPES = ("IMAGE",)
    FUNCTION = "scale"

    @classmethod
    def INPUT_TYPES(cls) -> InputTypes:
        return {
            "required": {
                "image": ("IMAGE",),
                "width": whole(512, 1),
                "height": whole(512, 1),
                "method": (["lanczos", "nearest", "none"], {"default": "lanczos"}),
            }
        }

    def scale(
        self, image: torch.Tensor, width: int, height: int, method: str
    ) -> tuple[torch.Tensor]:
        scaled = [
            image_ops.scale_image(picture, width, height, method)
            for picture in image_ops.to_pil(image)
        ]
        return (image_ops.to_tensor(scaled),)


class A1111UpscaleWithModel:
    """A1111's rule for an upscale model: tiles, up to three runs, then Lanczos to the size."""

    CATEGORY = "A1111/image"
    RETURN_TYPES = ("IMAGE",)
    FUNCTION = "upscale"

    @classmethod
    def INPUT_TYPES(cls) -> InputTypes:
        return {
            "required": {
                "upscale_model": ("UPSCALE_MODEL",),
                "image": ("IMAGE",),
                "width": whole(1024, 1),
                "height": whole(1024, 1),
                "tile": whole(192, 0, 4096),
                "tile_overlap": whole(8, 0, 512),
            }
        }

    def upscale(
        self,
        upscale_model: Any,
        image: torch.Tensor,
        width: int,
        height: int,
        tile: int,
        tile_overlap: int,
    ) -> tuple[torch.Tensor]:
        if tile and tile <= tile_overlap:
            raise ValueError(
                f"A1111UpscaleWithModel: tile_overlap {tile_overlap} leaves nothing of a tile of "
                f"{tile} pixels"
            )
        with on_device(upscale_model, upscale_model.model) as device:
            network = image_ops.model_filter(upscale_model, device, torch.float32)

            def run(picture: image_ops.Image.Image) -> image_ops.Image.Image:
                return image_ops.run_tiled(picture, tile, tile_overlap, network)

            results = [
                image_ops.upscale(picture, width, height, run)
                for picture in image_ops.to_pil(image)
            ]
        return (image_ops.to_tensor(results),)


class A1111Tiling:
    """Seamless pictures: circular padding in UNet and VAE for this graph only."""

    CATEGORY = "A1111/model"
    RETURN_TYPES = ("MODEL", "VAE")
    FUNCTION = "tile"

    @classmethod
    def INPUT_TYPES(cls) -> InputTypes:
        return {"required": {"model": ("MODEL",), "vae": ("VAE",)}}

    def tile(self, model: Any, vae: Any) -> tuple[Any, Any]:
        return (tiling.tile_model(model), tiling.tile_vae(vae))


class A1111FaceRestore:
    """CodeFormer or GFPGAN on every face, as A1111's restore_faces."""

    CATEGORY = "A1111/image"
    RETURN_TYPES = ("IMAGE",)
    FUNCTION = "restore"

    @classmethod
    def INPUT_TYPES(cls) -> InputTypes:
        return {
            "required": {
                "image": ("IMAGE",),
                "model": (list(face_restore.RESTORERS), {"default": "CodeFormer"}),
                "codeformer_weight": ("FLOAT", {"default": 0.5, "min": 0.0, "max": 1.0}),
            }
        }

    def restore(
        self, image: torch.Tensor, model: str, codeformer_weight: float
    ) -> tuple[torch.Tensor]:
        import folder_paths
        from comfy import model_management

        restored = face_restore.restore_faces(
            image_ops.to_pil(image),
            model,
            codeformer_weight,
            Path(folder_paths.models_dir),
            model_management.get_torch_device(),
        )
        return (image_ops.to_tensor(restored),)


class A1111ControlNetImage:
    """Prepare a unit's image for a preprocessor: scale the short side, pad to a multiple of 64.

    `width` and `height` are the size before padding: crop the preprocessor's map to them.
    `pad` off leaves the padding to the preprocessor.
    """

    CATEGORY = "A1111/controlnet"
    RETURN_TYPES = ("IMAGE", "INT", "INT")
    RETURN_NAMES = ("image", "width", "height")
    FUNCTION = "prepare"

    @classmethod
    def INPUT_TYPES(cls) -> InputTypes:
        return {
            "required": {
                "image": ("IMAGE",),
                "processor_res": whole(512, 1),
                "pad": flag(),
            }
        }

    def prepare(
        self, image: torch.Tensor, processor_res: int, pad: bool
    ) -> tuple[torch.Tensor, int, int]:
        scaled = [
            controlnet_ops.scale_short_side(levels, processor_res) for levels in to_levels(image)
        ]
        height, width = scaled[0].shape[:2]
        if pad:
            scaled = [controlnet_ops.pad_to_multiple(levels) for levels in scaled]
        return (from_levels(scaled), width, height)


class A1111ControlNetFit:
    """Bring a control map to exactly the pass's size by the unit's resize mode.

    With a mask (inpainting) image and mask are fitted together and the mask becomes 0 or 1.
    """

    CATEGORY = "A1111/controlnet"
    RETURN_TYPES = ("IMAGE", "MASK")
    FUNCTION = "fit"

    @classmethod
    def INPUT_TYPES(cls) -> InputTypes:
        return {
            "required": {
                "image": ("IMAGE",),
                "width": whole(512, 8),
                "height": whole(512, 8),
                "resize_mode": (list(controlnet_ops.RESIZE_MODES), {"default": "Crop and Resize"}),
            },
            "optional": {"mask": ("MASK",)},
        }

    def fit(
        self,
        image: torch.Tensor,
        width: int,
        height: int,
        resize_mode: str,
        mask: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        levels = to_levels(image)
        if mask is not None:
            levels = [_with_mask(array, mask, index) for index, array in enumerate(levels)]
        fitted = [controlnet_ops.fit(array, width, height, resize_mode) for array in levels]
        pixels = from_levels(fitted)
        alpha = pixels[..., 3] if mask is not None else torch.zeros(pixels.shape[:3])
        return (pixels[..., :3], alpha)


def _with_mask(levels: np.ndarray, mask: torch.Tensor, index: int) -> np.ndarray:
    """Append the mask of this batch position as a fourth channel; A1111 fits these as floats."""
    plane = mask[min(index, mask.shape[0] - 1)].cpu().float()
    if plane.shape != levels.shape[:2]:
        raise ValueError(
            f"A1111ControlNetFit: mask of {plane.shape[1]}x{plane.shape[0]} pixels for an image "
            f"of {levels.shape[1]}x{levels.shape[0]}"
        )
    channel = np.rint(255.0 * plane.numpy())[..., None]
    return np.concatenate([levels, channel], axis=2).astype(np.float32)


class A1111ImageGrid:
    """A1111's grid of pictures, with the legend of X/Y/Z plot or prompt matrix if given.

    `rows` 0 means round(sqrt(n)). `legend` is empty or a JSON object, see grid_ops.parse_legend.
    """

    CATEGORY = "A1111/image"
    RETURN_TYPES = ("IMAGE",)
    FUNCTION = "arrange"

    @classmethod
    def INPUT_TYPES(cls) -> InputTypes:
        more = {f"image_{number}": ("IMAGE",) for number in range(1, GRID_INPUTS)}
        return {
            "required": {
                "images": ("IMAGE",),
                "rows": whole(0, 0, 1000),
                "legend": ("STRING", {"default": ""}),
                "background": ("STRING", {"default": "#ffffff"}),
            },
            "optional": more,
        }

    def arrange(
        self,
        images: torch.Tensor,
        rows: int,
        legend: str,
        background: str,
        **more: torch.Tensor,
    ) -> tuple[torch.Tensor]:
        numbered = sorted(more, key=lambda name: int(name.removeprefix("image_")))
        batches = [images, *(more[name] for name in numbered)]
        pictures = [picture for batch in batches for picture in image_ops.to_pil(batch)]
        grid = grid_ops.image_grid(pictures, rows, background)
        if legend:
            cell = max(p.width for p in pictures), max(p.height for p in pictures)
            grid = grid_ops.draw_legend(
                grid, cell, grid_ops.parse_legend(json.loads(legend)), background
            )
        return (image_ops.to_tensor([grid]),)
