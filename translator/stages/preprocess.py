"""Stage: a unit's image -> its control map, fitted to a pass."""

from __future__ import annotations

from typing import Any

from translator.control.modules import NodeRecipe
from translator.control.plan import FIT_NODE, PREPARE_NODE, ControlPlan, UnitPlan
from translator.control.sizes import Size, fit_factor
from translator.graph import Graph, Image, Mask, Ref
from translator.images import ImageUpload

_WHITE = 0xFFFFFF

_FLAT_COLOURED = ("Segmentation", "Instant-ID")
"""Tags of modules whose maps have few colours, which A1111 scales to the nearest pixel."""


def load_image(graph: Graph, upload: ImageUpload) -> Image:
    """An uploaded image as A1111 sees it: transparency laid on white."""
    node = graph.add("LoadImage", image=upload.name)
    picture = node.out(Image)
    if not upload.has_alpha:
        return picture
    white = graph.add(
        "EmptyImage", width=upload.width, height=upload.height, batch_size=1, color=_WHITE
    )
    return graph.add(
        "ImageCompositeMasked",
        title="On white",
        destination=picture,
        source=white.out(Image),
        mask=node.out(Mask, 1),
        x=0,
        y=0,
        resize_source=False,
    ).out(Image)


def load_mask(graph: Graph, upload: ImageUpload) -> Mask:
    """An uploaded image's first channel as a mask."""
    return graph.add("LoadImageMask", image=upload.name, channel="red").out(Mask)


def scale_short_side(
    graph: Graph, plan: ControlPlan, image: Image, source: Size, pixels: int
) -> tuple[Image, Size]:
    """Scale as A1111 does before a preprocessor: short side to `pixels`, cubic up, area down.

    With our node pack the image is also padded to a multiple of 64 by copies of its edge.

    Returns:
        The image, and its size without the padding.
    """
    size = source.with_short_side(pixels)
    if plan.exact:
        node = graph.add(PREPARE_NODE, image=image, processor_res=pixels, pad=True)
        return node.out(Image), size
    return _scale(graph, image, source, size, "bicubic"), size


def control_map(graph: Graph, plan: ControlPlan, unit: UnitPlan, pass_index: int) -> Image:
    """The map of a unit at the size of a pass."""
    if unit.unit.module.role == "instant_id_keypoints":
        raw = _keypoints(graph, plan, unit)
    else:
        raw = run(graph, load_image(graph, unit.image), unit.recipe)
    return fit(graph, plan, unit, raw, plan.sizes[pass_index])


def run(graph: Graph, image: Ref, recipe: tuple[NodeRecipe, ...]) -> Image:
    """A preprocessor's nodes, each fed by the one before."""
    for step in recipe:
        inputs: dict[str, Any] = {
            name: image if value == "$image" else value for name, value in step.inputs.items()
        }
        image = graph.add(step.class_type, **inputs).out(Ref)
    return Image(image.node, image.index, image.type)


def face_analysis(graph: Graph, plan: ControlPlan) -> Ref:
    """InsightFace's antelopev2, which InstantID works with."""
    return graph.add("InstantIDFaceAnalysis", provider=plan.face_provider).out(Ref)


def _keypoints(graph: Graph, plan: ControlPlan, unit: UnitPlan) -> Image:
    """The face's five points, drawn at the processor resolution as A1111 does."""
    picture = load_image(graph, unit.image)
    scaled, size = scale_short_side(graph, plan, picture, unit.source_size, unit.processor_res)
    drawn = graph.add(
        "FaceKeypointsPreprocessor", faceanalysis=face_analysis(graph, plan), image=scaled
    ).out(Image)
    if not plan.exact or size.needs_no_padding:
        return drawn
    return graph.add("ImageCrop", image=drawn, width=size.width, height=size.height, x=0, y=0).out(
        Image
    )


def fit(graph: Graph, plan: ControlPlan, unit: UnitPlan, image: Image, target: Size) -> Image:
    """Bring a map to exactly the size of a pass, by the unit's resize mode."""
    if plan.exact:
        return graph.add(
            FIT_NODE,
            image=image,
            width=target.width,
            height=target.height,
            resize_mode=unit.resize_mode,
        ).out(Image)
    return _fit_with_core(graph, unit, image, target)


def _fit_with_core(graph: Graph, unit: UnitPlan, image: Image, target: Size) -> Image:
    source = unit.map_size
    flat = any(tag in unit.unit.module.tags for tag in _FLAT_COLOURED)
    upwards = "nearest-exact" if flat else "bicubic"
    if unit.resize_mode == "Just Resize":
        return _scale(graph, image, source, target, upwards)
    size = source.scaled(fit_factor(source, target, unit.resize_mode))
    scaled = _scale(graph, image, source, size, upwards)
    if size == target:
        return scaled
    if unit.resize_mode == "Crop and Resize":
        return _centre_crop(graph, scaled, size, target)
    return _centre_on_black(graph, scaled, size, target)


def _scale(graph: Graph, image: Image, source: Size, target: Size, upwards: str) -> Image:
    """Core's scaling: `upwards` where the picture grows, by area (or nearest) where it shrinks."""
    if source == target:
        return image
    shrinks = target.width * target.height < source.width * source.height
    method = "area" if shrinks and upwards != "nearest-exact" else upwards
    return graph.add(
        "ImageScale",
        image=image,
        upscale_method=method,
        width=target.width,
        height=target.height,
        crop="disabled",
    ).out(Image)


def _centre_crop(graph: Graph, image: Image, size: Size, target: Size) -> Image:
    return graph.add(
        "ImageCrop",
        image=image,
        width=target.width,
        height=target.height,
        x=max(0, (size.width - target.width) // 2),
        y=max(0, (size.height - target.height) // 2),
    ).out(Image)


def _centre_on_black(graph: Graph, image: Image, size: Size, target: Size) -> Image:
    black = graph.add("EmptyImage", width=target.width, height=target.height, batch_size=1, color=0)
    return graph.add(
        "ImageCompositeMasked",
        destination=black.out(Image),
        source=image,
        x=max(0, (target.width - size.width) // 2),
        y=max(0, (target.height - size.height) // 2),
        resize_source=False,
    ).out(Image)
