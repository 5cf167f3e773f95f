"""Stage: image prompts: IP-Adapter, and its FaceID kind."""

from __future__ import annotations

from typing import Any

from translator.comfy.graph import Image, Mask, Model, Ref
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

_AS_A1111: dict[str, Any] = {
    "weight_type": "linear",
    "combine_embeds": "average",
    "embeds_scaling": "V only",
}

_FACE_MODEL = "buffalo_l"
_PLUS_V2_WEIGHT = 1.0
"""A1111's share of FaceID plus v2's shortcut."""


def patch(at: ControlPass, unit: UnitPlan, window: Window, model: Model) -> Model:
    """Add an image prompt to the model's cross-attention."""
    assert unit.model is not None
    graph = at.graph
    region = unit.unit.effective_region_mask
    class_type, settings = _weights(at, unit)
    return graph.add(
        class_type,
        title=f"ControlNet unit {unit.unit.index}: {unit.module.label}",
        model=model,
        ipadapter=graph.add("IPAdapterModelLoader", ipadapter_file=unit.model.name).out(Ref),
        image=_images(at, unit),
        start_at=window.start,
        end_at=window.end,
        attn_mask=preprocess.load_mask(graph, region) if region else None,
        clip_vision=load_vision(at, unit),
        **_AS_A1111,
        **settings,
    ).out(Model)


def _weights(at: ControlPass, unit: UnitPlan) -> tuple[str, dict[str, Any]]:
    """The node for a unit, and the inputs that say how strong it is."""
    settings: dict[str, Any] = {"weight": unit.unit.weight}
    class_type = "IPAdapterAdvanced"
    if unit.module.role == "face_id":
        settings |= {"insightface": _insightface(at), "weight_faceidv2": _PLUS_V2_WEIGHT}
        class_type = "IPAdapterFaceID"
    layers = unit.unit.advanced_weighting
    if layers is None:
        return class_type, settings
    written = (f"{layer}:{weight}" for layer, weight in enumerate(layers) if weight > 0)
    per_layer = {"weight": 1.0, "layer_weights": ", ".join(written)}
    return "IPAdapterMS", {**settings, "weight_faceidv2": _PLUS_V2_WEIGHT, **per_layer}


def load_vision(at: ControlPass, unit: UnitPlan) -> Ref:
    """The CLIP vision model of a unit."""
    assert unit.vision is not None
    return at.graph.add("CLIPVisionLoader", clip_name=unit.vision.name).out(Ref)


def clip_image(at: ControlPass, unit: UnitPlan, item: UnitImage) -> Image:
    """An image as A1111 shows it to CLIP: squashed to a square, CLIP's mean where it is masked."""
    graph = at.graph
    picture = preprocess.load_image(graph, item.image)
    source = Size(item.image.width, item.image.height)
    squashed = _squash(at, picture, source)
    if not (item.mask and unit.module.uses_mask):
        return squashed
    drawn = graph.add("MaskToImage", mask=preprocess.load_mask(graph, item.mask)).out(Image)
    mask = graph.add("ImageToMask", image=_squash(at, drawn, source), channel="red").out(Mask)
    return graph.add(
        "ImageCompositeMasked",
        destination=squashed,
        source=preprocess.plain_picture(graph, _CLIP_SIZE, _CLIP_MEAN),
        mask=mask,
        x=0,
        y=0,
        resize_source=False,
    ).out(Image)


def _squash(at: ControlPass, picture: Image, source: Size) -> Image:
    if source == _CLIP_SIZE:
        return picture
    return at.graph.add(
        "ImageScale",
        image=picture,
        upscale_method="area",
        width=_CLIP_SIZE.width,
        height=_CLIP_SIZE.height,
        crop="disabled",
    ).out(Image)


def _images(at: ControlPass, unit: UnitPlan) -> Image:
    """The images of a unit as a batch; faces are looked for in the whole picture."""
    faces = unit.module.role == "face_id"
    batch: Image | None = None
    for item in unit.images:
        picture = (
            preprocess.input_image(at.graph, unit, item) if faces else clip_image(at, unit, item)
        )
        if batch is None:
            batch = picture
        else:
            batch = at.graph.add("ImageBatch", image1=batch, image2=picture).out(Image)
    assert batch is not None
    return batch


def _insightface(at: ControlPass) -> Ref:
    return at.graph.add(
        "IPAdapterInsightFaceLoader", provider=at.plan.face_provider, model_name=_FACE_MODEL
    ).out(Ref)
