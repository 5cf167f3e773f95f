"""A1111's way from noise levels to timesteps, and the MODEL patch that has ComfyUI go it.

ComfyUI rounds a sigma to the nearest timestep; A1111 (k-diffusion without quantisation)
interpolates in log sigma. ComfyUI starts from noise * sqrt(1 + sigma^2), A1111 from noise * sigma.
Further: A1111's LCM table of 50 entries with its boundary scaling, and the options "Zero Terminal
SNR" and "Downcast alphas_cumprod".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from .odd_sizes import patch_odd_sizes

LCM_STRIDE = 20
LCM_SIGMA_DATA = 0.5
LCM_TIMESTEP_SCALE = 10.0
ZERO_SNR_LAST_ABAR = 4.8973451890853435e-08


def scaled_linear_abar() -> Tensor:
    """Cumulative alphas (1000, float32) of SD1, SD2 and SDXL.

    The betas' roots run straight from sqrt(0.00085) to sqrt(0.012).
    """
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2
    return torch.cumprod(1.0 - betas, dim=0).float()


def abar_of_sigmas(sigmas: Tensor) -> Tensor:
    """Cumulative alphas (float32) of a table of sigmas.

    The standard table is returned exactly where the sigmas are its own up to rounding.
    """
    abar = (1.0 / (sigmas.double() ** 2 + 1.0)).float()
    standard = scaled_linear_abar().to(abar)
    if abar.shape == standard.shape and torch.allclose(abar, standard, rtol=1e-4, atol=0):
        return standard
    return abar


def sigmas_of_abar(abar: Tensor) -> Tensor:
    return ((1 - abar) / abar) ** 0.5


def zero_terminal_snr(abar: Tensor) -> Tensor:
    """Rescale a table so that its last entry carries (almost) no signal.

    Source: Lin et al. 2023, algorithm 1; the last value is A1111's.
    """
    root = abar.sqrt()
    first, last = root[0].clone(), root[-1].clone()
    rescaled = ((root - last) * (first / (first - last))) ** 2
    rescaled[-1] = ZERO_SNR_LAST_ABAR
    return rescaled


def fractional_timestep(sigma: Tensor, log_sigmas: Tensor) -> Tensor:
    """Position of `sigma` (any shape) in the table, linear in log sigma, clamped to its ends."""
    log_sigma = sigma.to(log_sigmas.device).log()
    distances = log_sigma - log_sigmas[:, None]
    low_index = distances.ge(0).cumsum(dim=0).argmax(dim=0).clamp(max=len(log_sigmas) - 2)
    low, high = log_sigmas[low_index], log_sigmas[low_index + 1]
    weight = ((low - log_sigma) / (low - high)).clamp(0, 1)
    return ((1 - weight) * low_index + weight * (low_index + 1)).view(sigma.shape).to(sigma.device)


def whole_timestep(sigma: Tensor, log_sigmas: Tensor) -> Tensor:
    """The nearest entry of the table, by log sigma (option enable_quantization)."""
    distances = sigma.to(log_sigmas.device).log() - log_sigmas[:, None]
    return distances.abs().argmin(dim=0).view(sigma.shape).to(sigma)


def interpolated_sigma(position: Tensor, log_sigmas: Tensor) -> Tensor:
    """The inverse of `fractional_timestep`: the sigma at a (fractional) table position."""
    t = position.float().to(log_sigmas.device).clamp(0, len(log_sigmas) - 1)
    weight = t.frac()
    log_sigma = (1 - weight) * log_sigmas[t.floor().long()] + weight * log_sigmas[t.ceil().long()]
    return log_sigma.exp().to(position.device)


def lcm_timestep(sigma: Tensor, log_sigmas: Tensor) -> Tensor:
    """The training timestep (19, 39, ... 999) of the nearest entry of the 50-step LCM table."""
    distances = sigma.to(log_sigmas.device).log() - log_sigmas[:, None]
    index = distances.abs().argmin(dim=0).view(sigma.shape).to(sigma.device)
    return index * LCM_STRIDE + (LCM_STRIDE - 1)


def lcm_denoised(x: Tensor, eps: Tensor, sigma: Tensor, timestep: Tensor) -> Tensor:
    """LCM's boundary scaling of the clean prediction (Luo et al. 2023, eq. 9).

    sigma and timestep have to broadcast to x.
    """
    scaled = timestep * LCM_TIMESTEP_SCALE
    c_skip = LCM_SIGMA_DATA**2 / (scaled**2 + LCM_SIGMA_DATA**2)
    c_out = scaled / (scaled**2 + LCM_SIGMA_DATA**2) ** 0.5
    return c_out * (x - eps * sigma) + c_skip * x


@dataclass(frozen=True)
class SamplingSettings:
    """The choices of the node A1111ModelSampling."""

    sgm_noise_multiplier: bool = False
    lcm: bool = False
    zero_terminal_snr: bool = False
    downcast_alphas: bool = False
    quantize: bool = False

    def abar(self, sigmas: Tensor) -> Tensor:
        """The table A1111 would use in place of a model's `sigmas`, before the LCM thinning."""
        abar = abar_of_sigmas(sigmas)
        if self.downcast_alphas:
            abar = abar.half()
        return zero_terminal_snr(abar) if self.zero_terminal_snr else abar

    def table(self, sigmas: Tensor) -> Tensor:
        """The sigmas A1111 samples with, ascending."""
        abar = self.abar(sigmas)
        return sigmas_of_abar(abar[LCM_STRIDE - 1 :: LCM_STRIDE].float() if self.lcm else abar)


class A1111Discrete:
    """Mixin in front of a ComfyUI model sampling class with discrete noise levels."""

    settings: SamplingSettings
    model_sigmas: Tensor
    abar: Tensor
    log_sigmas: Tensor
    v_abar: Tensor | None = None
    """For a v-prediction model its table before any option changed it."""

    def use(self, settings: SamplingSettings, sigmas: Tensor) -> None:
        """Take over A1111's table in place of the model's own `sigmas`."""
        self.settings = settings
        self.register_buffer("model_sigmas", sigmas)
        table = settings.table(sigmas)
        self.set_sigmas(table)
        # Downcast tables stay in half precision: A1111 computes with them as they are.
        self.register_buffer("abar", settings.abar(sigmas))
        self.register_buffer("log_sigmas", table.log())

    def timestep(self, sigma: Tensor) -> Tensor:
        if self.settings.lcm:
            return lcm_timestep(sigma, self.log_sigmas)
        lookup = whole_timestep if self.settings.quantize else fractional_timestep
        return lookup(sigma, self.log_sigmas)

    def sigma(self, timestep: Tensor) -> Tensor:
        position = (timestep - (LCM_STRIDE - 1)) / LCM_STRIDE if self.settings.lcm else timestep
        return interpolated_sigma(position, self.log_sigmas)

    def calculate_input(self, sigma: Tensor, x: Tensor) -> Tensor:
        return x * (1 / (_like(sigma, x) ** 2 + 1.0) ** 0.5)

    def calculate_denoised(self, sigma: Tensor, output: Tensor, x: Tensor) -> Tensor:
        if not self.settings.lcm:
            return super().calculate_denoised(sigma, output, x)
        return lcm_denoised(x, output, _like(sigma, x), _like(self.timestep(sigma), x))

    def noise_scaling(
        self, sigma: Tensor, noise: Tensor, latent: Tensor, max_denoise: bool = False
    ) -> Tensor:
        """Start latent. A1111's option applies to txt2img only, whose latent is empty."""
        sigma = _like(sigma, noise)
        if self.settings.sgm_noise_multiplier and not torch.any(latent):
            return noise * torch.sqrt(1.0 + sigma**2.0)
        return latent + noise * sigma


def _like(values: Tensor, x: Tensor) -> Tensor:
    """Per-image values (B,) or a single one, shaped to broadcast over latents."""
    return values.view(-1, *([1] * (x.ndim - 1))) if values.nelement() > 1 else values.view(())


def patch_model(model: Any, settings: SamplingSettings) -> Any:
    """A clone of the MODEL that samples as A1111 does.

    Models without a table of discrete noise levels (SD3 and other flow models) need no change and
    are returned as they are; raises ValueError if an option that needs a table is asked of them.
    """
    from comfy.model_sampling import V_PREDICTION, ModelSamplingDiscrete, ModelSamplingDiscreteEDM

    original = model.get_model_object("model_sampling")
    if not isinstance(original, ModelSamplingDiscrete) or isinstance(
        original, ModelSamplingDiscreteEDM
    ):
        if settings != SamplingSettings():
            raise ValueError(
                f"{settings} needs a model with discrete noise levels (SD1, SD2, SDXL)"
            )
        return model
    patched_before = isinstance(original, A1111Discrete)
    bases = type(original).__bases__ if patched_before else (A1111Discrete, type(original))
    sigmas = original.model_sigmas if patched_before else original.sigmas
    sampling = type("A1111ModelSampling", bases, {})(model.model.model_config)
    sampling.use(settings, sigmas)
    if isinstance(original, V_PREDICTION):
        sampling.v_abar = abar_of_sigmas(sigmas)
    patched = model.clone()
    patched.add_object_patch("model_sampling", sampling)
    patch_odd_sizes(patched)
    return patched
