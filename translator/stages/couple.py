"""Stage: a pass' model with prompts by region."""

from __future__ import annotations

from dataclasses import replace

from translator.comfy import nodes
from translator.comfy.graph import Clip, Graph, Model
from translator.models.names import Checkpoint
from translator.plan.values import CoupledRegion, SamplingPass
from translator.stages.targets.base import Target


def coupled(
    graph: Graph,
    target: Target,
    sampling_pass: SamplingPass,
    checkpoint: Checkpoint,
    clip: Clip,
    model: Model,
) -> Model:
    """The model whose positive prompt is another one in each region, or the model as it is."""
    regions = sampling_pass.couple
    if not regions:
        return model
    texts = []
    for region in regions:
        own = replace(sampling_pass.prompt, positive=region.prompt)
        positive, _ = target.encode(replace(sampling_pass, prompt=own), checkpoint, clip)
        texts.append(positive)
    size = sampling_pass.size
    boxes = [_pixels(region, size) for region in regions]
    return nodes.a1111_attention_couple(graph, model, size, boxes, texts)


def _pixels(region: CoupledRegion, size: tuple[int, int]) -> list[float]:
    """Left, top, right and bottom in pixels, and the weight."""
    edges = [round(edge * size[place % 2]) for place, edge in enumerate(region.box)]
    return [*edges, region.weight]
