"""Stage: a unit's image -> its control map, fitted to a pass."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from translator.comfy import packs
from translator.comfy.graph import Graph, Image, Mask, Ref, Vae
from translator.control.modules import NodeRecipe
from translator.control.planner import ControlPlan, UnitPlan
from translator.control.sizes import Size, fit_factor
from translator.control.units import UnitImage
from translator.request.images import ImageUpload

_BLACK, _WHITE = 0x000000, 0xFFFFFF

_HALF_TRANSPARENT = 126.5 / 255
"""Leaves an alpha of 128 under the mask: A1111's 255 - mask // 2."""

_FLAT_COLOURED = ("Segmentation", "Instant-ID")
"""Tags of modules whose maps have few colours, which A1111 scales to the nearest pixel."""


@dataclass(frozen=True)
class ControlPass:
    """Where units are added: the graph, the plan, a pass of it (0-based) and that pass's VAE."""

    graph: Graph
    plan: ControlPlan
    index: int
    vae: Vae

    @property
    def size(self) -> Size:
        """The size of the pass's maps."""
        return self.plan.sizes[self.index]

    @property
    def is_hires(self) -> bool:
        """Whether the extension takes it for the hires pass."""
        return self.plan.hires[self.index]


def load_image(graph: Graph, upload: ImageUpload) -> Image:
    """An uploaded image as A1111 sees it: transparency laid on white."""
    node = graph.add("LoadImage", image=upload.name)
    picture = node.out(Image)
    if not upload.has_alpha:
        return picture
    white = plain_picture(graph, Size(upload.width, upload.height), _WHITE)
    return graph.add(
        "ImageCompositeMasked",
        title="On white",
        destination=picture,
        source=white,
        mask=node.out(Mask, 1),
        x=0,
        y=0,
        resize_source=False,
    ).out(Image)


def load_mask(graph: Graph, upload: ImageUpload) -> Mask:
    """An uploaded image's first channel as a mask."""
    if upload.has_alpha:
        return _first_channel(graph, load_image(graph, upload))
    return graph.add("LoadImageMask", image=upload.name, channel="red").out(Mask)


def input_image(graph: Graph, unit: UnitPlan, item: UnitImage) -> Image:
    """An image of a unit: the drawing on it where A1111 takes that instead."""
    picture = load_image(graph, item.image)
    if not (unit.takes_drawing and item.mask):
        return picture
    return graph.add(packs.INPUT, image=picture, mask=load_mask(graph, item.mask)).out(Image)


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
        node = graph.add(packs.PREPARE, image=image, processor_res=pixels, pad=True)
        return node.out(Image), size
    return scale(graph, image, source, size), size


def control_map(graph: Graph, plan: ControlPlan, unit: UnitPlan, pass_index: int) -> Image:
    """The map of a unit at the size of a pass."""
    if unit.module.role == "inpaint":
        return inpaint_parts(graph, plan, unit, pass_index)[0]
    return _fit(graph, plan, unit, raw_map(graph, plan, unit), plan.sizes[pass_index])


def raw_map(graph: Graph, plan: ControlPlan, unit: UnitPlan) -> Image:
    """What a unit's preprocessor makes of its image, at the size it makes it."""
    if unit.module.role == "instant_id_keypoints":
        return _keypoints(graph, plan, unit)
    return _run(graph, input_image(graph, unit, unit.images[0]), unit.recipe)


def inpaint_parts(
    graph: Graph, plan: ControlPlan, unit: UnitPlan, pass_index: int
) -> tuple[Image, Mask]:
    """The image of an inpaint unit and its mask (0 or 1, 1 = to be painted), fitted together."""
    size = plan.sizes[pass_index]
    picture, mask = masked_input(graph, unit)
    if plan.exact:
        node = graph.add(
            packs.FIT,
            image=picture,
            width=size.width,
            height=size.height,
            resize_mode=unit.resize_mode,
            mask=mask,
        )
        return node.out(Image), node.out(Mask, 1)
    as_image = graph.add("MaskToImage", mask=mask).out(Image)
    fitted_mask = _fit_with_core(graph, unit, as_image, size, "nearest-exact", _WHITE)
    fitted = _fit_with_core(graph, unit, picture, size, "bicubic", _BLACK)
    return fitted, _first_channel(graph, fitted_mask)


def masked_input(graph: Graph, unit: UnitPlan) -> tuple[Image, Mask]:
    """The image of an inpaint unit and its mask, which is empty where none was sent."""
    item, size = unit.images[0], unit.source_size
    picture = load_image(graph, item.image)
    if item.mask:
        return picture, load_mask(graph, item.mask)
    return picture, _solid_mask(graph, size, 0.0)


def shown_map(graph: Graph, plan: ControlPlan, unit: UnitPlan, pass_index: int) -> Image:
    """A map as A1111 answers it: an inpaint unit's is half transparent where it is masked."""
    if unit.module.role != "inpaint":
        return control_map(graph, plan, unit, pass_index)
    picture, mask = inpaint_parts(graph, plan, unit, pass_index)
    return veiled(graph, picture, mask, plan.sizes[pass_index])


def veiled(graph: Graph, picture: Image, mask: Mask, size: Size) -> Image:
    """A picture that is half transparent where a mask is white."""
    veil = graph.add(
        "MaskComposite",
        destination=mask,
        source=_solid_mask(graph, size, _HALF_TRANSPARENT),
        x=0,
        y=0,
        operation="multiply",
    )
    return graph.add("JoinImageWithAlpha", image=picture, alpha=veil.out(Mask)).out(Image)


def face_analysis(graph: Graph, plan: ControlPlan) -> Ref:
    """InsightFace's antelopev2, which InstantID works with."""
    return graph.add("InstantIDFaceAnalysis", provider=plan.face_provider).out(Ref)


def scale(
    graph: Graph, image: Image, source: Size, target: Size, upwards: str = "bicubic"
) -> Image:
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


def plain_picture(graph: Graph, size: Size, colour: int) -> Image:
    """One colour (0xRRGGBB) all over."""
    node = graph.add("EmptyImage", width=size.width, height=size.height, batch_size=1, color=colour)
    return node.out(Image)


def _run(graph: Graph, image: Ref, recipe: tuple[NodeRecipe, ...]) -> Image:
    """A preprocessor's nodes, each fed by the one before."""
    for step in recipe:
        inputs: dict[str, Any] = {
            name: image if value == "$image" else value for name, value in step.inputs.items()
        }
        image = graph.add(step.class_type, **inputs).out(Ref)
    return Image(image.node, image.index, image.type)


def _keypoints(graph: Graph, plan: ControlPlan, unit: UnitPlan) -> Image:
    """The face's five points, drawn at the processor resolution as A1111 does."""
    picture = input_image(graph, unit, unit.images[0])
    scaled, size = scale_short_side(graph, plan, picture, unit.source_size, unit.processor_res)
    drawn = graph.add(
        "FaceKeypointsPreprocessor", faceanalysis=face_analysis(graph, plan), image=scaled
    ).out(Image)
    if not plan.exact or size.needs_no_padding:
        return drawn
    return _crop(graph, drawn, size, x=0, y=0)


def _fit(graph: Graph, plan: ControlPlan, unit: UnitPlan, image: Image, target: Size) -> Image:
    """Bring a map to exactly the size of a pass, by the unit's resize mode."""
    if plan.exact:
        return graph.add(
            packs.FIT,
            image=image,
            width=target.width,
            height=target.height,
            resize_mode=unit.resize_mode,
        ).out(Image)
    flat = any(tag in unit.module.tags for tag in _FLAT_COLOURED)
    return _fit_with_core(
        graph, unit, image, target, "nearest-exact" if flat else "bicubic", _BLACK
    )


def _fit_with_core(
    graph: Graph, unit: UnitPlan, image: Image, target: Size, upwards: str, border: int
) -> Image:
    source = unit.map_size
    if unit.resize_mode == "Just Resize":
        return scale(graph, image, source, target, upwards)
    size = source.scaled(fit_factor(source, target, unit.resize_mode))
    scaled = scale(graph, image, source, size, upwards)
    if size == target:
        return scaled
    left, top = (target.width - size.width) // 2, (target.height - size.height) // 2
    if unit.resize_mode == "Crop and Resize":
        x, y = (size.width - target.width) // 2, (size.height - target.height) // 2
        return _crop(graph, scaled, target, x=max(0, x), y=max(0, y))
    return graph.add(
        "ImageCompositeMasked",
        destination=plain_picture(graph, target, border),
        source=scaled,
        x=max(0, left),
        y=max(0, top),
        resize_source=False,
    ).out(Image)


def _crop(graph: Graph, image: Image, size: Size, *, x: int, y: int) -> Image:
    node = graph.add("ImageCrop", image=image, width=size.width, height=size.height, x=x, y=y)
    return node.out(Image)


def _solid_mask(graph: Graph, size: Size, value: float) -> Mask:
    return graph.add("SolidMask", value=value, width=size.width, height=size.height).out(Mask)


def _first_channel(graph: Graph, image: Image) -> Mask:
    return graph.add("ImageToMask", image=image, channel="red").out(Mask)
