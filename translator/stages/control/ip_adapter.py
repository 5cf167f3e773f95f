"""Stage: image prompts: IP-Adapter, and its FaceID kind."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from translator.comfy import nodes
from translator.comfy.graph import ClipVision, Image, Model
from translator.comfy.nodes.ipadapter import IpAdapterNode
from translator.control.planner import UnitPlan
from translator.control.sizes import Size
from translator.control.units import UnitImage
from translator.control.windows import Window
from translator.stages.control import preprocess
from translator.stages.control.preprocess import ControlPass

_CLIP_SIZE = Size(224, 224)
"""What A1111 squashes an image to before CLIP sees it."""

_CLIP_MEAN = 0x7B7568
"""CLIP's mean colour (0.481, 0.458, 0.408): zero once it is normalised, A1111's masked pixels."""

FACE_ID_MODEL = "buffalo_l"
"""InsightFace's models of FaceID."""

_PLUS_V2_WEIGHT = 1.0
"""A1111's share of FaceID plus v2's shortcut."""


def patch(
    at: ControlPass, unit: UnitPlan, window: Window, model: Model, items: Sequence[UnitImage]
) -> Model:
    """Add an image prompt, of the pictures given, to the model's cross-attention."""
    assert unit.model is not None
    graph = at.graph
    region = unit.unit.effective_region_mask
    node, strength = _strength(at, unit)
    return nodes.ip_adapter(
        graph,
        node,
        title=f"ControlNet unit {unit.unit.index}: {unit.module.label}",
        model=model,
        ip_adapter=nodes.load_ip_adapter(graph, unit.model.name),
        image=_images(at, unit, items),
        start=window.start,
        end=window.end,
        attn_mask=preprocess.load_mask(graph, at.plan, region) if region else None,
        clip_vision=load_vision(at, unit),
        strength=strength,
    )


def _strength(at: ControlPass, unit: UnitPlan) -> tuple[IpAdapterNode, dict[str, Any]]:
    """The node for a unit, and the inputs that say how strong it is."""
    strength: dict[str, Any] = {"weight": unit.unit.weight}
    node: IpAdapterNode = "IPAdapterAdvanced"
    if unit.module.role == "face_id":
        insight_face = nodes.ip_adapter_insight_face(at.graph, at.plan.face_provider, FACE_ID_MODEL)
        if at.plan.exact:
            insight_face = nodes.a1111_largest_face(at.graph, insight_face)
        strength |= {"insightface": insight_face, "weight_faceidv2": _PLUS_V2_WEIGHT}
        node = "IPAdapterFaceID"
    layers = unit.unit.advanced_weighting
    if layers is None:
        return node, strength
    written = (f"{layer}:{weight}" for layer, weight in enumerate(layers) if weight > 0)
    per_layer = {"weight": 1.0, "layer_weights": ", ".join(written)}
    return "IPAdapterMS", {**strength, "weight_faceidv2": _PLUS_V2_WEIGHT, **per_layer}


def load_vision(at: ControlPass, unit: UnitPlan) -> ClipVision:
    """The CLIP vision model of a unit."""
    assert unit.vision is not None
    return nodes.load_clip_vision(at.graph, unit.vision.name)


def clip_image(at: ControlPass, unit: UnitPlan, item: UnitImage) -> Image:
    """An image as A1111 shows it to CLIP: squashed to a square, CLIP's mean where it is masked."""
    graph = at.graph
    picture = preprocess.load_image(graph, at.plan, item.image)
    source = Size(item.image.width, item.image.height)
    squashed = _squash(at, picture, source)
    if not (item.mask and unit.module.uses_mask):
        return squashed
    drawn = nodes.mask_to_image(graph, preprocess.load_mask(graph, at.plan, item.mask))
    mask = nodes.image_to_mask(graph, _squash(at, drawn, source))
    mean = preprocess.plain_picture(graph, _CLIP_SIZE, _CLIP_MEAN)
    return nodes.paste_masked(graph, squashed, mean, mask)


def _squash(at: ControlPass, picture: Image, source: Size) -> Image:
    if source == _CLIP_SIZE:
        return picture
    return nodes.image_scale(at.graph, picture, "area", _CLIP_SIZE.width, _CLIP_SIZE.height)


def _images(at: ControlPass, unit: UnitPlan, items: Sequence[UnitImage]) -> Image:
    """Images of a unit as a batch; faces are looked for in the whole picture."""
    faces = unit.module.role == "face_id"
    batch: Image | None = None
    for item in items:
        picture = (
            preprocess.input_image(at.graph, at.plan, unit, item)
            if faces
            else clip_image(at, unit, item)
        )
        batch = picture if batch is None else nodes.image_batch(at.graph, batch, picture)
    assert batch is not None
    return batch
