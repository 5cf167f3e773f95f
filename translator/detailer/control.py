"""The ControlNet units inside ADetailer's passes.

Source: ADetailer v25.3.0 (``controlnet_ext``), restated in the project's facts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from translator.control.units import ControlUnit, UnitImage, parse_units
from translator.detailer.units import NO_MODEL, PASSTHROUGH, DetailerUnit
from translator.report import Report
from translator.request.images import ImageUpload

_MODULES = (
    ("inpaint", "inpaint_global_harmonious"),
    ("scribble", "t2ia_sketch_pidi"),
    ("lineart", "lineart_coarse"),
    ("openpose", "openpose_full"),
    ("tile", "tile_resample"),
    ("depth", "depth_midas"),
)
"""A word of a model's name -> the module that goes with it; the first that fits counts."""


class NoModuleError(ValueError):
    """A unit without a module, whose model's name names none either."""


def region_image(unit: DetailerUnit, width: int, height: int) -> UnitImage:
    """What stands for a region's picture and mask, which there is only while the graph runs."""
    name = f"region of ADetailer unit {unit.number}"
    picture = ImageUpload(name, "", width, height, "RGB", False)
    return UnitImage(picture, replace(picture, name=f"{name}, mask", mode="L"))


def inner_units(
    unit: DetailerUnit,
    request_units: Sequence[ControlUnit],
    size: tuple[int, int],
    report: Report,
) -> tuple[ControlUnit, ...]:
    """The units that act in the passes of an ADetailer unit.

    Args:
        request_units: those of the request itself.
        size: width and height of a pass, in pixels.

    Raises:
        NoModuleError: no module is named, and the model's name does not tell it.
    """
    if unit.ad_controlnet_model == NO_MODEL:
        return ()
    if unit.ad_controlnet_model == PASSTHROUGH:
        return tuple(_of_region(item, unit, size) for item in request_units)
    fields = {
        "enabled": True,
        "module": _module(unit),
        "model": unit.ad_controlnet_model,
        "weight": unit.ad_controlnet_weight,
        "guidance_start": unit.ad_controlnet_guidance_start,
        "guidance_end": unit.ad_controlnet_guidance_end,
        "pixel_perfect": True,
        "control_mode": "Balanced",
    }
    return tuple(
        replace(_of_region(item, unit, size), path=unit.path)
        for item in parse_units([fields], 1, report)
    )


def _module(unit: DetailerUnit) -> str:
    if unit.ad_controlnet_module != NO_MODEL:
        return unit.ad_controlnet_module
    for word, module in _MODULES:
        if word in unit.ad_controlnet_model:
            return module
    raise NoModuleError(
        f'the name of the model "{unit.ad_controlnet_model}" tells no module; name one'
    )


def _of_region(item: ControlUnit, unit: DetailerUnit, size: tuple[int, int]) -> ControlUnit:
    """A unit that sees the region; its own pictures are cut like it, to the pass' size."""
    width, height = size
    if not item.images:
        region = region_image(unit, width, height)
        if item.module.role != "inpaint":
            region = replace(region, mask=None)
        return replace(item, images=(region,), resize_mode="Just Resize")
    if not item.inpaint_crop_input_image:
        return item
    images = tuple(
        replace(own, image=replace(own.image, width=width, height=height, has_alpha=False))
        for own in item.images
    )
    return replace(item, images=images)
