"""What the planner settles: values that the stages spell in nodes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from translator.control.context import InpaintArea
from translator.control.models import Kind
from translator.control.modules import Module, NodeRecipe
from translator.control.sizes import Size
from translator.control.units import ControlUnit, UnitImage
from translator.control.weights import Weighting
from translator.control.windows import Window
from translator.models.names import ModelFile
from translator.request.images import ImageUpload

_READS_TEXT = frozenset((Kind.CONTROLNET, Kind.UNION, Kind.INSTANT_ID))
"""Models that read the prompt's tokens, or a face's in their place."""


@dataclass(frozen=True)
class UnitPlan:
    """What one unit does.

    Attributes:
        unit: the unit itself.
        module: its module; for ip-adapter-auto the one it stands for.
        kind: what its model is.
        model: the model's file; None for modules that need none.
        vision: its CLIP vision model's file, or None.
        images: its images, img2img's where it has none.
        resize_mode: how its map is fitted.
        processor_res: short side of the picture that its preprocessor works on, in pixels.
        map_size: of its map, before it is fitted to a pass.
        recipe: the preprocessor's nodes, inputs final but for ``$image``.
        windows: per pass, when it acts; None where it takes no part.
        weightings: per pass, how its residuals are weighted.
        style_fidelities: per pass, a reference unit's (0..1).
        union_type: the task of a union model as SetUnionControlNetType names it, or None.
        partner: the unit's index whose face a keypoints unit belongs to.
        takes_drawing: whether a mask that is a drawing stands for the image.
        answers_map: whether its detected map is answered.
        takes_area: whether img2img's mask is the mask of its image.
        crop: the size of the part of its image that img2img makes anew; None takes all of it.
    """

    unit: ControlUnit
    module: Module
    kind: Kind
    model: ModelFile | None
    vision: ModelFile | None
    images: tuple[UnitImage, ...]
    resize_mode: str
    processor_res: int
    map_size: Size
    recipe: tuple[NodeRecipe, ...]
    windows: tuple[Window | None, ...]
    weightings: tuple[Weighting, ...]
    style_fidelities: tuple[float, ...]
    union_type: str | None
    partner: int | None
    takes_drawing: bool
    answers_map: bool
    takes_area: bool = False
    crop: Size | None = None

    @property
    def image(self) -> ImageUpload:
        """Its first image."""
        return self.images[0].image

    @property
    def reads_text(self) -> bool:
        """Whether its model reads the text conditioning."""
        return self.model is not None and self.kind in _READS_TEXT

    @property
    def source_size(self) -> Size:
        """The size of its first image, or of the part that it takes of it."""
        return self.crop or Size(self.image.width, self.image.height)


@dataclass(frozen=True)
class ControlPlan:
    """All units of a request, ready to be spelled in nodes.

    Attributes:
        units: those that take part, in order.
        sizes: of each pass's maps.
        hires: per pass, whether the extension takes it for the hires pass.
        tells_negative: per pass, whether it tells the negative prompt's rows from the others.
        exact: whether our nodes are used.
        all_maps: whether the first pass's maps are answered besides the hires pass's.
        face_provider: onnxruntime's for face analysis.
        zero_text: whether revision units zero the text as well.
        inpaint_area: img2img's mask, None without one.
        paste_blur: option control_net_inpaint_blur_sigma, in pixels.
        drawn: per pass, the random numbers that A1111 draws before those of reference units: the
            VAE's while it encodes their pictures, and revision's.
        uploads: the images that the graph loads or the answer repeats.
        infotext_entries: ``ControlNet k`` -> text, k counting the enabled units.
    """

    units: tuple[UnitPlan, ...] = ()
    sizes: tuple[Size, ...] = ()
    hires: tuple[bool, ...] = ()
    tells_negative: tuple[bool, ...] = ()
    exact: bool = False
    all_maps: bool = False
    face_provider: str = "CPU"
    zero_text: bool = False
    inpaint_area: InpaintArea | None = None
    paste_blur: int = 7
    drawn: tuple[int, ...] = ()
    uploads: tuple[ImageUpload, ...] = ()
    infotext_entries: Mapping[str, str] = field(default_factory=dict)

    def by_index(self, index: int) -> UnitPlan:
        """The unit at a position of ``args``."""
        return next(item for item in self.units if item.unit.index == index)

    @property
    def binds_faces(self) -> bool:
        """Whether each InstantID ControlNet needs its face's tokens to itself."""
        return self.exact and sum(item.reads_text for item in self.units) > 1
