"""The pipeline of txt2img, top to bottom: request -> plan -> graph -> translation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from translator import facts, nodes, request
from translator.catalog import Catalog
from translator.control.units import ControlUnit, parse_units
from translator.errors import Report
from translator.fidelity import tell_of_core_differences
from translator.graph import Graph, Image
from translator.infotext import create_info, create_infotext
from translator.options import Options
from translator.plan import Plan
from translator.planner import Planner
from translator.request import Txt2Img
from translator.result import AnswerFormat, Translation
from translator.settings import A1111Settings, resolve_settings
from translator.stages import control, painting

Output = dict[str, Any]


def translate_txt2img(
    payload: object, catalog: Catalog, options: Options, report: Report
) -> Translation:
    """Translate a txt2img request, see `translator.translate`."""
    asked = request.parse(payload, options.defaults, report)
    settings = resolve_settings(options.settings, asked.override_settings, report)
    units = _control_units(asked, settings, report)
    plan = Planner(settings, catalog, options, report).plan(asked, units)
    report.raise_if_refused()
    assert plan is not None
    if not plan.exact:
        tell_of_core_differences(plan, report)

    graph = Graph(catalog)
    pictures = painting.paint(graph, plan, catalog)
    outputs = [*_images(graph, pictures, options), *_detected_maps(graph, plan, options)]

    known = facts.gather(asked, settings, plan, catalog)
    infotexts = [create_infotext(known, index) for index in range(len(plan.seeds))]
    return Translation(
        graph=graph.to_api(),
        outputs=outputs if asked.send_images else [],
        uploads=[{"name": item.name, "data": item.data} for item in plan.control.uploads],
        info=create_info(known, infotexts, now=options.now),
        parameters=asked.echo(),
        warnings=report.warnings,
        answer=_answer_format(asked, settings, outputs, infotexts),
    )


def _control_units(
    asked: Txt2Img, settings: A1111Settings, report: Report
) -> tuple[ControlUnit, ...]:
    for title, script in asked.alwayson_scripts.items():
        if title.lower() == "controlnet" and isinstance(script, Mapping):
            return parse_units(script.get("args", []), settings.control_net_unit_count, report)
    return ()


def _images(graph: Graph, pictures: Sequence[tuple[Image, int]], options: Options) -> list[Output]:
    """An output for every picture; a batch shares a node."""
    outputs = []
    for image, size in pictures:
        node = nodes.output_image(graph, image, options.image_output, "Images")
        outputs += [
            {"kind": "image", "node": node, "index": index, "unit": None} for index in range(size)
        ]
    return outputs


def _detected_maps(graph: Graph, plan: Plan, options: Options) -> list[Output]:
    def save(image: Image, title: str) -> str:
        return nodes.output_image(graph, image, options.image_output, title)

    return control.detected_maps(graph, plan.control, save)


def _answer_format(
    asked: Txt2Img,
    settings: A1111Settings,
    outputs: Sequence[Output],
    infotexts: Sequence[str],
) -> AnswerFormat:
    texts: list[str | None] = [*infotexts, *[None] * (len(outputs) - len(infotexts))]
    return AnswerFormat(
        samples_format=settings.samples_format,
        jpeg_quality=settings.jpeg_quality,
        send_images=asked.send_images,
        enable_pnginfo=settings.enable_pnginfo,
        infotexts=texts if asked.send_images else [],
    )
