"""Stage: image prompts: IP-Adapter, and its FaceID kind."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from translator.comfy import nodes
from translator.comfy.graph import ClipVision, Image, Mask, Model
from translator.comfy.nodes.ipadapter import InsightFace, IpAdapterNode
from translator.control.plan import UnitPlan
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

FACE_ID_PLUS = "ip-adapter_face_id_plus"
"""The module whose model reads what CLIP sees as well as the face."""

_NO_LAYER = "0:0"
"""Weights per layer where none acts: the node takes an empty text for weight 1 everywhere."""

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
    patched = nodes.ip_adapter(
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
    if unit.module.role != "face_id" or not at.plan.exact:
        return patched
    return _face_tokens(at, unit, patched, strength["insightface"], items[0])


def _face_tokens(
    at: ControlPass, unit: UnitPlan, model: Model, insight_face: InsightFace, item: UnitImage
) -> Model:
    """The tokens that the extension makes of a face; FaceID plus shows CLIP the whole picture."""
    assert unit.model is not None
    picture = preprocess.input_image(at.graph, at.plan, unit, item)
    seen = None
    if unit.module.name == FACE_ID_PLUS:
        squashed = nodes.a1111_control_net_clip_image(at.graph, picture, None)
        seen = nodes.clip_vision_encode(at.graph, load_vision(at, unit), squashed)
    return nodes.a1111_face_tokens(
        at.graph,
        title=f"ControlNet unit {unit.unit.index}: face",
        model=model,
        insight_face=insight_face,
        image=picture,
        clip_vision_output=seen,
        shortcut=seen is not None and "v2" in unit.model.name,
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
    written = [f"{layer}:{weight}" for layer, weight in enumerate(layers) if weight > 0]
    per_layer = {"weight": 1.0, "layer_weights": ", ".join(written or [_NO_LAYER])}
    return "IPAdapterMS", {**strength, "weight_faceidv2": _PLUS_V2_WEIGHT, **per_layer}


def load_vision(at: ControlPass, unit: UnitPlan) -> ClipVision:
    """The CLIP vision model of a unit."""
    assert unit.vision is not None
    return nodes.load_clip_vision(at.graph, unit.vision.name)


def clip_image(at: ControlPass, unit: UnitPlan, item: UnitImage) -> Image:
    """An image as A1111 shows it to CLIP: squashed to a square, CLIP's mean where it is masked."""
    graph = at.graph
    picture = preprocess.load_image(graph, at.plan, item.image)
    mask = None
    if item.mask and unit.module.uses_mask:
        mask = preprocess.load_mask(graph, at.plan, item.mask)
    if at.plan.exact:
        return _clip_image_of_ours(at, unit, picture, mask)
    source = Size(item.image.width, item.image.height)
    squashed = _squash(at, picture, source)
    if mask is None:
        return squashed
    drawn = nodes.mask_to_image(graph, mask)
    hidden = nodes.image_to_mask(graph, _squash(at, drawn, source))
    mean = preprocess.plain_picture(graph, _CLIP_SIZE, _CLIP_MEAN)
    return nodes.paste_masked(graph, squashed, mean, hidden)


def _clip_image_of_ours(
    at: ControlPass, unit: UnitPlan, picture: Image, mask: Mask | None
) -> Image:
    """The part that img2img makes anew where it crops, scaled as the extension scales."""
    if unit.crop:
        picture, cropped = preprocess.cropped(at.graph, at.plan, unit, picture, mask)
        mask = None if mask is None else cropped
    if mask is None and unit.source_size == _CLIP_SIZE and len(unit.images) == 1:
        return picture
    return nodes.a1111_control_net_clip_image(at.graph, picture, mask)


def _squash(at: ControlPass, picture: Image, source: Size) -> Image:
    if source == _CLIP_SIZE:
        return picture
    return nodes.image_scale(at.graph, picture, "area", _CLIP_SIZE.width, _CLIP_SIZE.height)


def _images(at: ControlPass, unit: UnitPlan, items: Iterable[UnitImage]) -> Image:
    """Images of a unit as a batch; faces are looked for in the whole picture."""
    if unit.module.role != "face_id":
        return nodes.batched(at.graph, (clip_image(at, unit, item) for item in items))
    pictures = (preprocess.input_image(at.graph, at.plan, unit, item) for item in items)
    return nodes.batched(at.graph, pictures)
