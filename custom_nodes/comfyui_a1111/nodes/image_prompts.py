"""Image prompts as A1111's ControlNet has them: what CLIP sees, tokens and weights, revision."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch

from ..maths import control_ops, controlnet_ops, pulid_attention
from ..maths.image_ops import to_levels
from .control import CATEGORY
from .inputs import InputTypes, flag, number, whole

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


class A1111ControlNetAttention:
    """Make the cross-attention patches of image prompts the model's own, middle block included.

    Goes before every image prompt but the first, and after each of IPAdapter_plus and PuLID, whose
    attention becomes that of A1111's extension. `owner` names what is patched next: it keeps
    ComfyUI's cache from giving this model to something else.
    """

    CATEGORY = CATEGORY
    RETURN_TYPES = ("MODEL",)
    FUNCTION = "own"

    @classmethod
    def INPUT_TYPES(cls) -> InputTypes:
        return {"required": {"model": ("MODEL",), "owner": ("STRING", {"default": ""})}}

    def own(self, model: Any, owner: str) -> tuple[Any]:
        patched = with_attention(
            model, lambda patches: pulid_attention.as_extension(control_ops.own_attention(patches))
        )
        if any(map(pulid_attention.has_face, _attention(patched).values())):
            _remember_input(patched)
        return (patched,)


class A1111AverageImagePrompts:
    """An image prompt of several pictures: the mean of their tokens, as A1111 takes it.

    The packs take the mean before they make tokens of it. `model` and `other` are one model,
    patched with two pictures by the same node; `count` is of how many `model` has the mean already.
    `face_embeds` are InstantID's tokens for its ControlNet.
    """

    CATEGORY = CATEGORY
    RETURN_TYPES = ("MODEL", "FACE_EMBEDS")
    FUNCTION = "average"

    @classmethod
    def INPUT_TYPES(cls) -> InputTypes:
        return {
            "required": {
                "model": ("MODEL",),
                "other": ("MODEL",),
                "count": whole(1, 1, 1000),
            },
            "optional": {
                "face_embeds": ("FACE_EMBEDS",),
                "other_face_embeds": ("FACE_EMBEDS",),
            },
        }

    def average(
        self,
        model: Any,
        other: Any,
        count: int,
        face_embeds: dict[str, torch.Tensor] | None = None,
        other_face_embeds: dict[str, torch.Tensor] | None = None,
    ) -> tuple[Any, dict[str, torch.Tensor] | None]:
        patched = with_attention(
            model, lambda own: control_ops.average_prompts(own, _attention(other), count)
        )
        if face_embeds is None or other_face_embeds is None:
            return patched, face_embeds
        tokens = {
            name: control_ops.running_mean(face_embeds[name], other_face_embeds[name], count)
            for name in ("cond", "uncond")
        }
        return patched, tokens


def _remember_input(patched: Any) -> None:
    """Have a model's attention keep what it is fed, once."""
    patches = patched.model_options["transformer_options"].get("patches", {})
    if pulid_attention.remember_input not in patches.get("attn2_patch", ()):
        patched.set_model_attn2_patch(pulid_attention.remember_input)


def _attention(model: Any) -> dict[Any, Any]:
    """A model's cross-attention patches."""
    replaced = model.model_options["transformer_options"].get("patches_replace", {})
    return dict(replaced.get("attn2", {}))


def with_attention(model: Any, change: Callable[[dict[Any, Any]], Mapping[Any, Any]]) -> Any:
    """A model with its cross-attention patches changed."""
    patched = model.clone()
    options = patched.model_options["transformer_options"].copy()
    changed = {**options.get("patches_replace", {}), "attn2": change(_attention(model))}
    patched.model_options["transformer_options"] = {**options, "patches_replace": changed}
    return patched


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


class A1111Revision:
    """Revision: an image embedding in place of SDXL's pooled text.

    Without `clip_vision_output` the pooled vector becomes zeros (the negative prompt). `add` adds
    to what an earlier revision unit put there. `zero_text` zeroes the text itself as well. `seed`
    is that of torch's generator in A1111, from which `drawn` numbers were taken before.
    """

    CATEGORY = CATEGORY
    RETURN_TYPES = ("CONDITIONING",)
    FUNCTION = "revise"

    @classmethod
    def INPUT_TYPES(cls) -> InputTypes:
        return {
            "required": {
                "conditioning": ("CONDITIONING",),
                "strength": number(1.0, 0.0, 10.0),
                "noise_augmentation": number(0.0, 0.0, 1.0),
                "seed": whole(0, 0, 2**32 - 1),
                "add": flag(),
                "zero_text": flag(),
            },
            "optional": {
                "clip_vision_output": ("CLIP_VISION_OUTPUT",),
                "drawn": whole(0, 0, 2**31 - 1),
            },
        }

    def revise(
        self,
        conditioning: list[Any],
        strength: float,
        noise_augmentation: float,
        seed: int,
        add: bool,
        zero_text: bool,
        clip_vision_output: Any = None,
        drawn: int = 0,
    ) -> tuple[list[Any]]:
        revised = []
        for text, values in conditioning:
            before = values["pooled_output"]
            pooled = torch.zeros_like(before)
            if clip_vision_output is not None:
                embedding = clip_vision_output.image_embeds[:1].to(before)
                pooled = control_ops.revision_pooled(
                    embedding, strength, noise_augmentation, seed, drawn
                )
            if add:
                pooled = pooled + before
            kept = torch.zeros_like(text) if zero_text else text
            revised.append([kept, {**values, "pooled_output": pooled}])
        return (revised,)


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
        return (torch_file(saved),)


def _noting(states: list[torch.Tensor]) -> Any:
    def note(_: torch.nn.Module, inputs: tuple[Any, ...]) -> None:
        states.append(inputs[0].detach().clone().cpu().float())

    return note


def torch_file(value: Any) -> str:
    """A value of tensors as torch saves it, in base64."""
    file = io.BytesIO()
    torch.save(value, file)
    return base64.b64encode(file.getvalue()).decode("ascii")
