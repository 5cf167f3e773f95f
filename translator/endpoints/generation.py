"""The pipeline of a generation, top to bottom: request -> plans -> graph -> translation."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from translator import scripts
from translator.comfy.catalog import Catalog
from translator.comfy.graph import Graph
from translator.detailer import img2img
from translator.detailer.infotext import infotext_entries
from translator.detailer.planner import with_details
from translator.infotext import facts
from translator.infotext.text import GenerationFacts
from translator.models.names import Models
from translator.options import Options
from translator.plan.answer import answered_images
from translator.plan.planner import Planner, seed_source
from translator.plan.values import Plan
from translator.plan.work import work_of
from translator.report import Report
from translator.request.a1111_options import resolve_a1111_options
from translator.request.generation import Generation
from translator.request.images import ImageReader
from translator.request.infotext import made_with
from translator.result import AnswerFormat, Translation, Upload
from translator.scope import Scope
from translator.scripts import AlwaysOnScripts, Expansion, ScriptContext
from translator.scripts.plain import expand_plain
from translator.stages import generation
from translator.stages.outputs import GraphGeneration, add_outputs
from translator.stages.targets import warn_of_differences


def translate_generation(
    asked: Generation, catalog: Catalog, options: Options, report: Report
) -> Translation:
    """Translate a request of either tab.

    Args:
        asked: the request, read.
    """
    a1111_options = resolve_a1111_options(options.a1111_options, asked.override_settings, report)
    if "samples_format" in (asked.override_settings or {}):
        report.warn(
            "",
            "override_settings.samples_format is honoured; A1111 itself takes it back before it "
            "encodes, and answers PNG",
        )
    scope = Scope(options, a1111_options, catalog, report)
    always_on = scripts.read_always_on(asked.alwayson_scripts, asked.tab, scope)
    scope = replace(scope, block_weights=always_on.block_weights)
    expansion = _expand(asked, scope)
    variants = [type(asked)(**fields) for fields in expansion.variants]
    images = ImageReader(report)
    plans: list[Plan | None] = []
    for variant in variants:
        own = a1111_options
        if variant.override_settings != asked.override_settings:
            own = resolve_a1111_options(options.a1111_options, variant.override_settings, report)
        before = plans[-1] if plans else None
        own_scope = scope.with_a1111_options(own)
        plans.append(_plan(variant, always_on, images, before, own_scope))
    made = tuple(plan for plan in plans if plan)
    if made and "sd_model_checkpoint" not in (asked.override_settings or {}):
        made_with(asked.infotext, made[0].passes[0].checkpoint, catalog, report)
    report.raise_if_refused()

    graph = Graph(catalog, report)
    answered = answered_images(expansion.outputs, len(variants))
    generations = [
        GraphGeneration(plan, generation.generate(graph, plan, catalog, indexes))
        for plan, indexes in zip(made, answered, strict=True)
    ]
    outputs, sources = add_outputs(
        graph, expansion.outputs, generations, options.image_output, report
    )
    report.raise_if_refused()

    known = [
        _facts(variant, item.plan, always_on, catalog)
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
            infotexts=[None if source is None else texts[source] for source in sources]
            if asked.send_images
            else [],
        ),
        work=work_of(made, expansion.outputs),
        plans=made,
    )


def _plan(
    variant: Generation,
    always_on: AlwaysOnScripts,
    images: ImageReader,
    before: Plan | None,
    scope: Scope,
) -> Plan | None:
    """The plan of one generation with what always-on scripts add to it; None where it is refused.

    Args:
        before: the plan of the generation that A1111 runs before it in the same request.
    """
    planner = Planner(scope)
    detailer = img2img.settled(always_on.detailer, variant)
    run = img2img.run_request(detailer, variant)
    soft = always_on.soft_inpainting
    plan = planner.plan(run, always_on.control, images, before, soft)
    if plan is None:
        return None
    plan = replace(plan, model_patches=always_on.model_patches)
    warn_of_differences(plan, scope.report)
    asked = None
    if run is not variant:
        seeded = replace(variant, seed=plan.seeds[0], subseed=plan.subseeds[0])
        asked = planner.plan(seeded, (), images, before, soft)
        if asked is None:
            return None
    return with_details(plan, detailer, variant, always_on.control, scope, asked)


def _facts(
    variant: Generation, plan: Plan, always_on: AlwaysOnScripts, catalog: Catalog
) -> GenerationFacts:
    """What A1111 writes about one generation."""
    detailer = img2img.settled(always_on.detailer, variant)
    gathered = facts.gather(img2img.run_request(detailer, variant), plan, catalog)
    return replace(gathered, detailer=infotext_entries(detailer))


def _expand(asked: Generation, scope: Scope) -> Expansion:
    """The generations of the request: those of its script, else the request itself."""
    fields = asked.fields()
    if not asked.script_name:
        return expand_plain(fields, scope.a1111_options)

    def checkpoint(name: str, path: str) -> str | None:
        models = Models(scope.catalog, scope.options, scope.report)
        found = models.checkpoint_fuzzy(name, path, None)
        return found.name if found else None

    context = ScriptContext(
        tab=asked.tab,
        a1111_options=scope.a1111_options,
        server_options=resolve_a1111_options(scope.options.a1111_options, None, Report()),
        report=scope.report,
        draw_seed=seed_source(scope.options, scope.report),
        checkpoint=checkpoint,
    )
    return scripts.expand(fields, context) or expand_plain(fields, scope.a1111_options)


def _uploads(plans: Iterable[Plan]) -> tuple[Upload, ...]:
    """Every image that the graph loads or the answer repeats, once."""
    images = {item.name: item.data for plan in plans for item in plan.uploads}
    return tuple(Upload(name, data) for name, data in images.items())
