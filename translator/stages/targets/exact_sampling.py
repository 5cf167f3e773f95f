"""Exact: a pass by our node pack's noise, guider, sampler and sigmas."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from translator.comfy import nodes
from translator.comfy.graph import Graph, Guider, Latent, Noise, Sampler
from translator.plan.starts import Encoded
from translator.plan.values import Guidance, Plan, Reversal, SamplingPass
from translator.stages import init_images, sampling
from translator.stages.sampling import Batch, Conditioned, SamplingParts
from translator.stages.targets.exact_prompts import Prompts


@dataclass(frozen=True)
class Run:
    """One sampling pass.

    Attributes:
        conditioned: by the pass' own checkpoint, not the refiner's.
    """

    graph: Graph
    plan: Plan
    sampling_pass: SamplingPass
    conditioned: Conditioned

    def parts(self, refiner: Conditioned | None, batch: Batch) -> SamplingParts:
        """What a batch is sampled with."""
        return SamplingParts(
            noise=self._noise(batch),
            guider=self._guider(self.plan.guidance, refiner),
            sampler=self._sampler(),
            sigmas=nodes.a1111_sigmas(self.graph, self.sampling_pass.schedule.sigmas),
        )

    def noise_behind(self, latent: Latent, reversal: Reversal, batch: Batch) -> Noise:
        """The noise that a latent is made from, by Euler's method upwards."""
        graph, inversion = self.graph, reversal.inversion
        upwards = SamplingParts(
            noise=nodes.no_noise(graph),
            guider=self._guider(Guidance(reversal.cfg_scale, 0.0, False, 0.0), None),
            sampler=nodes.a1111_reversing_sampler(graph, reversal.sigma_adjustment)
            if inversion is None
            else nodes.a1111_inverting_sampler(graph, inversion.retouch),
            sigmas=nodes.a1111_sigmas(graph, reversal.sigmas),
        )
        drawn, model = self._noise(batch), self.conditioned.model
        found = sampling.run(graph, upwards, latent)
        if inversion is None:
            return nodes.a1111_reversed_noise(
                graph, drawn, model, latent, found, reversal.randomness, reversal.sigmas[-1]
            )
        start = self.sampling_pass.start
        assert isinstance(start, Encoded)
        return nodes.a1111_inverted_noise(
            graph,
            drawn,
            model,
            latent=latent,
            found=found,
            picture=init_images.load(graph, start.images[0])[0],
            strength=inversion.strength,
            kernel=inversion.kernel,
            sigma=self.sampling_pass.schedule.full_sigmas[0],
        )

    def _noise(self, batch: Batch) -> Noise:
        noise, under = self.plan.noise, self.conditioned.under_noise
        drawn = nodes.a1111_noise(
            self.graph,
            batch.seeds,
            batch.subseeds if noise.subseed_strength else (),
            subseed_strength=noise.subseed_strength,
            seed_resize_from_w=noise.resize_from[0],
            seed_resize_from_h=noise.resize_from[1],
            source=noise.source,
            eta_noise_seed_delta=noise.eta_noise_seed_delta,
            multiplier=noise.multiplier,
        )
        if under is None:
            return drawn
        return nodes.a1111_noise_over_latent(self.graph, drawn, self.conditioned.model, under)

    def _guider(self, guidance: Guidance, refiner: Conditioned | None) -> Guider:
        conditioned, schedule = self.conditioned, self.sampling_pass.schedule
        settings: dict[str, object] = {
            "cfg": guidance.cfg_scale,
            "s_min_uncond": guidance.s_min_uncond,
            "s_min_uncond_all": guidance.s_min_uncond_all,
            "skip_early_cond": guidance.skip_early_cond,
            "total_steps": schedule.total_steps,
        }
        if guidance.padding != "none":
            settings["padding"] = guidance.padding
        if guidance.padding == "empty":
            settings["empty_prompt"] = Prompts(self.graph).empty(self.sampling_pass)
        if self.plan.control.units and schedule.counts_calls:
            settings["counted_steps"] = schedule.planned_steps
        if conditioned.image is not None:
            settings |= {"image_conditioning": conditioned.image, **self._image_guidance()}
        switch = self.sampling_pass.refiner
        if refiner is not None and switch is not None:
            settings |= {
                "refiner": refiner.model,
                "refiner_positive": refiner.positive,
                "refiner_negative": refiner.negative,
                "refiner_switch_at": switch.switch_at,
                "refiner_switch_by_steps": switch.by_steps,
            }
        return nodes.a1111_guider(
            self.graph, conditioned.model, conditioned.positive, conditioned.negative, **settings
        )

    def _image_guidance(self) -> dict[str, object]:
        """Guidance by the picture of an editing checkpoint, where there is such."""
        settings = self.sampling_pass.image_conditioning
        if settings is None or settings.image_cfg_scale is None:
            return {}
        return {"image_cfg_scale": settings.image_cfg_scale}

    def _sampler(self) -> Sampler:
        schedule, numbers = self.sampling_pass.schedule, self.sampling_pass.numbers
        sampler = self.sampling_pass.sampler.sampler
        if not self.graph.offers("A1111Sampler", "sampler", sampler.name):
            return nodes.ksampler_select(self.graph, sampler.comfy.sampler_name)
        return nodes.a1111_sampler(
            self.graph,
            sampler.name,
            eta=numbers.eta,
            s_churn=numbers.s_churn,
            s_tmin=numbers.s_tmin,
            s_tmax=numbers.s_tmax,
            s_noise=numbers.s_noise,
            sigma_min=schedule.sigma_min,
            sigma_max=schedule.sigma_max,
            timesteps=schedule.timesteps,
            extra={**numbers.extra, **self._of_pass()},
        )

    def _of_pass(self) -> dict[str, Any]:
        """Rare numbers of a sampler that depend on the pass."""
        schedule, soft = self.sampling_pass.schedule, self.sampling_pass.soft
        extra: dict[str, Any] = {}
        if schedule.from_image and self.plan.noise.extra:
            extra["extra_noise"] = self.plan.noise.extra
        if soft is not None:
            extra["soft_inpainting"] = [soft.bias, soft.preservation, soft.contrast_boost]
        return {**extra, **schedule.sampler_extra}
