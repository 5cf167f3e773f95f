"""Tiled Diffusion's noise inversion on tensors, against the extension's formulas in words."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

import numpy as np  # noqa: E402

from custom_nodes.comfyui_a1111.maths.noise import NoiseSettings  # noqa: E402
from custom_nodes.comfyui_a1111.maths.noise_inversion import (  # noqa: E402
    Retouch,
    combined,
    inverted,
    renoise_mask,
    retouch_mask,
)
from custom_nodes.comfyui_a1111.nodes.reversal import InvertedNoise  # noqa: E402
from custom_nodes.comfyui_a1111.nodes.sampling import NoiseObject  # noqa: E402

pytestmark = pytest.mark.torch

SIGMAS = torch.tensor([0.0, 0.5, 2.0, 5.0])
LATENT = torch.randn((1, 4, 6, 8), generator=torch.Generator().manual_seed(5))


class Sampling:
    """Timesteps that are ten times the noise level."""

    def timestep(self, sigma: torch.Tensor) -> torch.Tensor:
        return sigma * 10

    def sigma(self, timestep: torch.Tensor) -> torch.Tensor:
        return timestep / 10


@pytest.mark.parametrize("divisor", [1.0, 4.0])
def test_each_step_adds_the_networks_noise_of_its_upper_end(divisor: float) -> None:
    """The network sees x scaled for its noise, and a timestep divided by the retouch."""
    asked: list[float] = []

    def network(scaled: torch.Tensor, timestep: float) -> torch.Tensor:
        asked.append(timestep)
        return 0.3 * scaled + 0.01 * timestep

    def denoise(x: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        scaled = x / (sigma**2 + 1) ** 0.5
        return x - sigma * network(scaled, float(sigma * 10))

    got = inverted(denoise, LATENT, SIGMAS, Retouch(Sampling(), divisor), lambda step, x: None)
    x = LATENT
    for low, high in ((0.0, 0.5), (0.5, 2.0), (2.0, 5.0)):
        eps = 0.3 * x / (high**2 + 1) ** 0.5 + 0.01 * (high * 10 / divisor)
        x = x + eps * (high - low)
    assert torch.allclose(got, x / 5.0, atol=1e-5)
    assert asked == pytest.approx([5 / divisor, 20 / divisor, 50 / divisor])


@pytest.mark.parametrize("kernel", [3, 4])
def test_the_mask_is_what_a_guided_filter_changes(kernel: int) -> None:
    """With itself as its guide; what it adds is counted modulo 256."""
    drawn = np.random.default_rng(3).integers(0, 256, (7, 9)).astype(np.uint8)
    picture = drawn.astype(np.float64) / 255

    def mean(values: np.ndarray, y: int, x: int) -> float:
        rows = [_mirrored(y + d - kernel // 2, 7) for d in range(kernel)]
        columns = [_mirrored(x + d - kernel // 2, 9) for d in range(kernel)]
        return float(np.mean([values[row, column] for row in rows for column in columns]))

    got = retouch_mask(drawn, kernel)
    for y in range(7):
        for x in range(9):
            own = mean(picture, y, x)
            spread = mean(picture**2, y, x) - own**2
            slope = spread / (spread + 0.01)
            changed = 255 * (slope * picture[y, x] + own - slope * own - picture[y, x])
            near = {int(changed + bit) % 256 for bit in (-1e-3, 1e-3)}
            assert round(float(got[y, x]) * 255) in near


def _mirrored(place: int, length: int) -> int:
    """Beyond an edge the picture goes on backwards, without the edge itself."""
    place = abs(place)
    return place if place < length else 2 * (length - 1) - place


def test_new_noise_comes_where_the_filter_changes_nothing() -> None:
    flat = np.full((16, 16), 90, dtype=np.uint8)
    assert renoise_mask(flat, 4, 1.0, (2, 2)).tolist() == [[1.0, 1.0], [1.0, 1.0]]
    assert renoise_mask(flat, 4, 0.25, (2, 3)).unique().tolist() == [0.25]
    assert renoise_mask(flat, 4, 2.0, (2, 2)).max() == 1


def test_noises_are_mixed_in_unit_variance() -> None:
    found, drawn = torch.full((1, 4, 1, 2), 2.0), torch.full((1, 4, 1, 2), -1.0)
    mask = torch.tensor([[0.0, 0.25]])
    got = combined(found, drawn, mask)
    assert got[0, 0, 0].tolist() == pytest.approx([2.0, (1.5 - 0.25) / 0.625**0.5])
    assert combined(found, drawn, None) is found


def test_the_pass_starts_from_what_was_found() -> None:
    """The latent and the noise come to the found noise at the schedule's first level."""
    noise = NoiseObject(
        NoiseSettings(
            seeds=(1,),
            subseeds=(),
            subseed_strength=0.0,
            resize_from=(0, 0),
            source="CPU",
            seed_delta=0,
            multiplier=1.0,
        )
    )
    found = torch.randn_like(LATENT)
    own = InvertedNoise(noise, found, LATENT, None, 5.0)
    own._device = lambda: torch.device("cpu")  # type: ignore[method-assign]
    made = own.generate_noise({"samples": LATENT})
    assert torch.allclose(LATENT + made * 5.0, found * 5.0, atol=1e-5)
