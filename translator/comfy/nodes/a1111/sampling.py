"""Our nodes for models, prompts, noise and sampling."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from translator.comfy.graph import (
    Clip,
    Conditioning,
    Graph,
    Guider,
    Hooks,
    Image,
    Latent,
    Mask,
    Model,
    Noise,
    Sampler,
    Sigmas,
    Vae,
)
from translator.comfy.nodes.a1111.json_text import json_text as _json


def a1111_text_encode(
    graph: Graph, clip: Clip, prompt: Mapping[str, Any], title: str, **settings: Any
) -> Conditioning:
    node = graph.add("A1111TextEncode", title=title, clip=clip, prompt=_json(prompt), **settings)
    return node.out(Conditioning)


def a1111_noise(
    graph: Graph, seeds: Sequence[int], subseeds: Sequence[int], **settings: Any
) -> Noise:
    node = graph.add("A1111Noise", seeds=_json(seeds), subseeds=_json(subseeds), **settings)
    return node.out(Noise)


def a1111_noise_over_latent(graph: Graph, noise: Noise, model: Model, latent: Latent) -> Noise:
    """Noise whose every draw is laid over a latent."""
    node = graph.add("A1111NoiseOverLatent", noise=noise, model=model, latent=latent)
    return node.out(Noise)


def a1111_sigmas(graph: Graph, sigmas: Sequence[float]) -> Sigmas:
    return graph.add("A1111Sigmas", sigmas=_json(sigmas)).out(Sigmas)


def a1111_sampler(
    graph: Graph,
    sampler: str,
    *,
    timesteps: Sequence[int] | None,
    extra: Mapping[str, Any],
    **settings: Any,
) -> Sampler:
    node = graph.add(
        "A1111Sampler",
        sampler=sampler,
        timesteps="" if timesteps is None else _json(timesteps),
        extra=_json(extra) if extra else "",
        **settings,
    )
    return node.out(Sampler)


def a1111_model_sampling(graph: Graph, model: Model, **settings: Any) -> Model:
    return graph.add("A1111ModelSampling", model=model, **settings).out(Model)


def a1111_guider(
    graph: Graph, model: Model, positive: Conditioning, negative: Conditioning, **settings: Any
) -> Guider:
    node = graph.add("A1111Guider", model=model, positive=positive, negative=negative, **settings)
    return node.out(Guider)


def a1111_image_conditioning(
    graph: Graph,
    vae: Vae,
    samples: Latent,
    pixels: Image | None,
    mask: Mask | None,
    *,
    drawn: Sequence[Sequence[int]],
    **settings: Any,
) -> Latent:
    """What A1111Guider joins to the latent for a checkpoint that reads a picture beside it."""
    node = graph.add(
        "A1111ImageConditioning",
        vae=vae,
        samples=samples,
        **settings,
        drawn=_json(drawn),
        pixels=pixels,
        mask=mask,
    )
    return node.out(Latent)


def a1111_tiled_diffusion(
    graph: Graph, model: Model, regions: Sequence[Sequence[Any]], **settings: Any
) -> Model:
    placed = _json(regions) if regions else None
    return graph.add("A1111TiledDiffusion", model=model, **settings, regions=placed).out(Model)


def a1111_attention_couple(
    graph: Graph,
    model: Model,
    size: tuple[int, int],
    boxes: Sequence[Sequence[float]],
    texts: Sequence[Conditioning],
    masks: Mapping[int, Image],
) -> Model:
    """A1111AttentionCouple, which takes its regions as region, region_1, region_2 and so on.

    Args:
        masks: of the regions that have one, by their positions.
    """
    first, *others = texts
    more: dict[str, Any] = {f"region_{number}": text for number, text in enumerate(others, 1)}
    more |= {f"mask_{number}": mask for number, mask in masks.items()}
    node = graph.add(
        "A1111AttentionCouple",
        model=model,
        width=size[0],
        height=size[1],
        boxes=_json(boxes),
        region=first,
        **more,
    )
    return node.out(Model)


def a1111_regional_prompter(
    graph: Graph,
    model: Model,
    *,
    lines: Sequence[Any],
    base_shares: Sequence[float],
    texts: Sequence[Any],
    negative_texts: Sequence[Any],
    **settings: Any,
) -> Model:
    node = graph.add(
        "A1111RegionalPrompter",
        model=model,
        lines=_json(lines),
        base_shares=_json(base_shares),
        texts=_json(texts) if texts else None,
        negative_texts=_json(negative_texts) if negative_texts else None,
        **settings,
    )
    return node.out(Model)


def a1111_join_parts(graph: Graph, parts: Sequence[Conditioning]) -> Conditioning:
    """A1111JoinParts, which takes its parts as part, part_1, part_2 and so on."""
    first, *others = parts
    more: dict[str, Any] = {f"part_{number}": part for number, part in enumerate(others, 1)}
    return graph.add("A1111JoinParts", part=first, **more).out(Conditioning)


def a1111_free_u(
    graph: Graph, model: Model, *, stages: Sequence[Any], range: Sequence[float], **settings: Any
) -> Model:
    node = graph.add(
        "A1111FreeU", model=model, stages=_json(stages), range=_json(range), **settings
    )
    return node.out(Model)


def a1111_perturbed_attention(graph: Graph, model: Model, **settings: Any) -> Model:
    return graph.add("A1111PerturbedAttention", model=model, **settings).out(Model)


def a1111_tiling(graph: Graph, model: Model, vae: Vae) -> tuple[Model, Vae]:
    node = graph.add("A1111Tiling", model=model, vae=vae)
    return node.out(Model), node.out(Vae, 1)


def a1111_token_merging(graph: Graph, model: Model, ratio: float) -> Model:
    return graph.add("A1111TokenMerging", model=model, ratio=ratio).out(Model)


def a1111_hypernetwork(graph: Graph, model: Model, name: str, strength: float) -> Model:
    node = graph.add("A1111Hypernetwork", model=model, hypernetwork_name=name, strength=strength)
    return node.out(Model)


def a1111_lora_blocks(
    graph: Graph,
    model: Model,
    clip: Clip,
    name: str,
    unet: float,
    te: float,
    weights: Mapping[str, Any],
) -> tuple[Model, Clip]:
    node = graph.add(
        "A1111LoraBlocks",
        title=f"LoRA {name}",
        model=model,
        clip=clip,
        lora_name=name,
        strength_model=unet,
        strength_clip=te,
        weights=_json(weights),
    )
    return node.out(Model), node.out(Clip, 1)


def a1111_lora_blocks_hook(
    graph: Graph, name: str, unet: float, weights: Mapping[str, Any]
) -> Hooks:
    node = graph.add(
        "A1111LoraBlocksHook",
        title=f"LoRA {name}",
        lora_name=name,
        strength_model=unet,
        weights=_json(weights),
    )
    return node.out(Hooks)


def a1111_reversing_sampler(graph: Graph, sigma_adjustment: bool) -> Sampler:
    node = graph.add("A1111ReversingSampler", sigma_adjustment=sigma_adjustment)
    return node.out(Sampler)


def a1111_reversed_noise(
    graph: Graph,
    noise: Noise,
    model: Model,
    latent: Latent,
    found: Latent,
    randomness: float,
    sigma_max: float,
) -> Noise:
    node = graph.add(
        "A1111ReversedNoise",
        noise=noise,
        model=model,
        latent=latent,
        found=found,
        randomness=randomness,
        sigma_max=sigma_max,
    )
    return node.out(Noise)


def a1111_inverting_sampler(graph: Graph, retouch: float) -> Sampler:
    return graph.add("A1111InvertingSampler", retouch=retouch).out(Sampler)


def a1111_inverted_noise(graph: Graph, noise: Noise, model: Model, **settings: Any) -> Noise:
    return graph.add("A1111InvertedNoise", noise=noise, model=model, **settings).out(Noise)
