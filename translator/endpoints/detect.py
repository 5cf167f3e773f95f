"""``POST /controlnet/detect``: run a preprocessor on images and answer what it makes of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from translator.comfy import nodes
from translator.comfy.catalog import Catalog
from translator.comfy.graph import Graph, Text
from translator.control import modules
from translator.control.context import ControlContext
from translator.control.modules import Module
from translator.control.plan import ControlPlan, UnitPlan
from translator.control.planner import plan_units
from translator.control.units import ControlUnit, UnitImage
from translator.models import families
from translator.options import Options
from translator.plan.work import Work
from translator.report import Report
from translator.request.a1111_options import A1111Options
from translator.request.images import ImageReader
from translator.request.reader import Reader
from translator.result import AnswerFormat, Output, Translation, Upload
from translator.scope import Scope
from translator.stages.control import preprocess
from translator.stages.control.ip_adapter import FACE_ID_MODEL
from translator.suggest import did_you_mean

_READER = Reader("controlnet_detect", "this endpoint")

_NOT_SUPPORTED = frozenset(
    ("clip_vision", "revision_clipvision", "revision_ignore_prompt", "ip-adapter-auto")
)
"""Modules that the extension's own endpoint refuses."""

_FACES: Mapping[str, bool] = {"instant_id_face_embedding": False, "ip-adapter_face_id": True}
"""Modules that answer a face's embedding -> whether it is of length 1."""

_OWN_OBJECTS: Mapping[str, str] = {
    "ip-adapter_face_id_plus": "ask ip-adapter_face_id and ip-adapter_clip_h for its two halves",
    "ip-adapter_pulid": "send the image to a unit with it",
}
"""Modules whose tensor is an object of the extension's own classes -> what there is instead."""

_TOLD_AS = "text"
"""The key under which PreviewAny tells what it shows."""

_JPEG_QUALITY = 80


def translate_detect(
    payload: object, catalog: Catalog, options: Options, report: Report
) -> Translation:
    """The graph that runs a preprocessor on each image of a request.

    Outputs are of kind ``detected_map``, one per image, as the preprocessor makes them: not fitted;
    of modules that answer a face's embedding or what CLIP sees, of kind ``text``: the tensor in
    base64.
    ``poses`` in an output of an openpose module names the node whose ``openpose_json`` holds the
    pose. ``info`` is the rest of the answer.
    """
    fields = _READER.read(payload, "", report).settled()
    report.raise_if_refused()
    units = _units(fields, report)
    context = ControlContext(architecture=families.SDXL.name, passes=(), maps_only=True)
    scope = Scope(options, A1111Options.with_defaults(), catalog, report)
    plan = plan_units(units, context, scope)
    if len(plan.units) < len(units):
        reasons = "; ".join(warning.message for warning in report.warnings)
        report.invalid("controlnet_module", f"Module not supported here: {reasons}")
    report.raise_if_refused()
    graph = Graph(catalog, report)
    outputs = tuple(
        _output(graph, plan, unit, options.image_output)
        if unit.module.returns_image
        else _tensor(graph, plan, unit, report)
        for unit in plan.units
    )
    report.raise_if_refused()
    return Translation(
        graph=graph.to_api(),
        outputs=outputs,
        uploads=tuple(Upload(item.name, item.data) for item in plan.uploads),
        info={"info": "Success"},
        parameters={},
        warnings=report.warnings,
        answer=AnswerFormat("png", _JPEG_QUALITY, True, False, [None] * len(outputs)),
        work=Work(images=len(outputs)),
    )


def _units(fields: Mapping[str, Any], report: Report) -> list[ControlUnit]:
    name = fields["controlnet_module"]
    module = modules.find(name)
    if module is None:
        known = modules.table()
        report.invalid(
            "controlnet_module", f"Module not available{did_you_mean(name, known)}", name
        )
    elif module.name in _NOT_SUPPORTED:
        report.invalid("controlnet_module", "Module not supported", name)
    elif module.name in _OWN_OBJECTS:
        report.invalid(
            "controlnet_module",
            "Module not supported: the extension answers an object of its own classes, which "
            f"nothing else can read; {_OWN_OBJECTS[module.name]}",
            name,
        )
    elif not (module.returns_image or module.name in _FACES or module.role == "ip_adapter"):
        report.invalid("controlnet_module", "Module not supported: it makes no picture", name)
    else:
        return _units_of(module, fields, report)
    return []


def _units_of(module: Module, fields: Mapping[str, Any], report: Report) -> list[ControlUnit]:
    pictures, masks = fields["controlnet_input_images"], fields["controlnet_masks"]
    if not pictures:
        report.invalid("controlnet_input_images", "No image selected")
    if module.mask == "required" and len(masks) != len(pictures):
        report.invalid(
            "controlnet_masks", f"Preprocessor {module.name} requires `controlnet_masks` param."
        )
    if masks and module.mask == "none":
        report.warn("controlnet_masks", f"{module.name} takes no mask; ignored")
        masks = []
    reader = ImageReader(report)
    settled = [
        slider.checked(fields[f"controlnet_{name}"], f"controlnet_{name}", report)
        for slider, name in zip(
            module.sliders, ("processor_res", "threshold_a", "threshold_b"), strict=True
        )
    ]
    units = []
    for index, picture in enumerate(pictures):
        image = reader.read(picture, f"controlnet_input_images[{index}]")
        mask = None
        if index < len(masks):
            mask = reader.read(masks[index], f"controlnet_masks[{index}]")
        if image is not None:
            units.append(
                ControlUnit(
                    index=index,
                    path=f"controlnet_input_images[{index}]",
                    module=module,
                    module_name=module.name,
                    model=None,
                    images=(UnitImage(image, mask),),
                    processor_res=settled[0],
                    threshold_a=settled[1],
                    threshold_b=settled[2],
                )
            )
    return units


def _tensor(graph: Graph, plan: ControlPlan, unit: UnitPlan, report: Report) -> Output:
    """A face's embedding, or what CLIP makes of a picture, as the extension saves it."""
    if not plan.exact:
        report.unsupported(
            "controlnet_module",
            f'"{unit.module.name}" makes no picture; its tensor takes our node pack',
            instead="there is no tensor in the answer",
        )
    text = (
        _face_tensor(graph, plan, unit)
        if unit.module.name in _FACES
        else _clip_tensor(graph, plan, unit)
    )
    return Output("text", nodes.shown_text(graph, text).id, told_as=_TOLD_AS)


def _face_tensor(graph: Graph, plan: ControlPlan, unit: UnitPlan) -> Text:
    normed = _FACES[unit.module.name]
    picture = preprocess.input_image(graph, plan, unit, unit.images[0])
    if normed:
        insight_face = nodes.ip_adapter_insight_face(graph, plan.face_provider, FACE_ID_MODEL)
        return nodes.a1111_face_tensor(graph, picture, insight_face, normed=True)
    picture, _ = preprocess.scale_short_side(
        graph, plan, picture, unit.source_size, unit.processor_res
    )
    analysis = preprocess.face_analysis(graph, plan)
    return nodes.a1111_face_tensor(graph, picture, analysis, normed=False)


def _clip_tensor(graph: Graph, plan: ControlPlan, unit: UnitPlan) -> Text:
    assert unit.vision is not None
    item = unit.images[0]
    mask = preprocess.load_mask(graph, plan, item.mask) if item.mask else None
    picture = preprocess.load_image(graph, plan, item.image)
    shown = nodes.a1111_control_net_clip_image(graph, picture, mask)
    vision = nodes.load_clip_vision(graph, unit.vision.name)
    return nodes.a1111_clip_tensor(graph, vision, shown)


def _output(graph: Graph, plan: ControlPlan, unit: UnitPlan, how: str) -> Output:
    if unit.module.role == "inpaint":
        picture, mask = preprocess.masked_input(graph, plan, unit)
        shown = preprocess.veiled(graph, picture, mask, unit.source_size)
    else:
        shown = preprocess.raw_map(graph, plan, unit)
    title = f"Detected map of image {unit.unit.index}"
    return Output(
        "detected_map",
        nodes.output_image(graph, shown, how, title),
        poses=shown.node if "openpose" in unit.module.name else None,
    )
