"""Stage: one sampling pass with core nodes, for a ComfyUI without our node pack.

Each image is sampled on its own, since core nodes draw a batch's noise from one seed and A1111
draws image i from seed + i.
"""

from __future__ import annotations

from translator.comfy import nodes
from translator.comfy.graph import Graph, Latent
from translator.plan.values import Plan, SamplerNumbers, SamplingPass
from translator.stages.conditioning import core_cfg_scale
from translator.stages.sampling import GuidedModel

_UNSCHEDULED = "normal"
"""Core's scheduler for A1111's uniform schedule (and near UniPC's)."""

_NOISE_DEFAULTS = {"eta": 1.0, "s_noise": 1.0}
"""What core's samplers do where they are only named."""

_LAST = 10000
"""KSamplerAdvanced's end_at_step for "to the end"."""


def sample_core(
    graph: Graph,
    plan: Plan,
    sampling_pass: SamplingPass,
    numbers: SamplerNumbers,
    guided: GuidedModel,
    refiner: GuidedModel | None,
    latent: Latent,
    seed: int,
) -> Latent:
    """Sample one image with core nodes.

    Args:
        seed: the image's own.
        refiner: what takes over at ``sampling_pass.refiner``, or None.
    """
    if refiner is not None and sampling_pass.refiner is not None:
        return _with_refiner(graph, plan, sampling_pass, guided, refiner, latent, seed)
    node_settings = sampler_node_settings(sampling_pass, numbers)
    if node_settings is not None:
        return _custom(graph, plan, sampling_pass, guided, latent, seed, node_settings)
    comfy = sampling_pass.sampler.sampler.comfy
    return nodes.ksampler(
        graph,
        model=guided.model,
        seed=seed,
        steps=sampling_pass.steps,
        cfg=core_cfg_scale(sampling_pass, plan.guidance.cfg_scale),
        sampler_name=comfy.sampler_name,
        scheduler=scheduler_name(sampling_pass),
        positive=guided.positive,
        negative=guided.negative,
        latent=latent,
        denoise=_denoise(sampling_pass),
    )


def scheduler_name(sampling_pass: SamplingPass) -> str:
    """Core's scheduler nearest to the pass' own."""
    row = sampling_pass.sampler.sampler.comfy.scheduler
    if row is not None:
        return row
    scheduler = sampling_pass.sampler.scheduler
    return (scheduler and scheduler.comfy.scheduler) or _UNSCHEDULED


def takes_sampler_node(sampling_pass: SamplingPass) -> bool:
    """Whether a Sampler* node takes the eta of the pass' sampler."""
    return "eta" in sampling_pass.sampler.sampler.comfy.node_inputs


def sampler_node_settings(
    sampling_pass: SamplingPass, numbers: SamplerNumbers
) -> dict[str, str | float | int] | None:
    """Inputs of the Sampler* node where the request wishes what only it takes, else None."""
    comfy = sampling_pass.sampler.sampler.comfy
    requested = {name: getattr(numbers, name) for name in comfy.node_inputs}
    changed = any(value != _NOISE_DEFAULTS.get(name) for name, value in requested.items())
    if comfy.node is None or not changed:
        return None
    return {**comfy.node_constants, **{comfy.node_inputs[k]: v for k, v in requested.items()}}


def _denoise(sampling_pass: SamplingPass) -> float:
    return 1.0 if sampling_pass.denoise is None else min(sampling_pass.denoise, 1.0)


def _custom(
    graph: Graph,
    plan: Plan,
    sampling_pass: SamplingPass,
    guided: GuidedModel,
    latent: Latent,
    seed: int,
    node_settings: dict[str, str | float | int],
) -> Latent:
    scheduler = scheduler_name(sampling_pass)
    return nodes.sampler_custom(
        graph,
        noise=nodes.random_noise(graph, seed),
        guider=nodes.cfg_guider(
            graph,
            guided.model,
            guided.positive,
            guided.negative,
            core_cfg_scale(sampling_pass, plan.guidance.cfg_scale),
        ),
        sampler=nodes.sampler_node(
            graph, str(sampling_pass.sampler.sampler.comfy.node), node_settings
        ),
        sigmas=nodes.basic_scheduler(
            graph, guided.model, scheduler, sampling_pass.steps, _denoise(sampling_pass)
        ),
        latent=latent,
    )


def _with_refiner(
    graph: Graph,
    plan: Plan,
    sampling_pass: SamplingPass,
    guided: GuidedModel,
    refiner: GuidedModel,
    latent: Latent,
    seed: int,
) -> Latent:
    """Two samplers over one schedule; the second repeats no noise, as it has another seed."""
    assert sampling_pass.refiner is not None
    start = sampling_pass.schedule.start_at_step
    switch = start + sampling_pass.refiner.step
    total = sampling_pass.schedule.spec.steps
    for stage, seed_of_stage, begin, end in (
        (guided, seed, start, switch),
        (refiner, seed + 1, switch, _LAST),
    ):
        if begin == end:
            continue
        latent = nodes.ksampler_advanced(
            graph,
            model=stage.model,
            seed=seed_of_stage,
            steps=total,
            cfg=core_cfg_scale(sampling_pass, plan.guidance.cfg_scale),
            sampler_name=sampling_pass.sampler.sampler.comfy.sampler_name,
            scheduler=scheduler_name(sampling_pass),
            positive=stage.positive,
            negative=stage.negative,
            latent=latent,
            start=begin,
            end=end,
            add_noise=begin == start,
            leftover_noise=end != _LAST,
        )
    return latent
