"""What ControlNet units need to know of the rest of a request."""

from __future__ import annotations

from dataclasses import dataclass

from translator.control.sizes import Size
from translator.models import families
from translator.models.families import Family
from translator.request.images import ImageUpload
from translator.schedules.passes import Pass

_SEED_MASK = 0xFFFFFFFF


@dataclass(frozen=True)
class PassContext:
    """A sampling pass, as far as ControlNet needs it.

    Attributes:
        width, height: pixels of the pass, multiples of 8.
        schedule: what it samples; None where nothing is sampled.
    """

    width: int
    height: int
    schedule: Pass | None

    @property
    def size(self) -> Size:
        """The size of the pass's maps."""
        return Size(self.width, self.height)


@dataclass(frozen=True)
class InpaintArea:
    """The mask of an img2img request, and the part of its picture that is made anew.

    Attributes:
        mask: its picture, of which brightness counts.
        inverts: whether what is not masked is made anew.
        blur: sigma across and down, in pixels.
        only_masked: whether only the mask's surroundings are made anew.
        padding: around the mask's bounding box, in pixels.
        size: width and height of the request.
    """

    mask: ImageUpload
    inverts: bool
    blur: tuple[int, int]
    only_masked: bool
    padding: int
    size: Size


@dataclass(frozen=True)
class ControlContext:
    """The request around the units.

    Attributes:
        architecture: the checkpoint's, a name of `families.FAMILIES`.
        passes: the sampling passes; the second one is hires fix's.
        seed: of the first image; some preprocessors draw from it.
        subseed: as the request has it, -1 for a random one.
        empty_prompts: whether prompt and negative prompt are both empty (revision heeds it).
        init_image: img2img's first image, for units without an image of their own.
        init_resize_mode: img2img's resize_mode, which goes with `init_image`.
        inpaint_area: img2img's mask, None without one.
        face_provider: onnxruntime's for face analysis; None takes CUDA where it is offered.
        shares_prompts: whether the hires pass has the first pass' encoded prompts (option
            hires_fix_use_firstpass_conds).
        maps_only: whether only the units' maps are wanted, so that models are no matter.
    """

    architecture: str
    passes: tuple[PassContext, ...]
    seed: int = 0
    subseed: int = -1
    empty_prompts: bool = False
    init_image: ImageUpload | None = None
    init_resize_mode: int = 0
    inpaint_area: InpaintArea | None = None
    face_provider: str | None = None
    shares_prompts: bool = False
    maps_only: bool = False

    @property
    def family(self) -> Family:
        """What is particular to the checkpoint's architecture."""
        return families.of(self.architecture)

    @property
    def has_hires(self) -> bool:
        """Whether there is a pass of hires fix."""
        return len(self.passes) > 1

    @property
    def preprocessor_seed(self) -> int:
        """What A1111 seeds numpy with before a preprocessor runs."""
        subseed = self.seed if self.subseed == -1 else max(self.subseed, 0)
        return (self.seed + subseed) & _SEED_MASK

    def tells_negative(self, index: int) -> bool:
        """Whether the extension tells the negative prompt's rows from the positive one's in a pass.

        It marks the prompts when sampling begins. Those of hires fix's pass are encoded later,
        unless the option says so; there every row counts as positive.
        """
        return index == 0 or self.shares_prompts

    def is_hires(self, index: int) -> bool:
        """Whether the extension takes a pass for the hires pass: by the nearer of the heights."""
        if not self.has_hires:
            return False
        first, second = (item.height for item in self.passes)
        height = self.passes[index].height
        return not abs(height - first) < abs(height - second)
