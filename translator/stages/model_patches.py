"""Stage: the changes of a model that always-on scripts ask for."""

from __future__ import annotations

from collections.abc import Iterable

from translator.comfy import nodes
from translator.comfy.graph import Graph, Model
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


def patched(graph: Graph, model: Model, patches: Iterable[ModelPatch], role: Role) -> Model:
    """The model of a pass with every change that acts in it, in the request's order."""
    for patch in patches:
        model = _patched(graph, model, patch, role)
    return model


def _patched(graph: Graph, model: Model, patch: ModelPatch, role: Role) -> Model:
    match patch:
        case FreeU(b1, b2, s1, s2, first):
            return nodes.free_u(graph, model, b1=b1, b2=b2, s1=s1, s2=s2, first=first)
        case SelfAttentionGuidance(scale, blur_sigma):
            return nodes.self_attention_guidance(graph, model, scale, blur_sigma)
        case PerturbedAttentionGuidance(scale):
            return nodes.perturbed_attention_guidance(graph, model, scale)
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
        case TiledDiffusion(method, size, tile, overlap, batch):
            if role == "detail":
                return model
            width, height = size or (0, 0)
            return nodes.a1111_tiled_diffusion(
                graph,
                model,
                method=method,
                width=width,
                height=height,
                tile_width=tile[0],
                tile_height=tile[1],
                tile_overlap=overlap,
                tile_batch_size=batch,
            )
        case HyperTile(tile, swap_size, depth, roles):
            if role not in roles:
                return model
            return nodes.hyper_tile(graph, model, tile, swap_size, depth)
