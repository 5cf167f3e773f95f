"""The plan of an ADetailer unit, as far as it is no sampling: how its regions are found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from translator.request.images import ImageUpload

WHOLE_PICTURE = -1
"""The padding that stands for inpainting the whole picture."""


@dataclass(frozen=True)
class Detector:
    """What looks for regions.

    Attributes:
        name: of the file, or one of mediapipe's.
        provider: the file as Impact Subpack's UltralyticsDetectorProvider lists it, where that
            reads it; None where our own node does.
    """

    name: str
    provider: str | None = None


@dataclass(frozen=True)
class DynamicDenoise:
    """Option ad_dynamic_denoise_power; the node's input, ready to be written as JSON."""

    denoise: float
    power: float
    steps: int
    schedules: tuple[dict[str, Any], ...]

    def to_json(self) -> dict[str, Any]:
        """What the node A1111DetailRegions reads."""
        return {
            "denoise": self.denoise,
            "power": self.power,
            "steps": self.steps,
            "schedules": list(self.schedules),
        }


@dataclass(frozen=True)
class InpaintedArea:
    """The mask of an img2img request, of which regions have to hold a pixel.

    Attributes:
        mask: its picture.
        inverts: whether what is not masked counts.
        size: width and height that it is brought to, in pixels.
        resize_mode: A1111's number of how.
    """

    mask: ImageUpload
    inverts: bool
    size: tuple[int, int]
    resize_mode: int


@dataclass(frozen=True)
class RegionRules:
    """How a unit's regions are found, and how the pass of each is laid out.

    Attributes:
        detector, confidence: what is found.
        filter_method, mask_k, mask_min_ratio, mask_max_ratio, sort: which of it, in which order.
        dilate_erode, x_offset, y_offset, merge: what becomes of the masks.
        width, height: of a region's pass, in pixels.
        mask_blur: radius in pixels.
        padding: pixels around the mask; `WHOLE_PICTURE` inpaints all of the picture.
        match_size: option ad_match_inpaint_bbox_size where it acts, else ``Off``.
        same_seed: option ad_same_seed_for_each_tab.
        dynamic_denoise: None where the strength is the same for every region.
        inside: what regions have to touch, None for all of them.
        controlled: whether a region's pass has ControlNet units, which then see the region.
    """

    detector: Detector
    confidence: float
    filter_method: str
    mask_k: int
    mask_min_ratio: float
    mask_max_ratio: float
    sort: str
    dilate_erode: int
    x_offset: int
    y_offset: int
    merge: str
    width: int
    height: int
    mask_blur: int
    padding: int
    match_size: str
    same_seed: bool
    dynamic_denoise: DynamicDenoise | None
    inside: InpaintedArea | None
    controlled: bool

    @property
    def is_whole_picture(self) -> bool:
        """Whether the picture comes out in the pass' size where there is a region."""
        return self.padding == WHOLE_PICTURE
