"""Stage: the changes of a model that always-on scripts ask for."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import astuple, dataclass
from typing import Any

from translator.comfy import nodes
from translator.comfy.graph import Conditioning, Graph, Model
from translator.plan.free_u import Stage
from translator.plan.patches import (
    DeepShrink,
    DynamicThresholding,
    FreeU,
    HyperTile,
    ModelPatch,
    PerturbedAttentionGuidance,
    RescaledGuidance,
    SelfAttentionGuidance,
    TiledDiffusion,
)
from translator.plan.values import Role
from translator.prompt import Prompt

Encode = Callable[[Prompt, Prompt], tuple[Conditioning, Conditioning]]
"""Positive and negative prompt, encoded."""


@dataclass(frozen=True)
class Place:
    """Where a pass stands.

    Attributes:
        role: its part in the generation.
        steps: that A1111 announces.
        first_call: calls of the model that the passes before it make.
        encode: both prompts by the pass' text encoder.
    """

    role: Role
    steps: int
    first_call: int
    encode: Encode


def patched(graph: Graph, model: Model, patches: Iterable[ModelPatch], place: Place) -> Model:
    """The model of a pass with every change that acts in it, in the request's order."""
    for patch in patches:
        model = _patched(graph, model, patch, place)
    return model


def _free_u(graph: Graph, model: Model, patch: FreeU, place: Place) -> Model:
    """Core's node where it does the same, or where our pack is not used."""
    if patch.is_plain and not (patch.by_calls and graph.has("A1111FreeU")):
        one, two = (*patch.stages, Stage(), Stage())[:2]
        factors = {"b1": one.backbone, "b2": two.backbone, "s1": one.skip, "s2": two.skip}
        return nodes.free_u(graph, model, **factors, first=not patch.second)
    return nodes.a1111_free_u(
        graph,
        model,
        version="2" if patch.second else "1",
        stages=[astuple(stage) for stage in patch.stages],
        range=(patch.start, patch.stop),
        smoothness=patch.smoothness,
        counter="calls" if patch.by_calls else "steps",
        steps=place.steps,
        first_call=place.first_call if patch.by_calls else 0,
    )


def _tiled(graph: Graph, model: Model, patch: TiledDiffusion, place: Place) -> Model:
    width, height = patch.size or (0, 0)
    regions: dict[str, Any] = {}
    if patch.regions and place.role != "hires":
        prompts = [place.encode(region.positive, region.negative) for region in patch.regions]
        for number, (positive, negative) in enumerate(prompts):
            regions |= {f"positive_{number}": positive, f"negative_{number}": negative}
        regions["draws_tiles"] = patch.draws_tiles
    return nodes.a1111_tiled_diffusion(
        graph,
        model,
        [[*region.place, region.kind, region.feather] for region in patch.regions]
        if regions
        else (),
        method=patch.method,
        width=width,
        height=height,
        tile_width=patch.tile[0],
        tile_height=patch.tile[1],
        tile_overlap=patch.overlap,
        tile_batch_size=patch.batch,
        **regions,
    )


def _patched(graph: Graph, model: Model, patch: ModelPatch, place: Place) -> Model:
    role = place.role
    match patch:
        case FreeU():
            return _free_u(graph, model, patch, place)
        case SelfAttentionGuidance(scale, blur_sigma):
            return nodes.self_attention_guidance(graph, model, scale, blur_sigma)
        case PerturbedAttentionGuidance(scale, attenuation, start, end):
            if patch.is_plain:
                return nodes.perturbed_attention_guidance(graph, model, scale)
            return nodes.a1111_perturbed_attention(
                graph,
                model,
                scale=scale,
                attenuation=attenuation,
                start=start,
                end=end,
                steps=place.steps,
            )
        case DeepShrink():
            return nodes.patch_model_add_downscale(
                graph,
                model,
                block_number=patch.block,
                downscale_factor=patch.factor,
                start_percent=patch.start,
                end_percent=patch.end,
                downscale_after_skip=patch.after_skip,
                downscale_method=patch.down,
                upscale_method=patch.up,
            )
        case DynamicThresholding(inputs):
            return nodes.dynamic_thresholding(graph, model, dict(inputs))
        case RescaledGuidance(share):
            return nodes.rescale_cfg(graph, model, share)
        case TiledDiffusion():
            return model if role == "detail" else _tiled(graph, model, patch, place)
        case HyperTile(tile, swap_size, depth, roles, scales):
            if role not in roles:
                return model
            return nodes.hyper_tile(graph, model, tile, swap_size, depth, scales=scales)
