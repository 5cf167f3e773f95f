"""What A1111's ControlNet makes of pictures for image prompts, T2I-Adapters and ControlLLLite."""

from __future__ import annotations

import base64
import io
import json
from typing import Any

import numpy as np
import torch

from ..maths import control_ops, controlnet_ops
from ..maths.adapter_features import AdapterFeatures
from ..maths.image_ops import to_levels
from ..maths.lllite import LLLite, attention_patch, models_of
from .control import CATEGORY, with_attention
from .inputs import InputTypes, number

CLIP_SIDE = 224
"""Pixels of the square that CLIP sees."""

_CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
"""CLIP's mean colour, which is zero once it is normalised: the extension's masked pixels."""


class A1111ControlNetClipImage:
    """A picture as the extension shows it to CLIP: squashed to a square by area.

    Where `mask` is white the picture becomes CLIP's mean colour. CLIP's own preparation rounds that
    to a whole level, which the extension does not.
    """

    CATEGORY = CATEGORY
    RETURN_TYPES = ("IMAGE",)
    FUNCTION = "squash"

    @classmethod
    def INPUT_TYPES(cls) -> InputTypes:
        return {"required": {"image": ("IMAGE",)}, "optional": {"mask": ("MASK",)}}

    def squash(self, image: torch.Tensor, mask: torch.Tensor | None = None) -> tuple[torch.Tensor]:
        pictures = torch.stack([_squashed(item) for item in to_levels(image)])
        if mask is None:
            return (pictures,)
        hidden = torch.stack([_squashed(item) for item in to_levels(mask[..., None])])
        mean = torch.tensor(_CLIP_MEAN)
        return (pictures * (1.0 - hidden) + mean * hidden,)


def _squashed(picture: np.ndarray) -> torch.Tensor:
    """uint8 `[H, W, C]` -> float `[224, 224, C]`, 0..1."""
    square = controlnet_ops.resample(np.ascontiguousarray(picture), CLIP_SIDE, CLIP_SIDE, "area")
    return torch.from_numpy(square.astype(np.float32) / 255.0)


class A1111FaceTokens:
    """An image prompt by FaceID with the tokens that the extension makes of its picture.

    `model` is what IPAdapterFaceID patched with one picture. The face is looked for at 640 pixels
    only, and the largest one counts. FaceID plus needs `clip_vision_output` of the whole picture
    (the pack's node shows CLIP the face alone); `shortcut` is its second version's.
    """

    CATEGORY = CATEGORY
    RETURN_TYPES = ("MODEL",)
    FUNCTION = "replace"

    @classmethod
    def INPUT_TYPES(cls) -> InputTypes:
        return {
            "required": {
                "model": ("MODEL",),
                "insightface": ("INSIGHTFACE",),
                "image": ("IMAGE",),
            },
            "optional": {
                "clip_vision_output": ("CLIP_VISION_OUTPUT",),
                "shortcut": ("BOOLEAN", {"default": False}),
            },
        }

    def replace(
        self,
        model: Any,
        insightface: Any,
        image: torch.Tensor,
        clip_vision_output: Any = None,
        shortcut: bool = False,
    ) -> tuple[Any]:
        face = control_ops.face_in(insightface, to_levels(image)[0])
        embedding = torch.from_numpy(np.array(face.normed_embedding))[None]
        seen = None
        if clip_vision_output is not None:
            seen = clip_vision_output.penultimate_hidden_states[:1]
        tokens = control_ops.FaceTokens(embedding, seen, shortcut)
        return (with_attention(model, tokens.put_into),)


class A1111LayerWeights:
    """A weight for each layer of the last image prompt, InstantID's, whose node has one for all.

    `weights` is a JSON list in the order in which the UNet runs its transformers.
    """

    CATEGORY = CATEGORY
    RETURN_TYPES = ("MODEL",)
    FUNCTION = "weigh"

    @classmethod
    def INPUT_TYPES(cls) -> InputTypes:
        return {"required": {"model": ("MODEL",), "weights": ("STRING", {"default": "[]"})}}

    def weigh(self, model: Any, weights: str) -> tuple[Any]:
        by_layer = {
            layer: float(weight) for layer, weight in enumerate(json.loads(weights)) if weight > 0
        }

        def change(patches: dict[Any, Any]) -> dict[Any, Any]:
            changed = control_ops.own_attention(patches)
            for patch in changed.values():
                if hasattr(patch, "kwargs"):
                    patch.kwargs[-1] = {**patch.kwargs[-1], "weight": by_layer}
            return changed

        return (with_attention(model, change),)


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
                "pools": ("BOOLEAN", {"default": True}),
            }
        }

    def pool(self, control_net: Any, pools: bool) -> tuple[Any]:
        pooled = control_net.copy()
        pooled.global_average_pooling = pools
        return (pooled,)


class A1111ClipTensor:
    """What CLIP makes of a picture as ``POST /controlnet/detect`` answers it.

    A dictionary of tensors saved by torch, in base64: ``image_embeds``, ``last_hidden_state`` and
    the list ``hidden_states``, the embeddings first and then what each layer makes of them.
    """

    CATEGORY = CATEGORY
    RETURN_TYPES = ("STRING",)
    FUNCTION = "encode"

    @classmethod
    def INPUT_TYPES(cls) -> InputTypes:
        return {"required": {"clip_vision": ("CLIP_VISION",), "image": ("IMAGE",)}}

    def encode(self, clip_vision: Any, image: torch.Tensor) -> tuple[str]:
        states: list[torch.Tensor] = []
        layers = clip_vision.model.vision_model.encoder.layers
        handles = [layer.register_forward_pre_hook(_noting(states)) for layer in layers]
        try:
            output = clip_vision.encode_image(image, crop=False)
        finally:
            for handle in handles:
                handle.remove()
        last = output.last_hidden_state.cpu().float()
        saved = {
            "image_embeds": output.image_embeds.cpu().float(),
            "last_hidden_state": last,
            "hidden_states": [*states, last],
        }
        file = io.BytesIO()
        torch.save(saved, file)
        return (base64.b64encode(file.getvalue()).decode("ascii"),)


def _noting(states: list[torch.Tensor]) -> Any:
    def note(_: torch.nn.Module, inputs: tuple[Any, ...]) -> None:
        states.append(inputs[0].detach().clone().cpu().float())

    return note


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
