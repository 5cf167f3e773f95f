"""The plan of the ControlNet units: models found, windows, weights and sizes worked out.

`stages.control` spells it in nodes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn

from translator.catalog import Catalog, InputSignature
from translator.control import models, modules, needs, windows
from translator.control.context import ControlContext, PassContext
from translator.control.models import Kind
from translator.control.modules import Module, NodeRecipe
from translator.control.sizes import Size, pixel_perfect, tile_size
from translator.control.units import ControlUnit, UnitImage
from translator.control.weights import Weighting, block_count, weighting
from translator.control.windows import Window
from translator.errors import Report
from translator.images import ImageUpload
from translator.models import ModelFile
from translator.options import Options

__all__ = ["ControlContext", "ControlPlan", "PassContext", "UnitPlan", "plan_units"]

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
"""A1111's name of a union model's task -> SetUnionControlNetType's."""

_SOFT_IN_HIRES = ("canny", "mlsd")

_HIGHEST_BLOCK_WEIGHT = 10.0
"""The most that Advanced-ControlNet's weight nodes take."""

_T2I_BLOCKS = 4
_TRANSFORMER_BLOCKS = {True: 11, False: 16}
"""Layers of an IP-Adapter that ``advanced_weighting`` counts, for SDXL and for others."""

_WHOLE_PICTURE_ROLES = frozenset(("reference", "revision", "style"))
"""Where the extension fails on ``effective_region_mask``."""

_FINISHERS = {
    "recolor_luminance": needs.RECOLOR,
    "recolor_intensity": needs.RECOLOR,
    "inpaint_only": needs.PASTE,
}
"""Modules that work on the finished picture, and our node that does it."""

_READS_TEXT = frozenset((Kind.CONTROLNET, Kind.UNION, Kind.INSTANT_ID))


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

    @property
    def image(self) -> ImageUpload:
        """Its first image."""
        return self.images[0].image

    @property
    def source_size(self) -> Size:
        """The size of its first image."""
        return Size(self.image.width, self.image.height)


@dataclass(frozen=True)
class ControlPlan:
    """All units of a request, ready to be spelled in nodes.

    Attributes:
        units: those that take part, in order.
        sizes: of each pass's maps.
        hires: per pass, whether the extension takes it for the hires pass.
        exact: whether our nodes are used.
        all_maps: whether the first pass's maps are answered besides the hires pass's.
        face_provider: onnxruntime's for face analysis.
        seed: of noise that A1111 draws without one.
        zero_text: whether revision units zero the text as well.
        paste_blur: option control_net_inpaint_blur_sigma, in pixels.
        uploads: the images that the graph loads or the answer repeats.
        infotext_entries: ``ControlNet k`` -> text, k counting the enabled units.
    """

    units: tuple[UnitPlan, ...] = ()
    sizes: tuple[Size, ...] = ()
    hires: tuple[bool, ...] = ()
    exact: bool = False
    all_maps: bool = False
    face_provider: str = "CPU"
    seed: int = 0
    zero_text: bool = False
    paste_blur: int = 7
    uploads: tuple[ImageUpload, ...] = ()
    infotext_entries: Mapping[str, str] = field(default_factory=dict)

    def by_index(self, index: int) -> UnitPlan:
        """The unit at a position of ``args``."""
        return next(item for item in self.units if item.unit.index == index)

    @property
    def binds_faces(self) -> bool:
        """Whether each InstantID ControlNet needs its face's tokens to itself."""
        readers = [item for item in self.units if item.model and item.kind in _READS_TEXT]
        return self.exact and len(readers) > 1


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
    exact = options.fidelity == "exact" and catalog.has(*needs.OWN)
    planned = _Planner(context, catalog, exact, report).plan(units)
    plan = ControlPlan(
        units=planned,
        sizes=tuple(item.size for item in context.passes),
        hires=tuple(context.is_hires(index) for index in range(len(context.passes))),
        exact=exact,
        all_maps=options.detected_maps == "all",
        face_provider=_face_provider(context, catalog),
        seed=context.preprocessor_seed,
        zero_text=context.empty_prompts or any("ignore" in item.module.name for item in planned),
        paste_blur=int(context.settings.get("control_net_inpaint_blur_sigma", 7)),
        uploads=tuple(dict.fromkeys(_uploads(planned))),
        infotext_entries={
            f"ControlNet {number}": unit.infotext for number, unit in enumerate(units)
        },
    )
    if not exact:
        _tell_of_core(plan, report)
    return plan


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
        module = self._module(unit)
        kind = models.kind_of(unit.model) if unit.model else Kind.CONTROLNET
        model = self._model(unit, module, kind)
        self._check_fields(unit, module, kind)
        images, resize_mode = self._images(unit, module)
        source = Size(images[0].image.width, images[0].image.height)
        processor_res = self._processor_res(unit, source, resize_mode)
        recipe = self._recipe(unit, module, source, processor_res)
        plan = UnitPlan(
            unit=unit,
            module=module,
            kind=kind,
            model=model,
            vision=self._vision(unit, module),
            images=images,
            resize_mode=resize_mode,
            processor_res=processor_res,
            map_size=_map_size(module, source, processor_res, recipe),
            recipe=recipe,
            windows=tuple(self._windows(unit, module)),
            weightings=tuple(self._weightings(unit, kind)),
            style_fidelities=tuple(self._style_fidelities(unit)),
            union_type=UNION_NODE_TYPES.get(unit.union_control_type)
            if kind is Kind.UNION
            else None,
            partner=self._partner(unit, kind, before, present),
            takes_drawing=self._takes_drawing(unit, module, images),
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

    def _refuse_invalid(
        self, unit: ControlUnit, field_name: str, message: str, value: Any = None
    ) -> NoReturn:
        self._report.invalid(f"{unit.path}.{field_name}", message, value)
        raise _Refused

    def _module(self, unit: ControlUnit) -> Module:
        """The module that does the work."""
        module = unit.module
        if module.role == "ip_adapter_auto":
            module = self._preset(unit)
        inpaints = self._context.init_image is not None and self._context.init_image.mask
        if module.name == "inpaint_only" and inpaints:
            self._report.warn(
                f"{unit.path}.module: inpaint_only beside img2img's own mask works as "
                "inpaint_global_harmonious, as in A1111"
            )
            module = modules.table()["inpaint"]
        if module.status == "unsupported":
            self._refuse(unit, "module", f'"{module.name}" cannot be done: {module.why}')
        if module.role == "revision" and not self._context.is_sdxl:
            self._refuse(
                unit, "module", f"revision works with SDXL, this is {self._context.architecture}"
            )
        return module

    def _preset(self, unit: ControlUnit) -> Module:
        found = models.preset_module(unit.model or "")
        if found is None:
            self._refuse(
                unit,
                "model",
                f'ip-adapter-auto knows no module for "{unit.model}": name the module itself',
                unit.model,
            )
        return found

    def _model(self, unit: ControlUnit, module: Module, kind: Kind) -> ModelFile | None:
        if module.model_free or self._context.maps_only:
            return None
        if unit.model is None:
            self._refuse(unit, "model", f'module "{module.name}" needs a control model, none named')
        self._check_kind(unit, module, kind)
        version = models.version_of(unit.model)
        if version and (version == "SDXL") != self._context.is_sdxl:
            self._refuse(
                unit,
                "model",
                f'"{unit.model}" is made for {version}, the checkpoint is '
                f"{self._context.architecture}",
                unit.model,
            )
        folder = models.folder_of(module, unit.model)
        path = f"{unit.path}.model"
        found = models.resolve(unit.model, folder, self._catalog, path, self._report)
        if found is None:
            raise _Refused
        return found

    def _check_kind(self, unit: ControlUnit, module: Module, kind: Kind) -> None:
        """The module's kind and the model's must belong together."""
        is_face_adapter = kind is Kind.INSTANT_ID_ADAPTER
        if (module.role == "instant_id_embedding") != is_face_adapter:
            wanted = "ip-adapter_instant_id_sdxl" if not is_face_adapter else "another one"
            self._refuse(
                unit, "model", f'module "{module.name}" needs {wanted}, not "{unit.model}"'
            )
        if kind is Kind.IP_ADAPTER and not module.is_ip_adapter:
            self._refuse(
                unit, "module", f'"{module.name}" makes a map, "{unit.model}" takes an image'
            )
        if (module.role == "style") != (kind is Kind.STYLE_ADAPTER):
            self._refuse(
                unit,
                "module",
                f't2ia_style_clipvision and T2I style models belong together, not "{module.name}" '
                f'and "{unit.model}"',
            )
        if kind is Kind.SPARSECTRL:
            self._refuse(unit, "model", "SparseCtrl models work with AnimateDiff only", unit.model)

    def _check_fields(self, unit: ControlUnit, module: Module, kind: Kind) -> None:
        if unit.ipadapter_input:
            self._refuse(
                unit, "ipadapter_input", "a torch file cannot be read here: send the image"
            )
        if unit.effective_region_mask and (
            module.role in _WHOLE_PICTURE_ROLES or kind is Kind.LLLITE
        ):
            self._refuse(
                unit, "effective_region_mask", f'"{module.name}" acts on the whole picture only'
            )
        if unit.advanced_weighting is not None:
            self._check_block_weights(unit, unit.advanced_weighting, module, kind)

    def _check_block_weights(
        self, unit: ControlUnit, weights: Sequence[float], module: Module, kind: Kind
    ) -> None:
        name = "advanced_weighting"
        if module.role == "instant_id_embedding":
            self._refuse(unit, name, "InstantID's node has one weight for all layers")
        if module.role in _WHOLE_PICTURE_ROLES or kind is Kind.LLLITE:
            self._report.warn(f'{unit.path}.{name}: "{module.name}" has no blocks: no effect')
            return
        if module.is_ip_adapter:
            wanted = _TRANSFORMER_BLOCKS[self._context.is_sdxl]
        elif kind is Kind.T2I_ADAPTER:
            wanted = _T2I_BLOCKS
        else:
            wanted = block_count(self._context.architecture)
        if len(weights) != wanted:
            self._refuse_invalid(unit, name, f"holds {len(weights)} numbers, {wanted} are needed")
        if not all(0 <= weight <= _HIGHEST_BLOCK_WEIGHT for weight in weights):
            self._refuse(unit, name, f"weights go from 0 to {_HIGHEST_BLOCK_WEIGHT:g}")

    def _vision(self, unit: ControlUnit, module: Module) -> ModelFile | None:
        if module.vision is None:
            return None
        path = f"{unit.path}.module"
        found = models.vision_model(module.vision, self._catalog, path, self._report)
        if found is None:
            raise _Refused
        return found

    def _images(self, unit: ControlUnit, module: Module) -> tuple[tuple[UnitImage, ...], str]:
        """The images of a unit and how they are fitted."""
        if unit.images:
            if len(unit.images) > 1 and not module.is_ip_adapter:
                self._refuse(unit, "image", f'module "{module.name}" takes one image, not several')
            return unit.images, unit.resize_mode
        if self._context.init_image is None:
            self._refuse(unit, "image", "the unit has no image")
        modes = ("Just Resize", "Crop and Resize", "Resize and Fill", "Just Resize")
        mode = modes[self._context.init_resize_mode]
        image = self._context.init_image
        return (image if module.role == "inpaint" else UnitImage(image.image),), mode

    def _processor_res(self, unit: ControlUnit, source: Size, resize_mode: str) -> int:
        if unit.pixel_perfect:
            return max(1, pixel_perfect(source, self._context.passes[0].size, resize_mode))
        return max(1, round(unit.processor_res))

    def _recipe(
        self, unit: ControlUnit, module: Module, source: Size, processor_res: int
    ) -> tuple[NodeRecipe, ...]:
        """The preprocessor's nodes with the unit's values in place, within the nodes' bounds."""
        tile = tile_size(source, float(unit.threshold_a))
        values = {
            "$processor_res": processor_res,
            "$threshold_a": unit.threshold_a,
            "$threshold_b": unit.threshold_b,
            "$short_side": source.short,
            "$tile_width": tile.width,
            "$tile_height": tile.height,
            "$seed": self._context.preprocessor_seed,
        }
        own = module.own_node
        if own and self._exact:
            return (self._filled(own, values, unit),)
        if own and not module.nodes:
            self._lacks(unit, own.class_type)
        return tuple(self._filled(recipe, values, unit) for recipe in module.nodes)

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
        settled = int(value) if item.type == "INT" else float(value)
        low = settled if item.min is None else max(settled, item.min)
        bounded = low if item.max is None else min(low, item.max)
        if bounded != settled:
            self._report.warn(
                f"{unit.path}: {settled} becomes {bounded}, the nearest that the node takes"
            )
        return int(bounded) if item.type == "INT" else float(bounded)

    def _windows(self, unit: ControlUnit, module: Module) -> Iterable[Window | None]:
        for index, (item, made) in enumerate(zip(self._context.passes, self._calls, strict=True)):
            if not self._takes_part(unit, module, index):
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

    def _takes_part(self, unit: ControlUnit, module: Module, index: int) -> bool:
        """hr_option; it is no matter without hires fix, nor to IP-Adapters and revision."""
        if not self._context.has_hires or module.is_ip_adapter or module.role == "revision":
            return True
        left_out = "Low res only" if self._context.is_hires(index) else "High res only"
        return unit.hr_option != left_out

    def _weightings(self, unit: ControlUnit, kind: Kind) -> Iterable[Weighting]:
        soft_in_hires = any(item in unit.module_name.lower() for item in _SOFT_IN_HIRES)
        for index in range(len(self._context.passes)):
            yield weighting(
                unit.weight,
                unit.control_mode,
                self._context.architecture,
                forced_soft=soft_in_hires and self._context.is_hires(index),
                pools_globally=models.pools_globally(unit.model or ""),
                advanced=unit.advanced_weighting,
                t2i=kind is Kind.T2I_ADAPTER,
            )

    def _style_fidelities(self, unit: ControlUnit) -> Iterable[float]:
        """A reference unit's slider, which the control modes and the hires pass overrule."""
        for index in range(len(self._context.passes)):
            if unit.control_mode == "ControlNet is more important":
                yield 1.0
            elif unit.control_mode != "Balanced" or self._context.is_hires(index):
                yield 0.0
            else:
                yield min(max(float(unit.threshold_a), 0.0), 1.0)

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

    def _takes_drawing(
        self, unit: ControlUnit, module: Module, images: Sequence[UnitImage]
    ) -> bool:
        if module.uses_mask or not any(item.mask for item in images):
            return False
        if self._context.settings.get("controlnet_ignore_noninpaint_mask"):
            return False
        if not self._exact:
            self._report.unsupported(
                f"{unit.path}.mask",
                f'"{module.name}" takes a mask for a drawing where it is one; to tell that, our '
                "node pack is needed",
                instead="the mask is ignored",
            )
        return self._exact

    def _answers_map(self, unit: ControlUnit) -> bool:
        return unit.save_detected_map and not self._context.settings.get("control_net_no_detectmap")

    def _check_nodes(self, plan: UnitPlan) -> None:
        per_layer = plan.module.is_ip_adapter and plan.unit.advanced_weighting is not None
        classes = needs.of_unit(
            plan.module.role,
            plan.kind,
            block_weights=any(not item.is_plain for item in plan.weightings)
            and plan.model is not None
            and not plan.module.is_ip_adapter,
            per_layer=per_layer,
            region=plan.unit.effective_region_mask is not None,
        )
        for class_type in classes:
            if not self._catalog.has(class_type):
                self._lacks(plan.unit, class_type)
        finisher = _FINISHERS.get(plan.module.name)
        if finisher and not self._exact and not self._context.maps_only:
            self._lacks(plan.unit, finisher)

    def _lacks(self, unit: ControlUnit, class_type: str) -> NoReturn:
        why = f"which this ComfyUI lacks; install {needs.pack_of(class_type)}"
        if self._catalog.has(class_type):
            why = (
                "which is left out: option fidelity is core, or parts of our node pack are missing"
            )
        self._report.missing(
            f"{unit.path}.module",
            f'"{unit.module.name}" needs the node {class_type}, {why}',
            instead="the unit is left out",
        )
        raise _Refused

    def _tell_of_module(self, plan: UnitPlan) -> None:
        module, path = plan.module, f"{plan.unit.path}.module"
        if module.status == "near" and module.why:
            self._report.warn(f'{path}: "{module.name}" is near, not equal: {module.why}')
        if module.without_own_node and not self._exact:
            self._report.warn(
                f'{path}: "{module.name}" without our node pack is near, not equal: '
                f"{module.without_own_node}"
            )


def _map_size(
    module: Module, source: Size, processor_res: int, recipe: Sequence[NodeRecipe]
) -> Size:
    if module.role == "instant_id_keypoints":
        return source.with_short_side(processor_res)
    for step in recipe:
        if step.class_type == "ImageScale":
            return Size(step.inputs["width"], step.inputs["height"])
        if "resolution" in step.inputs:
            return source.with_short_side(step.inputs["resolution"])
    return source


def _face_provider(context: ControlContext, catalog: Catalog) -> str:
    if context.face_provider:
        return context.face_provider
    offered = catalog.options("InstantIDFaceAnalysis", "provider")
    return "CUDA" if "CUDA" in offered else "CPU"


def _uploads(planned: Iterable[UnitPlan]) -> Iterable[ImageUpload]:
    for plan in planned:
        uses_masks = plan.module.uses_mask or plan.takes_drawing
        for item in plan.images:
            yield item.image
            if item.mask and uses_masks:
                yield item.mask
        if plan.unit.effective_region_mask:
            yield plan.unit.effective_region_mask


def _tell_of_core(plan: ControlPlan, report: Report) -> None:
    if any(unit.module.returns_image for unit in plan.units):
        report.warn(
            "ControlNet maps are scaled by core nodes, without our node pack: near, not equal "
            "(no thinning of binary maps, and Resize and Fill pads with black)"
        )
    readers = [item for item in plan.units if item.model and item.kind in _READS_TEXT]
    if len(readers) > 1 and any(item.kind is Kind.INSTANT_ID for item in readers):
        report.warn(
            "without our node pack every ControlNet reads the last InstantID unit's face in place "
            "of the prompt"
        )
    if sum(item.module.is_ip_adapter for item in plan.units) > 1:
        report.warn(
            "without our node pack several image prompts share attention patches: a cached run may "
            "keep an earlier request's weights"
        )
