"""The sizes of txt2img's passes."""

from __future__ import annotations

from translator.geometry import Crop, HiresSize, hires_size
from translator.request.txt2img import Txt2Img
from translator.scope import Scope

_SIDE = (8, 16384)
"""The shortest side that leaves a latent cell, and the longest of ComfyUI's latents, in pixels."""

_SIDES = f"within {_SIDE[0]}..{_SIDE[1]} pixels"

_NUMBERS = ("denoising_strength", "hr_second_pass_steps", "hr_resize_x", "hr_resize_y")
"""Of the hires pass."""

_LARGEST_SCALE = 1024

_REFUSED_SIZE = HiresSize((512, 512), (512, 512), Crop())
"""Stands for a size that was refused, so that the request's other problems are found as well."""


def pass_sizes(request: Txt2Img, scope: Scope) -> HiresSize:
    """The sizes of both passes; where no picture can be of such a size, a problem is reported."""
    fields, first = ("width", "height"), (request.width, request.height)
    if request.firstphase_width or request.firstphase_height:
        fields = ("firstphase_width", "firstphase_height")
        first = (request.firstphase_width, request.firstphase_height)
    wrong = [(name, side) for name, side in zip(fields, first, strict=True) if not _fits(side)]
    for name, side in wrong:
        scope.report.invalid(name, f"{side} is not {_SIDES}", side)
    if wrong:
        return _REFUSED_SIZE
    if not request.enable_hr:
        return HiresSize(first, first, Crop())
    if _refuse_numbers(request, scope):
        return _REFUSED_SIZE
    size = hires_size(
        *first,
        request.hr_scale,
        request.hr_resize_x,
        request.hr_resize_y,
        old_rule=scope.a1111_options.use_old_hires_fix_width_height,
    )
    if all(map(_fits, size.result)):
        return size
    width, height = size.result
    scope.report.invalid(
        "hr_resize_x" if request.hr_resize_x or request.hr_resize_y else "hr_scale",
        f"hires fix would make a picture of {width}x{height}; a side is not {_SIDES}",
    )
    return _REFUSED_SIZE


def _refuse_numbers(request: Txt2Img, scope: Scope) -> bool:
    """Whether a number of the hires pass is wrong; without that pass they may be anything."""
    wrong = [(name, "0 or more") for name in _NUMBERS if (getattr(request, name) or 0) < 0]
    by_scale = not (request.hr_resize_x or request.hr_resize_y)
    if by_scale and not 0 < request.hr_scale <= _LARGEST_SCALE:
        wrong.append(("hr_scale", f"above 0 and at most {_LARGEST_SCALE}"))
    for name, wanted in wrong:
        value = getattr(request, name)
        scope.report.invalid(name, f"{value} is not {wanted}", value)
    return bool(wrong)


def _fits(side: int) -> bool:
    return _SIDE[0] <= side <= _SIDE[1]
