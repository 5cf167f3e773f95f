"""ControlNet preprocessors with a network of their own, read by what ComfyUI brings along."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..maths import aligned_face, lama, oneformer
from ..maths.image_ops import from_levels, to_levels
from .control import CATEGORY
from .devices import on_device
from .inputs import InputTypes, flag, whole

INPAINT_FOLDER = "inpaint"
ONEFORMER_FOLDER = "oneformer"
_CONFIG = "config.json"
ONEFORMERS = ("shi-labs/oneformer_ade20k_swin_large", "shi-labs/oneformer_coco_swin_large")
_SUFFIXES = (".pt", ".pth", ".safetensors")


def _with_folder(name: str) -> Any:
    """ComfyUI's folder_paths, with models/`name` among its folders.

    Raises ImportError outside ComfyUI, where the signatures are written.
    """
    import folder_paths

    folder_paths.add_model_folder_path(name, str(Path(folder_paths.models_dir) / name))
    return folder_paths


def _inpaint_files() -> list[str]:
    try:
        folder_paths = _with_folder(INPAINT_FOLDER)
    except ImportError:
        return []
    names = folder_paths.get_filename_list(INPAINT_FOLDER)
    return [name for name in names if name.endswith(_SUFFIXES)]


@functools.lru_cache(maxsize=1)
def _lama(path: str, changed: int) -> Any:
    """LaMa of a file, on the CPU. Raises ValueError for another network."""
    import comfy.utils
    import spandrel

    if path.endswith(".pt"):
        tensors = torch.jit.load(path, map_location="cpu").state_dict()
    else:
        tensors = comfy.utils.load_torch_file(path, safe_load=True)
    model = spandrel.ModelLoader().load_from_state_dict(lama.whole_weights(tensors))
    if model.architecture.id != "LaMa":
        raise ValueError(f"{Path(path).name} is no LaMa, but {model.architecture.name}")
    return model.eval()


def _exact_levels(image: torch.Tensor) -> list[np.ndarray]:
    """IMAGE `[B, H, W, C]` -> float32 arrays `[H, W, 3]`, 0 to 255."""
    return list(255.0 * image[..., :3].cpu().float().numpy())


class A1111ControlNetLama:
    """inpaint_only+lama: what is masked, filled in by LaMa (models/inpaint, read by spandrel).

    Without `whole_levels` the picture is taken as it is, not rounded to 8 bits: one that
    A1111ControlNetFit has enlarged.
    """

    CATEGORY = CATEGORY
    RETURN_TYPES = ("IMAGE",)
    FUNCTION = "fill"

    @classmethod
    def INPUT_TYPES(cls) -> InputTypes:
        return {
            "required": {
                "image": ("IMAGE",),
                "mask": ("MASK",),
                "model_name": (_inpaint_files(),),
                "whole_levels": flag(True),
            }
        }

    def fill(
        self, image: torch.Tensor, mask: torch.Tensor, model_name: str, whole_levels: bool
    ) -> tuple[torch.Tensor]:
        path = _with_folder(INPAINT_FOLDER).get_full_path_or_raise(INPAINT_FOLDER, model_name)
        network = _lama(path, Path(path).stat().st_mtime_ns)
        covered = np.rint(255.0 * mask.cpu().float().numpy())
        pictures = to_levels(image) if whole_levels else _exact_levels(image)
        with on_device(network, network.model) as device:
            filled = [
                lama.fill(picture, plane.astype(picture.dtype), network, device)
                for picture, plane in zip(pictures, covered, strict=True)
            ]
        return (from_levels(filled),)


def _oneformers() -> dict[str, str]:
    """OneFormer's networks that are on this machine: name -> folder.

    Those of Hugging Face's cache, and the folders below models/oneformer.
    """
    try:
        folder_paths = _with_folder(ONEFORMER_FOLDER)
        from huggingface_hub import try_to_load_from_cache
    except ImportError:
        return {}
    found: dict[str, str] = {}
    for name in ONEFORMERS:
        config = try_to_load_from_cache(name, _CONFIG)
        if isinstance(config, str):
            found[name] = str(Path(config).parent)
    for place in map(Path, folder_paths.get_folder_paths(ONEFORMER_FOLDER)):
        for config_file in sorted(place.glob(f"**/{_CONFIG}")):
            name = config_file.parent.relative_to(place).as_posix()
            found.setdefault(name, str(config_file.parent))
    return found


@functools.lru_cache(maxsize=1)
def _oneformer(folder: str) -> Any:
    """A network on the CPU, from its folder alone."""
    from transformers import OneFormerForUniversalSegmentation

    return OneFormerForUniversalSegmentation.from_pretrained(folder, local_files_only=True).eval()


class A1111ControlNetOneFormer:
    """seg_ofade20k and seg_ofcoco: OneFormer's classes in their data set's colours, outlined.

    Networks of transformers, from Hugging Face's cache or models/oneformer; none is downloaded.
    """

    CATEGORY = CATEGORY
    RETURN_TYPES = ("IMAGE",)
    FUNCTION = "segment"

    @classmethod
    def INPUT_TYPES(cls) -> InputTypes:
        return {
            "required": {
                "image": ("IMAGE",),
                "model_name": (list(_oneformers()),),
                "resolution": whole(512, 1, 16384),
            }
        }

    def segment(self, image: torch.Tensor, model_name: str, resolution: int) -> tuple[torch.Tensor]:
        network = _oneformer(_oneformers()[model_name])
        with on_device(network) as device:
            drawn = [
                oneformer.segmented(picture, resolution, network, device)
                for picture in to_levels(image)
            ]
        return (from_levels(drawn),)


class A1111ControlNetFacexlib:
    """ControlNet's module facexlib: the largest face, aligned to 512x512, grey on white."""

    CATEGORY = CATEGORY
    RETURN_TYPES = ("IMAGE",)
    FUNCTION = "align"

    @classmethod
    def INPUT_TYPES(cls) -> InputTypes:
        return {"required": {"image": ("IMAGE",), "resolution": whole(512, 1, 16384)}}

    def align(self, image: torch.Tensor, resolution: int) -> tuple[torch.Tensor]:
        import folder_paths
        from comfy import model_management

        device = model_management.get_torch_device()
        helper, parser = aligned_face.load(Path(folder_paths.models_dir), device)
        faces = [
            aligned_face.features(picture, resolution, helper, parser)
            for picture in to_levels(image)
        ]
        return (from_levels(faces),)
