"""Stage: the pictures that an img2img pass starts from, as both targets leave them."""

from __future__ import annotations

from dataclasses import dataclass

from translator.comfy.graph import Image, Mask
from translator.comfy.nodes import Overlay


@dataclass(frozen=True)
class Prepared:
    """What a pass encodes, and what its results are put back on.

    Attributes:
        pixels: the pictures to be encoded.
        mask: what is made anew, in pixels; None for all.
        overlay: what our node pack puts back; None with core nodes or without a mask.
    """

    pixels: Image
    mask: Mask | None = None
    overlay: Overlay | None = None
