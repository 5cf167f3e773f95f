"""Stage: InstantID: a face in the cross-attention, and the ControlNet that draws its keypoints.

Not ApplyInstantID or ApplyInstantIDAdvanced: those add noise to the negative embedding, leave out
the ten layers of the middle block, and know one weight and range for both parts.
"""

from __future__ import annotations

from translator.control.plan import ControlPlan, UnitPlan
from translator.control.windows import ALWAYS, Window
from translator.graph import Conditioning, ControlNet, Graph, Image, Model, Ref
from translator.stages import preprocess

_A1111_NOISE = 0.0
"""A1111's negative embedding is the projection of zeros."""


def patch(
    graph: Graph, plan: ControlPlan, unit: UnitPlan, window: Window, model: Model
) -> tuple[Model, Ref]:
    """Add an embedding unit's face to the model's cross-attention.

    Returns:
        The patched model, and the face's tokens (FACE_EMBEDS).
    """
    assert unit.model is not None
    picture = preprocess.load_image(graph, unit.image)
    scaled, _ = preprocess.scale_short_side(
        graph, plan, picture, unit.source_size, unit.processor_res
    )
    region = unit.unit.effective_region_mask
    node = graph.add(
        "InstantIDAttentionPatch",
        title=f"ControlNet unit {unit.unit.index}: face",
        instantid=graph.add("InstantIDModelLoader", instantid_file=unit.model.name).out(Ref),
        insightface=preprocess.face_analysis(graph, plan),
        image=scaled,
        model=model,
        weight=unit.unit.weight,
        start_at=window.start,
        end_at=window.end,
        noise=_A1111_NOISE,
        mask=preprocess.load_mask(graph, region) if region else None,
    )
    return node.out(Model), node.out(Ref, 1)


def face_tokens(
    graph: Graph, plan: ControlPlan, unit: UnitPlan, pass_index: int, model: Model
) -> Ref:
    """The face's tokens alone, the same whatever the embedding unit's weight and range."""
    window = unit.windows[pass_index] or ALWAYS
    return patch(graph, plan, unit, window, model)[1]


def apply_control_net(
    graph: Graph,
    unit: UnitPlan,
    window: Window,
    control_net: ControlNet,
    keypoints: Image,
    tokens: Ref,
    strength: float,
    positive: Conditioning,
    negative: Conditioning,
) -> tuple[Conditioning, Conditioning]:
    """Add a keypoints unit, whose ControlNet reads the face's tokens in place of the prompt."""
    node = graph.add(
        "ApplyInstantIDControlNet",
        title=f"ControlNet unit {unit.unit.index}: keypoints",
        face_embeds=tokens,
        control_net=control_net,
        image_kps=keypoints,
        positive=positive,
        negative=negative,
        strength=strength,
        start_at=window.start,
        end_at=window.end,
    )
    return node.out(Conditioning), node.out(Conditioning, 1)
