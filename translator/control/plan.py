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
from translator.models import families
from translator.models.families import Family
from translator.models.names import ModelFile
from translator.request.images import ImageUpload

_READS_TEXT = frozenset((Kind.CONTROLNET, Kind.UNION, Kind.INSTANT_ID))
"""Models that read the prompt's tokens, or a face's in their place."""


@dataclass(frozen=True)
class FeatureSource:
    """Whose map a T2I-Adapter's features are made of.

    Attributes:
        unit: the unit's index.
        index: the sampling pass whose map it is.
    """

    unit: int
    index: int


@dataclass(frozen=True)
class UnitPass:
    """What a unit does in one sampling pass.

    Attributes:
        window: when it acts; None where it takes no part.
        weighting: how its residuals are weighted.
        style_fidelity: a reference unit's (0..1).
        features: of a T2I-Adapter, where they are not those of its own map in this pass, or do not
            fit the UNet's blocks (then it is that map all the same); None otherwise.
    """

    window: Window | None
    weighting: Weighting
    style_fidelity: float
    features: FeatureSource | None = None


@dataclass(frozen=True)
class PassControl:
    """What all units share in one sampling pass.

    Attributes:
        size: of its maps.
        is_hires: whether the extension takes it for the hires pass.
        tells_negative: whether it tells the negative prompt's rows from the others.
        drawn: the random numbers that A1111 draws before those of reference units: the VAE's while
            it encodes their pictures, and revision's.
    """

    size: Size
    is_hires: bool
    tells_negative: bool
    drawn: int


@dataclass(frozen=True)
class UnitPlan:
    """What one unit does.

    Attributes:
        unit: the unit itself.
        module: its module; for ip-adapter-auto the one it stands for.
        kind: what its model is.
        model: the model's file; None for modules that need none.
        vision: its CLIP vision model's file, or None.
        weights: the file of its preprocessor's network where a node of ours loads it, or None.
        images: its images, img2img's where it has none.
        resize_mode: how its map is fitted.
        processor_res: short side of the picture that its preprocessor works on, in pixels.
        map_size: of its map, before it is fitted to a pass.
        recipe: the preprocessor's nodes, inputs final but for ``$image``.
        passes: what it does in each sampling pass.
        union_type: the task of a union model as SetUnionControlNetType names it, or None.
        partner: the unit's index whose face a keypoints unit belongs to.
        takes_drawing: whether a mask that is a drawing stands for the image.
        answers_map: whether its detected map is answered.
        takes_area: whether img2img's mask is the mask of its image.
        crop: the size of the part of its image that img2img makes anew; None takes all of it.
        pools: whether its model's residuals are averaged over the picture, where ComfyUI does
            otherwise; None where it does likewise.
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
    passes: tuple[UnitPass, ...]
    union_type: str | None
    partner: int | None
    takes_drawing: bool
    answers_map: bool
    takes_area: bool = False
    crop: Size | None = None
    pools: bool | None = None
    weights: ModelFile | None = None

    @property
    def image(self) -> ImageUpload:
        """Its first image."""
        return self.images[0].image

    @property
    def fills_mask(self) -> bool:
        """Whether a network fills in what is masked before anything else: inpaint_only+lama."""
        return self.weights is not None and self.module.role == "inpaint"

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
        passes: what they share in each sampling pass.
        family: of the checkpoint that the units act on.
        exact: whether our nodes are used.
        adapter_in_middle: whether a T2I-Adapter's last feature goes to the UNet's middle block.
        all_maps: whether the first pass's maps are answered besides the hires pass's.
        face_provider: onnxruntime's for face analysis.
        zero_text: whether revision units zero the text as well.
        inpaint_area: img2img's mask, None without one.
        paste_blur: option control_net_inpaint_blur_sigma, in pixels.
        uploads: the images that the graph loads or the answer repeats.
        infotext_entries: ``ControlNet k`` -> text, k counting the enabled units.
    """

    units: tuple[UnitPlan, ...] = ()
    passes: tuple[PassControl, ...] = ()
    family: Family = families.DEFAULT
    exact: bool = False
    adapter_in_middle: bool = False
    all_maps: bool = False
    face_provider: str = "CPU"
    zero_text: bool = False
    inpaint_area: InpaintArea | None = None
    paste_blur: int = 7
    uploads: tuple[ImageUpload, ...] = ()
    infotext_entries: Mapping[str, str] = field(default_factory=dict)

    def by_index(self, index: int) -> UnitPlan:
        """The unit at a position of ``args``."""
        return next(item for item in self.units if item.unit.index == index)

    @property
    def binds_faces(self) -> bool:
        """Whether each InstantID ControlNet needs its face's tokens to itself."""
        return self.exact and sum(item.reads_text for item in self.units) > 1
