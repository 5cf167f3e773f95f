"""Noise, schedules, guiders and samplers."""

from __future__ import annotations

import math
from dataclasses import replace

from devserver.nodes.table import NodeFunction, Nodes, gives, makes
from devserver.settings import Work
from devserver.values import (
    Conditioning,
    Guider,
    Inputs,
    Latent,
    NodeFailure,
    Noise,
    Picture,
    Result,
    Sigmas,
)

_SAMPLERS = (
    "A1111InvertingSampler",
    "A1111ReversingSampler",
    "A1111Sampler",
    "KSamplerSelect",
    "SamplerDPMAdaptative",
    "SamplerDPMPP_2M_SDE",
    "SamplerDPMPP_2S_Ancestral",
    "SamplerDPMPP_3M_SDE",
    "SamplerDPMPP_SDE",
    "SamplerER_SDE",
    "SamplerEulerAncestral",
    "SamplerEulerAncestralCFGPP",
    "SamplerEulerCFGpp",
    "SamplerLCMUpscale",
    "SamplerLMS",
    "SamplerSASolver",
)
_TRAINING_STEPS = 1000

_ROWS: dict[str, NodeFunction] = dict.fromkeys(_SAMPLERS, makes())

NODES = Nodes(_ROWS)


def schedule_length(scheduler: str, steps: int) -> int:
    """How many sigmas a scheduler gives: `steps` + 1, but for ``ddim_uniform``.

    That one takes every ``1000 // steps``-th timestep from 1 on, and a final 0.
    """
    if scheduler != "ddim_uniform":
        return steps + 1
    stride = max(_TRAINING_STEPS // steps, 1)
    return math.ceil((_TRAINING_STEPS - 1) / stride) + 1


def denoised_length(scheduler: str, steps: int, denoise: float, enough: float) -> int:
    """Sigmas left when only the last part of a schedule is used.

    Args:
        enough: from this denoise on the whole schedule is used.
    """
    if denoise >= enough:
        return schedule_length(scheduler, steps)
    if denoise <= 0:
        return 0
    return min(schedule_length(scheduler, int(steps / denoise)), steps + 1)


@NODES.add("BasicScheduler")
def basic_scheduler(x: Inputs) -> Result:
    x.need("model")
    scheduler, steps = x.text("scheduler"), x.integer("steps")
    count = denoised_length(scheduler, steps, x.number("denoise"), enough=1.0)
    return gives(Sigmas(min(count, steps + 1)))


@NODES.add(
    "BetaSamplingScheduler",
    "ExponentialScheduler",
    "KarrasScheduler",
    "LaplaceScheduler",
    "PolyexponentialScheduler",
    "VPScheduler",
)
def plain_scheduler(x: Inputs) -> Result:
    return gives(Sigmas(x.integer("steps") + 1))


@NODES.add("AlignYourStepsScheduler", "SDTurboScheduler")
def denoising_scheduler(x: Inputs) -> Result:
    steps, denoise = x.integer("steps"), x.number("denoise")
    return gives(Sigmas(round(steps * denoise) + 1 if denoise > 0 else 0))


@NODES.add("SplitSigmas")
def split_sigmas(x: Inputs) -> Result:
    count, step = x.get("sigmas", Sigmas).count, x.integer("step")
    return gives(Sigmas(min(step + 1, count)), Sigmas(max(count - step, 0)))


@NODES.add("SplitSigmasDenoise")
def split_sigmas_denoise(x: Inputs) -> Result:
    sigmas = x.get("sigmas", Sigmas)
    low = round(sigmas.steps * x.number("denoise"))
    # Sliced with a negative end in ComfyUI, so that nothing is left of the first part at 0.
    return gives(Sigmas(sigmas.count - low if low else 0), Sigmas(min(low + 1, sigmas.count)))


@NODES.add("FlipSigmas", "SetFirstSigma")
def same_length(x: Inputs) -> Result:
    return gives(x.get("sigmas", Sigmas))


@NODES.add("RandomNoise")
def random_noise(x: Inputs) -> Result:
    return gives(Noise((x.integer("noise_seed"),)))


@NODES.add("DisableNoise")
def no_noise(x: Inputs) -> Result:
    return gives(Noise(()))


@NODES.add("AddNoise")
def add_noise(x: Inputs) -> Result:
    latent, noise = x.latent("latent_image"), x.get("noise", Noise)
    x.need("model")
    if x.get("sigmas", Sigmas).count == 0:
        return gives(latent)
    return gives(sampled(latent, noise, latent.pictures[0].text))


@NODES.add("CFGGuider", "PerpNegGuider")
def cfg_guider(x: Inputs) -> Result:
    x.need("model", "negative")
    return gives(Guider(x.get("positive", Conditioning).text))


@NODES.add("BasicGuider")
def basic_guider(x: Inputs) -> Result:
    x.need("model")
    return gives(Guider(x.get("conditioning", Conditioning).text))


@NODES.add("DualCFGGuider")
def dual_cfg_guider(x: Inputs) -> Result:
    x.need("model", "negative", "cond2")
    return gives(Guider(x.get("cond1", Conditioning).text))


@NODES.add("KSampler")
def ksampler(x: Inputs) -> Result:
    count = denoised_length(
        x.text("scheduler"), x.integer("steps"), x.number("denoise"), enough=0.9999
    )
    return _sample(x, Noise((x.integer("seed"),)), Sigmas(count))


@NODES.add("KSamplerAdvanced")
def ksampler_advanced(x: Inputs) -> Result:
    count = schedule_length(x.text("scheduler"), x.integer("steps"))
    count = min(count, x.integer("end_at_step") + 1)
    count = max(count - x.integer("start_at_step"), 0)
    adds_noise = x.text("add_noise") != "disable"
    return _sample(x, Noise((x.integer("noise_seed"),) if adds_noise else ()), Sigmas(count))


def _sample(x: Inputs, noise: Noise, sigmas: Sigmas) -> Result:
    x.need("model", "negative")
    latent, positive = x.latent("latent_image"), x.get("positive", Conditioning)
    return _steps(sigmas, latent, sampled(latent, noise, positive.text))


@NODES.add("SamplerCustom")
def sampler_custom(x: Inputs) -> Result:
    x.need("model", "negative", "sampler")
    noise = Noise((x.integer("noise_seed"),) if x.flag("add_noise") else ())
    latent, positive = x.latent("latent_image"), x.get("positive", Conditioning)
    return _steps(x.get("sigmas", Sigmas), latent, sampled(latent, noise, positive.text), outputs=2)


@NODES.add("SamplerCustomAdvanced")
def sampler_custom_advanced(x: Inputs) -> Result:
    x.need("sampler")
    latent, noise, guider = x.latent("latent_image"), x.get("noise", Noise), x.get("guider", Guider)
    return _steps(x.get("sigmas", Sigmas), latent, sampled(latent, noise, guider.text), outputs=2)


def _steps(sigmas: Sigmas, before: Latent, after: Latent, outputs: int = 1) -> Result:
    """A sampling run; one without a step hands on what it was given."""
    if sigmas.steps == 0:
        return gives(*(before,) * outputs)
    return Result((after,) * outputs, Work.STEP, steps=sigmas.steps, previews=True)


def sampled(latent: Latent, noise: Noise, text: str) -> Latent:
    """The latents after sampling: known by the noise they came from, and the prompt.

    Raises:
        NodeFailure: the noise has a seed per image, but not as many as there are images.
    """
    count = len(latent.pictures)
    if noise.per_image and len(noise.seeds) != count:
        message = f"{len(noise.seeds)} seeds were given for a batch of {count} images"
        raise NodeFailure(message, "ValueError")
    pictures = tuple(
        _sampled(picture, noise, index, text) for index, picture in enumerate(latent.pictures)
    )
    return replace(latent, pictures=pictures)


def _sampled(picture: Picture, noise: Noise, index: int, text: str) -> Picture:
    if not noise.seeds:
        return replace(picture, text=text, file=None)
    if noise.per_image:
        return Picture(seed=noise.seeds[index], index=0, text=text)
    return Picture(seed=noise.seeds[0], index=index, text=text)
