"""Stage: a pass' prompts by region, on its model or in its conditioning."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

from translator import prompt as prompts
from translator.comfy import nodes
from translator.comfy.graph import Clip, Conditioning, Graph, Hooks, Image, Model
from translator.models.names import Checkpoint
from translator.plan import lines
from translator.plan.lora_steps import frames
from translator.plan.regions import CoupledRegions, RegionalPrompts, RegionLora
from translator.plan.values import Network, SamplingPass
from translator.prompt.step_weights import Window
from translator.request.images import ImageUpload
from translator.stages import init_images, networks
from translator.stages.targets.base import Target


def divided(
    graph: Graph,
    target: Target,
    sampling_pass: SamplingPass,
    checkpoint: Checkpoint,
    clip: Clip,
    model: Model,
) -> Model:
    """The model whose prompts are other ones in each region, or the model as it is."""
    match sampling_pass.regions:
        case CoupledRegions() as regions:
            return _coupled(graph, target, sampling_pass, regions, checkpoint, clip, model)
        case RegionalPrompts() as regions:
            return _regional(graph, sampling_pass, regions, clip, model)
        case None:
            return model


def _coupled(
    graph: Graph,
    target: Target,
    sampling_pass: SamplingPass,
    regions: CoupledRegions,
    checkpoint: Checkpoint,
    clip: Clip,
    model: Model,
) -> Model:
    texts, boxes, masks = [], [], {}
    for number, region in enumerate(regions.regions):
        own = replace(sampling_pass.prompt, positive=region.prompt)
        shown = replace(sampling_pass, prompt=own)
        texts.append(target.encode_positive(shown, checkpoint, clip))
        place = region.place
        if isinstance(place, ImageUpload):
            masks[number], _ = init_images.load(graph, place)
        box = place if isinstance(place, tuple) else (0, 0, *regions.size)
        boxes.append([*box, region.weight])
    return nodes.a1111_attention_couple(graph, model, regions.size, boxes, texts, masks)


def _regional(
    graph: Graph, sampling_pass: SamplingPass, regions: RegionalPrompts, clip: Clip, model: Model
) -> Model:
    settings: dict[str, Any] = {}
    if regions.calculation == "Attention":
        encoding = sampling_pass.encoding
        settings = {
            "clip": clip,
            "comma_padding_backtrack": encoding.comma_padding_backtrack,
            "swaps": regions.swaps or None,
        }
    emphasis = sampling_pass.encoding.emphasis
    texts, negative_texts = (
        [[list(piece) for piece in prompts.encode_pieces(text, emphasis)] for text in some]
        for some in (regions.texts, regions.negative_texts)
    )
    return nodes.a1111_regional_prompter(
        graph,
        model,
        calculation=regions.calculation,
        division=regions.division,
        base=regions.base,
        lines=lines.to_json(regions.lines),
        base_shares=regions.base_shares,
        mask=_picture(graph, regions.mask),
        texts=texts,
        negative_texts=negative_texts,
        **settings,
    )


def _picture(graph: Graph, upload: ImageUpload | None) -> Image | None:
    return None if upload is None else init_images.load(graph, upload)[0]


def separated(
    graph: Graph,
    target: Target,
    sampling_pass: SamplingPass,
    checkpoint: Checkpoint,
    model: Model,
    clip: Clip,
) -> tuple[Conditioning, Conditioning] | None:
    """Both prompts with the LoRAs of each text apart; None where LoRAs act everywhere.

    Args:
        model, clip: without those LoRAs.
    """
    regions = sampling_pass.regions
    if not isinstance(regions, RegionalPrompts) or not regions.separates_loras:
        return None
    parts = []
    for part, loras in zip(sampling_pass.prompt.positive.parts, regions.loras, strict=True):
        own = replace(sampling_pass.prompt.positive, parts=(part,))
        prompt = replace(sampling_pass.prompt, positive=own)
        encoder = _with_loras(graph, sampling_pass, loras, model, clip)
        shown = replace(sampling_pass, prompt=prompt)
        positive = target.encode_positive(shown, checkpoint, encoder)
        parts.append(_hooked(graph, sampling_pass, loras, positive))
    encoder = _with_loras(graph, sampling_pass, regions.negative_loras, model, clip)
    negative = target.encode_negative(sampling_pass, checkpoint, encoder)
    negative = _hooked(graph, sampling_pass, regions.negative_loras, negative)
    return nodes.a1111_join_parts(graph, parts), negative


def _own_networks(sampling_pass: SamplingPass, loras: Iterable[RegionLora]) -> Iterator[Network]:
    """The networks that a text names, with its strengths; those that this ComfyUI has."""
    known = {item.name: item for item in sampling_pass.prompt.networks if item.kind == "lora"}
    stop = getattr(sampling_pass.regions, "lora_stop", None)
    steps = None if stop is None else Window(None, stop)
    for lora in loras:
        if lora.name in known:
            yield replace(known[lora.name], te=lora.te, unet=lora.unet, steps=steps)


def _with_loras(
    graph: Graph,
    sampling_pass: SamplingPass,
    loras: Iterable[RegionLora],
    model: Model,
    clip: Clip,
) -> Clip:
    for network in _own_networks(sampling_pass, loras):
        if network.te:
            encodes = replace(network, unet=0.0)
            _, clip = networks.loaded(graph, model, clip, encodes, sampling_pass)
    return clip


def _hooked(
    graph: Graph,
    sampling_pass: SamplingPass,
    loras: Iterable[RegionLora],
    conditioning: Conditioning,
) -> Conditioning:
    hooks: Hooks | None = None
    for network in _own_networks(sampling_pass, loras):
        if network.unet:
            own = networks.hook(graph, network, frames(network, sampling_pass.schedule))
            hooks = own if hooks is None else nodes.combine_hooks(graph, hooks, own)
    return conditioning if hooks is None else nodes.set_hooks_of_one(graph, conditioning, hooks)
