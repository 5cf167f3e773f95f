"""The pipeline of a generation, top to bottom: request -> plans -> graph -> translation."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from translator import scripts
from translator.comfy.catalog import Catalog
from translator.comfy.graph import Graph
from translator.control import nearness
from translator.detailer import img2img
from translator.detailer.infotext import infotext_entries
from translator.detailer.planner import with_details
from translator.detailer.prompts import refuse_templates
from translator.faceswap.planner import with_face_swap
from translator.infotext import facts
from translator.infotext.text import GenerationFacts
from translator.models.names import Models
from translator.options import Options
from translator.plan.answer import needed_images
from translator.plan.hypertile import hypertile
from translator.plan.hypertile import infotext as hypertile_entries
from translator.plan.pictures import Made as MadePicture
from translator.plan.pictures import Sent
from translator.plan.planner import Planner, seed_source, uses_own_pack
from translator.plan.values import Plan
from translator.plan.work import work_of
from translator.report import Report
from translator.request.a1111_options import (
    OVERRIDES,
    SERVER,
    A1111Options,
    resolve_a1111_options,
)
from translator.request.generation import Generation
from translator.request.images import ImageReader
from translator.request.img2img import placeholders
from translator.request.infotext import made_with
from translator.result import AnswerFormat, Output, Translation, Upload
from translator.scope import Scope
from translator.scripts import AlwaysOnScripts, Expansion, Fields, ScriptContext
from translator.scripts.dynamic_prompts import draws, expand_dynamic_prompts
from translator.scripts.plain import expand_plain
from translator.scripts.regions.planner import with_regions
from translator.scripts.tiled_diffusion import tiled_fields, tiled_patches
from translator.stages import generation
from translator.stages.outputs import GraphGeneration, add_outputs
from translator.stages.pictures import PictureMaker
from translator.stages.targets import target_of, warn_of_differences, warn_of_pictures


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
            f"{OVERRIDES}.samples_format",
            "honoured here; A1111 itself takes it back before it encodes, and answers PNG",
        )
    scope = Scope(options, a1111_options, catalog, report)
    always_on = _always_on(asked, scope)
    scope = replace(scope, block_weights=always_on.block_weights)
    expansion = _expand(asked, ImageReader(report), always_on, scope)
    if expansion.crops_control:
        always_on = always_on.with_cropped_control()
    variants, made = _generations(asked, expansion, always_on, scope)
    known = [
        _facts(variant, plan, always_on, expansion, catalog)
        for variant, plan in zip(variants, made.plans, strict=True)
    ]
    texts = expansion.image_texts(known)
    return Translation(
        graph=made.graph.to_api(),
        outputs=made.outputs if asked.send_images else (),
        uploads=_uploads(made.plans, expansion),
        info=expansion.info(known, options.now),
        parameters=asked.echo(),
        warnings=report.warnings,
        answer=_answer_format(asked, a1111_options, texts, made.sources),
        work=work_of(made.plans, expansion.outputs, expansion.made.values()),
        plans=made.plans,
    )


def _always_on(asked: Generation, scope: Scope) -> AlwaysOnScripts:
    """What the always-on scripts are to do; ADetailer is off where a mask masks nothing."""
    always_on = scripts.read_always_on(asked.alwayson_scripts, asked.tab, scope)
    if always_on.dynamic_prompts is not None:
        refuse_templates(always_on.detailer, scope.report)
    detailer = img2img.without_black_mask(always_on.detailer, asked)
    if detailer == always_on.detailer:
        return always_on
    scope.report.warn("mask", "it masks nothing, so ADetailer is off, as in A1111")
    return replace(always_on, detailer=detailer)


def _answer_format(
    asked: Generation,
    a1111_options: A1111Options,
    texts: Sequence[str | None],
    sources: Iterable[int | None],
) -> AnswerFormat:
    """How pictures are answered.

    Args:
        texts: the infotext of each of `Expansion.outputs`.
        sources: of each picture its place among these, or None.
    """
    infotexts = [None if source is None else texts[source] for source in sources]
    return AnswerFormat(
        samples_format=a1111_options.samples_format,
        jpeg_quality=a1111_options.jpeg_quality,
        send_images=asked.send_images,
        enable_pnginfo=a1111_options.enable_pnginfo,
        infotexts=infotexts if asked.send_images else [],
    )


@dataclass(frozen=True)
class _Made:
    """The generations of a request.

    Attributes:
        plans: one a generation.
        graph: all of them in nodes.
        outputs: what is answered.
        sources: of each output the position among `Expansion.outputs`, see `add_outputs`.
        bounded: of each generation, the fields whose numbers are out of a node's range -> the
            bounds that are used; not empty only where the report lets such a request go on.
        drawn: the random seeds that were drawn, in order.
    """

    plans: tuple[Plan, ...]
    graph: Graph
    outputs: tuple[Output, ...]
    sources: tuple[int | None, ...]
    bounded: tuple[Mapping[str, float], ...]
    drawn: tuple[int, ...]


def _generations(
    asked: Generation, expansion: Expansion, always_on: AlwaysOnScripts, scope: Scope
) -> tuple[list[Generation], _Made]:
    """The requests that a request stands for, and what is made of them.

    Where numbers were bounded it is made a second time with the bounds, from the same seeds, so
    that sigmas, ``info`` and infotexts agree.
    """
    own = {} if asked.script_name else asked.fields()
    variants = [asked if fields == own else asked.variant(fields) for fields in expansion.variants]
    made = _generate(asked, variants, expansion, always_on, scope)
    if any(made.bounded):
        variants = list(map(_with_numbers, variants, made.bounded))
        source = seed_source(scope.options, scope.report)
        options = replace(scope.options, draw_seed=_repeated(made.drawn, source))
        made = _generate(asked, variants, expansion, always_on, replace(scope, options=options))
    return variants, made


def _generate(
    asked: Generation,
    variants: Sequence[Generation],
    expansion: Expansion,
    always_on: AlwaysOnScripts,
    scope: Scope,
) -> _Made:
    """Plan all generations and spell them in one graph.

    Raises:
        TranslationError: something of the request is refused.
    """
    report, drawn = scope.report, []
    source = seed_source(scope.options, report)

    def draw() -> int:
        drawn.append(source())
        return drawn[-1]

    drawing = replace(scope, options=replace(scope.options, draw_seed=draw))
    plans = _plans(asked, variants, expansion, always_on, drawing)
    report.raise_if_refused()
    graph = Graph(scope.catalog, report)
    needed = needed_images(expansion.outputs, len(variants), expansion.made.values())
    generations: list[GraphGeneration] = []
    bounded: list[Mapping[str, float]] = []
    maker = PictureMaker(target_of(graph, plans[0].exact), generations)
    for variant, plan, indexes, paths in zip(
        variants, plans, needed, expansion.set_by, strict=True
    ):
        provided = maker.provide(expansion.made, placeholders(variant))
        with report.set_by(paths), graph.providing(provided):
            posterior = generations[-1].posterior if generations else None
            finished = generation.generate(graph, plan, scope.catalog, indexes, posterior)
        generations.append(GraphGeneration(plan, finished))
        bounded.append(dict(graph.bounded))
        graph.bounded.clear()
    outputs, sources = add_outputs(
        graph, expansion.outputs, generations, maker.make, scope.options.image_output, report
    )
    if not plans[0].exact:
        warn_of_pictures(expansion.pictures, report)
    report.raise_if_refused()
    return _Made(plans, graph, tuple(outputs), tuple(sources), tuple(bounded), tuple(drawn))


def _plans(
    asked: Generation,
    variants: Sequence[Generation],
    expansion: Expansion,
    always_on: AlwaysOnScripts,
    scope: Scope,
) -> tuple[Plan, ...]:
    """The plans of the generations that are not refused, each knowing the one before it."""
    images = ImageReader(scope.report)
    plans: list[Plan | None] = []
    for variant, paths in zip(variants, expansion.set_by, strict=True):
        with scope.report.set_by(paths):
            own = scope
            if variant.override_settings != asked.override_settings:
                server = scope.options.a1111_options
                own = scope.with_a1111_options(
                    resolve_a1111_options(server, variant.override_settings, scope.report)
                )
            before = plans[-1] if plans and not expansion.runs_as_one else None
            plans.append(_plan(variant, always_on, images, before, own))
    made = tuple(plan for plan in plans if plan)
    if expansion.runs_as_one and len(made) > 1:
        nearness.warn_of_drawn_anew(made[1].control, scope.report)
    if made and "sd_model_checkpoint" not in (asked.override_settings or {}):
        made_with(asked.infotext, made[0].passes[0].checkpoint, scope.catalog, scope.report)
    return made


def _repeated(drawn: Iterable[int], source: Callable[[], int]) -> Callable[[], int]:
    """A source of seeds that begins with those that were drawn before."""
    before = iter(drawn)
    return lambda: seed if (seed := next(before, None)) is not None else source()


def _with_numbers(variant: Generation, numbers: Mapping[str, float]) -> Generation:
    """A request with numbers in place of its own, so that all that is made of it agrees.

    Args:
        numbers: JSON path of a field, or of an option of the request or the server -> its number.
            Numbers deeper in the request (a unit's, a LoRA's weight in a prompt) are left.
    """
    own = variant.fields()
    fields: dict[str, Any] = {
        name: value
        for name, value in numbers.items()
        if name in own and not isinstance(own[name], str)  # a text has it among other words
    }
    options = {
        path.partition(".")[2]: value
        for path, value in numbers.items()
        if path.startswith((f"{OVERRIDES}.", f"{SERVER}."))
    }
    return replace(
        variant,
        **fields,
        override_settings={**(variant.override_settings or {}), **options},
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
    script = always_on.regions
    planner = Planner(replace(scope, rewrite=script.rewritten if script else None))
    detailer = img2img.settled(always_on.detailer, variant)
    run = img2img.run_request(detailer, variant)
    soft = always_on.soft_inpainting
    plan = planner.plan(run, always_on.control, images, before, soft)
    if plan is None:
        return None
    tiled = tiled_patches(always_on.tiled, plan, scope.report)
    tiles = hypertile(plan.a1111_options, scope.report)
    plan = replace(plan, model_patches=(*always_on.model_patches, *tiled, *tiles))
    plan = with_regions(plan, script, scope)
    warn_of_differences(plan, scope.report)
    asked = None
    if run is not variant:
        seeded = replace(variant, seed=plan.seeds[0], subseed=plan.subseeds[0])
        asked = planner.plan(seeded, (), images, before, soft)
        if asked is None:
            return None
        asked = replace(asked, model_patches=plan.model_patches)
    plan = with_details(plan, detailer, variant, always_on.control, scope, asked, soft)
    return with_face_swap(plan, always_on.face_swap, scope)


def _divided(plan: Plan) -> bool:
    """Whether some pass has prompts by region."""
    return any(item.regions is not None for item in plan.passes)


def _facts(
    variant: Generation,
    plan: Plan,
    always_on: AlwaysOnScripts,
    expansion: Expansion,
    catalog: Catalog,
) -> GenerationFacts:
    """What A1111 writes about one generation."""
    detailer = img2img.settled(always_on.detailer, variant)
    tiled = always_on.tiled.infotext(plan.requested_size, variant.tab) if always_on.tiled else {}
    gathered = facts.gather(img2img.run_request(detailer, variant), plan, catalog)
    return replace(
        gathered,
        detailer=infotext_entries(detailer),
        script_parameters={
            **expansion.parameters,
            **tiled,
            **always_on.patch_infotext,
            **(always_on.regions.entries if always_on.regions and _divided(plan) else {}),
            **dict(hypertile_entries(plan.a1111_options, hires=plan.of_role("hires") is not None)),
            **gathered.script_parameters,
        },
    )


def _expand(
    asked: Generation, images: ImageReader, always_on: AlwaysOnScripts, scope: Scope
) -> Expansion:
    """The generations of the request: those of its scripts, else the request itself."""
    fields: Fields = asked.fields()
    templates = always_on.dynamic_prompts
    if templates is not None and not draws(templates, fields, scope):
        templates = None
    made: Mapping[str, MadePicture] = {}
    if always_on.tiled is not None:
        fields, made = tiled_fields(always_on.tiled, fields, asked.tab, images, scope)
    if made and (asked.script_name or templates):
        scope.report.unsupported(
            always_on.tiled.path if always_on.tiled else "",
            "its upscaler works beside no other script; enlarge by /sdapi/v1/extra-single-image",
            instead="the picture is not enlarged",
        )
        fields, made = asked.fields(), {}
    if not asked.script_name:
        source = seed_source(scope.options, scope.report)
        drawn = templates and expand_dynamic_prompts(fields, templates, scope, source)
        return drawn or expand_plain(fields, scope.a1111_options, made)
    if templates is not None:
        scope.report.unsupported(
            templates.path,
            f"prompts are not drawn from templates beside the script {asked.script_name}",
            instead="they are text",
        )

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
        catalog=scope.catalog,
        images=images,
        exact=uses_own_pack(scope.catalog, scope.options, scope.report),
    )
    return scripts.expand(fields, context) or expand_plain(fields, scope.a1111_options)


def _uploads(plans: Iterable[Plan], expansion: Expansion) -> tuple[Upload, ...]:
    """Every image that the graph loads or the answer repeats, once."""
    sent = (item.image for item in expansion.pictures if isinstance(item, Sent))
    images = {item.name: item.data for plan in plans for item in plan.uploads}
    images |= {item.name: item.data for item in sent}
    return tuple(Upload(name, data) for name, data in images.items())
