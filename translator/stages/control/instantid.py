"""Stage: InstantID: a face in the cross-attention, and the ControlNet that draws its keypoints."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

from translator.comfy import nodes
from translator.comfy.graph import Conditioning, ControlNet, Image, Model
from translator.comfy.nodes.instantid import FaceEmbeds
from translator.control.plan import UnitPlan
from translator.control.units import UnitImage
from translator.control.windows import Window
from translator.stages.control import preprocess
from translator.stages.control.preprocess import ControlPass

_A1111_NOISE = 0.0
"""A1111's negative embedding is the projection of zeros."""


def patch(
    at: ControlPass, unit: UnitPlan, window: Window, model: Model, items: Sequence[UnitImage]
) -> tuple[Model, FaceEmbeds]:
    """Add an embedding unit's face to the model's cross-attention.

    Args:
        items: its pictures of the face.

    Returns:
        The patched model, and the face's tokens.
    """
    assert unit.model is not None
    graph = at.graph
    region = unit.unit.effective_region_mask
    layers = unit.unit.advanced_weighting
    patched, tokens = nodes.instant_id_attention_patch(
        graph,
        title=f"ControlNet unit {unit.unit.index}: face",
        instant_id=nodes.load_instant_id(graph, unit.model.name),
        face_analysis=preprocess.face_analysis(graph, at.plan),
        image=preprocess.scaled_batch(at, unit, items, unit.processor_res),
        model=model,
        weight=unit.unit.weight if layers is None else 1.0,
        start=window.start,
        end=window.end,
        noise=_A1111_NOISE,
        mask=preprocess.load_mask(graph, at.plan, region) if region else None,
    )
    if layers is not None:
        patched = nodes.a1111_layer_weights(graph, patched, layers)
    return patched, tokens


def apply_control_net(
    at: ControlPass,
    unit: UnitPlan,
    window: Window,
    control_net: ControlNet,
    keypoints: Image,
    tokens: FaceEmbeds,
    positive: Conditioning,
    negative: Conditioning,
) -> tuple[Conditioning, Conditioning]:
    """Add a keypoints unit, whose ControlNet reads the face's tokens in place of the prompt.

    The pack's node gives those tokens to every ControlNet of the conditioning; where there are
    several, ours binds them to this one. Ours also gives the negative prompt the positive one's
    where the extension does not tell them apart.
    """
    positive_only = at.plan.exact and not at.shared.tells_negative
    apply: Callable[..., tuple[Conditioning, Conditioning]] = nodes.instant_id_apply_control_net
    if positive_only:
        apply = functools.partial(nodes.a1111_instant_id_control_net, positive_only=True)
    elif at.plan.binds_faces:
        apply = nodes.a1111_instant_id_control_net
    return apply(
        at.graph,
        title=f"ControlNet unit {unit.unit.index}: keypoints",
        face_embeds=tokens,
        control_net=control_net,
        keypoints=keypoints,
        positive=positive,
        negative=negative,
        strength=at.of(unit).weighting.strength,
        start=window.start,
        end=window.end,
    )
