"""The node of A1111's reference_* modules."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch

from ..maths import reference
from ..maths.reference import Reference, References, State
from .inputs import InputTypes, flag, number, whole

_ATTACHMENT = "a1111_references"
_WRAPPER = "model_function_wrapper"


class A1111ControlNetReference:
    """reference_*: a picture's features in the self-attention, with A1111's own noise.

    Goes with A1111Guider, which counts the calls. `seed` is that of the batch's last image, with
    which A1111 seeds the generator that the noise comes from (-1: without one); `drawn` is how many
    numbers the encoder of control pictures took from it before. `tells_negative` is off in the
    hires pass, where A1111 takes every row for the positive prompt's.
    """

    CATEGORY = "A1111/controlnet"
    RETURN_TYPES = ("MODEL",)
    FUNCTION = "patch"

    @classmethod
    def INPUT_TYPES(cls) -> InputTypes:
        return {
            "required": {
                "model": ("MODEL",),
                "source": ("LATENT",),
                "module": (list(reference.KINDS),),
                "weight": ("FLOAT", {"default": 1.0, "min": 0.0, "max": 2.0, "step": 0.001}),
                "style_fidelity": number(0.5, 0.0, 1.0),
                "start": number(0.0, 0.0, 1.0),
                "end": number(1.0, 0.0, 1.0),
                "seed": whole(-1, -1, 2**64 - 1),
                "drawn": whole(0, 0, 2**31 - 1),
                "tells_negative": flag(True),
            }
        }

    def patch(
        self,
        model: Any,
        source: Mapping[str, torch.Tensor],
        module: str,
        weight: float,
        style_fidelity: float,
        start: float,
        end: float,
        seed: int,
        drawn: int,
        tells_negative: bool,
    ) -> tuple[Any]:
        patched = model.clone()
        before, inner = patched.attachments.get(
            _ATTACHMENT, ((), patched.model_options.get(_WRAPPER))
        )
        unit = Reference(module, source["samples"][:1], weight, style_fidelity, start, end)
        units = (*before, unit)
        patched.attachments[_ATTACHMENT] = (units, inner)
        state = State()
        _patch_unet(patched, state)
        noise_seed = None if seed < 0 else seed
        references = References(units, noise_seed, drawn, state, tells_negative, inner)
        patched.set_model_unet_function_wrapper(_as_function(references))
        return (patched,)


def _as_function(references: References) -> Callable[..., Any]:
    """A plain function: ComfyUI copies a model's options deeply, but functions it leaves alone."""

    def wrapper(apply_model: Callable[..., Any], args: Mapping[str, Any]) -> Any:
        return references.run(apply_model, args)

    return wrapper


def _patch_unet(patched: Any, state: State) -> None:
    """Let a UNet's self-attention and its blocks read what the reference runs left."""
    unet = patched.model.diffusion_model
    layers = list(_self_attentions(unet))
    places = reference.attention_places([width for _, _, width in layers])
    for (name, layer, _), place in zip(layers, places, strict=True):
        made = reference.attention(state, state.bank(), place, _forward(layer))
        patched.add_object_patch(f"diffusion_model.{name}.forward", made)
    is_sdxl = unet.num_classes is not None
    for name, layer, place in _last_layers(unet, is_sdxl):
        made = reference.adain(state, state.bank(), place, _forward(layer))
        patched.add_object_patch(f"diffusion_model.{name}.forward", made)


def _self_attentions(unet: Any) -> Iterator[tuple[str, Any, int]]:
    """(name, layer, width) of every transformer block's self-attention, in the UNet's order."""
    for name, module in unet.named_modules():
        if hasattr(module, "attn1") and hasattr(module, "norm1"):
            yield f"{name}.attn1", module.attn1, module.norm1.normalized_shape[0]


def _last_layers(unet: Any, is_sdxl: bool) -> Iterator[tuple[str, Any, float]]:
    """(name, layer, place) of the last layer of every block that AdaIN works on."""
    blocks = {"input": "input_blocks", "output": "output_blocks"}
    for kind, index, place in reference.adain_places(is_sdxl):
        where = "middle_block" if kind == "middle" else f"{blocks[kind]}.{index}"
        block = unet.get_submodule(where)
        yield f"{where}.{len(block) - 1}", block[-1], place


def _forward(layer: Any) -> Callable[..., Any]:
    """A layer's own forward, whatever model has patched it now."""
    return functools.partial(type(layer).forward, layer)
