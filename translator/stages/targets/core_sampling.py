"""Core: a pass by KSampler wherever it can, and what that does otherwise than A1111."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from translator.comfy import nodes
from translator.comfy.graph import Graph, Guider, Latent, Sigmas
from translator.plan.starts import Encoded
from translator.plan.values import (
    Plan,
    SamplingPass,
)
from translator.stages import sampling
from translator.stages.sampling import Conditioned, SamplingParts
from translator.stages.targets.core_prompts import averaged_parts

_SAME = "same"
"""What a table row says of core's sampler or scheduler that does as A1111's."""

_UNSCHEDULED = "normal"
"""Core's scheduler for A1111's uniform schedule (and near UniPC's)."""

_NOISE_DEFAULTS = {"eta": 1.0, "s_noise": 1.0}
"""What core's samplers do where they are only named."""

_USUAL_ETA = {"eta_ancestral": 1.0, "eta_ddim": 0.0}
"""The option that gives a sampler its eta -> the eta that core's sampler has."""

_LAST = 10000
"""KSamplerAdvanced's end_at_step for "to the end"."""

_UNET_STEP = 64
"""Pixels that the UNet's deepest level sees as one."""


@dataclass(frozen=True)
class Run:
    """One sampling pass of one image.

    Attributes:
        seed: the image's own.
    """

    graph: Graph
    plan: Plan
    sampling_pass: SamplingPass
    conditioned: Conditioned
    seed: int

    def sample(self, refiner: Conditioned | None, latent: Latent) -> Latent:
        """The image sampled: by KSampler wherever it can."""
        if refiner is not None:
            return self._with_refiner(refiner, latent)
        settings = sampler_node_settings(self.sampling_pass)
        if settings is not None or self.conditioned.negative_without_image is not None:
            return sampling.run(self.graph, self._parts(settings), latent)
        if self._from_image:
            return self._last_steps(latent)
        return nodes.ksampler(
            self.graph,
            model=self.conditioned.model,
            seed=self.seed,
            steps=self.sampling_pass.steps,
            cfg=self._cfg_scale,
            sampler_name=self.sampling_pass.sampler.sampler.comfy.sampler_name,
            scheduler=scheduler_name(self.sampling_pass),
            positive=self.conditioned.positive,
            negative=self.conditioned.negative,
            latent=latent,
            denoise=self._denoise,
        )

    @property
    def _from_image(self) -> bool:
        return isinstance(self.sampling_pass.start, Encoded)

    def _last_steps(self, latent: Latent) -> Latent:
        """img2img: the last steps of the schedule, as many as A1111 runs."""
        sampling_pass = self.sampling_pass
        return nodes.ksampler_advanced(
            self.graph,
            model=self.conditioned.model,
            seed=self.seed,
            steps=sampling_pass.schedule.spec.steps,
            cfg=self._cfg_scale,
            sampler_name=sampling_pass.sampler.sampler.comfy.sampler_name,
            scheduler=scheduler_name(sampling_pass),
            positive=self.conditioned.positive,
            negative=self.conditioned.negative,
            latent=latent,
            start=sampling_pass.schedule.start_at_step,
            end=_LAST,
            add_noise=True,
            leftover_noise=False,
        )

    @property
    def _sigmas(self) -> Sigmas:
        """The scheduler's sigmas that the pass runs."""
        sampling_pass, scheduler = self.sampling_pass, scheduler_name(self.sampling_pass)
        if not self._from_image:
            return nodes.basic_scheduler(
                self.graph,
                self.conditioned.model,
                scheduler,
                sampling_pass.steps,
                self._denoise,
            )
        steps = sampling_pass.schedule.spec.steps
        sigmas = nodes.basic_scheduler(self.graph, self.conditioned.model, scheduler, steps, 1.0)
        return nodes.split_sigmas(self.graph, sigmas, sampling_pass.schedule.start_at_step)

    @property
    def _cfg_scale(self) -> float:
        return _cfg_scale(self.sampling_pass, self.plan.guidance.cfg_scale)

    @property
    def _denoise(self) -> float:
        denoise = self.sampling_pass.denoise
        return 1.0 if denoise is None else min(denoise, 1.0)

    def _parts(self, settings: dict[str, str | float | int] | None) -> SamplingParts:
        """What is sampled with where KSampler does not do.

        Args:
            settings: of a Sampler* node, for numbers that KSampler does not take; None is the
                sampler by its name.
        """
        comfy = self.sampling_pass.sampler.sampler.comfy
        node = "KSamplerSelect" if settings is None else str(comfy.node)
        inputs = {"sampler_name": comfy.sampler_name} if settings is None else settings
        return SamplingParts(
            noise=nodes.random_noise(self.graph, self.seed),
            guider=self._guider(),
            sampler=nodes.sampler_node(self.graph, node, inputs),
            sigmas=self._sigmas,
        )

    def _guider(self) -> Guider:
        """Guidance by the text, and by the picture of an editing checkpoint."""
        conditioned, image = self.conditioned, self.sampling_pass.image_conditioning
        ends = conditioned.model, conditioned.positive, conditioned.negative
        without = conditioned.negative_without_image
        if without is None or image is None or image.image_cfg_scale is None:
            return nodes.cfg_guider(self.graph, *ends, self._cfg_scale)
        return nodes.dual_cfg_guider(
            self.graph, *ends, without, self._cfg_scale, image.image_cfg_scale
        )

    def _with_refiner(self, refiner: Conditioned, latent: Latent) -> Latent:
        """Two samplers over one schedule; the second repeats no noise, as it has another seed."""
        sampling_pass = self.sampling_pass
        assert sampling_pass.refiner is not None
        start = sampling_pass.schedule.start_at_step
        switch = start + sampling_pass.refiner.step
        total = sampling_pass.schedule.spec.steps
        for conditioned, seed, begin, end in (
            (self.conditioned, self.seed, start, switch),
            (refiner, self.seed + 1, switch, _LAST),
        ):
            if begin == end:
                continue
            latent = nodes.ksampler_advanced(
                self.graph,
                model=conditioned.model,
                seed=seed,
                steps=total,
                cfg=self._cfg_scale,
                sampler_name=sampling_pass.sampler.sampler.comfy.sampler_name,
                scheduler=scheduler_name(sampling_pass),
                positive=conditioned.positive,
                negative=conditioned.negative,
                latent=latent,
                start=begin,
                end=end,
                add_noise=begin == start,
                leftover_noise=end != _LAST,
            )
        return latent


def _cfg_scale(sampling_pass: SamplingPass, cfg_scale: float) -> float:
    """The scale that makes ComfyUI's average over AND parts A1111's weighted sum."""
    return cfg_scale * sum(
        part.weight for part in averaged_parts(sampling_pass.prompt.positive.parts)
    )


def scheduler_name(sampling_pass: SamplingPass) -> str:
    """Core's scheduler nearest to the pass' own."""
    row = sampling_pass.sampler.sampler.comfy.scheduler
    if row is not None:
        return row
    scheduler = sampling_pass.sampler.scheduler
    return (scheduler and scheduler.comfy.scheduler) or _UNSCHEDULED


def sampler_node_settings(sampling_pass: SamplingPass) -> dict[str, str | float | int] | None:
    """Inputs of the Sampler* node where the request asks for what only it takes, else None."""
    comfy = sampling_pass.sampler.sampler.comfy
    requested = {name: getattr(sampling_pass.numbers, name) for name in comfy.node_inputs}
    changed = any(value != _NOISE_DEFAULTS.get(name) for name, value in requested.items())
    if comfy.node is None or not changed:
        return None
    return {**comfy.node_constants, **{comfy.node_inputs[k]: v for k, v in requested.items()}}


def noise_differences(plan: Plan) -> Iterator[str]:
    """What comes of noise otherwise than in A1111, a sentence each."""
    noise = plan.noise
    if noise.source != "CPU":
        yield f"noise is drawn on the CPU, A1111's comes from {noise.source}: another picture"
    if noise.subseed_strength:
        yield "subseed and subseed_strength are not used"
    if any(noise.resize_from):
        yield "seed_resize_from_w and seed_resize_from_h are not used"
    if noise.extra and any(item.schedule.from_image for item in plan.passes):
        yield "img2img_extra_noise is not used"
    if noise.eta_noise_seed_delta:
        yield "eta_noise_seed_delta is not used"
    yield "the first noise is 0.2 % stronger and timesteps are rounded: small differences"


def sampling_differences(sampling_pass: SamplingPass) -> Iterator[str]:
    """What comes of a pass otherwise than in A1111, a sentence each."""
    sampler, scheduler = sampling_pass.sampler.sampler, sampling_pass.sampler.scheduler
    if sampler.comfy.match != _SAME:
        yield f"{sampler.name}: {sampler.comfy.note}"
    if scheduler is not None and scheduler.comfy.match != _SAME:
        name = scheduler_name(sampling_pass)
        yield f"schedule {scheduler.label} becomes {name}: {scheduler.comfy.note}"
    if sampler.discard_penultimate and not _drops_last_but_one(sampling_pass):
        yield f"{sampler.name}: the last sigma but one is not dropped"
    if sampling_pass.width % _UNET_STEP or sampling_pass.height % _UNET_STEP:
        yield f"sides that are no multiple of {_UNET_STEP} are joined otherwise inside the UNet"
    if sampling_pass.refiner is not None:
        yield "the sampler's history starts anew where the refiner takes over"


def _drops_last_but_one(sampling_pass: SamplingPass) -> bool:
    """Whether KSampler itself drops the last sigma but one, as it does for DPM2 and UniPC."""
    name = sampling_pass.sampler.sampler.comfy.sampler_name
    return name in ("dpm_2", "dpm_2_ancestral", "uni_pc", "uni_pc_bh2")


def number_differences(plan: Plan) -> Iterator[str]:
    """What comes of numbers otherwise than in A1111, a sentence each."""
    if plan.first.numbers.s_churn:
        yield "s_churn, s_tmin, s_tmax and s_noise are not used"
    option = plan.first.sampler.sampler.eta_option
    unusual = option is not None and plan.first.numbers.eta != _USUAL_ETA[option]
    if unusual and "eta" not in plan.first.sampler.sampler.comfy.node_inputs:
        yield "eta is not used with this sampler"
    if plan.guidance.s_min_uncond or plan.guidance.skip_early_cond:
        yield "s_min_uncond and skip_early_cond are not used"
    if plan.tiling:
        yield "tiling is not done"
    if any(item.kind == "hypernet" for one in plan.passes for item in one.prompt.networks):
        yield "hypernetworks are built by ComfyUI's rules"
    if any(item.token_merging_ratio > 0 for item in plan.passes):
        yield "token_merging_ratio merges other tokens, chosen at random"
    if plan.model_sampling.downcast_alphas:
        yield "use_downcasted_alpha_bar is not used"
    if plan.model_sampling.quantize:
        yield "enable_quantization is not used"
    if plan.guidance.padding != "none":
        yield "prompts of unequal length are not padded"
