"""inpaint_only+lama: the picture that LaMa fills in, and the noise that is laid over it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
cv2 = pytest.importorskip("cv2")

from custom_nodes.comfyui_a1111.maths import lama  # noqa: E402
from custom_nodes.comfyui_a1111.maths.noise import NoiseSettings  # noqa: E402
from custom_nodes.comfyui_a1111.nodes.sampling import (  # noqa: E402
    A1111NoiseOverLatent,
    NoiseObject,
)

pytestmark = pytest.mark.torch

ABAR_LAST = float(np.cumprod(1 - np.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2)[999])


class FakeLama:
    """Fills in red (0.7), and remembers what it saw."""

    def __call__(self, image: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        self.image, self.mask = image, mask
        red = torch.tensor([0.7, 0.0, 0.0]).view(1, 3, 1, 1)
        return mask * red + (1 - mask) * image


def picture(width: int, height: int) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (height, width, 3)).astype(np.uint8)


def half(width: int, height: int, level: int = 255) -> np.ndarray:
    mask = np.zeros((height, width), np.uint8)
    mask[:, : width // 2] = level
    return mask


class TestFilling:
    def test_the_network_sees_256_pixels_padded_and_black_under_the_mask(self) -> None:
        network, drawn, mask = FakeLama(), picture(200, 100), half(200, 100)
        lama.fill(drawn, mask, network, "cpu")
        assert network.image.shape == (1, 3, 256, 512)
        assert set(network.mask.unique().tolist()) == {0.0, 1.0}
        assert not network.image[..., :250].any()
        scaled = cv2.resize(drawn, (512, 256), interpolation=cv2.INTER_CUBIC)
        right = network.image[0, :, :, 300:].permute(1, 2, 0).numpy() * 255
        assert np.abs(right - scaled[:, 300:]).max() < 1e-4

    def test_the_edge_is_repeated_to_a_multiple_of_64(self) -> None:
        network = FakeLama()
        lama.fill(picture(130, 100), half(130, 100), network, "cpu")
        assert network.image.shape == (1, 3, 256, 384)  # 333 pixels wide
        assert torch.equal(network.image[..., 333], network.image[..., 332])

    def test_what_is_not_masked_stays_and_the_rest_is_the_answer_cut_down(self) -> None:
        drawn = picture(96, 64)
        filled = lama.fill(drawn, half(96, 64), FakeLama(), "cpu")
        assert filled.dtype == np.uint8
        assert np.array_equal(filled[:, 48:], drawn[:, 48:])
        assert (filled[:, :40] == [178, 0, 0]).all()  # 0.7 * 255 = 178.5

    def test_grey_of_the_mask_mixes_and_counts_as_masked_above_the_half(self) -> None:
        drawn = np.full((64, 64, 3), 100, np.uint8)
        network = FakeLama()
        mixed = lama.fill(drawn, half(64, 64, 191), network, "cpu")
        share = 191 / 255
        assert (mixed[:, :24, 0] == int(178 * share + 100 * (1 - share))).all()
        untouched = lama.fill(drawn, half(64, 64, 110), network, "cpu")
        assert not network.mask.any()
        assert np.abs(untouched.astype(int) - 100).max() <= 1

    def test_levels_between_whole_ones_are_seen(self) -> None:
        network = FakeLama()
        drawn = np.full((256, 256, 3), 100.4, np.float32)
        result = lama.fill(drawn, np.zeros((256, 256), np.float32), network, "cpu")
        assert float(network.image.mean()) == pytest.approx(100.4 / 255, abs=1e-6)
        assert (result == 100).all()

    def test_the_generator_alone_is_named_as_the_whole_model(self) -> None:
        one = torch.zeros(1)
        bare = {"model.1.bn_l.running_mean": one, "model.35.bias": one}
        assert set(lama.whole_weights(bare)) == {f"model.{name}" for name in bare}
        whole = {"generator.model.1.bn_l.running_mean": one}
        assert lama.whole_weights(whole) is whole


def over(latent: torch.Tensor, settings: NoiseSettings) -> NoiseObject:
    """The node's noise, with a model whose scale is 2."""
    scaled = SimpleNamespace(model=SimpleNamespace(process_latent_in=lambda x: x * 2))
    return A1111NoiseOverLatent().lay(NoiseObject(settings), scaled, {"samples": latent})[0]


class TestNoise:
    SETTINGS = NoiseSettings((3, 4), source="CPU", multiplier=1.5)

    def streams(self, settings: NoiseSettings, size: int = 8) -> Any:
        return settings.start((2, 4, size, size), "cpu")

    def test_every_draw_lies_over_the_latent(self) -> None:
        latent = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(9))
        laid = over(latent, self.SETTINGS)
        plain, mixed = self.streams(self.SETTINGS), self.streams(laid.settings)
        signal, noise = ABAR_LAST**0.5, (1 - ABAR_LAST) ** 0.5
        start = mixed.next()
        expected = 1.5 * (signal * latent * 2 + noise * plain.next() / 1.5)
        torch.testing.assert_close(start, expected)
        torch.testing.assert_close(mixed.next(), signal * latent * 2 + noise * plain.next())

    def test_the_sampler_is_told_by_the_seed(self) -> None:
        laid = over(torch.ones(1, 4, 8, 8), self.SETTINGS)
        assert laid.seed.settings is laid.settings
        assert int(laid.seed) == 3

    def test_another_size_is_left_alone(self) -> None:
        laid = over(torch.ones(1, 4, 8, 8), self.SETTINGS)
        torch.testing.assert_close(
            self.streams(laid.settings, 16).next(), self.streams(self.SETTINGS, 16).next()
        )
