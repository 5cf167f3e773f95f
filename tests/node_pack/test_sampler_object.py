"""A1111Sampler's pass around a sampler: start latent, noise streams, mask, timestep scale."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from custom_nodes.comfyui_a1111.maths import model_sampling as ms  # noqa: E402
from custom_nodes.comfyui_a1111.maths.guider import CALL  # noqa: E402
from custom_nodes.comfyui_a1111.maths.noise import NoiseSeed, NoiseSettings  # noqa: E402
from custom_nodes.comfyui_a1111.maths.sampler_object import (  # noqa: E402
    SAMPLER_NAMES,
    TIMESTEP_SAMPLERS,
    A1111SamplerObject,
    RareOptions,
)
from custom_nodes.comfyui_a1111.nodes.sampling import A1111Noise, A1111Sampler, A1111Sigmas  # noqa: E402

pytestmark = [pytest.mark.torch, pytest.mark.filterwarnings("ignore:Should have")]

SIGMAS = torch.tensor([14.6146, 7.0, 3.0, 1.0, 0.0])
TIMESTEPS = (1, 126, 251, 376, 501, 626, 751, 876)
SHAPE = (2, 4, 8, 8)
TABLE = ms.sigmas_of_abar(ms.scaled_linear_abar())


class EpsSampling(torch.nn.Module):
    """What ComfyUI's classes for discrete noise levels and noise prediction give the mixin."""

    def set_sigmas(self, sigmas: torch.Tensor) -> None:
        self.register_buffer("sigmas", sigmas.float())

    def calculate_denoised(
        self, sigma: torch.Tensor, output: torch.Tensor, x: torch.Tensor
    ) -> torch.Tensor:
        return x - output * sigma.view(-1, 1, 1, 1)


class PatchedSampling(ms.A1111Discrete, EpsSampling):
    pass


class Model:
    """Stands in for ComfyUI's guider: remembers its calls and predicts by `unet(x, t)`."""

    def __init__(self, settings: ms.SamplingSettings | None = None) -> None:
        sampling = PatchedSampling()
        sampling.use(settings or ms.SamplingSettings(), TABLE)
        self.inner_model = SimpleNamespace(model_sampling=sampling)
        self.inputs: list[torch.Tensor] = []
        self.timesteps: list[float] = []
        self.calls: list[Any] = []

    def __call__(
        self, x: torch.Tensor, sigma: torch.Tensor, model_options: dict[str, Any], seed: int
    ) -> torch.Tensor:
        sampling = self.inner_model.model_sampling
        scaled = sampling.calculate_input(sigma, x)
        t = sampling.timestep(sigma)
        self.inputs.append(scaled)
        self.timesteps.append(float(t[0]))
        call = model_options.get(CALL)
        self.calls.append(call)
        denoised = sampling.calculate_denoised(sigma, 0.3 * scaled, x)
        if call is not None:
            call.uncond = sampling.calculate_denoised(sigma, 0.1 * scaled, x)
        return denoised


def run(
    sampler: A1111SamplerObject,
    model: Model | None = None,
    latent: torch.Tensor | None = None,
    mask: torch.Tensor | None = None,
    seeds: tuple[int, ...] = (5, 6),
    sigmas: torch.Tensor = SIGMAS,
) -> torch.Tensor:
    settings = NoiseSettings(seeds, source="CPU")
    shape = (len(seeds), *SHAPE[1:])
    noise = settings.start(shape, "cpu").next()
    latent = torch.zeros(shape) if latent is None else latent
    extra = {"model_options": {}, "seed": NoiseSeed(settings)}
    return sampler.sample(model or Model(), sigmas, extra, None, noise, latent, mask)


def sampler(name: str, **settings: Any) -> A1111SamplerObject:
    timesteps = TIMESTEPS if name in TIMESTEP_SAMPLERS else ()
    eta = {"eta": 0.0} if name in TIMESTEP_SAMPLERS else {}
    return A1111SamplerObject(name, timesteps=timesteps, **{**eta, **settings})


@pytest.mark.parametrize("name", sorted(set(SAMPLER_NAMES) - {"DPM adaptive"}))
def test_every_sampler_gives_an_image_its_own_result(name: str) -> None:
    """Image 2 of a batch is what its seed gives alone."""
    settings = {"eta": 0.5} if name in ("DDIM", "DDIM CFG++") else {}
    together = run(sampler(name, **settings))
    alone = run(sampler(name, **settings), seeds=(6,))
    assert torch.isfinite(together).all()
    assert torch.allclose(together[1:], alone, atol=1e-5)
    assert not torch.allclose(together[:1], alone, atol=1e-2)


def test_starts_from_noise_times_sigma() -> None:
    model = Model()
    run(sampler("Euler"), model)
    start = NoiseSettings((5, 6), source="CPU").start(SHAPE, "cpu").next()
    expected = start * SIGMAS[0] / (SIGMAS[0] ** 2 + 1) ** 0.5
    assert torch.allclose(model.inputs[0], expected, atol=1e-6)
    assert model.timesteps[0] == pytest.approx(999, abs=1e-2)


def test_sgm_noise_multiplier_applies_to_empty_latents_only() -> None:
    start = NoiseSettings((5, 6), source="CPU").start(SHAPE, "cpu").next()
    settings = ms.SamplingSettings(sgm_noise_multiplier=True)
    model = Model(settings)
    run(sampler("Euler"), model)
    assert torch.allclose(model.inputs[0], start, atol=1e-6)
    model, latent = Model(settings), torch.full(SHAPE, 0.5)
    run(sampler("Euler"), model, latent)
    expected = (latent + start * SIGMAS[0]) / (SIGMAS[0] ** 2 + 1) ** 0.5
    assert torch.allclose(model.inputs[0], expected, atol=1e-6)


def test_extra_noise_is_added_to_the_start() -> None:
    latent = torch.full(SHAPE, 0.5)
    plain, noisy = Model(), Model()
    run(sampler("Euler"), plain, latent)
    run(sampler("Euler", rare=RareOptions(extra_noise=0.2)), noisy, latent)
    start = NoiseSettings((5, 6), source="CPU").start(SHAPE, "cpu").next()
    added = (noisy.inputs[0] - plain.inputs[0]) * (SIGMAS[0] ** 2 + 1) ** 0.5
    assert torch.allclose(added, start * 0.2, atol=1e-5)


def test_steps_continue_the_images_streams() -> None:
    """Euler a's noise is the second draw of each seed's generator."""
    one_step = torch.tensor([2.0, 1.0])
    quiet = run(sampler("Euler a", eta=0.0), sigmas=one_step)
    streams = NoiseSettings((5, 6), source="CPU").start(SHAPE, "cpu")
    streams.next()
    from custom_nodes.comfyui_a1111.maths.samplers import ancestral_step

    down, up = ancestral_step(one_step[0], one_step[1], 1.0)
    loud = run(sampler("Euler a"), sigmas=one_step)
    to_down = run(sampler("Euler a", eta=0.0), sigmas=torch.stack([one_step[0], down]))
    assert torch.allclose(loud, to_down + streams.next() * up, atol=1e-5)
    assert not torch.allclose(loud, quiet, atol=0.1)


def test_settings_reach_only_the_samplers_that_a1111_gives_them() -> None:
    assert torch.equal(run(sampler("Euler a", s_noise=1.5)), run(sampler("Euler a")))
    assert not torch.equal(run(sampler("DPM2 a", s_noise=1.5)), run(sampler("DPM2 a")))
    assert torch.equal(run(sampler("DPM++ SDE", s_churn=9.0)), run(sampler("DPM++ SDE")))
    assert not torch.equal(run(sampler("Heun", s_churn=9.0)), run(sampler("Heun")))
    assert torch.equal(run(sampler("Heun", s_churn=9.0, s_tmax=0.1)), run(sampler("Heun")))


def test_brownian_range_is_the_full_schedules() -> None:
    """The sigmas of a part of the schedule draw from the whole schedule's path."""
    part = SIGMAS[1:]
    own = run(sampler("DPM++ 2M SDE"), sigmas=part)
    full = run(sampler("DPM++ 2M SDE", sigma_min=1.0, sigma_max=14.6146), sigmas=part)
    explicit = run(sampler("DPM++ 2M SDE", sigma_min=1.0, sigma_max=7.0), sigmas=part)
    assert torch.equal(own, explicit)
    assert not torch.allclose(own, full, atol=1e-2)


def test_without_batch_determinism_one_path_spans_the_batch() -> None:
    rare = RareOptions(no_batch_determinism=True)
    together = run(sampler("DPM++ SDE", rare=rare))
    assert torch.equal(together, run(sampler("DPM++ SDE", rare=rare)))
    alone = run(sampler("DPM++ SDE", rare=rare), seeds=(6,))
    assert not torch.allclose(together[1:], alone, atol=1e-2)


def half_mask() -> torch.Tensor:
    mask = torch.zeros(SHAPE)
    mask[..., 4:] = 1
    return mask


@pytest.mark.parametrize("name", ["Euler", "DPM++ 2M SDE", "DDIM", "UniPC"])
def test_the_masked_half_comes_back_unchanged(name: str) -> None:
    latent = torch.full(SHAPE, 0.5)
    last = run(sampler(name), latent=latent, mask=half_mask())
    assert torch.equal(last[..., :4], latent[..., :4])
    assert not torch.allclose(last[..., 4:], latent[..., 4:], atol=0.05)


def test_timestep_samplers_blend_before_the_call() -> None:
    """They put the clean init latent into the model's input; the others only blend its output."""
    latent = torch.full(SHAPE, 0.5)
    model = Model()
    run(sampler("DDIM"), model, latent, half_mask())
    assert torch.allclose(model.inputs[0][..., :4], latent[..., :4], atol=1e-6)
    model = Model()
    run(sampler("Euler"), model, latent, half_mask())
    assert not torch.allclose(model.inputs[0][..., :4], latent[..., :4], atol=0.1)


def test_timestep_samplers_feed_x_and_the_timestep_as_they_are() -> None:
    model = Model()
    run(sampler("DDIM"), model)
    start = NoiseSettings((5, 6), source="CPU").start(SHAPE, "cpu").next()
    assert model.timesteps == [float(t) for t in reversed(TIMESTEPS[1:])]
    assert torch.allclose(model.inputs[0], start, atol=1e-6)
    assert [call.timestep for call in model.calls] == model.timesteps


def test_unipc_feeds_fractional_timesteps() -> None:
    model = Model()
    run(sampler("UniPC"), model)
    expected = [call.timestep for call in model.calls]
    assert expected[1] == pytest.approx(874.125, abs=1e-3)
    assert model.timesteps == pytest.approx(expected, abs=1e-2)


def test_an_init_latent_is_noised_to_the_first_sigma() -> None:
    model, latent = Model(), torch.full(SHAPE, 0.5)
    cut = A1111SamplerObject("DDIM", eta=0.0, timesteps=TIMESTEPS[:4])
    run(cut, model, latent, sigmas=torch.stack([TABLE[501], TABLE[376], TABLE[1]]))
    start = NoiseSettings((5, 6), source="CPU").start(SHAPE, "cpu").next()
    a = ms.scaled_linear_abar()[501]
    assert torch.allclose(model.inputs[0], latent * a.sqrt() + start * (1 - a).sqrt(), atol=1e-5)
    assert model.timesteps[0] == 376


def test_cfgpp_scales_guidance_and_reads_the_unconditional_prediction() -> None:
    model = Model()
    plus = run(sampler("DDIM CFG++"), model)
    assert {call.cfg_factor for call in model.calls} == {1 / 12.5}
    assert not torch.allclose(plus, run(sampler("DDIM")), atol=0.05)


def test_v_predictions_become_noise_by_the_models_own_table() -> None:
    """eps = sqrt(abar) v + sqrt(1 - abar) x at the whole timestep."""
    model = Model()
    sampling = model.inner_model.model_sampling
    sampling.v_abar = ms.scaled_linear_abar()
    sampling.calculate_denoised = lambda sigma, v, x: (
        x / (sigma.view(-1, 1, 1, 1) ** 2 + 1)
        - v * (sigma / (sigma**2 + 1) ** 0.5).view(-1, 1, 1, 1)
    )
    two = A1111SamplerObject("DDIM", eta=0.0, timesteps=(1, 501))
    last = run(two, model)
    x = NoiseSettings((5, 6), source="CPU").start(SHAPE, "cpu").next()
    a, a_prev = ms.scaled_linear_abar()[[501, 1]]
    eps = a.sqrt() * 0.3 * x + (1 - a).sqrt() * x
    x0 = (x - (1 - a).sqrt() * eps) / a.sqrt()
    assert torch.allclose(last, a_prev.sqrt() * x0 + (1 - a_prev).sqrt() * eps, atol=1e-4)


def test_noise_of_another_node_is_refused() -> None:
    extra = {"model_options": {}, "seed": 5}
    noise = torch.randn(SHAPE)
    with pytest.raises(ValueError, match="connect that node"):
        sampler("Euler").sample(Model(), SIGMAS, extra, None, noise, torch.zeros(SHAPE))


def test_progress_reaches_comfyuis_callback() -> None:
    reported = []

    def callback(step: int, denoised: torch.Tensor, x: torch.Tensor, total: int) -> None:
        reported.append((step, total, denoised.shape == x.shape))

    settings = NoiseSettings((5, 6), source="CPU")
    extra = {"model_options": {}, "seed": NoiseSeed(settings)}
    noise = settings.start(SHAPE, "cpu").next()
    sampler("Euler").sample(Model(), SIGMAS, extra, callback, noise, torch.zeros(SHAPE))
    assert reported == [(step, 4, True) for step in range(4)]


def test_nodes_read_their_json() -> None:
    (noise,) = A1111Noise().make("[7, 8]", "[9]", 0.25, 64, 32, "NV", 31337, 1.1)
    assert noise.seed == 7
    assert noise.settings == NoiseSettings((7, 8), (9,), 0.25, (32, 64), "NV", 31337, 1.1)
    (sigmas,) = A1111Sigmas().make("[14.614642143249512, 1.5, 0]")
    assert sigmas.dtype == torch.float32
    assert sigmas.tolist() == [14.614642143249512, 1.5, 0.0]
    extra = json.dumps({"uni_pc_order": 2})
    (unipc,) = A1111Sampler().make("UniPC", 0, 0, 0, 0, 1, 0, 0, "[1, 501]", extra)
    assert unipc.timesteps == (1, 501)
    assert unipc.rare.unipc.order == 2


def test_unknown_extra_options_are_refused() -> None:
    with pytest.raises(ValueError, match="no extra option eta_down"):
        RareOptions.from_json('{"eta_down": 1}')
