"""From a latent to the noise behind it, on models whose answer is known."""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch")

from custom_nodes.comfyui_a1111.maths.guider import CALL  # noqa: E402
from custom_nodes.comfyui_a1111.maths.noise import NoiseSettings  # noqa: E402
from custom_nodes.comfyui_a1111.maths.reversal import ReversingSampler, mixed, noise_of  # noqa: E402
from custom_nodes.comfyui_a1111.maths.samplers import Run, euler  # noqa: E402
from custom_nodes.comfyui_a1111.nodes.reversal import ReversedNoise  # noqa: E402
from custom_nodes.comfyui_a1111.nodes.sampling import NoiseObject  # noqa: E402

pytestmark = pytest.mark.torch

SIGMAS = torch.tensor([0.0, 0.03, 0.5, 1.5, 4.0, 14.6])
LATENT = torch.randn((1, 4, 8, 8), generator=torch.Generator().manual_seed(5))


def shrinking(x: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
    """The best guess where clean latents are of unit variance."""
    return x / (1 + sigma**2)


def nothing(x: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
    return 0 * x


def test_without_anything_to_guess_the_noise_grows_by_its_own_rule() -> None:
    """With a model that always answers 0 every adjusted step multiplies by high / low."""
    seen: list[int] = []
    adjusted = noise_of(
        lambda x, sigma: 0 * x, LATENT, SIGMAS, True, lambda step, x: seen.append(step)
    )
    assert torch.allclose(adjusted, LATENT / 0.03)  # the first step, from 0, does nothing
    assert seen == [0, 1, 2, 3, 4]
    plain = noise_of(nothing, LATENT, SIGMAS, False, lambda step, x: None)
    assert float(plain.std()) == pytest.approx(1)
    assert torch.allclose(plain, LATENT / LATENT.std(), atol=1e-5)


def test_the_way_back_and_forth_ends_where_it_began() -> None:
    steps = torch.cat([torch.zeros(1), torch.logspace(-1.5, 1.1646, 200)])
    noise = noise_of(shrinking, LATENT, steps, True, lambda step, x: None)
    down = steps.flip(0)
    run = Run(
        denoise=shrinking,
        noise=lambda low, high: torch.zeros_like(LATENT),
        progress=lambda *_: None,
    )
    again = euler(run, noise * down[0], down)
    assert float((again - LATENT).abs().max()) < 0.05


def test_the_sampler_calls_the_model_with_a_sigma_an_image() -> None:
    levels: list[list[float]] = []

    def model(x: torch.Tensor, sigma: torch.Tensor, **arguments: Any) -> torch.Tensor:
        levels.append([round(float(value), 4) for value in sigma])
        told = arguments["model_options"][CALL].sigma
        assert told == float(sigma[0]), "the guider need not read it from the GPU"
        return shrinking(x, sigma[0])

    latent = torch.cat([LATENT, LATENT])
    given: dict[str, Any] = {"model_options": {}}
    ReversingSampler(False).sample(model, SIGMAS, given, None, latent, latent)
    assert levels == [[level, level] for level in (0.03, 0.5, 1.5, 4.0, 14.6)]
    levels.clear()
    ReversingSampler(True).sample(model, SIGMAS, given, None, latent, latent)
    assert [pair[0] for pair in levels] == [0.03, 0.5, 1.5, 4.0]


def test_mixed_noise_keeps_its_variance() -> None:
    one, other = torch.randn((2, 1, 4, 64, 64), generator=torch.Generator().manual_seed(1))
    assert torch.equal(mixed(one, other, 0.0), one)
    assert torch.equal(mixed(one, other, 1.0), other)
    assert float(mixed(one, other, 0.3).std()) == pytest.approx(1, abs=0.02)


def test_a_pass_starts_from_the_found_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    """Latent + noise * the highest sigma is what was found, times that sigma."""
    monkeypatch.setattr(NoiseObject, "_device", lambda self: torch.device("cpu"))
    base = NoiseObject(NoiseSettings(seeds=(3,), source="CPU", multiplier=2.0))
    found = torch.randn((1, 4, 8, 8), generator=torch.Generator().manual_seed(9))
    noise = ReversedNoise(base, found, LATENT, 0.0, 14.6)
    start = LATENT + noise.generate_noise({"samples": LATENT}) * 14.6
    assert torch.allclose(start, found * 14.6, atol=1e-4)
    drawn = ReversedNoise(base, found, LATENT, 1.0, 14.6).generate_noise({"samples": LATENT})
    first = NoiseSettings(seeds=(3,), source="CPU").start(LATENT.shape, "cpu").next()
    assert torch.allclose(drawn + LATENT / 14.6, first, atol=1e-6)  # the multiplier does not count
    stepped = noise.seed.settings.after_start(LATENT.shape, "cpu")
    assert torch.equal(stepped.next(), first)  # the first step draws the start noise again
    again = NoiseSettings(seeds=(3,), source="CPU").after_start(LATENT.shape, "cpu")
    assert torch.equal(stepped.next(), again.next())
