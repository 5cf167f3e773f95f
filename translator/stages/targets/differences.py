"""What differs from A1111 where core nodes stand in for our node pack, said as warnings."""

from __future__ import annotations

from collections.abc import Iterator

from translator.plan.values import ImageUpscale, LatentUpscale, Plan, SamplingPass
from translator.report import Report
from translator.stages.targets.core import scheduler_name, takes_sampler_node

_SAME = "same"

_UNET_STEP = 64
"""Pixels that the UNet's deepest level sees as one."""

_USUAL_ETA = {"eta_ancestral": 1.0, "eta_ddim": 0.0}
"""The option that gives a sampler its eta -> the eta that core's sampler has."""


_USUAL_SCORES = (6.0, 2.5)
"""The refiner's aesthetic scores of both prompts, where ComfyUI is told none."""


def warn_of_core_differences(plan: Plan, report: Report) -> None:
    """Warn of everything in a plan that core nodes do otherwise than A1111."""
    for message in _differences(plan):
        report.warn("", f"core nodes: {message}")


def _differences(plan: Plan) -> Iterator[str]:
    yield from _noise(plan)
    for sampling_pass in plan.passes:
        yield from _sampling(sampling_pass)
        yield from _prompt(sampling_pass)
    yield from _settings(plan)
    if plan.hires is not None:
        yield from _upscale(plan.hires.upscale)


def _noise(plan: Plan) -> Iterator[str]:
    noise = plan.noise
    if noise.source != "CPU":
        yield f"noise is drawn on the CPU, A1111's comes from {noise.source}: another picture"
    if noise.subseed_strength:
        yield "subseed and subseed_strength are not used"
    if any(noise.resize_from):
        yield "seed_resize_from_w and seed_resize_from_h are not used"
    if noise.extra and plan.hires is not None:
        yield "img2img_extra_noise is not used"
    if noise.eta_noise_seed_delta:
        yield "eta_noise_seed_delta is not used"
    yield "the first noise is 0.2 % stronger and timesteps are rounded: small differences"


def _sampling(sampling_pass: SamplingPass) -> Iterator[str]:
    sampler, scheduler = sampling_pass.sampler.sampler, sampling_pass.sampler.scheduler
    if sampler.comfy.match != _SAME:
        yield f"{sampler.name}: {sampler.comfy.note}"
    if scheduler is not None and scheduler.comfy.match != _SAME:
        name = scheduler_name(sampling_pass)
        yield f"schedule {scheduler.label} becomes {name}: {scheduler.comfy.note}"
    if sampler.discard_penultimate and not takes_discard(sampling_pass):
        yield f"{sampler.name}: the last sigma but one is not dropped"
    if sampling_pass.width % _UNET_STEP or sampling_pass.height % _UNET_STEP:
        yield f"sides that are no multiple of {_UNET_STEP} are joined otherwise inside the UNet"
    if sampling_pass.refiner is not None:
        yield "the sampler's history starts anew where the refiner takes over"


def takes_discard(sampling_pass: SamplingPass) -> bool:
    """Whether KSampler itself drops the last sigma but one, as it does for DPM2 and UniPC."""
    name = sampling_pass.sampler.sampler.comfy.sampler_name
    return name in ("dpm_2", "dpm_2_ancestral", "uni_pc", "uni_pc_bh2")


def _prompt(sampling_pass: SamplingPass) -> Iterator[str]:
    plan = sampling_pass.prompt
    texts = [
        entry.text
        for parsed in (plan.positive, plan.negative)
        for part in parsed.parts
        for entry in part.schedule
    ]
    if (
        any("(" in text or "[" in text for text in texts)
        and sampling_pass.encoding.emphasis != "Ignore"
    ):
        yield "prompt weights act by another formula: visibly so for large weights"
    if any(len(part.schedule) > 1 for part in (*plan.positive.parts, *plan.negative.parts)):
        yield "prompt editing switches between steps, not between model calls"
    if any(part.weight <= 0 for part in plan.positive.parts):
        yield "AND parts with weights of 0 and below are left out"
    if sampling_pass.checkpoint.is_sdxl:
        yield from _sdxl_encoding(sampling_pass)


def _sdxl_encoding(sampling_pass: SamplingPass) -> Iterator[str]:
    encoding = sampling_pass.encoding
    if encoding.sdxl_clip_l_skip:
        yield "sdxl_clip_l_skip is not used"
    if any(encoding.crop):
        yield "sdxl_crop_top and sdxl_crop_left are not used"
    if encoding.size != (sampling_pass.width, sampling_pass.height):
        told, own = (
            f"{w}x{h}" for w, h in (encoding.size, (sampling_pass.width, sampling_pass.height))
        )
        yield f"SDXL is told the picture's own size {own}, A1111 tells it {told}"
    if sampling_pass.refiner is not None and encoding.aesthetic_scores != _USUAL_SCORES:
        yield "the refiner's aesthetic scores are ComfyUI's, 6.0 and 2.5"


def _settings(plan: Plan) -> Iterator[str]:
    if plan.first_noise.s_churn:
        yield "s_churn, s_tmin, s_tmax and s_noise are not used"
    option = plan.first.sampler.sampler.eta_option
    unusual = option is not None and plan.first_noise.eta != _USUAL_ETA[option]
    if unusual and not takes_sampler_node(plan.first):
        yield "eta is not used with this sampler"
    if plan.guidance.s_min_uncond or plan.guidance.skip_early_cond:
        yield "s_min_uncond and skip_early_cond are not used"
    if plan.tiling:
        yield "tiling is not done"
    if plan.model_sampling.downcast_alphas:
        yield "use_downcasted_alpha_bar is not used"


def _upscale(upscale: LatentUpscale | ImageUpscale) -> Iterator[str]:
    if isinstance(upscale, LatentUpscale):
        if upscale.mode == "nearest":
            yield "latents are enlarged by nearest-exact instead of nearest"
        elif upscale.mode == "bicubic" and upscale.antialias:
            yield "latents are enlarged without antialiasing"
    elif upscale.model is not None:
        yield "the upscaler runs on larger tiles, without rounding to 8 bits in between"
