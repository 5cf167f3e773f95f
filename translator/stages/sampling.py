"""Stage: one sampling pass, from conditioning and latent to latent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from translator.comfy import nodes
from translator.comfy.graph import Conditioning, Graph, Guider, Latent, Model, Noise, Sampler
from translator.plan.values import Plan, SamplerNumbers, SamplingPass
from translator.schedules.passes import Pass


@dataclass(frozen=True)
class GuidedModel:
    """A model with the conditioning it paints by."""

    model: Model
    positive: Conditioning
    negative: Conditioning


def sample_exact(
    graph: Graph,
    plan: Plan,
    sampling_pass: SamplingPass,
    numbers: SamplerNumbers,
    guided: GuidedModel,
    refiner: GuidedModel | None,
    latent: Latent,
    seeds: Sequence[int],
    subseeds: Sequence[int],
) -> Latent:
    """Sample a batch with our node pack: A1111's noise streams, sigmas and guidance."""
    return nodes.sampler_custom(
        graph,
        noise=_noise(graph, plan, seeds, subseeds),
        guider=_guider(graph, plan, sampling_pass, guided, refiner),
        sampler=_sampler(graph, plan, sampling_pass, numbers),
        sigmas=nodes.a1111_sigmas(graph, sampling_pass.schedule.sigmas),
        latent=latent,
    )


def _noise(graph: Graph, plan: Plan, seeds: Sequence[int], subseeds: Sequence[int]) -> Noise:
    noise = plan.noise
    return nodes.a1111_noise(
        graph,
        seeds,
        subseeds if noise.subseed_strength else (),
        subseed_strength=noise.subseed_strength,
        seed_resize_from_w=noise.resize_from[0],
        seed_resize_from_h=noise.resize_from[1],
        source=noise.source,
        eta_noise_seed_delta=noise.eta_noise_seed_delta,
        multiplier=1.0,
    )


def _guider(
    graph: Graph,
    plan: Plan,
    sampling_pass: SamplingPass,
    guided: GuidedModel,
    refiner: GuidedModel | None,
) -> Guider:
    guidance = plan.guidance
    settings: dict[str, object] = {
        "cfg": guidance.cfg_scale,
        "s_min_uncond": guidance.s_min_uncond,
        "s_min_uncond_all": guidance.s_min_uncond_all,
        "skip_early_cond": guidance.skip_early_cond,
        "total_steps": sampling_pass.schedule.total_steps,
    }
    if refiner is not None and sampling_pass.refiner is not None:
        settings |= {
            "refiner": refiner.model,
            "refiner_positive": refiner.positive,
            "refiner_negative": refiner.negative,
            "refiner_switch_at": sampling_pass.refiner.switch_at,
            "refiner_switch_by_steps": sampling_pass.refiner.by_steps,
        }
    return nodes.a1111_guider(graph, guided.model, guided.positive, guided.negative, **settings)


def _sampler(
    graph: Graph, plan: Plan, sampling_pass: SamplingPass, numbers: SamplerNumbers
) -> Sampler:
    schedule = sampling_pass.schedule
    return nodes.a1111_sampler(
        graph,
        sampling_pass.sampler.sampler.name,
        eta=numbers.eta,
        s_churn=numbers.s_churn,
        s_tmin=numbers.s_tmin,
        s_tmax=numbers.s_tmax,
        s_noise=numbers.s_noise,
        sigma_min=schedule.sigma_min,
        sigma_max=schedule.sigma_max,
        timesteps=schedule.timesteps,
        extra={**numbers.extra, **_of_pass(plan, schedule)},
    )


def _of_pass(plan: Plan, schedule: Pass) -> dict[str, Any]:
    """Rare options that depend on the pass."""
    extra: dict[str, Any] = {}
    if schedule.from_image and plan.noise.extra:
        extra["extra_noise"] = plan.noise.extra
    if schedule.sampler.evaluation == "range":
        extra["steps"] = schedule.planned_steps
    return extra
