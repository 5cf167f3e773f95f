"""T2I-Adapters, ControlLLLite and shuffle models as A1111's ControlNet runs them."""

from __future__ import annotations

import json
from typing import Any

import torch

from ..maths.adapter_features import AdapterFeatures
from ..maths.control_region import with_region
from ..maths.lllite import LLLite, attention_patch, models_of
from .control import CATEGORY
from .inputs import InputTypes, flag, number


class A1111AdapterFeatures:
    """A T2I-Adapter whose features fit the UNet's blocks, stretched as in A1111.

    With `image` the features are of that picture, whatever one the adapter is applied with: A1111
    works them out at the first call of a request and keeps them for the hires pass. A model that is
    no T2I-Adapter stays as it is.
    """

    CATEGORY = CATEGORY
    RETURN_TYPES = ("CONTROL_NET",)
    FUNCTION = "fit"

    @classmethod
    def INPUT_TYPES(cls) -> InputTypes:
        return {"required": {"control_net": ("CONTROL_NET",)}, "optional": {"image": ("IMAGE",)}}

    def fit(self, control_net: Any, image: torch.Tensor | None = None) -> tuple[Any]:
        if not hasattr(control_net, "t2i_model"):
            return (control_net,)
        fitted = control_net.copy()
        picture = None if image is None else image[:1].movedim(-1, 1)
        fitted.t2i_model = AdapterFeatures(control_net.t2i_model, picture)
        return (fitted,)


class A1111ControlNetRegion:
    """A ControlNet that acts where `mask` is white, as a unit with effective_region_mask does.

    `weights` is a JSON list of a weight per residual, shallow to deep and the middle last; empty
    weighs all alike.
    """

    CATEGORY = CATEGORY
    RETURN_TYPES = ("CONTROL_NET",)
    FUNCTION = "bound"

    @classmethod
    def INPUT_TYPES(cls) -> InputTypes:
        return {
            "required": {
                "control_net": ("CONTROL_NET",),
                "mask": ("MASK",),
                "weights": ("STRING", {"default": "[]"}),
            }
        }

    def bound(self, control_net: Any, mask: torch.Tensor, weights: str) -> tuple[Any]:
        return (with_region(control_net, mask, [float(item) for item in json.loads(weights)]),)


class A1111PooledControlNet:
    """A ControlNet whose residuals are averaged over the picture (shuffle models), or are not.

    ComfyUI goes by the end of a file's name, the extension by what it holds anywhere.
    """

    CATEGORY = CATEGORY
    RETURN_TYPES = ("CONTROL_NET",)
    FUNCTION = "pool"

    @classmethod
    def INPUT_TYPES(cls) -> InputTypes:
        return {
            "required": {
                "control_net": ("CONTROL_NET",),
                "pools": flag(True),
            }
        }

    def pool(self, control_net: Any, pools: bool) -> tuple[Any]:
        pooled = control_net.copy()
        pooled.global_average_pooling = pools
        return (pooled,)


class A1111ControlLLLite:
    """A ControlLLLite as the extension adds it to the model's attention.

    `control_net` is what ACN_ControlNetLoaderAdvanced made of its file. That pack's own node takes
    pictures of certain sizes only, and mixes up two units of one file.
    """

    CATEGORY = CATEGORY
    RETURN_TYPES = ("MODEL",)
    FUNCTION = "patch"

    @classmethod
    def INPUT_TYPES(cls) -> InputTypes:
        return {
            "required": {
                "model": ("MODEL",),
                "control_net": ("CONTROL_NET",),
                "image": ("IMAGE",),
                "strength": number(1.0, 0.0, 10.0),
                "start_percent": number(0.0, 0.0, 1.0),
                "end_percent": number(1.0, 0.0, 1.0),
            }
        }

    def patch(
        self,
        model: Any,
        control_net: Any,
        image: torch.Tensor,
        strength: float,
        start_percent: float,
        end_percent: float,
    ) -> tuple[Any]:
        from comfy.patcher_extension import CallbacksMP

        own = getattr(control_net, "patch_attn1", None)
        if own is None:
            raise ValueError("this is no ControlLLLite: A1111ControlLLLite takes nothing else")
        sampling = model.get_model_object("model_sampling")
        added = LLLite(
            own.modules,
            image[:1].movedim(-1, 1) * 2.0 - 1.0,
            strength,
            sampling.percent_to_sigma(start_percent),
            sampling.percent_to_sigma(end_percent),
        )
        patched = model.clone()
        options = patched.model_options["transformer_options"]
        patches = dict(options.get("patches", {}))
        for attention in ("attn1", "attn2"):
            name = f"{attention}_patch"
            patches[name] = _with_lllite(patches.get(name, []), attention, added)
        patched.model_options["transformer_options"] = {**options, "patches": patches}
        patched.add_callback(CallbacksMP.ON_CLEANUP, lambda *_: added.rest())
        return (patched,)


def _with_lllite(patches: list[Any], attention: str, added: LLLite) -> list[Any]:
    """Patches of the attention with one more ControlLLLite, which reads what the others read."""
    others = [item for item in patches if not models_of(item)]
    models = [model for item in patches for model in models_of(item)]
    return [*others, attention_patch(attention, [*models, added])]
