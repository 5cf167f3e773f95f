"""Stage: a unit's image -> its control map, fitted to a pass."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from translator.comfy import nodes
from translator.comfy.graph import Graph, Image, Mask, Vae
from translator.comfy.nodes.instantid import FaceAnalysis
from translator.control.context import InpaintArea
from translator.control.modules import NodeRecipe
from translator.control.plan import ControlPlan, PassControl, UnitPass, UnitPlan
from translator.control.sizes import Size, fit_factor
from translator.control.units import UnitImage
from translator.request.images import ImageUpload
from translator.stages import init_images

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
    def shared(self) -> PassControl:
        """What all units share in the pass."""
        return self.plan.passes[self.index]

    def of(self, unit: UnitPlan) -> UnitPass:
        """What a unit does in the pass."""
        return unit.passes[self.index]


def load_image(graph: Graph, plan: ControlPlan, upload: ImageUpload) -> Image:
    """An uploaded image as A1111 sees it, or the picture of the graph that stands for it."""
    provided = graph.provided(upload.name)
    return provided if isinstance(provided, Image) else load_sent(graph, plan, upload)


def load_sent(graph: Graph, plan: ControlPlan, upload: ImageUpload) -> Image:
    """An uploaded image as A1111 sees it: transparency laid on white."""
    picture, transparency = nodes.load_image(graph, upload.name)
    if not upload.has_alpha:
        return picture
    if plan.exact:
        return nodes.a1111_control_net_on_white(graph, picture, transparency)
    white = plain_picture(graph, Size(upload.width, upload.height), _WHITE)
    return nodes.paste_masked(graph, picture, white, transparency, title="On white")


def load_mask(graph: Graph, plan: ControlPlan, upload: ImageUpload) -> Mask:
    """An uploaded image's first channel as a mask, or what of the graph stands for it."""
    provided = graph.provided(upload.name)
    if isinstance(provided, Mask):
        return provided
    if upload.has_alpha:
        return nodes.image_to_mask(graph, load_image(graph, plan, upload))
    return nodes.load_image_mask(graph, upload.name)


def input_image(graph: Graph, plan: ControlPlan, unit: UnitPlan, item: UnitImage) -> Image:
    """An image of a unit: the drawing on it where A1111 takes that instead."""
    picture = load_image(graph, plan, item.image)
    if unit.takes_drawing and item.mask:
        mask = load_mask(graph, plan, item.mask)
        picture = nodes.a1111_control_net_input(graph, picture, mask)
    return cropped(graph, plan, unit, picture, None)[0] if unit.crop else picture


def cropped(
    graph: Graph, plan: ControlPlan, unit: UnitPlan, picture: Image, mask: Mask | None
) -> tuple[Image, Mask]:
    """The part of a unit's image (and of its mask) that img2img makes anew, at the pass' size."""
    area = plan.inpaint_area
    assert unit.crop is not None
    assert area is not None
    return nodes.a1111_control_net_crop(
        graph,
        picture,
        area_mask(graph, area),
        mask,
        width=unit.crop.width,
        height=unit.crop.height,
        padding=area.padding,
        resize_mode=unit.resize_mode,
    )


def area_mask(graph: Graph, area: InpaintArea) -> Mask:
    """The mask of an img2img request as the extension prepares it: by brightness, blurred."""
    picture, _ = init_images.load(graph, area.mask)
    return nodes.a1111_inpaint_mask(
        graph, picture, None, rounds=True, invert=area.inverts, blur=area.blur
    )


def _core_area_mask(graph: Graph, area: InpaintArea) -> Mask:
    mask = nodes.load_image_mask(graph, area.mask.name)
    return nodes.invert_mask(graph, mask) if area.inverts else mask


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
        return nodes.a1111_control_net_image(graph, image, pixels), size
    return scale(graph, image, source, size), size


def scaled_batch(at: ControlPass, unit: UnitPlan, items: Iterable[UnitImage], pixels: int) -> Image:
    """Images of a unit as a batch, each scaled as `scale_short_side` does."""

    def scaled(item: UnitImage) -> Image:
        picture = input_image(at.graph, at.plan, unit, item)
        source = unit.crop or Size(item.image.width, item.image.height)
        return scale_short_side(at.graph, at.plan, picture, source, pixels)[0]

    return nodes.batched(at.graph, map(scaled, items))


def control_map(graph: Graph, plan: ControlPlan, unit: UnitPlan, size: Size) -> Image:
    """The map of a unit at the size of a pass."""
    if unit.module.role == "inpaint":
        return inpaint_parts(graph, plan, unit, size)[0]
    return _fit(graph, plan, unit, raw_map(graph, plan, unit), size)


def raw_map(graph: Graph, plan: ControlPlan, unit: UnitPlan) -> Image:
    """What a unit's preprocessor makes of its image, at the size it makes it."""
    if unit.module.role == "instant_id_keypoints":
        return _keypoints(graph, plan, unit)
    return _run(graph, input_image(graph, plan, unit, unit.images[0]), unit.recipe)


def inpaint_parts(
    graph: Graph, plan: ControlPlan, unit: UnitPlan, size: Size
) -> tuple[Image, Mask]:
    """The image of an inpaint unit and its mask (0 or 1, 1 = to be made anew), fitted together."""
    picture, mask = masked_input(graph, plan, unit)
    if plan.exact:
        return nodes.a1111_control_net_fit(
            graph, picture, size.width, size.height, unit.resize_mode, mask
        )
    as_image = nodes.mask_to_image(graph, mask)
    fitted_mask = _fit_with_core(graph, unit, as_image, size, "nearest-exact", _WHITE)
    fitted = _fit_with_core(graph, unit, picture, size, "bicubic", _BLACK)
    return fitted, nodes.image_to_mask(graph, fitted_mask)


def masked_input(graph: Graph, plan: ControlPlan, unit: UnitPlan) -> tuple[Image, Mask]:
    """The image of an inpaint unit and its mask, which is empty where none was sent."""
    item = unit.images[0]
    size = Size(item.image.width, item.image.height)
    picture = load_image(graph, plan, item.image)
    if unit.takes_area and plan.inpaint_area is not None:
        read = area_mask if plan.exact else _core_area_mask
        mask = read(graph, plan.inpaint_area)
    elif item.mask:
        mask = load_mask(graph, plan, item.mask)
    else:
        mask = nodes.solid_mask(graph, 0.0, size.width, size.height)
    if unit.crop:
        picture, mask = cropped(graph, plan, unit, picture, mask)
    return _filled_in(graph, plan, unit, picture, mask) if unit.fills_mask else (picture, mask)


def _filled_in(
    graph: Graph, plan: ControlPlan, unit: UnitPlan, picture: Image, mask: Mask
) -> tuple[Image, Mask]:
    """A picture with what is masked filled in; one that is to be enlarged is enlarged before."""
    enlarges = unit.resize_mode == "Resize and Fill" and bool(plan.passes)
    if enlarges:
        size = plan.passes[-1].size
        picture, mask = nodes.a1111_control_net_fit(
            graph, picture, size.width, size.height, unit.resize_mode, mask
        )
    (fill,) = unit.recipe
    linked = {"$image": picture, "$mask": mask}
    inputs = {name: linked.get(value, value) for name, value in fill.inputs.items()}
    inputs["whole_levels"] = not enlarges
    return nodes.preprocessor(graph, fill.class_type, inputs), mask


def shown_map(graph: Graph, plan: ControlPlan, unit: UnitPlan, size: Size) -> Image:
    """A map as A1111 answers it: an inpaint unit's is half transparent where it is masked."""
    if unit.module.role != "inpaint":
        return control_map(graph, plan, unit, size)
    picture, mask = inpaint_parts(graph, plan, unit, size)
    return veiled(graph, picture, mask, size)


def taken_image(graph: Graph, plan: ControlPlan, unit: UnitPlan, item: UnitImage) -> Image | None:
    """An image as a module without a map takes it; None where that is what was sent.

    CLIP's own image has its mask with it: half transparent where that is white, opaque without one.
    """
    if not plan.exact:
        return None
    if not (unit.module.uses_mask and unit.unit.images):
        is_made = isinstance(graph.provided(item.image.name), Image)
        is_drawn = unit.takes_drawing and item.mask is not None
        changed = item.image.has_alpha or unit.crop or is_drawn or is_made
        return input_image(graph, plan, unit, item) if changed else None
    picture = load_image(graph, plan, item.image)
    size = unit.crop or Size(item.image.width, item.image.height)
    mask = load_mask(graph, plan, item.mask) if item.mask else None
    if unit.crop:
        picture, drawn = cropped(graph, plan, unit, picture, mask)
        mask = None if mask is None else drawn
    if mask is not None:
        return veiled(graph, picture, mask, size)
    nothing = nodes.solid_mask(graph, 0.0, size.width, size.height)
    return nodes.join_image_with_alpha(graph, picture, nothing)


def veiled(graph: Graph, picture: Image, mask: Mask, size: Size) -> Image:
    """A picture that is half transparent where a mask is white."""
    half = nodes.solid_mask(graph, _HALF_TRANSPARENT, size.width, size.height)
    return nodes.join_image_with_alpha(graph, picture, nodes.mask_multiply(graph, mask, half))


def face_analysis(graph: Graph, plan: ControlPlan) -> FaceAnalysis:
    """InsightFace's antelopev2, which InstantID works with."""
    return nodes.instant_id_face_analysis(graph, plan.face_provider)


def scale(
    graph: Graph, image: Image, source: Size, target: Size, upwards: str = "bicubic"
) -> Image:
    """Core's scaling: `upwards` where the picture grows, by area (or nearest) where it shrinks."""
    if source == target:
        return image
    shrinks = target.width * target.height < source.width * source.height
    method = "area" if shrinks and upwards != "nearest-exact" else upwards
    return nodes.image_scale(graph, image, method, target.width, target.height)


def plain_picture(graph: Graph, size: Size, colour: int) -> Image:
    """One colour (0xRRGGBB) all over."""
    return nodes.empty_image(graph, size.width, size.height, colour)


def _run(graph: Graph, image: Image, recipe: tuple[NodeRecipe, ...]) -> Image:
    """A preprocessor's nodes, each fed by the one before, or by the image itself."""
    source = image
    for step in recipe:
        inputs = {
            name: {"$image": image, "$source": source}.get(value, value)
            for name, value in step.inputs.items()
        }
        image = nodes.preprocessor(graph, step.class_type, inputs)
    return image


def _keypoints(graph: Graph, plan: ControlPlan, unit: UnitPlan) -> Image:
    """The face's five points, drawn at the processor resolution as A1111 does."""
    picture = input_image(graph, plan, unit, unit.images[0])
    scaled, size = scale_short_side(graph, plan, picture, unit.source_size, unit.processor_res)
    drawn = nodes.face_keypoints_preprocessor(graph, face_analysis(graph, plan), scaled)
    if plan.exact:
        drawn = nodes.a1111_face_found(graph, drawn)
    if not plan.exact or size.needs_no_padding:
        return drawn
    return nodes.image_crop(graph, drawn, size.width, size.height, x=0, y=0)


def _fit(graph: Graph, plan: ControlPlan, unit: UnitPlan, image: Image, target: Size) -> Image:
    """Bring a map to exactly the size of a pass, by the unit's resize mode."""
    if plan.exact:
        fitted, _ = nodes.a1111_control_net_fit(
            graph, image, target.width, target.height, unit.resize_mode
        )
        return fitted
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
        return nodes.image_crop(
            graph, scaled, target.width, target.height, x=max(0, x), y=max(0, y)
        )
    under = plain_picture(graph, target, border)
    return nodes.paste(graph, under, scaled, x=max(0, left), y=max(0, top))
