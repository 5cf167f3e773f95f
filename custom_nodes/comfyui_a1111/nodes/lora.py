"""A LoRA with factors of its blocks, on a model and text encoder or as a hook; a hypernetwork."""

from __future__ import annotations

from typing import Any

from ..maths.hypernetwork import HypernetworkPatch
from ..maths.lora_blocks import BlockWeights
from .inputs import number

CATEGORY = "A1111/models"
_STRENGTH = number(1.0, -100.0, 100.0, 0.01)


def _files(folder: str = "loras") -> list[str]:
    try:
        import folder_paths
    except ImportError:  # outside ComfyUI, where the signatures are written
        return []
    return list(folder_paths.get_filename_list(folder))


def _tensors(name: str, folder: str = "loras") -> dict[Any, Any]:
    import comfy.utils
    import folder_paths

    path = folder_paths.get_full_path_or_raise(folder, name)
    tensors: dict[Any, Any] = comfy.utils.load_torch_file(path, safe_load=True)
    return tensors


class A1111LoraBlocks:
    """A LoRA on model and text encoder, each block with a factor of its own."""

    CATEGORY = CATEGORY
    RETURN_TYPES = ("MODEL", "CLIP")
    FUNCTION = "load"

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {
            "required": {
                "model": ("MODEL",),
                "clip": ("CLIP",),
                "lora_name": (_files(),),
                "strength_model": _STRENGTH,
                "strength_clip": _STRENGTH,
                "weights": ("STRING", {"default": "{}", "multiline": False}),
            }
        }

    def load(
        self,
        model: Any,
        clip: Any,
        lora_name: str,
        strength_model: float,
        strength_clip: float,
        weights: str,
    ) -> tuple[Any, Any]:
        import comfy.lora
        import comfy.lora_convert

        blocks = BlockWeights.from_json(weights)
        names = comfy.lora.model_lora_keys_unet(model.model, {})
        names = comfy.lora.model_lora_keys_clip(clip.cond_stage_model, names)
        tensors = comfy.lora_convert.convert_lora(_tensors(lora_name))
        patched, encoder = model.clone(), clip.clone()
        for ratio, patches in blocks.groups(comfy.lora.load_lora(tensors, names)):
            patched.add_patches(patches, strength_model * ratio)
            encoder.add_patches(patches, strength_clip * ratio)
        return (patched, encoder)


class A1111LoraBlocksHook:
    """A LoRA on the model, each block with a factor of its own, that conditioning brings."""

    CATEGORY = CATEGORY
    RETURN_TYPES = ("HOOKS",)
    FUNCTION = "make"

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {
            "required": {
                "lora_name": (_files(),),
                "strength_model": _STRENGTH,
                "weights": ("STRING", {"default": "{}", "multiline": False}),
            }
        }

    def make(self, lora_name: str, strength_model: float, weights: str) -> tuple[Any]:
        import comfy.hooks

        from .lora_hook import BlocksHook

        group = comfy.hooks.HookGroup()
        group.add(BlocksHook(_tensors(lora_name), BlockWeights.from_json(weights), strength_model))
        return (group,)


class A1111Hypernetwork:
    """A hypernetwork, built from its file as A1111 builds it."""

    CATEGORY = CATEGORY
    RETURN_TYPES = ("MODEL",)
    FUNCTION = "load"

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {
            "required": {
                "model": ("MODEL",),
                "hypernetwork_name": (_files("hypernetworks"),),
                "strength": _STRENGTH,
            }
        }

    def load(self, model: Any, hypernetwork_name: str, strength: float) -> tuple[Any]:
        content = _tensors(hypernetwork_name, "hypernetworks")
        patch = HypernetworkPatch(content, strength)
        patched = model.clone()
        patched.set_model_attn1_patch(patch)
        patched.set_model_attn2_patch(patch)
        return (patched,)
