"""Stage: one sampling pass with core nodes, for a ComfyUI without our node pack.

Each image is sampled on its own, since core nodes draw a batch's noise from one seed and A1111
draws image i from seed + i.
"""

from __future__ import annotations

from translator import nodes
from translator.graph import Graph, Latent
from translator.plan import PassPlan, Plan, SamplerSettings
from translator.stages.conditioning import core_cfg_scale
from translator.stages.sampling import Painter

_UNSCHEDULED = "normal"
"""Core's scheduler for A1111's uniform schedule (and near UniPC's)."""

_NOISE_DEFAULTS = {"eta": 1.0, "s_noise": 1.0}
"""What core's samplers do where they are only named."""

_LAST = 10000
"""KSamplerAdvanced's end_at_step for "to the end"."""


def sample_core(
    graph: Graph,
    plan: Plan,
    painted: PassPlan,
    settings: SamplerSettings,
    painter: Painter,
    refiner: Painter | None,
    latent: Latent,
    seed: int,
) -> Latent:
    """Sample one image with core nodes.

    Args:
        seed: the image's own.
        refiner: what takes over at ``painted.refiner``, or None.
    """
    if refiner is not None and painted.refiner is not None:
        return _with_refiner(graph, plan, painted, painter, refiner, latent, seed)
    node_settings = sampler_node_settings(painted, settings)
    if node_settings is not None:
        return _custom(graph, plan, painted, painter, latent, seed, node_settings)
    comfy = painted.sampler.sampler.comfy
    return nodes.ksampler(
        graph,
        model=painter.model,
        seed=seed,
        steps=painted.steps,
        cfg=core_cfg_scale(painted, plan.guidance.cfg_scale),
        sampler_name=comfy.sampler_name,
        scheduler=scheduler_name(painted),
        positive=painter.positive,
        negative=painter.negative,
        latent=latent,
        denoise=_denoise(painted),
    )


def scheduler_name(painted: PassPlan) -> str:
    """Core's scheduler nearest to the pass' own."""
    row = painted.sampler.sampler.comfy.scheduler
    if row is not None:
        return row
    scheduler = painted.sampler.scheduler
    return (scheduler and scheduler.comfy.scheduler) or _UNSCHEDULED


def takes_sampler_node(painted: PassPlan) -> bool:
    """Whether a Sampler* node takes the eta of the pass' sampler."""
    return "eta" in painted.sampler.sampler.comfy.node_inputs


def sampler_node_settings(
    painted: PassPlan, settings: SamplerSettings
) -> dict[str, str | float | int] | None:
    """Inputs of the Sampler* node where the request wishes what only it takes, else None."""
    comfy = painted.sampler.sampler.comfy
    wished = {name: getattr(settings, name) for name in comfy.node_inputs}
    changed = any(value != _NOISE_DEFAULTS.get(name) for name, value in wished.items())
    if comfy.node is None or not changed:
        return None
    return {**comfy.node_constants, **{comfy.node_inputs[k]: v for k, v in wished.items()}}


def _denoise(painted: PassPlan) -> float:
    return 1.0 if painted.denoise is None else min(painted.denoise, 1.0)


def _custom(
    graph: Graph,
    plan: Plan,
    painted: PassPlan,
    painter: Painter,
    latent: Latent,
    seed: int,
    node_settings: dict[str, str | float | int],
) -> Latent:
    scheduler = scheduler_name(painted)
    return nodes.sampler_custom(
        graph,
        noise=nodes.random_noise(graph, seed),
        guider=nodes.cfg_guider(
            graph,
            painter.model,
            painter.positive,
            painter.negative,
            core_cfg_scale(painted, plan.guidance.cfg_scale),
        ),
        sampler=nodes.sampler_node(graph, str(painted.sampler.sampler.comfy.node), node_settings),
        sigmas=nodes.basic_scheduler(
            graph, painter.model, scheduler, painted.steps, _denoise(painted)
        ),
        latent=latent,
    )


def _with_refiner(
    graph: Graph,
    plan: Plan,
    painted: PassPlan,
    painter: Painter,
    refiner: Painter,
    latent: Latent,
    seed: int,
) -> Latent:
    """Two samplers over one schedule; the second repeats no noise, as it has another seed."""
    assert painted.refiner is not None
    start = painted.schedule.start_at_step
    switch = start + painted.refiner.step
    total = painted.schedule.spec.steps
    for stage, seed_of_stage, begin, end in (
        (painter, seed, start, switch),
        (refiner, seed + 1, switch, _LAST),
    ):
        if begin == end:
            continue
        latent = nodes.ksampler_advanced(
            graph,
            model=stage.model,
            seed=seed_of_stage,
            steps=total,
            cfg=core_cfg_scale(painted, plan.guidance.cfg_scale),
            sampler_name=painted.sampler.sampler.comfy.sampler_name,
            scheduler=scheduler_name(painted),
            positive=stage.positive,
            negative=stage.negative,
            latent=latent,
            start=begin,
            end=end,
            add_noise=begin == start,
            leftover_noise=end != _LAST,
        )
    return latent
