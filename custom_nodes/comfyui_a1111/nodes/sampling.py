"""The sampling nodes: noise, sigmas, sampler, model sampling, guider."""

from __future__ import annotations

import functools
import json
from dataclasses import replace
from typing import Any

import torch

from ..maths.guider import PADDINGS, Guidance
from ..maths.model_sampling import SamplingSettings, patch_model
from ..maths.noise import SOURCES, NoiseSeed, NoiseSettings
from ..maths.sampler_object import SAMPLER_NAMES, A1111SamplerObject, RareOptions
from ..maths.stopping import STOPS
from .inputs import flag, line, number, whole
from .interrupt import pass_ends

CATEGORY = "A1111/sampling"
_MAX_SEED_DELTA = 2**63 - 1
_number = functools.partial(number, step=0.01)


class NoiseObject:
    """ComfyUI's NOISE interface: `seed`, and `generate_noise` for the start noise."""

    def __init__(self, settings: NoiseSettings) -> None:
        self.settings = settings
        self.seed = NoiseSeed(settings)

    def generate_noise(self, input_latent: dict[str, Any]) -> torch.Tensor:
        """Start noise (B, C, H, W), float32, for a LATENT of that shape."""
        return self.settings.start(input_latent["samples"].shape, self._device()).next().cpu()

    def _device(self) -> torch.device:
        from comfy.model_management import get_torch_device

        return get_torch_device()


class A1111Noise:
    """One random stream per image."""

    CATEGORY = CATEGORY
    RETURN_TYPES = ("NOISE",)
    FUNCTION = "make"

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {
            "required": {
                "seeds": line("[0]"),
                "subseeds": line("[]"),
                "subseed_strength": _number(0.0, -100.0, 100.0),
                "seed_resize_from_w": whole(0, 0),
                "seed_resize_from_h": whole(0, 0),
                "source": (list(SOURCES),),
                "eta_noise_seed_delta": (
                    "INT",
                    {"default": 0, "min": -_MAX_SEED_DELTA, "max": _MAX_SEED_DELTA},
                ),
                "multiplier": _number(1.0, 0.0, 10.0),
            }
        }

    def make(
        self,
        seeds: str,
        subseeds: str,
        subseed_strength: float,
        seed_resize_from_w: int,
        seed_resize_from_h: int,
        source: str,
        eta_noise_seed_delta: int,
        multiplier: float,
    ) -> tuple[NoiseObject]:
        settings = NoiseSettings(
            seeds=tuple(json.loads(seeds)),
            subseeds=tuple(json.loads(subseeds)),
            subseed_strength=subseed_strength,
            resize_from=(seed_resize_from_h, seed_resize_from_w),
            source=source,
            seed_delta=eta_noise_seed_delta,
            multiplier=multiplier,
        )
        return (NoiseObject(settings),)


class A1111NoiseOverLatent:
    """Noise whose every draw is laid over a latent, as ControlNet's inpaint_only+lama does it.

    `model` gives the latent's scale. Draws of another size stay as they are.
    """

    CATEGORY = CATEGORY
    RETURN_TYPES = ("NOISE",)
    FUNCTION = "lay"

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {"required": {"noise": ("NOISE",), "model": ("MODEL",), "latent": ("LATENT",)}}

    def lay(self, noise: NoiseObject, model: Any, latent: dict[str, Any]) -> tuple[NoiseObject]:
        scaled = model.model.process_latent_in(latent["samples"][:1]).cpu().float()
        return (NoiseObject(replace(noise.settings, latent=scaled)),)


class A1111Sigmas:
    """A schedule written out: JSON list of sigmas, descending."""

    CATEGORY = CATEGORY
    RETURN_TYPES = ("SIGMAS",)
    FUNCTION = "make"

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {"required": {"sigmas": line("[]")}}

    def make(self, sigmas: str) -> tuple[torch.Tensor]:
        return (torch.tensor(json.loads(sigmas), dtype=torch.float32),)


class A1111Sampler:
    """One of A1111's samplers."""

    CATEGORY = CATEGORY
    RETURN_TYPES = ("SAMPLER",)
    FUNCTION = "make"

    @classmethod
    def IS_CHANGED(cls, **inputs: Any) -> int:
        """What a pass made that was ended early must not be found in the cache."""
        return STOPS.ended

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {
            "required": {
                "sampler": (list(SAMPLER_NAMES),),
                "eta": _number(1.0, 0.0, 100.0),
                "s_churn": _number(0.0, 0.0, 1000.0),
                "s_tmin": _number(0.0, -100000.0, 100000.0),
                "s_tmax": _number(0.0, 0.0, 100000.0),
                "s_noise": _number(1.0, 0.0, 100.0),
                "sigma_min": _number(0.0, 0.0, 100000.0, step=0.0001),
                "sigma_max": _number(0.0, 0.0, 100000.0, step=0.0001),
                "timesteps": line(),
                "extra": line(),
            }
        }

    def make(
        self,
        sampler: str,
        eta: float,
        s_churn: float,
        s_tmin: float,
        s_tmax: float,
        s_noise: float,
        sigma_min: float,
        sigma_max: float,
        timesteps: str,
        extra: str,
    ) -> tuple[A1111SamplerObject]:
        settings = A1111SamplerObject(
            name=sampler,
            eta=eta,
            s_churn=s_churn,
            s_tmin=s_tmin,
            s_tmax=s_tmax,
            s_noise=s_noise,
            sigma_min=sigma_min,
            sigma_max=sigma_max,
            timesteps=tuple(json.loads(timesteps)) if timesteps.strip() else (),
            rare=RareOptions.from_json(extra),
            ends=pass_ends,
        )
        return (settings,)


class A1111ModelSampling:
    """A1111's mapping of noise levels to timesteps, and its start noise."""

    CATEGORY = CATEGORY
    RETURN_TYPES = ("MODEL",)
    FUNCTION = "patch"

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {
            "required": {
                "model": ("MODEL",),
                "sgm_noise_multiplier": flag(),
                "table": (["model", "lcm"],),
                "zero_terminal_snr": flag(),
                "downcast_alphas": flag(),
            },
            "optional": {"quantize": flag()},
        }

    def patch(
        self,
        model: Any,
        sgm_noise_multiplier: bool,
        table: str,
        zero_terminal_snr: bool,
        downcast_alphas: bool,
        quantize: bool = False,
    ) -> tuple[Any]:
        settings = SamplingSettings(
            sgm_noise_multiplier, table == "lcm", zero_terminal_snr, downcast_alphas, quantize
        )
        return (patch_model(model, settings),)


class A1111Guider:
    """A1111's denoiser: AND parts, schedules by model call, refiner, skipped negative prompt.

    With `counted_steps` the ranges of ControlNets, image prompts and conditioning go by A1111's
    step counter instead of the noise level: p / (1 + p) stands for p = step / counted_steps.
    """

    CATEGORY = CATEGORY
    RETURN_TYPES = ("GUIDER",)
    FUNCTION = "make"

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {
            "required": {
                "model": ("MODEL",),
                "positive": ("CONDITIONING",),
                "negative": ("CONDITIONING",),
                "cfg": _number(7.0, -100000.0, 100000.0),
                "s_min_uncond": _number(0.0, -100000.0, 100000.0),
                "s_min_uncond_all": flag(),
                "skip_early_cond": _number(0.0, -100.0, 100.0),
                "total_steps": whole(20, 1, 100000),
            },
            "optional": {
                "refiner": ("MODEL",),
                "refiner_positive": ("CONDITIONING",),
                "refiner_negative": ("CONDITIONING",),
                "refiner_switch_at": _number(0.0, -100.0, 100.0),
                "refiner_switch_by_steps": flag(),
                "padding": (list(PADDINGS),),
                "empty_prompt": ("CONDITIONING",),
                "counted_steps": whole(0, 0, 100000),
                "image_conditioning": ("LATENT",),
                "image_cfg_scale": _number(1.0, -100000.0, 100000.0),
            },
        }

    def make(
        self,
        model: Any,
        positive: Any,
        negative: Any,
        cfg: float,
        s_min_uncond: float,
        s_min_uncond_all: bool,
        skip_early_cond: float,
        total_steps: int,
        refiner: Any = None,
        refiner_positive: Any = None,
        refiner_negative: Any = None,
        refiner_switch_at: float = 0.0,
        refiner_switch_by_steps: bool = False,
        padding: str = "none",
        empty_prompt: Any = None,
        counted_steps: int = 0,
        image_conditioning: dict[str, Any] | None = None,
        image_cfg_scale: float = 1.0,
    ) -> tuple[Any]:
        from .comfy_guider import A1111CFGGuider

        guidance = Guidance(
            cfg=cfg,
            s_min_uncond=s_min_uncond,
            s_min_uncond_all=s_min_uncond_all,
            skip_early_cond=skip_early_cond,
            total_steps=total_steps,
            refiner_switch_at=refiner_switch_at,
            refiner_switch_by_steps=refiner_switch_by_steps,
            padding=padding,
            counted_steps=counted_steps,
            image_cfg_scale=image_cfg_scale,
        )
        guider = A1111CFGGuider(model, positive, negative, guidance)
        if image_conditioning is not None:
            guider.set_image(image_conditioning)
        if empty_prompt is not None:
            guider.set_empty_prompt(empty_prompt)
        if refiner is not None:
            if refiner_positive is None or refiner_negative is None:
                raise ValueError("a refiner needs refiner_positive and refiner_negative")
            guider.set_refiner(refiner, refiner_positive, refiner_negative)
        return (guider,)
