"""The plan of the ControlNet units: models found, windows, weights and sizes worked out.

`stages.control` spells it in nodes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from translator.comfy.catalog import Catalog
from translator.control import adapters, checks, models, nearness, recipes
from translator.control.checks import Refusals, Refused
from translator.control.context import ControlContext
from translator.control.models import Kind
from translator.control.modules import Module
from translator.control.node_classes import FINISHERS, OWN_NODES, node_classes
from translator.control.passes import Passes
from translator.control.plan import ControlPlan, UnitPlan
from translator.control.recipes import Recipes
from translator.control.shared import shared_in
from translator.control.sizes import RESOLUTION_UNSEEN, Size, pixel_perfect
from translator.control.units import RESIZE_MODES, ControlUnit, UnitImage
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

_UNION_KINDS = (Kind.UNION, Kind.CONTROLNET)
"""A union model is one by its weights: its name may not tell. Others overlook a task."""

_INIT_MODES: Mapping[int, str] = {**dict(enumerate(RESIZE_MODES)), 3: RESIZE_MODES[0]}
"""img2img's resize_mode -> how a unit without an image of its own fits img2img's."""

_MOST_IMAGES = 1000
"""Images of one unit that A1111AverageImagePrompts takes."""


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
        self._recipes = Recipes(context, scope, self._refusals, exact=exact)
        self._passes = Passes(context, scope, exact=exact)

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
        weights = self._recipes.weights(unit, module)
        recipe = self._recipes.filled(unit, module, source, processor_res, weights)
        map_size = recipes.map_size(module, source, processor_res, recipe)
        seen = [map_size, *recipes.seen_besides(module, source, resize_mode)]
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
                self._passes.unit_pass(unit, module, kind, model, index)
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


def _union_type(unit: ControlUnit, kind: Kind) -> str | None:
    return UNION_NODE_TYPES.get(unit.union_control_type) if kind in _UNION_KINDS else None


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
