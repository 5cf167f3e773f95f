"""The SAMPLER object: it starts a pass, runs one of A1111's samplers and blends the mask."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from . import samplers, soft_inpainting, timestep_samplers
from .brownian import BrownianNoise
from .guider import CALL, Call
from .model_sampling import abar_of_sigmas
from .noise import NoiseSeed, NoiseSettings, like
from .samplers import Churn, NoiseSource, Run
from .stopping import Watched, run_watched
from .timestep_samplers import CFGPP_GUIDANCE, TimestepRun
from .unipc import UniPCOptions

Progress = Callable[[int, Tensor, Tensor], None]


@dataclass(frozen=True)
class SigmaSampler:
    """A sampler on noise levels.

    brownian: its noise is a Brownian path. s_noise, churn: A1111 passes it these settings.
    """

    function: samplers.Sampler
    brownian: bool = False
    s_noise: bool = False
    churn: bool = False


SIGMA_SAMPLERS = {
    "DPM++ 2M": SigmaSampler(samplers.dpmpp_2m),
    "DPM++ SDE": SigmaSampler(samplers.dpmpp_sde, brownian=True, s_noise=True),
    "DPM++ 2M SDE": SigmaSampler(samplers.dpmpp_2m_sde, brownian=True, s_noise=True),
    "DPM++ 2M SDE Heun": SigmaSampler(samplers.dpmpp_2m_sde_heun, brownian=True, s_noise=True),
    "DPM++ 2S a": SigmaSampler(samplers.dpmpp_2s_ancestral, s_noise=True),
    "DPM++ 3M SDE": SigmaSampler(samplers.dpmpp_3m_sde, brownian=True, s_noise=True),
    "Euler a": SigmaSampler(samplers.euler_ancestral),
    "Euler": SigmaSampler(samplers.euler, s_noise=True, churn=True),
    "LMS": SigmaSampler(samplers.lms),
    "Heun": SigmaSampler(samplers.heun, s_noise=True, churn=True),
    "DPM2": SigmaSampler(samplers.dpm_2, s_noise=True, churn=True),
    "DPM2 a": SigmaSampler(samplers.dpm_2_ancestral, s_noise=True),
    "DPM fast": SigmaSampler(samplers.dpm_fast, s_noise=True),
    "DPM adaptive": SigmaSampler(samplers.dpm_adaptive),
    "Restart": SigmaSampler(samplers.restart),
    "LCM": SigmaSampler(samplers.lcm),
}

TIMESTEP_SAMPLERS = {
    "DDIM": timestep_samplers.ddim,
    "DDIM CFG++": timestep_samplers.ddim_cfgpp,
    "PLMS": timestep_samplers.plms,
    "UniPC": timestep_samplers.unipc,
}

SAMPLER_NAMES = (*SIGMA_SAMPLERS, *TIMESTEP_SAMPLERS)


@dataclass(frozen=True)
class RareOptions:
    """The `extra` input of A1111Sampler.

    steps: model calls of DPM fast (0: one less than the sigmas). extra_noise: A1111's
    img2img_extra_noise. no_batch_determinism: A1111's no_dpmpp_sde_batch_determinism. uni_pc_*:
    A1111's options of these names. soft_inpainting: its schedule bias, preservation strength and
    transition contrast boost; None blends by A1111's plain rule.
    """

    steps: int = 0
    extra_noise: float = 0.0
    no_batch_determinism: bool = False
    uni_pc_variant: str = "bh1"
    uni_pc_skip_type: str = "time_uniform"
    uni_pc_order: int = 3
    uni_pc_lower_order_final: bool = True
    soft_inpainting: tuple[float, float, float] | None = None

    @classmethod
    def from_json(cls, text: str) -> RareOptions:
        """Read a JSON object of these names; raises ValueError for a name that is none of them."""
        values = json.loads(text) if text.strip() else {}
        unknown = sorted(set(values) - {option.name for option in fields(cls)})
        if unknown:
            raise ValueError(f"A1111Sampler has no extra option {', '.join(unknown)}")
        return cls(**values)

    @property
    def unipc(self) -> UniPCOptions:
        return UniPCOptions(
            self.uni_pc_variant,
            self.uni_pc_skip_type,
            self.uni_pc_order,
            self.uni_pc_lower_order_final,
        )


@dataclass(frozen=True)
class A1111SamplerObject:
    """ComfyUI's SAMPLER interface over A1111's samplers.

    sigma_min, sigma_max: range of the full schedule (0: that of the sigmas given). s_tmax 0 means
    no upper end. timesteps: ascending, for the timestep samplers; to these the sigmas say only what
    level an init latent is noised to (the first) and how many steps to report progress of. ends:
    asked at every call of the model whether the pass is to end with what it has reached.
    """

    name: str
    eta: float = 1.0
    s_churn: float = 0.0
    s_tmin: float = 0.0
    s_tmax: float = 0.0
    s_noise: float = 1.0
    sigma_min: float = 0.0
    sigma_max: float = 0.0
    timesteps: tuple[int, ...] = ()
    rare: RareOptions = field(default_factory=RareOptions)
    ends: Callable[[], bool] = field(default=bool, compare=False)

    def sample(
        self,
        model_wrap: Any,
        sigmas: Tensor,
        extra_args: dict[str, Any],
        callback: Any,
        noise: Tensor,
        latent_image: Tensor,
        denoise_mask: Tensor | None = None,
        disable_pbar: bool = False,
    ) -> Tensor:
        """Run the pass and return the last latent; called by ComfyUI's guider.

        noise, latent_image, denoise_mask: (B, C, H, W), the mask 1 where the picture is made anew.
        Raises ValueError if the noise does not come from A1111Noise.
        """
        del disable_pbar
        seed = extra_args.get("seed")
        if not isinstance(seed, NoiseSeed):
            raise ValueError(
                "A1111Sampler continues the noise of A1111Noise: connect that node as the noise"
            )
        job = _Pass(
            self,
            Watched(model_wrap, latent_image, self.ends),
            extra_args,
            seed.settings,
            callback,
            latent_image,
            denoise_mask,
            len(sigmas) - 1,
        )
        run = job.run_timesteps if self.name in TIMESTEP_SAMPLERS else job.run_sigmas
        # Levels are single numbers: on the CPU they can be read without waiting for the GPU, and
        # torch takes them into the GPU's arithmetic as they are.
        levels = sigmas.cpu()
        return job.blend(run_watched(lambda: run(noise, levels)))


@dataclass
class _Counter:
    """A1111's ``state.sampling_step``: the step of which a sampler told last."""

    step: int = 0


@dataclass(frozen=True)
class _Pass:
    """One sampling pass: a sampler's settings with the model, the noise and the mask they meet."""

    settings: A1111SamplerObject
    model_wrap: Any
    extra_args: dict[str, Any]
    noise_settings: NoiseSettings
    callback: Any
    latent_image: Tensor
    denoise_mask: Tensor | None
    total_steps: int
    counter: _Counter = field(default_factory=_Counter)

    @property
    def _sampling(self) -> Any:
        return self.model_wrap.inner_model.model_sampling

    @cached_property
    def _table(self) -> Tensor:
        """The model's sigmas by timestep, on the CPU."""
        return self._sampling.sigmas.cpu()

    @cached_property
    def _v_abar(self) -> Tensor | None:
        """A v-prediction model's own table of cumulative alphas, on the CPU; None for others."""
        table = getattr(self._sampling, "v_abar", None)
        return None if table is None else table.cpu()

    def blend(self, latent: Tensor, level: float | None = None) -> Tensor:
        """Put the init latent back where nothing is to be made anew.

        level: the noise level of the model call that it is done for, a timestep for the timestep
            samplers; None after the last one, where soft inpainting leaves the result alone.
        """
        if self.denoise_mask is None:
            return latent
        soft = self.settings.rare.soft_inpainting
        if soft is not None:
            if level is None:
                return latent
            return soft_inpainting.blend(self.latent_image, latent, self.denoise_mask, level, *soft)
        return latent * self.denoise_mask + self.latent_image * (1 - self.denoise_mask)

    def progress(self, step: int, x: Tensor, denoised: Tensor) -> None:
        self.counter.step = step
        if self.callback is not None:
            self.callback(step, denoised, x, self.total_steps)

    def run_sigmas(self, noise: Tensor, sigmas: Tensor) -> Tensor:
        settings = self.settings
        kind = SIGMA_SAMPLERS[settings.name]
        x = self._sampling.noise_scaling(sigmas[0], noise, self.latent_image, False)
        x = x + noise * settings.rare.extra_noise if settings.rare.extra_noise else x
        churn = Churn(settings.s_churn, settings.s_tmin, settings.s_tmax or math.inf)
        low, high = self._range(sigmas)
        run = Run(
            denoise=self._denoise,
            noise=self._brownian(x, sigmas) if kind.brownian else self._stream(x),
            progress=self.progress,
            eta=settings.eta,
            s_noise=settings.s_noise if kind.s_noise else 1.0,
            churn=churn if kind.churn else Churn(),
            sigma_min=low,
            sigma_max=high,
            steps=settings.rare.steps or len(sigmas) - 1,
        )
        return kind.function(run, x, sigmas)

    def _denoise(self, x: Tensor, sigma: Tensor) -> Tensor:
        return self.blend(self._called(x, sigma, Call(sigma=float(sigma))), float(sigma))

    def _called(self, x: Tensor, sigma: Tensor, call: Call) -> Tensor:
        """The model's clean latent for x at one sigma for all images."""
        call.step = self.counter.step
        options = {**self.extra_args["model_options"], CALL: call}
        levels = sigma * x.new_ones([x.shape[0]])
        return self.model_wrap(x, levels, **{**self.extra_args, "model_options": options})

    def _stream(self, x: Tensor) -> NoiseSource:
        """The images' own streams, past the start noise."""
        streams = self.noise_settings.after_start(x.shape, x.device)
        return lambda sigma, sigma_next: like(streams.next(), x)

    def _range(self, sigmas: Tensor) -> tuple[float, float]:
        low, high = self.settings.sigma_min, self.settings.sigma_max
        return low or float(sigmas[sigmas > 0].min()), high or float(sigmas.max())

    def _brownian(self, x: Tensor, sigmas: Tensor) -> NoiseSource:
        seeds: Sequence[int] | int = self.noise_settings.seeds
        low, high = self._range(sigmas)
        if self.settings.rare.no_batch_determinism:
            # k-diffusion then seeds one path for the batch from torch's global generator, which
            # A1111 has just seeded with the last image's seed, and takes the range of the sigmas it
            # runs.
            generator = torch.Generator().manual_seed(self.noise_settings.seeds[-1])
            seeds = int(torch.randint(0, 2**63 - 1, [], generator=generator))
            low, high = float(sigmas[sigmas > 0].min()), float(sigmas.max())
        return BrownianNoise(x, low, high, seeds, self.noise_settings.source)

    def run_timesteps(self, noise: Tensor, sigmas: Tensor) -> Tensor:
        settings = self.settings
        sampling = self._sampling
        abar = getattr(sampling, "abar", None)
        abar = (abar_of_sigmas(self._table) if abar is None else abar).cpu()
        stream = self._stream(noise)
        run = TimestepRun(
            predict=self._predict_eps,
            noise=lambda: stream(sigmas[0], sigmas[0]),
            progress=self.progress,
            abar=abar,
            eta=settings.eta,
            img2img=self._from_image,
            unipc=settings.rare.unipc,
        )
        timesteps = torch.tensor(settings.timesteps, dtype=torch.long)
        start = self._noised(noise, sigmas[0], abar)
        return TIMESTEP_SAMPLERS[settings.name](run, start, timesteps)

    @property
    def _from_image(self) -> bool:
        """Whether there is an init latent; in txt2img ComfyUI passes zeros."""
        return bool(torch.any(self.latent_image))

    def _noised(self, noise: Tensor, sigma: Tensor, abar: Tensor) -> Tensor:
        """The start latent in variance preserving scale."""
        if not self._from_image:
            return noise
        a = abar[torch.argmin(torch.abs(self._table.to(sigma) - sigma))]
        signal, spread = torch.sqrt(a), torch.sqrt(1 - a)
        start = self.latent_image * signal + noise * spread
        return start + noise * (self.settings.rare.extra_noise * signal)

    def _predict_eps(self, x: Tensor, timestep: float) -> tuple[Tensor, Tensor]:
        """Guided and unconditional noise prediction for x in variance preserving scale.

        The model is called at the sigma that ComfyUI maps to this timestep, with x scaled to that
        sigma, so that the UNet sees x and the timestep as they are.
        """
        x = self.blend(x, float(timestep))
        plus_plus = self.settings.name == "DDIM CFG++"
        sigma = self._sigma_at(timestep).to(x.dtype)
        call = Call(
            float(sigma), timestep, CFGPP_GUIDANCE if plus_plus else 1.0, wants_uncond=plus_plus
        )
        scaled = x * torch.sqrt(1 + sigma**2)
        denoised = self._called(scaled, sigma, call)
        eps = self._eps(x, scaled, denoised, sigma, timestep)
        if not plus_plus:
            return eps, eps
        if call.uncond is None:
            raise ValueError("DDIM CFG++ needs A1111Guider as the guider")
        return eps, self._eps(x, scaled, call.uncond, sigma, timestep)

    def _sigma_at(self, timestep: float) -> Tensor:
        """The sigma for a timestep; a whole one's is the table's own, to be mapped back exactly."""
        if timestep == int(timestep):
            return self._table[int(timestep)]
        return self._sampling.sigma(torch.tensor(timestep)).cpu()

    def _eps(
        self, x: Tensor, scaled: Tensor, denoised: Tensor, sigma: Tensor, timestep: float
    ) -> Tensor:
        table = self._v_abar
        if table is None:
            return (scaled - denoised) / sigma
        # A1111 turns a v-prediction into noise with the model's own table at the whole timestep
        # below.
        v = (scaled / (sigma**2 + 1) - denoised) * torch.sqrt(sigma**2 + 1) / sigma
        a = table[int(timestep)].to(x.dtype)
        return torch.sqrt(a) * v + torch.sqrt(1 - a) * x
