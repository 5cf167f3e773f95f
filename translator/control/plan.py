"""The plan of the ControlNet units: models found, windows, weights and sizes worked out.

`stages.control` spells it in nodes. Rules and their sources: ``docs/controlnet.md``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn

from translator.catalog import Catalog, InputSignature
from translator.control import models, windows
from translator.control.models import Kind
from translator.control.modules import NodeRecipe
from translator.control.sizes import Size, pixel_perfect
from translator.control.units import ControlUnit, UnitImage
from translator.control.weights import Weighting, weighting
from translator.control.windows import Window
from translator.errors import Report
from translator.images import ImageUpload
from translator.models import ModelFile
from translator.options import Options
from translator.schedule import Pass

PACKS: Mapping[str, str] = {
    "custom_nodes.comfyui_controlnet_aux": "comfyui_controlnet_aux (github.com/Fannovel16)",
    "custom_nodes.ComfyUI-Advanced-ControlNet": (
        "ComfyUI-Advanced-ControlNet (github.com/Kosinkadink)"
    ),
    "custom_nodes.ComfyUI_InstantID": "ComfyUI_InstantID (github.com/cubiq)",
    "custom_nodes.ComfyUI_IPAdapter_plus": "ComfyUI_IPAdapter_plus (github.com/cubiq)",
    "custom_nodes.comfyui_a1111": "custom_nodes/comfyui_a1111 of this project",
}
"""Where a missing node comes from; ``custom_nodes.txt`` pins the packs."""

UNION_NODE_TYPES: Mapping[str, str] = {
    "OpenPose": "openpose",
    "Depth": "depth",
    "Soft Edge": "hed/pidi/scribble/ted",
    "Hard Edge": "canny/lineart/anime_lineart/mlsd",
    "Normal Map": "normal",
    "Segmentation": "segment",
    "Tile": "tile",
    "Inpaint": "repaint",
}

FIT_NODE = "A1111ControlNetFit"
PREPARE_NODE = "A1111ControlNetImage"

_SOFT_IN_HIRES = ("canny", "mlsd")
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
class ControlContext:
    """What the units need to know of the rest of the request.

    Attributes:
        architecture: the checkpoint's: ``SD1``, ``SD2``, ``SDXL``...
        passes: the sampling passes; the second one is hires fix's.
        seed: of the first image; some preprocessors draw from it.
        subseed: as the request has it, -1 for a random one.
        init_image: img2img's first image, for units without an image of their own.
        init_resize_mode: img2img's resize_mode (0..3), which goes with `init_image`.
        face_provider: onnxruntime's for face analysis; None takes CUDA where it is offered.
        settings: A1111 options in force.
    """

    architecture: str
    passes: tuple[PassContext, ...]
    seed: int = 0
    subseed: int = -1
    init_image: UnitImage | None = None
    init_resize_mode: int = 0
    face_provider: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class UnitPlan:
    """What one unit does.

    Attributes:
        unit: the unit itself.
        kind: what its model is.
        model: the model's file; None for modules that need none.
        images: its images, img2img's where it has none.
        resize_mode: how its map is fitted.
        processor_res: short side of the picture that its preprocessor works on, in pixels.
        recipe: the preprocessor's nodes, inputs final but for ``$image``.
        windows: per pass, when it acts; None where it takes no part.
        weightings: per pass, how its residuals are weighted.
        union_type: the task of a union model as SetUnionControlNetType names it, or None.
        partner: the unit's index whose face a keypoints unit belongs to.
        answers_map: whether its detected map is answered.
    """

    unit: ControlUnit
    kind: Kind
    model: ModelFile | None
    images: tuple[UnitImage, ...]
    resize_mode: str
    processor_res: int
    recipe: tuple[NodeRecipe, ...]
    windows: tuple[Window | None, ...]
    weightings: tuple[Weighting, ...]
    union_type: str | None
    partner: int | None
    answers_map: bool

    @property
    def image(self) -> ImageUpload:
        """Its first image."""
        return self.images[0].image

    @property
    def source_size(self) -> Size:
        """The size of its first image."""
        return Size(self.image.width, self.image.height)

    @property
    def map_size(self) -> Size:
        """The size of its map before it is fitted to a pass."""
        if not self.recipe or self.recipe[0].class_type == "ImageInvert":
            return self.source_size
        return self.source_size.with_short_side(self.processor_res)


@dataclass(frozen=True)
class ControlPlan:
    """All units of a request, ready to be spelled in nodes.

    Attributes:
        units: those that take part, in order.
        sizes: of each pass's maps.
        exact: whether our node pack fits and prepares images.
        all_maps: whether the first pass's maps are answered besides the hires pass's.
        face_provider: onnxruntime's for face analysis.
        uploads: the images that the graph loads or the answer repeats.
        infotext_entries: ``ControlNet k`` -> text, k counting the enabled units.
    """

    units: tuple[UnitPlan, ...] = ()
    sizes: tuple[Size, ...] = ()
    exact: bool = False
    all_maps: bool = False
    face_provider: str = "CPU"
    uploads: tuple[ImageUpload, ...] = ()
    infotext_entries: Mapping[str, str] = field(default_factory=dict)

    def by_index(self, index: int) -> UnitPlan:
        """The unit at a position of ``args``."""
        return next(item for item in self.units if item.unit.index == index)


def plan_units(
    units: Sequence[ControlUnit],
    context: ControlContext,
    catalog: Catalog,
    options: Options,
    report: Report,
) -> ControlPlan:
    """The plan of a request's units; what cannot be honoured is in the report, by unit and field.

    A unit that is refused (or, with ``unsupported=warn``, left out) is not in the plan; its
    infotext entry is there, as A1111 writes it before it looks at the unit.
    """
    exact = options.fidelity == "exact" and catalog.has(FIT_NODE, PREPARE_NODE)
    planner = _Planner(context, catalog, exact, report)
    planned = planner.plan(units)
    if planned and not exact:
        _tell_of_core_fitting(planned, report)
    return ControlPlan(
        units=planned,
        sizes=tuple(item.size for item in context.passes),
        exact=exact,
        all_maps=options.detected_maps == "all",
        face_provider=_face_provider(context, catalog),
        uploads=tuple(dict.fromkeys(_uploads(planned))),
        infotext_entries={
            f"ControlNet {number}": unit.infotext for number, unit in enumerate(units)
        },
    )


class _Refused(Exception):
    """A unit was refused; the report has the reason."""


class _Planner:
    def __init__(
        self, context: ControlContext, catalog: Catalog, exact: bool, report: Report
    ) -> None:
        self._context = context
        self._catalog = catalog
        self._exact = exact
        self._report = report
        self._calls = [windows.calls_of(item.schedule) for item in context.passes]

    def plan(self, units: Sequence[ControlUnit]) -> tuple[UnitPlan, ...]:
        planned: list[UnitPlan] = []
        for position, unit in enumerate(units):
            before = units[position - 1] if position else None
            present = {item.unit.index for item in planned}
            try:
                planned.append(self._unit(unit, before, present))
            except _Refused:
                continue
        return tuple(planned)

    def _unit(self, unit: ControlUnit, before: ControlUnit | None, present: set[int]) -> UnitPlan:
        self._check_module(unit)
        kind = models.kind_of(unit.model) if unit.model else Kind.CONTROLNET
        model = self._model(unit, kind)
        images, resize_mode = self._images(unit)
        source = Size(images[0].image.width, images[0].image.height)
        processor_res = self._processor_res(unit, source, resize_mode)
        plan = UnitPlan(
            unit=unit,
            kind=kind,
            model=model,
            images=images,
            resize_mode=resize_mode,
            processor_res=processor_res,
            recipe=self._recipe(unit, source, processor_res),
            windows=tuple(self._windows(unit)),
            weightings=tuple(self._weightings(unit, kind)),
            union_type=self._union_type(unit, kind),
            partner=self._partner(unit, kind, before, present),
            answers_map=self._answers_map(unit),
        )
        self._check_nodes(plan)
        self._tell_of_module(plan)
        return plan

    def _refuse(
        self, unit: ControlUnit, field_name: str, message: str, value: Any = None
    ) -> NoReturn:
        path = f"{unit.path}.{field_name}"
        self._report.unsupported(path, message, instead="the unit is left out", value=value)
        raise _Refused

    def _check_module(self, unit: ControlUnit) -> None:
        module = unit.module
        if module.status == "unsupported":
            self._refuse(unit, "module", f'"{module.name}" cannot be done: {module.why}')
        if module.role not in _PLANNED_ROLES:
            self._refuse(unit, "module", f'"{module.name}" is not translated')

    def _model(self, unit: ControlUnit, kind: Kind) -> ModelFile | None:
        module = unit.module
        if module.model_free:
            return None
        if unit.model is None:
            self._refuse(unit, "model", f'module "{module.name}" needs a control model, none named')
        self._check_kind(unit, kind)
        self._check_version(unit)
        folder = models.folder_of(module, unit.model)
        path = f"{unit.path}.model"
        found = models.resolve(unit.model, folder, self._catalog, path, self._report)
        if found is None:
            raise _Refused
        return found

    def _check_kind(self, unit: ControlUnit, kind: Kind) -> None:
        """The module's kind and the model's must belong together."""
        module = unit.module
        wants_adapter = module.role == "instant_id_embedding"
        is_adapter = kind in (Kind.INSTANT_ID_ADAPTER, Kind.IP_ADAPTER)
        if wants_adapter and kind is not Kind.INSTANT_ID_ADAPTER:
            self._refuse(
                unit,
                "model",
                f'module "{module.name}" needs InstantID\'s adapter '
                f'(ip-adapter_instant_id_sdxl), "{unit.model}" is none by its name',
                unit.model,
            )
        if is_adapter and not module.is_ip_adapter:
            self._refuse(
                unit,
                "module",
                f'"{module.name}" makes a map, but "{unit.model}" is an {kind.value}',
            )
        if kind is Kind.SPARSECTRL:
            self._refuse(unit, "model", "SparseCtrl models work with AnimateDiff only", unit.model)

    def _check_version(self, unit: ControlUnit) -> None:
        version = models.version_of(unit.model or "")
        architecture = self._context.architecture
        if version and version != architecture.partition("-")[0]:
            self._refuse(
                unit,
                "model",
                f'"{unit.model}" is made for {version}, the checkpoint is {architecture}',
                unit.model,
            )

    def _images(self, unit: ControlUnit) -> tuple[tuple[UnitImage, ...], str]:
        """The images of a unit and how they are fitted."""
        if unit.images:
            if len(unit.images) > 1 and not unit.module.is_ip_adapter:
                self._refuse(
                    unit, "image", f'module "{unit.module.name}" takes one image, not several'
                )
            return unit.images, unit.resize_mode
        if self._context.init_image is None:
            self._refuse(unit, "image", "the unit has no image")
        modes = ("Just Resize", "Crop and Resize", "Resize and Fill", "Just Resize")
        return (self._context.init_image,), modes[self._context.init_resize_mode]

    def _processor_res(self, unit: ControlUnit, source: Size, resize_mode: str) -> int:
        if unit.pixel_perfect:
            return pixel_perfect(source, self._context.passes[0].size, resize_mode)
        return round(unit.processor_res)

    def _recipe(
        self, unit: ControlUnit, source: Size, processor_res: int
    ) -> tuple[NodeRecipe, ...]:
        """The preprocessor's nodes with the unit's values in place, within the nodes' bounds."""
        values = {
            "$processor_res": processor_res,
            "$threshold_a": unit.threshold_a,
            "$threshold_b": unit.threshold_b,
            "$short_side": source.short,
            "$seed": self._preprocessor_seed(),
        }
        own = unit.module.own_node
        if own and self._exact and self._catalog.has(own.class_type):
            return (self._filled(own, values, unit),)
        if own and not unit.module.nodes:
            self._lacks(unit, own.class_type)
        return tuple(self._filled(recipe, values, unit) for recipe in unit.module.nodes)

    def _filled(
        self, recipe: NodeRecipe, values: Mapping[str, float], unit: ControlUnit
    ) -> NodeRecipe:
        signature = self._catalog.nodes.get(recipe.class_type)
        if signature is None:
            self._lacks(unit, recipe.class_type)
        inputs = {
            name: self._within(values[value], signature.inputs[name], unit)
            if isinstance(value, str) and value in values
            else value
            for name, value in recipe.inputs.items()
        }
        return NodeRecipe(recipe.class_type, inputs)

    def _within(self, value: float, item: InputSignature, unit: ControlUnit) -> float:
        settled = round(value) if item.type == "INT" else float(value)
        low = settled if item.min is None else max(settled, item.min)
        bounded = low if item.max is None else min(low, item.max)
        if bounded != settled:
            self._report.warn(
                f"{unit.path}: {settled} becomes {bounded}, the nearest that the node takes"
            )
        return int(bounded) if item.type == "INT" else float(bounded)

    def _preprocessor_seed(self) -> int:
        """What A1111 seeds numpy with before a preprocessor runs."""
        seed, subseed = self._context.seed, self._context.subseed
        return (seed + (seed if subseed == -1 else max(subseed, 0))) & _SEED_MASK

    def _windows(self, unit: ControlUnit) -> Iterable[Window | None]:
        for index, (item, made) in enumerate(zip(self._context.passes, self._calls, strict=True)):
            if not self._takes_part(unit, index):
                yield None
                continue
            table = windows.table_of(item.schedule)
            found = windows.window(unit.guidance_start, unit.guidance_end, made, table)
            if found is None and made:
                self._report.warn(
                    f"{unit.path}: guidance_start {unit.guidance_start} to guidance_end "
                    f"{unit.guidance_end} holds no step of pass {index + 1}: it has no effect there"
                )
            yield found

    def _takes_part(self, unit: ControlUnit, index: int) -> bool:
        """hr_option; it is no matter without hires fix, nor to IP-Adapters."""
        if len(self._context.passes) == 1 or unit.module.is_ip_adapter:
            return True
        left_out = "High res only" if not self._is_hires(index) else "Low res only"
        return unit.hr_option != left_out

    def _is_hires(self, index: int) -> bool:
        """Whether the extension takes a pass for the hires pass: by the nearer of the heights."""
        if len(self._context.passes) == 1:
            return False
        first, second = (item.height for item in self._context.passes)
        height = self._context.passes[index].height
        return not abs(height - first) < abs(height - second)

    def _weightings(self, unit: ControlUnit, kind: Kind) -> Iterable[Weighting]:
        name = unit.module_name.lower()
        for index in range(len(self._context.passes)):
            yield weighting(
                unit.weight,
                unit.control_mode,
                self._context.architecture,
                forced_soft=self._is_hires(index) and any(item in name for item in _SOFT_IN_HIRES),
                pools_globally=models.pools_globally(unit.model or ""),
                advanced=unit.advanced_weighting,
                t2i=kind is Kind.T2I_ADAPTER,
            )

    def _union_type(self, unit: ControlUnit, kind: Kind) -> str | None:
        if kind is Kind.UNION:
            return UNION_NODE_TYPES.get(unit.union_control_type)
        return None

    def _partner(
        self, unit: ControlUnit, kind: Kind, before: ControlUnit | None, present: set[int]
    ) -> int | None:
        """The embedding unit that a keypoints unit belongs to: the one right before it."""
        if kind is not Kind.INSTANT_ID:
            return None
        if before is None or before.module.role != "instant_id_embedding":
            self._refuse(
                unit,
                "model",
                "InstantID's ControlNet takes its face from the unit right before it, which must "
                "be one with module instant_id_face_embedding",
                unit.model,
            )
        if before.index not in present:
            self._refuse(unit, "model", f"the unit of its face, {before.path}, is left out")
        return before.index

    def _answers_map(self, unit: ControlUnit) -> bool:
        no_maps = bool(self._context.settings.get("control_net_no_detectmap"))
        return unit.save_detected_map and not unit.ipadapter_input and not no_maps

    def _check_nodes(self, plan: UnitPlan) -> None:
        for class_type in _nodes_of(plan):
            if not self._catalog.has(class_type):
                self._lacks(plan.unit, class_type)

    def _lacks(self, unit: ControlUnit, class_type: str) -> NoReturn:
        known = Catalog.bundled().nodes.get(class_type)
        pack = PACKS.get(known.pack if known else "", "a current ComfyUI")
        self._report.missing(
            f"{unit.path}.module",
            f'"{unit.module.name}" needs the node {class_type}, which this ComfyUI lacks; '
            f"install {pack}",
            instead="the unit is left out",
        )
        raise _Refused

    def _tell_of_module(self, plan: UnitPlan) -> None:
        module = plan.unit.module
        if module.status == "near" and module.why:
            self._report.warn(
                f'{plan.unit.path}.module: "{module.name}" is near, not equal: {module.why}'
            )
        own_runs = (
            plan.recipe
            and module.own_node
            and (plan.recipe[0].class_type == module.own_node.class_type)
        )
        if module.without_own_node and not own_runs:
            self._report.warn(
                f'{plan.unit.path}.module: "{module.name}" without our node pack is near, not '
                f"equal: {module.without_own_node}"
            )


_PLANNED_ROLES = frozenset(("control", "instant_id_embedding", "instant_id_keypoints"))


def _nodes_of(plan: UnitPlan) -> Iterable[str]:
    """The node classes that a unit needs, its preprocessor's aside."""
    if plan.unit.module.role == "instant_id_embedding":
        yield from ("InstantIDModelLoader", "InstantIDFaceAnalysis", "InstantIDAttentionPatch")
        return
    if plan.unit.module.role == "instant_id_keypoints":
        yield from ("InstantIDFaceAnalysis", "FaceKeypointsPreprocessor")
    if plan.kind is Kind.INSTANT_ID:
        yield "ApplyInstantIDControlNet"
    if plan.union_type:
        yield "SetUnionControlNetType"
    if plan.unit.effective_region_mask or any(not item.is_plain for item in plan.weightings):
        yield from ("ACN_ControlNetLoaderAdvanced", "ACN_AdvancedControlNetApply_v2")


def _face_provider(context: ControlContext, catalog: Catalog) -> str:
    offered = catalog.options("InstantIDFaceAnalysis", "provider")
    if context.face_provider:
        return context.face_provider
    return "CUDA" if "CUDA" in offered else "CPU"


def _uploads(planned: Iterable[UnitPlan]) -> Iterable[ImageUpload]:
    for plan in planned:
        for item in plan.images:
            yield item.image
            if item.mask:
                yield item.mask
        if plan.unit.effective_region_mask:
            yield plan.unit.effective_region_mask


def _tell_of_core_fitting(planned: Iterable[UnitPlan], report: Report) -> None:
    if any(plan.unit.module.returns_image for plan in planned):
        report.warn(
            "ControlNet maps are scaled by core nodes, without our node pack: near, not equal "
            "(no thinning of binary maps, and Resize and Fill pads with black)"
        )
