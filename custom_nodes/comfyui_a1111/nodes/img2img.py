"""Nodes of img2img and inpainting: init images, masks, overlays, colour correction."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image

from ..maths import color_ops, image_ops, inpaint, soft_inpainting
from ..maths.controlnet_ops import RESIZE_MODES
from ..maths.noise import SOURCES, NoiseSettings
from ..maths.resize_ops import Upscaler, flatten, resize_image
from .devices import on_device
from .inputs import InputTypes, flag, number, whole

CATEGORY = "A1111/img2img"
OVERLAY = "A1111_OVERLAY"
"""Type of a link: what an inpainting puts back over its results."""

UPSCALER = "A1111_UPSCALER"
"""Type of a link: what enlarges pictures where a resize mode does."""


@dataclass(frozen=True)
class UpscalerObject:
    """A link's upscaler: by what method, with which model and tiles."""

    method: str = "none"
    model: Any = None
    tile: int = 192
    tile_overlap: int = 8

    @contextmanager
    def ready(self) -> Iterator[Upscaler]:
        """The upscaler, its model on the device while pictures are resized."""
        if self.model is None:
            yield Upscaler(self.method)
            return
        with on_device(self.model, self.model.model) as device:
            network = image_ops.model_filter(self.model, device, torch.float32)

            def run(picture: Image.Image) -> Image.Image:
                return image_ops.run_tiled(picture, self.tile, self.tile_overlap, network)

            yield Upscaler("model", run)


_PLAIN = UpscalerObject()


class A1111Upscaler:
    """Option upscaler_for_img2img: an upscaler without a model, or with one and its tiles."""

    CATEGORY = CATEGORY
    RETURN_TYPES = (UPSCALER,)
    RETURN_NAMES = ("upscaler",)
    FUNCTION = "make"

    @classmethod
    def INPUT_TYPES(cls) -> InputTypes:
        return {
            "required": {
                "method": (["lanczos", "nearest", "none"],),
                "tile": whole(192, 0, 4096),
                "tile_overlap": whole(8, 0, 512),
            },
            "optional": {"upscale_model": ("UPSCALE_MODEL",)},
        }

    def make(
        self, method: str, tile: int, tile_overlap: int, upscale_model: Any = None
    ) -> tuple[UpscalerObject]:
        if upscale_model is not None and tile and tile <= tile_overlap:
            raise ValueError(
                f"A1111Upscaler: tile_overlap {tile_overlap} leaves nothing of a tile of {tile} "
                "pixels"
            )
        return (UpscalerObject(method, upscale_model, tile, tile_overlap),)


class A1111Flatten:
    """A picture's transparent parts on a colour (option img2img_background_color).

    `alpha` is LoadImage's mask: 1 where the picture is transparent.
    """

    CATEGORY = CATEGORY
    RETURN_TYPES = ("IMAGE",)
    FUNCTION = "flatten"

    @classmethod
    def INPUT_TYPES(cls) -> InputTypes:
        return {
            "required": {
                "image": ("IMAGE",),
                "alpha": ("MASK",),
                "color": ("STRING", {"default": "#ffffff"}),
            }
        }

    def flatten(self, image: torch.Tensor, alpha: torch.Tensor, color: str) -> tuple[torch.Tensor]:
        pictures = _with_alpha(image, alpha)
        return (image_ops.to_tensor([flatten(picture, color) for picture in pictures]),)


class A1111ResizeImage:
    """A1111's resize modes: 0 stretches, 1 crops, any other fits and pulls the border outwards."""

    CATEGORY = CATEGORY
    RETURN_TYPES = ("IMAGE",)
    FUNCTION = "resize"

    @classmethod
    def INPUT_TYPES(cls) -> InputTypes:
        return {
            "required": {
                "image": ("IMAGE",),
                "width": whole(512, 1),
                "height": whole(512, 1),
                "resize_mode": whole(0, 0, 3),
            },
            "optional": {"upscaler": (UPSCALER,)},
        }

    def resize(
        self,
        image: torch.Tensor,
        width: int,
        height: int,
        resize_mode: int,
        upscaler: UpscalerObject = _PLAIN,
    ) -> tuple[torch.Tensor]:
        with upscaler.ready() as ready:
            resized = [
                resize_image(picture, width, height, resize_mode, ready)
                for picture in image_ops.to_pil(image)
            ]
        return (image_ops.to_tensor(resized),)


class A1111InpaintMask:
    """The mask that a picture stands for: 1 where the picture is made anew, blurred.

    With `alpha` (LoadImage's mask) a picture that is transparent somewhere stands for its alpha
    channel, any other for its brightness.
    """

    CATEGORY = CATEGORY
    RETURN_TYPES = ("MASK",)
    FUNCTION = "make"

    @classmethod
    def INPUT_TYPES(cls) -> InputTypes:
        return {
            "required": {
                "image": ("IMAGE",),
                "round": flag(True),
                "invert": flag(False),
                "blur_x": whole(4, 0),
                "blur_y": whole(4, 0),
            },
            "optional": {"alpha": ("MASK",)},
        }

    def make(
        self,
        image: torch.Tensor,
        round: bool,
        invert: bool,
        blur_x: int,
        blur_y: int,
        alpha: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor]:
        (picture, *_) = image_ops.to_pil(image) if alpha is None else _with_alpha(image, alpha)
        mask = inpaint.binary_mask(picture, round)
        if invert:
            mask = inpaint.inverted(mask)
        return (_mask_tensor(inpaint.blurred(mask, blur_x, blur_y)),)


class A1111Inpaint:
    """What an inpainting encodes, its mask at that size, and what is put back over the results.

    `only_masked` cuts out the mask's surroundings, at the size of the result; a mask without a
    pixel then makes the whole picture anew. `fill` spreads what lies around the mask into it,
    or around `latent_mask` into that. `before` is the overlay of the picture before this one, where
    those of a batch have several sizes: A1111 resizes the overlay's mask from picture to picture.
    """

    CATEGORY = CATEGORY
    RETURN_TYPES = ("IMAGE", "MASK", OVERLAY)
    RETURN_NAMES = ("pixels", "mask", "overlay")
    FUNCTION = "prepare"

    @classmethod
    def INPUT_TYPES(cls) -> InputTypes:
        return {
            "required": {
                "image": ("IMAGE",),
                "mask": ("MASK",),
                "width": whole(512, 1),
                "height": whole(512, 1),
                "resize_mode": whole(0, 0, 3),
                "only_masked": flag(True),
                "padding": whole(0, 0),
                "fill": flag(True),
            },
            "optional": {
                "upscaler": (UPSCALER,),
                "latent_mask": ("MASK",),
                "before": (OVERLAY,),
            },
        }

    def prepare(
        self,
        image: torch.Tensor,
        mask: torch.Tensor,
        width: int,
        height: int,
        resize_mode: int,
        only_masked: bool,
        padding: int,
        fill: bool,
        upscaler: UpscalerObject = _PLAIN,
        latent_mask: torch.Tensor | None = None,
        before: inpaint.Overlay = inpaint.NOTHING,
    ) -> tuple[torch.Tensor, torch.Tensor, inpaint.Overlay]:
        with upscaler.ready() as ready:
            settings = inpaint.Settings(
                width, height, resize_mode, only_masked, padding, fill, ready
            )
            filled = None if latent_mask is None else _mask_images(latent_mask)[0]
            prepared = inpaint.prepare(
                image_ops.to_pil(image), _mask_images(mask)[0], settings, filled, before
            )
        pixels = image_ops.to_tensor(prepared.pixels)
        if prepared.mask is None:
            return pixels, torch.ones((1, height, width)), inpaint.NOTHING
        return pixels, _mask_tensor(prepared.mask), prepared.overlay or inpaint.NOTHING


class A1111InpaintLatent:
    """A latent of which only the mask is sampled, with A1111's masked content.

    `mask` is in pixels; `round` makes it 0 or 1 for each cell. `content`: as it is, noise
    of `seeds` (A1111's first draw of each image) or nothing. `model` gives noise its scale.
    """

    CATEGORY = CATEGORY
    RETURN_TYPES = ("LATENT",)
    FUNCTION = "mask"

    @classmethod
    def INPUT_TYPES(cls) -> InputTypes:
        return {
            "required": {
                "samples": ("LATENT",),
                "mask": ("MASK",),
                "round": flag(True),
                "content": (["original", "latent noise", "latent nothing"],),
                "seeds": ("STRING", {"default": "[]"}),
                "source": (list(SOURCES),),
            },
            "optional": {"model": ("MODEL",)},
        }

    def mask(
        self,
        samples: dict[str, Any],
        mask: torch.Tensor,
        round: bool,
        content: str,
        seeds: str,
        source: str,
        model: Any = None,
    ) -> tuple[dict[str, Any]]:
        latent = samples["samples"]
        height, width = latent.shape[-2:]
        levels = inpaint.latent_mask(_mask_images(mask)[0], width, height, round)
        cells = torch.from_numpy(levels.copy())[None, None]
        if content != "original":
            latent = latent * (1 - cells).to(latent)
        if content == "latent noise":
            if model is None:
                raise ValueError("A1111InpaintLatent: latent noise needs the model for its scale")
            noise = self._noise(latent, tuple(json.loads(seeds)), source)
            latent = latent + model.model.process_latent_out(noise) * cells
        return ({**samples, "samples": latent, "noise_mask": cells},)

    def _noise(self, latent: torch.Tensor, seeds: tuple[int, ...], source: str) -> torch.Tensor:
        from comfy.model_management import get_torch_device

        settings = NoiseSettings(seeds=seeds[: latent.shape[0]], source=source)
        return settings.start(latent.shape, get_torch_device()).next().to(latent)


class A1111SoftInpaint:
    """Soft inpainting's overlay: what is put back follows how far each result moved.

    `start` is the latent that sampling started from, its mask included; `samples` the result.
    """

    CATEGORY = CATEGORY
    RETURN_TYPES = (OVERLAY,)
    RETURN_NAMES = ("overlay",)
    FUNCTION = "soften"

    @classmethod
    def INPUT_TYPES(cls) -> InputTypes:
        return {
            "required": {
                "overlay": (OVERLAY,),
                "start": ("LATENT",),
                "samples": ("LATENT",),
                "model": ("MODEL",),
                "width": whole(512, 1),
                "height": whole(512, 1),
                "preservation": number(0.5, 0.0, 100.0),
                "mask_influence": number(0.0, 0.0, 1.0),
                "threshold": number(0.5, 0.0, 100.0),
                "contrast": number(2.0, 0.0, 100.0),
            }
        }

    def soften(
        self,
        overlay: inpaint.Overlay,
        start: dict[str, Any],
        samples: dict[str, Any],
        model: Any,
        width: int,
        height: int,
        preservation: float,
        mask_influence: float,
        threshold: float,
        contrast: float,
    ) -> tuple[inpaint.Overlay]:
        if not overlay.originals:
            return (overlay,)
        settings = soft_inpainting.Settings(
            preservation, mask_influence, threshold, contrast, width, height
        )
        scaled = model.model.process_latent_in
        softened = soft_inpainting.soften(
            overlay,
            scaled(start["samples"]),
            scaled(samples["samples"]),
            start["noise_mask"],
            settings,
        )
        return (softened,)


class A1111ControlNetCrop:
    """The part of a unit's image that an inpainting of "only masked" makes anew, at full size.

    `area` is the inpainting's mask, at the size of its own picture; `mask` is cut along with the
    image (0 without one).
    """

    CATEGORY = "A1111/controlnet"
    RETURN_TYPES = ("IMAGE", "MASK")
    FUNCTION = "crop"

    @classmethod
    def INPUT_TYPES(cls) -> InputTypes:
        return {
            "required": {
                "image": ("IMAGE",),
                "area": ("MASK",),
                "width": whole(512, 1),
                "height": whole(512, 1),
                "padding": whole(0, 0),
                "resize_mode": (list(RESIZE_MODES),),
            },
            "optional": {"mask": ("MASK",)},
        }

    def crop(
        self,
        image: torch.Tensor,
        area: torch.Tensor,
        width: int,
        height: int,
        padding: int,
        resize_mode: str,
        mask: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        mode = RESIZE_MODES.index(resize_mode)
        where = inpaint.Area(_mask_images(area)[0], padding, (width, height), mode)
        pictures = [
            Image.merge("RGB", [where.cut(channel) for channel in picture.split()])
            for picture in image_ops.to_pil(image)
        ]
        masks = _mask_images(mask) if mask is not None else []
        if not masks:
            return image_ops.to_tensor(pictures), torch.zeros((1, height, width))
        return image_ops.to_tensor(pictures), _mask_tensor(where.cut(masks[0]))


class A1111ColorCorrection:
    """The results with the colours of the picture they were made from (option
    img2img_color_correction)."""

    CATEGORY = CATEGORY
    RETURN_TYPES = ("IMAGE",)
    FUNCTION = "correct"

    @classmethod
    def INPUT_TYPES(cls) -> InputTypes:
        return {"required": {"image": ("IMAGE",), "source": ("IMAGE",)}}

    def correct(self, image: torch.Tensor, source: torch.Tensor) -> tuple[torch.Tensor]:
        sources = image_ops.to_pil(source)
        corrected = [
            color_ops.correct(picture, sources[min(index, len(sources) - 1)])
            for index, picture in enumerate(image_ops.to_pil(image))
        ]
        return (image_ops.to_tensor(corrected),)


class A1111Overlay:
    """Put the results of an inpainting under what is kept of their originals.

    `covers` is option overlay_inpaint. Beside the results: the overlay's mask, and results alone
    (with alpha) where they were made anew.
    """

    CATEGORY = CATEGORY
    RETURN_TYPES = ("IMAGE", "IMAGE", "IMAGE")
    RETURN_NAMES = ("image", "mask", "composite")
    FUNCTION = "put_back"

    @classmethod
    def INPUT_TYPES(cls) -> InputTypes:
        return {
            "required": {"image": ("IMAGE",), "overlay": (OVERLAY,), "covers": flag(True)},
            "optional": {"upscaler": (UPSCALER,)},
        }

    def put_back(
        self,
        image: torch.Tensor,
        overlay: inpaint.Overlay,
        covers: bool,
        upscaler: UpscalerObject = _PLAIN,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        pictures = image_ops.to_pil(image)
        if not overlay.originals:
            blank = torch.zeros((1, *image.shape[1:3], 3))
            return image_ops.to_tensor(pictures), blank, torch.zeros((1, *image.shape[1:3], 4))
        with upscaler.ready() as ready:
            finished = [
                inpaint.put_back(picture, overlay, index, covers, ready)
                for index, picture in enumerate(pictures)
            ]
        return (
            image_ops.to_tensor([item.image for item in finished]),
            image_ops.to_tensor([item.mask for item in finished]),
            _stacked([item.composite for item in finished]),
        )


def _with_alpha(image: torch.Tensor, alpha: torch.Tensor) -> list[Image.Image]:
    """Pictures as RGBA; `alpha` is 1 where they are transparent."""
    result = []
    for index, picture in enumerate(image_ops.to_pil(image)):
        plane = 1.0 - alpha[min(index, alpha.shape[0] - 1)].cpu().float().numpy()
        levels = np.rint(255.0 * np.clip(plane, 0.0, 1.0)).astype(np.uint8)
        with_alpha = picture.convert("RGBA")
        if levels.shape == (picture.height, picture.width):
            with_alpha.putalpha(Image.fromarray(levels))
        result.append(with_alpha)
    return result


def _mask_images(mask: torch.Tensor) -> list[Image.Image]:
    """MASK `[B, H, W]` -> pictures of mode L."""
    levels = np.rint(255.0 * np.clip(mask.cpu().float().numpy(), 0.0, 1.0)).astype(np.uint8)
    return [Image.fromarray(plane) for plane in levels.reshape(-1, *levels.shape[-2:])]


def _mask_tensor(mask: Image.Image) -> torch.Tensor:
    return torch.from_numpy(np.array(mask, dtype=np.float32)[None] / 255.0)


def _stacked(images: list[Image.Image]) -> torch.Tensor:
    """Pictures of one size and mode to an IMAGE, alpha included."""
    arrays = np.stack([np.asarray(image, dtype=np.uint8) for image in images])
    return torch.from_numpy(arrays.astype(np.float32) / 255.0)
