"""PuLID's cross-attention as A1111's ControlNet extension has it.

The pack PuLID_ComfyUI takes the projection on the text's attention, and its weights as a mean over
all places; the extension projects on what the attention is fed, and has a weight at every place.
Source of the rules: sd-webui-controlnet v1.1.455 (`scripts/ipadapter/pulid_attn.py`,
`plugable_ipadapter.py`). Tensors are `[rows, places, channels]`.
"""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from typing import Any

import torch
from torch import Tensor

from .control_ops import tokens_of_batch
from .unet_layers import layer_size

PACK_CALLBACK = "pulid_attention"
"""The name of the pack's function in an attention patch's `callback`."""

_FED = "a1111_attention_input"
_FACE_TOKENS = 5


def remember_input(fed: Tensor, context: Tensor, value: Any, options: Any) -> tuple[Any, ...]:
    """An attn2_patch that changes nothing: it keeps what the attention is fed for `attend`."""
    if isinstance(options, MutableMapping):
        options[_FED] = fed
    return fed, context, value


def attend(
    out: Tensor,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    extra_options: Mapping[str, Any],
    *,
    module_key: str,
    pulid: Any,
    cond: Tensor,
    uncond: Tensor,
    weight: float,
    ortho: bool,
    ortho_v2: bool,
    mask: Tensor | None = None,
    **_: Any,
) -> Tensor:
    """What a face adds to a cross-attention; takes what the pack's function is given.

    Args:
        cond, uncond: the face's tokens, zero tokens included.
        ortho: "Extremely style"; ortho_v2: "Fidelity".
    """
    tokens = tokens_of_batch(cond, uncond, extra_options["cond_or_uncond"], q.shape[0])
    keys, values = (
        pulid.ip_layers.to_kvs[f"{module_key}_to_{kind}_ip"](tokens).to(q.dtype) for kind in "kv"
    )
    query, key, value = (_by_head(item, extra_options["n_heads"]) for item in (q, keys, values))
    face = torch.nn.functional.scaled_dot_product_attention(query, key, value)
    face = face.transpose(1, 2).reshape(q.shape)
    if ortho or ortho_v2:
        fed, wide = extra_options[_FED].float(), face.float()
        along = (fed * wide).sum(-2, keepdim=True) / (fed * fed).sum(-2, keepdim=True) * fed
        share = _heed(query, key) - 1 if ortho_v2 else -1
        face = (wide + share * along).to(q.dtype)
    face = face * weight
    return face if mask is None else face * _places(mask, q.shape[1], extra_options)


def as_extension(patches: Mapping[Any, Any]) -> Mapping[Any, Any]:
    """Attention patches with `attend` in place of the pack's function.

    Args:
        patches: the caller's own, see `control_ops.own_attention`: they are changed.
    """
    for patch in patches.values():
        if has_face(patch):
            patch.callback = [
                attend if _is_packs(callback) else callback for callback in patch.callback
            ]
    return patches


def has_face(patch: Any) -> bool:
    """Whether an attention patch has a face of PuLID, by the pack's function or by `attend`."""
    callbacks = getattr(patch, "callback", ())
    return any(callback is attend or _is_packs(callback) for callback in callbacks)


def _is_packs(callback: Any) -> bool:
    return getattr(callback, "__name__", None) == PACK_CALLBACK


def _by_head(item: Tensor, heads: int) -> Tensor:
    rows, _, channels = item.shape
    return item.view(rows, -1, heads, channels // heads).transpose(1, 2)


def _heed(query: Tensor, key: Tensor) -> Tensor:
    """How far each place heeds the face's first tokens, `[rows, places, 1]`."""
    shares = (query @ key.transpose(-2, -1)).softmax(dim=-1).mean(dim=1)
    return shares[..., :_FACE_TOKENS].sum(dim=-1, keepdim=True)


def _places(mask: Tensor, places: int, extra_options: Mapping[str, Any]) -> Tensor:
    """A mask in pixels `[1, H, W]` at the places of a block, `[1, places, 1]`."""
    size = layer_size(extra_options["original_shape"], places)
    shrunk = torch.nn.functional.interpolate(mask[None, :1].float(), size=size, mode="bilinear")
    return shrunk.to(mask).view(1, -1, 1)
