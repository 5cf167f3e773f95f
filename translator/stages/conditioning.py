"""Stage: a pass' model with its prompts and its ControlNet units."""

from __future__ import annotations

from dataclasses import replace

from translator.comfy.graph import Clip, Conditioning, Graph
from translator.models.names import Checkpoint
from translator.plan import loading
from translator.plan.values import Plan, SamplingPass
from translator.prompt import Prompt
from translator.stages import loaders, networks, regions
from translator.stages.control import units
from translator.stages.control.units import GeneratorSeeds
from translator.stages.loaders import Loaded
from translator.stages.sampling import Conditioned
from translator.stages.targets.base import Target


def conditioned(
    graph: Graph,
    plan: Plan,
    target: Target,
    control_pass: int,
    sampling_pass: SamplingPass,
    checkpoint: Checkpoint,
    loaded: Loaded,
    clip: Clip,
    seeds: GeneratorSeeds,
) -> Conditioned:
    """A model with the prompts and the ControlNet units of a pass.

    Args:
        seeds: what units draw noise by.
        control_pass: the pass' position in ``plan.control``.
        checkpoint: the pass' own or its refiner, whose model and text encoder these are.
    """
    apart = regions.separated(graph, target, sampling_pass, checkpoint, loaded.model, clip)
    if apart is None:
        positive, negative = target.encode(sampling_pass, checkpoint, clip)
        positive, negative = networks.hooked(graph, sampling_pass, positive, negative)
    else:
        positive, negative = apart
    model = regions.divided(graph, target, sampling_pass, checkpoint, clip, loaded.model)
    if checkpoint.architecture == sampling_pass.checkpoint.architecture:
        model, positive, negative = units.apply(
            graph, plan.control, control_pass, model, positive, negative, loaded.vae, seeds
        )
    under = units.under_noise(
        graph,
        plan.control,
        control_pass,
        loaded.vae,
        is_mixed=seeds.is_first == (sampling_pass.refiner is None),
    )

    def encode(some: Prompt, other: Prompt) -> tuple[Conditioning, Conditioning]:
        prompt = replace(sampling_pass.prompt, positive=some, negative=other)
        return target.encode(replace(sampling_pass, prompt=prompt), checkpoint, clip)

    merges = loading.merges_tokens(plan, sampling_pass, checkpoint, is_first_batch=seeds.is_first)
    model = loaders.for_sampling(
        graph, plan, sampling_pass, model, target, encode, merges_tokens=merges
    )
    return Conditioned(model, positive, negative, under_noise=under)
