"""A hook that brings a LoRA with factors of its blocks. Imported inside ComfyUI only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import comfy.hooks
import comfy.lora

from ..maths.lora_blocks import BlockWeights


class BlocksHook(comfy.hooks.WeightHook):
    """A weight hook of the model alone.

    Args:
        tensors: the LoRA's file.
        blocks: factors of its blocks.
        strength: on the model.
    """

    def __init__(
        self,
        tensors: Mapping[str, Any] | None = None,
        blocks: BlockWeights | None = None,
        strength: float = 1.0,
    ) -> None:
        super().__init__(strength_model=strength, strength_clip=0.0)
        self.weights = tensors
        self.blocks = blocks

    def add_hook_patches(
        self, model: Any, model_options: Any, target_dict: Any, registered: Any
    ) -> bool:
        """Register the LoRA's patches, those of one factor together."""
        if not self.should_register(model, model_options, target_dict, registered):
            return False
        if target_dict.get("target") == comfy.hooks.EnumWeightTarget.Model and self.blocks:
            names = comfy.lora.model_lora_keys_unet(model.model, {})
            patches = comfy.lora.load_lora(self.weights, names, log_missing=False)
            for ratio, some in self.blocks.groups(patches):
                model.add_hook_patches(
                    hook=self, patches=some, strength_patch=self._strength_model * ratio
                )
        registered.add(self)
        return True

    def clone(self) -> BlocksHook:
        copy: BlocksHook = super().clone()
        copy.blocks = self.blocks
        return copy
