"""The numbers of an inpainting pass that depend on its region: size, strength, seed, prompt.

Source of the rules: ADetailer v25.3.0, restated in the shared facts `adetailer.md` section 3.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace

from PIL import Image
from torch import Tensor

from . import inpaint, soft_inpainting
from .regions import Box, Regions, area
from .resize_ops import JUST_RESIZE, resize_image

MATCHES = ("Off", "Strict (SDXL only)", "Free")
"""Option ad_match_inpaint_bbox_size."""

SDXL_SIZES = (
    (1024, 1024),
    (1152, 896),
    (896, 1152),
    (1216, 832),
    (832, 1216),
    (1344, 768),
    (768, 1344),
    (1536, 640),
    (640, 1536),
)

WHOLE_PICTURE = -1
"""The padding that stands for inpainting the whole picture."""

_MAX_DENOISE = 0.999


def matched_size(box: Box | None, width: int, height: int, match: str) -> tuple[int, int]:
    """Width and height of the pass for a region's box; `width` x `height` is the request's."""
    if box is None or match == MATCHES[0]:
        return width, height
    box_width, box_height = box[2] - box[0], box[3] - box[1]
    aspect = box_width / box_height
    if match == "Free":
        longest = max(width, height)
        sides = (longest, longest / aspect) if aspect > 1 else (longest * aspect, longest)
        return _next_multiple_of_8(sides[0]), _next_multiple_of_8(sides[1])
    fitting = [
        size
        for size in SDXL_SIZES
        if size[0] >= box_width
        and size[1] >= box_height
        and (size[0] >= width or size[1] >= height)
    ]
    if not fitting:
        return width, height
    return min(fitting, key=lambda size: abs(size[0] / size[1] - aspect))


def _next_multiple_of_8(length: float) -> int:
    """Rounded up from whole numbers; what lies behind the point of others is lost, as there."""
    return int((length + 7) // 8 * 8)


@dataclass(frozen=True)
class PreparedRegion:
    """What a region's pass works on, and how its result goes back.

    Attributes:
        pixels: RGB, of the pass' size.
        mask: blurred, of the pass' size; `inpaint.latent_mask` makes the sampler's of it.
        overlay: what is put back over the result.
    """

    pixels: Image.Image
    mask: Image.Image
    overlay: inpaint.Overlay

    def finish(self, result: Image.Image) -> Image.Image:
        """The finished picture for a pass' decoded `result`."""
        return inpaint.covered(result, self.overlay, 0)[0]


@dataclass(frozen=True)
class Softening:
    """Soft Inpainting of a region: what is put back follows how far the result moved.

    preservation, mask_influence, threshold, contrast: as `soft_inpainting.Settings` has them.
    """

    preservation: float
    mask_influence: float
    threshold: float
    contrast: float

    @classmethod
    def from_json(cls, text: str) -> Softening | None:
        """Read the node's input; None for an empty text."""
        return cls(**json.loads(text)) if text.strip() else None

    def soften(
        self, prepared: PreparedRegion, latent: Tensor, samples: Tensor, mask: Tensor
    ) -> PreparedRegion:
        """A region whose overlay is decided by its result.

        Args:
            latent, samples: what sampling started from and its result, [1, C, h, w] in the model's
                scale.
            mask: of the latent, [1, 1, h, w], 0..1.
        """
        settings = soft_inpainting.Settings(**vars(self), **_size(prepared.pixels))
        overlay = soft_inpainting.soften(prepared.overlay, latent, samples, mask, settings)
        return replace(prepared, overlay=overlay)


def _size(picture: Image.Image) -> dict[str, int]:
    return {"width": picture.width, "height": picture.height}


@dataclass(frozen=True)
class RegionLayout:
    """How a region's inpainting pass is laid out.

    Attributes:
        width, height: of the pass in pixels.
        mask_blur: radius in pixels.
        padding: pixels around the mask, or `WHOLE_PICTURE`.
        match: one of `MATCHES`.
    """

    width: int
    height: int
    mask_blur: int
    padding: int
    match: str

    def prepare(self, picture: Image.Image, found: Regions, index: int) -> PreparedRegion | None:
        """What region `index` of a picture (RGB) is worked on; None where its mask is black.

        A whole picture comes out in the size of the pass.
        """
        width, height = matched_size(found.box(index), self.width, self.height, self.match)
        only_masked = self.padding != WHOLE_PICTURE
        settings = inpaint.Settings(
            width, height, JUST_RESIZE, only_masked, max(self.padding, 0), fills=False
        )
        if not only_masked:
            picture = resize_image(picture, width, height, JUST_RESIZE)
        mask = inpaint.blurred(Image.fromarray(found.masks[index]), self.mask_blur, self.mask_blur)
        prepared = inpaint.prepare([picture], mask, settings)
        if prepared.mask is None or prepared.overlay is None:
            return None
        return PreparedRegion(prepared.pixels[0], prepared.mask, prepared.overlay)


@dataclass(frozen=True)
class Schedule:
    """What a pass runs: sigmas descending, timesteps ascending (or none), model calls expected."""

    sigmas: tuple[float, ...]
    timesteps: tuple[int, ...]
    total_steps: int


@dataclass(frozen=True)
class DynamicDenoise:
    """Option ad_dynamic_denoise_power: the larger a region's box, the weaker (or stronger) it is.

    Attributes:
        denoise, power: strength * (1 - box's share of the picture) ** power.
        steps: of the pass.
        schedules: what is run for int(strength * steps) = 0, 1, ... steps - 1.
    """

    denoise: float
    power: float
    steps: int
    schedules: tuple[Schedule, ...]

    @classmethod
    def from_json(cls, text: str) -> DynamicDenoise | None:
        """Read the node's input; None for an empty text."""
        if not text.strip():
            return None
        values = json.loads(text)
        schedules = tuple(
            Schedule(tuple(item["sigmas"]), tuple(item["timesteps"]), item["total_steps"])
            for item in values["schedules"]
        )
        return cls(values["denoise"], values["power"], values["steps"], schedules)

    def schedule(self, box: Box | None, width: int, height: int) -> Schedule:
        """The schedule for a box on a picture of `width` x `height` pixels."""
        share = area(box) / (width * height) if box is not None else 0.0
        denoise = self.denoise * (1 - share) ** self.power
        index = int(min(denoise, _MAX_DENOISE) * self.steps)
        return self.schedules[min(max(index, 0), len(self.schedules) - 1)]


def prompt_of(parts: Sequence[int | None], region: int) -> int | None:
    """Which of a unit's prompts region `region` (0-based) gets; None skips it.

    The last entry of `parts` holds for all further regions.
    """
    return parts[min(region, len(parts) - 1)]
