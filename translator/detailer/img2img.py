"""What ADetailer does to an img2img request as a whole.

Source: ADetailer v25.3.0 (``scripts/!adetailer.py``), restated in the project's facts section 4.
"""

from __future__ import annotations

from dataclasses import replace

from translator.detailer.units import OFF, DetailerScript
from translator.report import Report
from translator.request.generation import Generation
from translator.request.images import ImageReader, is_blank_mask
from translator.request.img2img import Img2Img


def settled(script: DetailerScript, request: Generation) -> DetailerScript:
    """The script as it acts on a request: skip_img2img beside a mask turns it off."""
    if script.skip_img2img and isinstance(request, Img2Img) and request.mask:
        return OFF
    return script


def without_black_mask(script: DetailerScript, request: Generation) -> DetailerScript:
    """The script, off where the request's mask masks nothing: A1111 disables it then.

    ADetailer looks at the mask's brightness, whatever its alpha channel says.
    """
    if not (script.is_on and isinstance(request, Img2Img) and isinstance(request.mask, str)):
        return script
    mask = ImageReader(Report()).read(request.mask, "mask")
    inverts = bool(request.inpainting_mask_invert)
    if mask and is_blank_mask(replace(mask, is_rgba=False), rounds=True, inverts=inverts):
        return OFF
    return script


def run_request(script: DetailerScript, request: Generation) -> Generation:
    """The request that A1111 runs and writes about.

    Where its own pass is skipped that is one step of 128x128, whose result is thrown away.
    """
    if script.is_on and script.skip_img2img and isinstance(request, Img2Img):
        return replace(request, steps=1, sampler_name="Euler", width=128, height=128)
    return request
