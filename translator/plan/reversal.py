"""How the noise behind a picture is found: img2img alternative test, and noise inversion.

Sources: A1111 v1.10.1 ``scripts/img2imgalt.py``; multidiffusion-upscaler-for-automatic1111
``tile_methods/abstractdiffusion.py`` (find_noise_for_image_sigma_adjustment), restated.
"""

from __future__ import annotations

from dataclasses import replace

from translator import prompt as prompts
from translator.models.names import Models
from translator.plan.prompts import PromptPlanner
from translator.plan.samplers import SchedulePlanner
from translator.plan.values import Reversal, SamplingPass
from translator.report import Report
from translator.request.img2img import Img2Img, Inversion
from translator.schedules import samplers
from translator.scope import Scope

_LOSES_V = "A1111 leaves out a part of what checkpoints that predict v answer"


def reversal_of(
    request: Img2Img,
    sampled: SamplingPass,
    models: Models,
    scope: Scope,
    seed: int,
    *,
    has_units: bool,
) -> Reversal | None:
    """What is found before a pass is sampled; None where the request does not ask for it.

    Args:
        sampled: the pass.
        seed: of its first picture.
        has_units: whether ControlNet's units steer it.
    """
    decoding = request.decoding
    if decoding is None:
        return None
    _report_limits(sampled, decoding.inversion is not None, has_units, scope.report)
    euler = samplers.resolve("Euler", None)
    # Both scripts ask the model itself for its sigmas, past A1111's options.
    plain = replace(scope.a1111_options, always_discard_next_to_last_sigma=False)
    schedules = SchedulePlanner(scope.with_a1111_options(plain))
    laid_out = schedules.first(decoding.steps, euler, sampled.checkpoint)
    if laid_out is None:
        return None
    sigmas = tuple(reversed(laid_out.sigmas))
    if decoding.inversion is not None:
        return _inverted(sampled, sigmas, decoding.inversion)
    shown = replace(
        request,
        prompt=decoding.prompt,
        negative_prompt=decoding.negative_prompt,
        styles=None,
        steps=decoding.steps,
    )
    planned = PromptPlanner(shown, models, scope, seed).first_pass(
        euler.sampler, sampled.checkpoint
    )
    return Reversal(
        prompt=replace(planned, networks=sampled.prompt.networks),
        sigmas=sigmas,
        cfg_scale=decoding.cfg_scale,
        randomness=decoding.randomness,
        sigma_adjustment=decoding.sigma_adjustment,
    )


def _inverted(sampled: SamplingPass, sigmas: tuple[float, ...], inversion: Inversion) -> Reversal:
    """Tiled Diffusion's noise inversion: the pass' own prompts as they stand, without guidance."""
    prompt = replace(
        sampled.prompt,
        positive=prompts.literal(sampled.prompt.text),
        negative=prompts.literal(sampled.prompt.negative_text),
    )
    return Reversal(prompt, sigmas, 1.0, 0.0, sigma_adjustment=False, inversion=inversion)


def _report_limits(sampled: SamplingPass, inverts: bool, has_units: bool, report: Report) -> None:
    """Report what A1111's script fails on, and what is near to it only."""
    if inverts and sampled.checkpoint.facts.v_prediction:
        report.invalid("alwayson_scripts", f"noise inversion: {_LOSES_V}")
    fault = None if inverts else _fault(sampled)
    if fault:
        report.invalid("script_name", f"img2img alternative test: {fault}")
    if has_units:
        report.warn(
            "alwayson_scripts.controlnet",
            "on the way back to noise ControlNet's units do not act, as they do in A1111: near",
        )


def _fault(sampled: SamplingPass) -> str | None:
    """What A1111's script fails on, or None."""
    checkpoint, sampler = sampled.checkpoint, sampled.sampler.sampler
    if sampler.uses_timesteps:
        return f"A1111 fails on {sampler.name}, which has no sigmas; Euler is what it is made for"
    if checkpoint.family.size_conditioning != "none":
        return f"A1111 fails on {checkpoint.architecture} checkpoints, whose prompts are two"
    if checkpoint.facts.v_prediction:
        return _LOSES_V
    return None
