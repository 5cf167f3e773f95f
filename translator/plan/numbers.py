"""The numbers of a generation: the request's, else an option's, with the field that set each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from translator.plan.starts import ImageUpscale, LatentUpscale
from translator.plan.values import (
    Guidance,
    Noise,
    SamplerNumbers,
    SamplingPass,
)
from translator.request.a1111_options import A1111Options
from translator.request.generation import Generation
from translator.request.img2img import Img2Img
from translator.request.txt2img import Txt2Img
from translator.schedules.samplers import ResolvedSampler
from translator.scope import Scope

_NOISE_DEFAULTS: Mapping[str, float] = {
    "s_churn": 0.0,
    "s_tmin": 0.0,
    "s_tmax": 0.0,
    "s_noise": 1.0,
}

_UNI_PC_OPTIONS = (
    "uni_pc_variant",
    "uni_pc_skip_type",
    "uni_pc_order",
    "uni_pc_lower_order_final",
)

_PADDINGS: Mapping[str, str] = {"pad_cond_uncond_v0": "last", "pad_cond_uncond": "empty"}
"""A1111's options -> how they lengthen the shorter of both prompts, see `Guidance`."""


def noise(request: Generation, a1111_options: A1111Options) -> Noise:
    """Where the noise of all passes comes from."""
    resize_from = (request.seed_resize_from_w, request.seed_resize_from_h)
    return Noise(
        source=a1111_options.randn_source,
        subseed_strength=request.subseed_strength,
        resize_from=resize_from if min(resize_from) > 0 else (0, 0),
        eta_noise_seed_delta=a1111_options.eta_noise_seed_delta,
        extra=a1111_options.img2img_extra_noise,
        multiplier=_noise_multiplier(request, a1111_options),
    )


def _noise_multiplier(request: Generation, a1111_options: A1111Options) -> float:
    if not isinstance(request, Img2Img):
        return 1.0
    requested = request.initial_noise_multiplier
    return a1111_options.initial_noise_multiplier if requested is None else requested


def guidance(request: Generation, scope: Scope, passes: Iterable[SamplingPass]) -> Guidance:
    """Classifier-free guidance of all passes."""
    a1111_options = scope.a1111_options
    requested = request.s_min_uncond
    return Guidance(
        cfg_scale=request.cfg_scale,
        s_min_uncond=a1111_options.s_min_uncond if requested is None else requested,
        s_min_uncond_all=a1111_options.s_min_uncond_all,
        skip_early_cond=a1111_options.skip_early_cond,
        padding=_padding(scope, passes),
    )


def _padding(scope: Scope, passes: Iterable[SamplingPass]) -> str:
    """How prompts of unequal length are made equal; A1111 looks at the older option first."""
    for option, padding in _PADDINGS.items():
        if getattr(scope.a1111_options, option):
            if not all(item.compare_lengths().is_sure for item in passes):
                scope.report.warn(
                    scope.a1111_options.path_of(option),
                    'whether the infotext says "Pad conds", as A1111 does where positive and '
                    "negative prompt are of unequal length, is judged by their words",
                )
            return padding
    return "none"


def sampler_numbers(
    request: Generation | None, resolved: ResolvedSampler, a1111_options: A1111Options
) -> SamplerNumbers:
    """What the sampler of a pass takes beside its sigmas.

    Args:
        request: whose numbers go before the options'; None where the options alone count.
    """
    sampler = resolved.sampler
    eta = request.eta if request else None
    if eta is None:
        eta = getattr(a1111_options, sampler.eta_option) if sampler.eta_option else 0.0
    numbers = {
        name: _noise_number(name, request, a1111_options)
        if name in sampler.noise_params
        else default
        for name, default in _NOISE_DEFAULTS.items()
    }
    extra: dict[str, Any] = {}
    if sampler.brownian_noise and a1111_options.no_dpmpp_sde_batch_determinism:
        extra["no_batch_determinism"] = True
    if sampler.evaluation == "unipc":
        extra |= {name: getattr(a1111_options, name) for name in _UNI_PC_OPTIONS}
    return SamplerNumbers(eta=eta, **numbers, extra=extra)


def _noise_number(name: str, request: Generation | None, a1111_options: A1111Options) -> float:
    """An option that differs from A1111's built-in default goes before the request's field."""
    option: float = getattr(a1111_options, name)
    requested: float | None = getattr(request, name) if request else None
    return option if option != _NOISE_DEFAULTS[name] or requested is None else requested


def fields(
    request: Generation, resolved: ResolvedSampler, a1111_options: A1111Options
) -> dict[str, str]:
    """Input of a node -> path of the field or option that sets it, see `SamplingPass.fields`."""
    path_of, eta_option = a1111_options.path_of, resolved.sampler.eta_option
    found = {
        name: path_of(name)
        for name, default in _NOISE_DEFAULTS.items()
        if getattr(a1111_options, name) != default
    }
    if request.eta is None and eta_option:
        found["eta"] = path_of(eta_option)
    if request.s_min_uncond is None:
        found["s_min_uncond"] = path_of("s_min_uncond")
    if isinstance(request, Img2Img):
        name = "initial_noise_multiplier"
        found["multiplier"] = path_of(name) if request.initial_noise_multiplier is None else name
    if isinstance(request, Txt2Img) and (request.firstphase_width or request.firstphase_height):
        found |= {"width": "firstphase_width", "height": "firstphase_height"}
    return found


def hires_fields(
    request: Txt2Img, upscale: LatentUpscale | ImageUpscale, a1111_options: A1111Options
) -> dict[str, str]:
    """`fields` of the hires pass, where they are others than the first pass'."""
    path_of = a1111_options.path_of
    by_size = request.hr_resize_x or request.hr_resize_y
    found = {
        "width": "hr_resize_x" if by_size else "hr_scale",
        "height": "hr_resize_y" if by_size else "hr_scale",
    }
    if request.hr_second_pass_steps:
        found |= dict.fromkeys(("steps", "total_steps"), "hr_second_pass_steps")
    if request.hr_prompt:
        found |= dict.fromkeys(("strength_model", "strength_clip"), "hr_prompt")
    if a1111_options.token_merging_ratio_hr:
        found["ratio"] = path_of("token_merging_ratio_hr")
    if isinstance(upscale, ImageUpscale):
        found |= zip(("tile", "tile_overlap"), map(path_of, upscale.tile_options), strict=True)
    return found
