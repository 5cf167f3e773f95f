"""The nodes of ComfyUI-Advanced-ControlNet."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from translator.comfy.graph import Conditioning, ControlNet, Graph, Image, Latent, Mask, Ref, Vae


class ControlNetWeights(Ref):
    """CONTROL_NET_WEIGHTS"""

    __slots__ = ()


class WeightsExtras(Ref):
    """CN_WEIGHTS_EXTRAS"""

    __slots__ = ()


class TimestepKeyframe(Ref):
    """TIMESTEP_KEYFRAME"""

    __slots__ = ()


def acn_load_control_net(
    graph: Graph, name: str, keyframe: TimestepKeyframe | None = None
) -> ControlNet:
    """A ControlNet that this pack runs, with weights and region of its own."""
    node = graph.add("ACN_ControlNetLoaderAdvanced", cnet=name, _tk_opt=keyframe)
    return node.out(ControlNet)


def acn_timestep_keyframe(
    graph: Graph, weights: ControlNetWeights | None, mask: Mask | None
) -> TimestepKeyframe:
    """Weights and region from the first step on."""
    node = graph.add("TimestepKeyframe", start_percent=0.0, cn_weights=weights, mask_optional=mask)
    return node.out(TimestepKeyframe)


def acn_apply(
    graph: Graph,
    *,
    title: str,
    positive: Conditioning,
    negative: Conditioning,
    control_net: ControlNet,
    image: Image,
    strength: float,
    start: float,
    end: float,
    mask: Mask | None = None,
    weights: ControlNetWeights | None = None,
    vae: Vae | None = None,
) -> tuple[Conditioning, Conditioning]:
    """ACN_AdvancedControlNetApply_v2; `start` and `end` are shares of the schedule."""
    node = graph.add(
        "ACN_AdvancedControlNetApply_v2",
        title=title,
        positive=positive,
        negative=negative,
        control_net=control_net,
        image=image,
        strength=strength,
        start_percent=start,
        end_percent=end,
        mask_optional=mask,
        weights_override=weights,
        vae_optional=vae,
    )
    return node.out(Conditioning), node.out(Conditioning, 1)


def acn_reference_preprocessor(graph: Graph, image: Image, vae: Vae, latent_size: Latent) -> Image:
    """A picture encoded as a reference, at the size of a latent."""
    node = graph.add("ACN_ReferencePreprocessor", image=image, vae=vae, latent_size=latent_size)
    return node.out(Image)


def acn_reference_control_net(
    graph: Graph, reference_type: str, style_fidelity: float, ref_weight: float
) -> ControlNet:
    node = graph.add(
        "ACN_ReferenceControlNet",
        reference_type=reference_type,
        style_fidelity=style_fidelity,
        ref_weight=ref_weight,
    )
    return node.out(ControlNet)


def acn_t2i_adapter_weights(
    graph: Graph, features: Sequence[float], uncond_multiplier: float, *, in_middle: bool
) -> ControlNetWeights:
    """A weight for each of a T2I-Adapter's four features, shallow to deep.

    The node counts them from the encoder's end, so where the last one goes to the middle block the
    others move up.
    """
    middle = features[-1] if in_middle else 1.0
    weights = (features[0], *features[:-1]) if in_middle else features
    inputs: dict[str, Any] = {f"input_{number}": weight for number, weight in enumerate(weights)}
    if middle != 1.0:
        extras = graph.add("ACN_ExtrasMiddleMult", middle_mult=middle)
        inputs["cn_extras"] = extras.out(WeightsExtras)
    node = graph.add("ACN_CustomT2IAdapterWeights", **inputs, uncond_multiplier=uncond_multiplier)
    return node.out(ControlNetWeights)


def acn_soft_weights(
    graph: Graph, base_multiplier: float, uncond_multiplier: float
) -> ControlNetWeights:
    """Weights of a ControlNet that fall by a power of the base from block to block."""
    node = graph.add(
        "ACN_ScaledSoftControlNetWeights",
        base_multiplier=base_multiplier,
        uncond_multiplier=uncond_multiplier,
    )
    return node.out(ControlNetWeights)


def acn_control_net_weights(
    graph: Graph, encoder: Sequence[float], middle: float, uncond_multiplier: float
) -> ControlNetWeights:
    """A weight per block of a ControlNet: twelve of the encoder, one of the middle."""
    inputs: dict[str, Any] = {f"output_{number}": weight for number, weight in enumerate(encoder)}
    node = graph.add(
        "ACN_CustomControlNetWeightsSD15",
        **inputs,
        middle_0=middle,
        uncond_multiplier=uncond_multiplier,
    )
    return node.out(ControlNetWeights)
