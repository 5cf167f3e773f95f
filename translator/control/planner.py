"""The plan of the ControlNet units: models found, windows, weights and sizes worked out.

`stages.control` spells it in nodes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property

from translator.comfy.catalog import Catalog, InputSignature
from translator.control import adapters, checks, models, nearness, windows
from translator.control.checks import Refusals, Refused
from translator.control.context import ControlContext
from translator.control.models import Kind
from translator.control.modules import Module, NodeRecipe
from translator.control.node_classes import FINISHERS, OWN_NODES, node_classes
from translator.control.plan import ControlPlan, UnitPass, UnitPlan
from translator.control.shared import shared_in
from translator.control.sizes import RESOLUTION_UNSEEN, Size, pixel_perfect, tile_size
from translator.control.units import RESIZE_MODES, ControlUnit, UnitImage
from translator.control.weights import Weighting, weighting
from translator.control.windows import Window
from translator.models.names import ModelFile
from translator.request.images import ImageUpload
from translator.scope import Scope

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

_SHORT_SIDES: Mapping[str, int] = {
    "inpaint_only+lama": 256,
    "ip-adapter_pulid": RESOLUTION_UNSEEN,
}
"""Module without a slider -> pixels of the short side that its networks look at."""

_UNION_KINDS = (Kind.UNION, Kind.CONTROLNET)
"""A union model is one by its weights: its name may not tell. Others overlook a task."""

_INIT_MODES: Mapping[int, str] = {**dict(enumerate(RESIZE_MODES)), 3: RESIZE_MODES[0]}
"""img2img's resize_mode -> how a unit without an image of its own fits img2img's."""

_MOST_IMAGES = 1000
"""Images of one unit that A1111AverageImagePrompts takes."""

_SOFT_IN_HIRES = ("canny", "mlsd")


def plan_units(units: Sequence[ControlUnit], context: ControlContext, scope: Scope) -> ControlPlan:
    """The plan of a request's units; what cannot be honoured is in the report, by unit and field.

    A unit that is refused (or, with ``unsupported=warn``, left out) is not in the plan; its
    infotext entry is there, as A1111 writes it before it looks at the unit.
    """
    options, catalog = scope.options, scope.catalog
    exact = options.fidelity == "exact" and catalog.has(*OWN_NODES)
    planner = _Planner(context, scope, exact)
    planned = planner.plan(units) if options.control_units else ()
    plan = ControlPlan(
        units=planned,
        passes=tuple(shared_in(planned, context, index) for index in range(len(context.passes))),
        family=context.family,
        exact=exact,
        adapter_in_middle=context.family.adapter_in_middle,
        all_maps=options.detected_maps == "all",
        face_provider=_face_provider(context, catalog),
        zero_text=context.empty_prompts or any("ignore" in item.module.name for item in planned),
        inpaint_area=context.inpaint_area,
        paste_blur=scope.a1111_options.control_net_inpaint_blur_sigma,
        uploads=tuple(dict.fromkeys(_uploads(planned, context))),
        infotext_entries={
            f"ControlNet {number}": unit.infotext for number, unit in enumerate(units)
        },
    )
    if not exact:
        nearness.warn_of_core(plan, scope.report)
        nearness.warn_of_counted(plan, context, scope.report)
    return plan


class _Planner:
    def __init__(self, context: ControlContext, scope: Scope, exact: bool) -> None:
        self._context = context
        self._a1111_options = scope.a1111_options
        self._catalog = scope.catalog
        self._exact = exact
        self._report = scope.report
        self._refusals = Refusals(scope.report, scope.catalog)

    @cached_property
    def _calls(self) -> list[list[windows.Call]]:
        """The model calls of each pass."""
        return [windows.calls_of(item.schedule) for item in self._context.passes]

    def plan(self, units: Sequence[ControlUnit]) -> tuple[UnitPlan, ...]:
        planned: list[UnitPlan] = []
        indices: set[int] = set()
        failed = False
        for position, unit in enumerate(units):
            before = units[position - 1] if position else None
            try:
                planned.append(self._unit(unit, before, indices))
                indices.add(unit.index)
            except Refused as refused:
                failed |= refused.fails_in_a1111
        if not failed or not self._report.lenient:
            return adapters.with_sources(planned, self._context)
        for item in planned:
            self._report.warn(item.unit.path, "left out, as A1111 leaves out every unit with it")
        return ()

    def _unit(self, unit: ControlUnit, before: ControlUnit | None, planned: set[int]) -> UnitPlan:
        module = self._module(unit)
        takes_model = unit.model is not None and not module.model_free
        kind = models.kind_of(unit.model or "") if takes_model else Kind.CONTROLNET
        self._check_packs(unit, module, kind)
        model = self._model(unit, module, kind)
        checks.check_fields(unit, module, kind, self._context, self._refusals)
        images, resize_mode = self._images(unit, module)
        crop = self._crop(unit, module)
        source = crop or Size(images[0].image.width, images[0].image.height)
        processor_res = self._processor_res(unit, source, resize_mode)
        weights = self._weights(unit, module)
        recipe = self._recipe(unit, module, source, processor_res, weights)
        map_size = _map_size(module, source, processor_res, recipe)
        seen = [map_size, *_seen_besides(module, source, resize_mode)]
        sizes = [item.size for item in self._context.passes]
        checks.check_sizes(unit, source, seen, resize_mode, sizes, self._refusals)
        plan = UnitPlan(
            unit=unit,
            module=module,
            kind=kind,
            model=model,
            vision=self._vision(unit, module),
            weights=weights,
            images=images,
            resize_mode=resize_mode,
            processor_res=processor_res,
            map_size=map_size,
            recipe=recipe,
            passes=tuple(
                self._unit_pass(unit, module, kind, model, index)
                for index in range(len(self._context.passes))
            ),
            union_type=_union_type(unit, kind),
            partner=checks.partner_of(unit, kind, before, planned, self._refusals),
            takes_drawing=self._takes_drawing(unit, module, images),
            answers_map=self._answers_map(unit),
            takes_area=module.role == "inpaint" and self._takes_area(unit),
            crop=crop,
            pools=models.own_pooling(model, kind, self._context.family),
        )
        self._check_nodes(plan)
        nearness.warn_of_unit(plan, self._report, exact=self._exact)
        return plan

    def _module(self, unit: ControlUnit) -> Module:
        """The module that does the work."""
        module = checks.module_of(unit, self._refusals)
        if module.name == "inpaint_only" and self._context.inpaint_area is not None:
            self._report.warn(
                f"{unit.path}.module",
                "inpaint_only beside img2img's own mask works as "
                "inpaint_global_harmonious, as in A1111",
            )
            module = checks.plain_inpaint()
        checks.check_module(unit, module, self._context, self._refusals)
        return module

    def _takes_area(self, unit: ControlUnit) -> bool:
        """Whether the mask of an img2img request goes with the unit's image, which is its own."""
        return not unit.images and self._context.inpaint_area is not None

    def _crop(self, unit: ControlUnit, module: Module) -> Size | None:
        """The size that the unit's image is cut to, where img2img makes only the mask anew."""
        area = self._context.inpaint_area
        if area is None or not area.only_masked or not self._exact:
            return None
        if not unit.inpaint_crop_input_image or len(unit.images) > 1:
            return None
        return None if module.role == "reference" else area.size

    def _model(self, unit: ControlUnit, module: Module, kind: Kind) -> ModelFile | None:
        if module.model_free or self._context.maps_only:
            return None
        name = unit.model
        if name is None:
            self._refusals.fail(
                unit, "model", f'module "{module.name}" needs a control model, none named'
            )
        checks.check_model(unit, name, module, kind, self._context, self._refusals)
        folder = models.folder_of(module, name)
        path = f"{unit.path}.model"
        found = models.resolve(name, folder, self._catalog, path, self._report)
        if found is None:
            raise Refused(fails_in_a1111=True)
        return found

    def _vision(self, unit: ControlUnit, module: Module) -> ModelFile | None:
        if module.vision is None:
            return None
        path = f"{unit.path}.module"
        found = models.vision_model(module.vision, self._catalog, path, self._report)
        if found is None:
            raise Refused
        return found

    def _weights(self, unit: ControlUnit, module: Module) -> ModelFile | None:
        """The file that our nodes load; None where others do the work."""
        if module.weights is None or not self._exact:
            return None
        path = f"{unit.path}.module"
        found = models.weights_file(module.weights, self._catalog)
        if found is None and not module.nodes:
            file, place = module.weights.file, module.weights.place
            self._report.missing(
                path,
                f'"{module.name}" needs {file}, which this ComfyUI lacks; put it into {place}',
                instead="the unit is left out",
            )
            raise Refused
        return found

    def _images(self, unit: ControlUnit, module: Module) -> tuple[tuple[UnitImage, ...], str]:
        """The images of a unit and how they are fitted."""
        if unit.image_fault:
            self._refusals.fail(unit, "image", unit.image_fault)
        if unit.images:
            if len(unit.images) > 1 and not module.is_ip_adapter:
                self._refusals.fail(
                    unit, "image", f'module "{module.name}" takes one image, not several'
                )
            if len(unit.images) > _MOST_IMAGES:
                self._refusals.refuse(
                    unit,
                    "image",
                    f"it holds {len(unit.images)} images, of which {_MOST_IMAGES} can be averaged",
                )
            return unit.images, unit.resize_mode
        image = self._context.init_image
        if image is None:
            self._refusals.fail(unit, "image", "the unit has no image")
        mode = self._context.init_resize_mode
        return (UnitImage(image),), _INIT_MODES.get(mode, RESIZE_MODES[-1])

    def _processor_res(self, unit: ControlUnit, source: Size, resize_mode: str) -> int:
        if unit.pixel_perfect:
            return max(1, pixel_perfect(source, self._context.passes[0].size, resize_mode))
        if unit.module.resolution is None:
            return RESOLUTION_UNSEEN
        return max(1, round(unit.processor_res))

    def _recipe(
        self,
        unit: ControlUnit,
        module: Module,
        source: Size,
        processor_res: int,
        weights: ModelFile | None,
    ) -> tuple[NodeRecipe, ...]:
        """The preprocessor's nodes with the unit's values in place, within the nodes' bounds."""
        tile = tile_size(source, float(unit.threshold_a))
        scaled = source.with_short_side(processor_res)
        values = {
            "$processor_res": processor_res,
            "$threshold_a": unit.threshold_a,
            "$threshold_b": unit.threshold_b,
            "$short_side": source.short,
            "$tile_width": tile.width,
            "$tile_height": tile.height,
            "$scaled_width": scaled.width,
            "$scaled_height": scaled.height,
            "$seed": self._context.preprocessor_seed,
        }
        own = module.own_nodes
        if own and self._exact and self._takes_own(module, values, weights):
            own = tuple(_with_weights(recipe, weights) for recipe in own)
            return tuple(self._filled(recipe, values, unit) for recipe in own)
        if own and not module.nodes:
            self._refusals.lacks(unit, own[-1].class_type)
        return tuple(self._filled(recipe, values, unit) for recipe in module.nodes)

    def _takes_own(
        self, module: Module, values: Mapping[str, float], weights: ModelFile | None
    ) -> bool:
        """Whether our nodes do the work: always, or where the others' range is too narrow."""
        if module.weights is not None and weights is None:
            return False
        if module.own_nodes_for == "every":
            return True
        resolution = values["$processor_res"]
        items = [
            signature.inputs["resolution"]
            for recipe in module.nodes
            if (signature := self._catalog.nodes.get(recipe.class_type))
            and "resolution" in signature.inputs
        ]
        return any(item.min is not None and resolution < item.min for item in items)

    def _filled(
        self, recipe: NodeRecipe, values: Mapping[str, float], unit: ControlUnit
    ) -> NodeRecipe:
        signature = self._catalog.nodes.get(recipe.class_type)
        if signature is None:
            self._refusals.lacks(unit, recipe.class_type)
        inputs = {
            name: self._within(values[value], signature.inputs[name], unit)
            if isinstance(value, str) and value in values
            else value
            for name, value in recipe.inputs.items()
        }
        return NodeRecipe(recipe.class_type, inputs)

    def _within(self, value: float, item: InputSignature, unit: ControlUnit) -> float:
        """A slider's value as a node takes it: cut to a whole number, within its bounds."""
        settled = int(value) if item.type == "INT" else float(value)
        low = settled if item.min is None else max(settled, item.min)
        bounded = low if item.max is None else min(low, item.max)
        if bounded != settled:
            self._report.warn(
                unit.path, f"{settled} becomes {bounded}, the nearest that the node takes"
            )
        return int(bounded) if item.type == "INT" else float(bounded)

    def _unit_pass(
        self, unit: ControlUnit, module: Module, kind: Kind, model: ModelFile | None, index: int
    ) -> UnitPass:
        return UnitPass(
            window=self._window(unit, module, kind, index),
            weighting=self._weighting(unit, module, kind, model, index),
            style_fidelity=self._style_fidelity(unit, index),
        )

    def _window(self, unit: ControlUnit, module: Module, kind: Kind, index: int) -> Window | None:
        if not self._takes_part(unit, module, kind, index):
            return None
        schedule = self._context.passes[index].schedule
        if self._exact and schedule is not None and schedule.counts_calls:
            return windows.counted_window(
                unit.guidance_start, unit.guidance_end, schedule.planned_steps
            )
        made = self._calls[index]
        table = windows.table_of(schedule)
        found = windows.window(unit.guidance_start, unit.guidance_end, made, table)
        if found is None and made:
            self._report.warn(
                unit.path,
                f"guidance_start {unit.guidance_start} to guidance_end {unit.guidance_end} "
                f"holds no step of pass {index + 1}: it has no effect there",
            )
        return found

    def _takes_part(self, unit: ControlUnit, module: Module, kind: Kind, index: int) -> bool:
        """hr_option; it is no matter without hires fix, nor to some kinds of unit.

        A ControlLLLite never acts in the hires pass.
        """
        if kind is Kind.LLLITE:
            return not self._context.is_hires(index)
        always = module.is_ip_adapter or module.role == "revision"
        if always or not self._context.has_hires:
            return True
        left_out = "Low res only" if self._context.is_hires(index) else "High res only"
        return unit.hr_option != left_out

    def _weighting(
        self, unit: ControlUnit, module: Module, kind: Kind, model: ModelFile | None, index: int
    ) -> Weighting:
        soft_in_hires = any(item in unit.module_name.lower() for item in _SOFT_IN_HIRES)
        weighed = checks.has_blocks(module, kind)
        return weighting(
            unit.weight,
            unit.control_mode if weighed else "Balanced",
            self._context.architecture,
            forced_soft=weighed and soft_in_hires and self._context.is_hires(index),
            pools_globally=models.pools_globally(
                model.stem if model else unit.model or "", kind, self._context.family
            ),
            tells_negative=self._context.tells_negative(index),
            advanced=self._weights_per_block(unit, module, kind) if weighed else None,
            t2i=kind is Kind.T2I_ADAPTER,
        )

    def _weights_per_block(
        self, unit: ControlUnit, module: Module, kind: Kind
    ) -> tuple[float, ...] | None:
        """A unit's weights, one for each block: the extension leaves out blocks without one."""
        weights = unit.advanced_weighting
        if weights is None or module.is_ip_adapter:
            return weights
        count = checks.blocks_of(module, kind, self._context)
        return (*weights[:count], *[0.0] * (count - len(weights)))

    def _style_fidelity(self, unit: ControlUnit, index: int) -> float:
        """A reference unit's slider, which the control modes and the hires pass overrule.

        SDXL's is cubed, which Advanced-ControlNet does by itself.
        """
        if unit.control_mode == "ControlNet is more important":
            return 1.0
        if unit.control_mode != "Balanced" or self._context.is_hires(index):
            return 0.0
        slider = min(max(float(unit.threshold_a), 0.0), 1.0)
        return slider**self._context.family.reference_power if self._exact else slider

    def _takes_drawing(
        self, unit: ControlUnit, module: Module, images: Sequence[UnitImage]
    ) -> bool:
        if module.uses_mask or not any(item.mask for item in images):
            return False
        if self._a1111_options.controlnet_ignore_noninpaint_mask:
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
        return unit.save_detected_map and not self._a1111_options.control_net_no_detectmap

    def _check_packs(self, unit: ControlUnit, module: Module, kind: Kind) -> None:
        """Name the pack that is not there before a model that only its nodes could list."""
        self._check_classes(
            unit,
            node_classes(
                module.role,
                kind,
                exact=self._exact,
                block_weights=False,
                per_layer=False,
                region=False,
            ),
        )

    def _check_nodes(self, plan: UnitPlan) -> None:
        prompts = plan.module.is_ip_adapter
        classes = node_classes(
            plan.module.role,
            plan.kind,
            exact=self._exact,
            block_weights=any(not item.weighting.is_plain for item in plan.passes)
            and plan.model is not None
            and not prompts,
            per_layer=prompts and plan.unit.advanced_weighting is not None,
            region=plan.unit.effective_region_mask is not None,
        )
        self._check_classes(plan.unit, classes)
        faces = plan.module.role == "instant_id_embedding"
        if faces and plan.unit.advanced_weighting is not None and not self._exact:
            self._refusals.lacks(plan.unit, "A1111LayerWeights")
        finisher = FINISHERS.get(plan.module.name)
        if finisher and not self._exact and not self._context.maps_only:
            self._refusals.lacks(plan.unit, finisher)

    def _check_classes(self, unit: ControlUnit, classes: Iterable[str]) -> None:
        for class_type in classes:
            if not self._catalog.has(class_type):
                self._refusals.lacks(unit, class_type)


def _with_weights(recipe: NodeRecipe, weights: ModelFile | None) -> NodeRecipe:
    """A node told which file to load."""
    if weights is None:
        return recipe
    inputs = {
        name: weights.name if value == "$weights" else value
        for name, value in recipe.inputs.items()
    }
    return NodeRecipe(recipe.class_type, inputs)


def _union_type(unit: ControlUnit, kind: Kind) -> str | None:
    return UNION_NODE_TYPES.get(unit.union_control_type) if kind in _UNION_KINDS else None


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


def _seen_besides(module: Module, source: Size, resize_mode: str) -> Iterable[Size]:
    """The size at which a network looks at the image, where the module has no slider for it.

    LaMa looks at what Resize and Fill has made already, which is no larger than a pass.
    """
    is_fitted = module.role == "inpaint" and resize_mode == "Resize and Fill"
    if module.name in _SHORT_SIDES and not is_fitted:
        yield source.with_short_side(_SHORT_SIDES[module.name])


def _face_provider(context: ControlContext, catalog: Catalog) -> str:
    if context.face_provider:
        return context.face_provider
    offered = catalog.options("InstantIDFaceAnalysis", "provider")
    return "CUDA" if "CUDA" in offered else "CPU"


def _uploads(planned: Iterable[UnitPlan], context: ControlContext) -> Iterable[ImageUpload]:
    for plan in planned:
        uses_masks = plan.module.uses_mask or plan.takes_drawing
        for item in plan.images:
            yield item.image
            if item.mask and uses_masks:
                yield item.mask
        if plan.takes_area or plan.crop:
            assert context.inpaint_area is not None
            yield context.inpaint_area.mask
        if plan.unit.effective_region_mask:
            yield plan.unit.effective_region_mask
