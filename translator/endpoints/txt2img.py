"""The pipeline of txt2img, top to bottom: request -> plans -> graph -> translation."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from translator import scripts
from translator.comfy.catalog import Catalog
from translator.comfy.graph import Graph
from translator.control.units import ControlUnit
from translator.infotext import facts
from translator.models.names import Models
from translator.options import Options
from translator.plan.answer import answered_images
from translator.plan.planner import Planner, seed_source
from translator.plan.values import Plan
from translator.plan.work import work_of
from translator.report import Report
from translator.request import txt2img as request
from translator.request.a1111_options import A1111Options, resolve_a1111_options
from translator.request.infotext import apply_infotext
from translator.request.txt2img import Txt2Img
from translator.result import AnswerFormat, Translation, Upload
from translator.scope import Scope
from translator.scripts import Expansion, ScriptContext
from translator.scripts.expansion import Tab
from translator.scripts.plain import expand_plain
from translator.stages import generation
from translator.stages.outputs import Generation, add_outputs
from translator.stages.targets import warn_of_differences

_TAB: Tab = "txt2img"


def translate_txt2img(
    payload: object, catalog: Catalog, options: Options, report: Report
) -> Translation:
    """Translate a txt2img request, see `translator.translate`."""
    if isinstance(payload, Mapping):
        payload = apply_infotext(payload, options.a1111_options, report)
    asked = request.parse(payload, options.defaults, report)
    a1111_options = resolve_a1111_options(options.a1111_options, asked.override_settings, report)
    if "samples_format" in (asked.override_settings or {}):
        report.warn(
            "",
            "override_settings.samples_format is honoured; A1111 itself takes it back before it "
            "encodes, and answers PNG",
        )
    scope = Scope(options, a1111_options, catalog, report)
    always_on = scripts.read_always_on(asked.alwayson_scripts, _TAB, scope)
    expansion = _expand(asked, a1111_options, catalog, options, report)
    variants = [Txt2Img(**fields) for fields in expansion.variants]
    plans = []
    for variant in variants:
        own = a1111_options
        if variant.override_settings != asked.override_settings:
            own = resolve_a1111_options(options.a1111_options, variant.override_settings, report)
        plans.append(_plan(variant, own, always_on.control, catalog, options, report))
    report.raise_if_refused()
    made = tuple(plan for plan in plans if plan)

    graph = Graph(catalog, report)
    answered = answered_images(expansion.outputs, len(variants))
    generations = [
        Generation(plan, generation.generate(graph, plan, catalog, indexes))
        for plan, indexes in zip(made, answered, strict=True)
    ]
    outputs, sources = add_outputs(
        graph, expansion.outputs, generations, options.image_output, report
    )
    report.raise_if_refused()

    known = [
        facts.gather(variant, item.plan, catalog)
        for variant, item in zip(variants, generations, strict=True)
    ]
    texts = expansion.image_texts(known)
    return Translation(
        graph=graph.to_api(),
        outputs=tuple(outputs) if asked.send_images else (),
        uploads=_uploads(item.plan for item in generations),
        info=expansion.info(known, options.now),
        parameters=asked.echo(),
        warnings=report.warnings,
        answer=AnswerFormat(
            samples_format=a1111_options.samples_format,
            jpeg_quality=a1111_options.jpeg_quality,
            send_images=asked.send_images,
            enable_pnginfo=a1111_options.enable_pnginfo,
            infotexts=[texts[source] for source in sources] if asked.send_images else [],
        ),
        work=work_of(made, expansion.outputs),
        plans=made,
    )


def _expand(
    asked: Txt2Img,
    a1111_options: A1111Options,
    catalog: Catalog,
    options: Options,
    report: Report,
) -> Expansion:
    """The generations of the request: those of its script, else the request itself."""
    fields = asked.echo()
    if not asked.script_name:
        return expand_plain(fields, a1111_options)

    def checkpoint(name: str, path: str) -> str | None:
        models = Models(catalog, options.architectures, options.default_checkpoint, report)
        found = models.checkpoint_fuzzy(name, path, None)
        return found.name if found else None

    context = ScriptContext(
        tab=_TAB,
        a1111_options=a1111_options,
        server_options=resolve_a1111_options(options.a1111_options, None, Report()),
        report=report,
        draw_seed=seed_source(options, report),
        checkpoint=checkpoint,
    )
    return scripts.expand(fields, context) or expand_plain(fields, a1111_options)


def _plan(
    variant: Txt2Img,
    a1111_options: A1111Options,
    units: Sequence[ControlUnit],
    catalog: Catalog,
    options: Options,
    report: Report,
) -> Plan | None:
    plan = Planner(a1111_options, catalog, options, report).plan(variant, units)
    if plan is not None:
        warn_of_differences(plan, report)
    return plan


def _uploads(plans: Iterable[Plan]) -> tuple[Upload, ...]:
    """Every image that the graph loads or the answer repeats, once."""
    images = {item.name: item.data for plan in plans for item in plan.control.uploads}
    return tuple(Upload(name, data) for name, data in images.items())
