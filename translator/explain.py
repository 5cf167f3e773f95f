"""A translation as text for people: passes, graph, pictures, warnings."""

from __future__ import annotations

from collections.abc import Iterator

from translator.comfy.catalog import Catalog
from translator.comfy.groups import groups
from translator.comfy.text import node_text
from translator.plan.values import Plan, SamplingPass
from translator.result import Translation


def explain(translation: Translation, catalog: Catalog) -> str:
    """What becomes of a request, in lines.

    Args:
        catalog: what it was translated with.
    """
    return "".join(f"{line}\n" for line in _lines(translation, catalog))


def _lines(translation: Translation, catalog: Catalog) -> Iterator[str]:
    for plan in translation.plans:
        yield from _plan(plan)
    width = max(map(len, translation.graph), default=0)
    for group in groups(translation.graph, catalog.nodes):
        yield f"\n{group.title}"
        for node in group.nodes:
            text = node_text(translation.graph[node], translation.graph, catalog.nodes)
            yield f"  {node:>{width}}  {text}"
    yield "\nPictures"
    for output in translation.outputs:
        source = f"upload {output.upload}" if output.node is None else f"node {output.node}"
        yield f"  {output.kind} from {source}, number {output.index}"
    if translation.warnings:
        yield "\nWarnings"
        yield from (f"  {warning}" for warning in translation.warnings)


def _plan(plan: Plan) -> Iterator[str]:
    way = "with our node pack" if plan.exact else "with core nodes"
    count = len(plan.seeds)
    seeds = f"seed {plan.seeds[0]}" if count == 1 else f"{count} images, seeds from {plan.seeds[0]}"
    yield f"Generation {way}: {seeds}"
    for item in plan.passes:
        yield f"  {_pass(item)}"


def _pass(item: SamplingPass) -> str:
    scheduler = item.sampler.scheduler.label if item.sampler.scheduler else "its own schedule"
    denoise = "" if item.denoise is None else f", denoising {item.denoise:g}"
    sigmas = item.schedule.sigmas
    span = f", sigmas {sigmas[0]:.6g} to {sigmas[-1]:.6g}" if sigmas else ""
    return (
        f"{item.role} pass: {item.width}x{item.height}, {item.steps} steps of "
        f"{item.sampler.sampler.name}, {scheduler}{denoise}{span}, "
        f"{item.checkpoint.name} ({item.checkpoint.architecture})"
    )
