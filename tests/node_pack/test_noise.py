"""Noise streams against what a real A1111 drew, and against the published Philox vector."""

from __future__ import annotations

import hashlib

import pytest

torch = pytest.importorskip("torch")

from custom_nodes.comfyui_a1111.maths.noise import (  # noqa: E402
    NoiseSeed,
    NoiseSettings,
    PhiloxGenerator,
    make_generator,
    paste_centred,
    philox_normal,
    slerp,
)

pytestmark = pytest.mark.torch


def digest(noise: torch.Tensor) -> str:
    """The hash by which the goldens record a step's noise."""
    return hashlib.sha1(noise.numpy().tobytes()).hexdigest()[:12]


def test_philox_vector() -> None:
    drawn = PhiloxGenerator(0).normal((3, 4))
    expected = torch.tensor([-0.92466259, -0.42534415, -2.6438457, 0.14518388])
    assert torch.allclose(drawn[0], expected, atol=2e-7, rtol=0)
    assert drawn.dtype == torch.float32


def test_philox_draws_continue_and_seeds_above_32_bits_differ() -> None:
    stream = PhiloxGenerator(5)
    first, second = stream.normal((8,)), stream.normal((8,))
    assert not torch.equal(first, second)
    assert torch.equal(PhiloxGenerator(5).normal((8,)), first)
    assert not torch.equal(PhiloxGenerator(5 + 2**32).normal((8,)), first)


@pytest.mark.parametrize("seed", [0, 5, 2**32 - 1, 5 + 2**32, 2**63 - 1])
def test_philox_in_torch_is_that_in_numpy(seed: int) -> None:
    """The words agree bit for bit; log and sine of the two libraries to the last place or so."""
    stream = PhiloxGenerator(seed)
    for draw in range(3):
        there = philox_normal(seed, draw, 20_000, "cpu")
        torch.testing.assert_close(there, stream.normal((20_000,)), rtol=3e-7, atol=1e-7)


def test_philox_is_normal() -> None:
    drawn = PhiloxGenerator(123).normal((100_000,)).double()
    assert abs(float(drawn.mean())) < 0.01
    assert abs(float(drawn.std()) - 1) < 0.01


def test_unknown_source() -> None:
    with pytest.raises(ValueError, match="'TPU' is none of GPU, CPU, NV"):
        make_generator("TPU", 1, "cpu")


RECORDED = {
    "CPU": (
        NoiseSettings((1000,), source="CPU"),
        [-0.530559, -1.129971, -0.673383, -0.766919],
        ["7419c6e854e1", "7ee983a4679c"],
    ),
    "NV batch": (
        NoiseSettings((1000, 1001), source="NV"),
        [0.966536, 0.051086, -0.664463, -0.639968],
        ["bf86e82d9bca", "5be6ae6f2c0a", "67c4d829ffd6"],
    ),
    "subseed": (
        NoiseSettings((1000,), (77,), 0.5, source="CPU"),
        [-0.732335, -0.918572, -0.50911, -1.563167],
        ["7419c6e854e1", "7ee983a4679c"],
    ),
    "subseed alone": (
        NoiseSettings((1000,), (77,), 1.0, source="CPU"),
        [-0.504309, -0.416142, -0.136427, -0.981331],
        ["7419c6e854e1", "7ee983a4679c"],
    ),
    "NV subseed": (
        NoiseSettings((1000,), (77,), 0.3, source="NV"),
        [1.479394, -0.267165, -0.872401, 0.424639],
        ["9922d7551676", "5d1464f17ad6"],
    ),
    "resize and subseed": (
        NoiseSettings((1000, 1000), (9, 10), 0.5, (48, 128), source="CPU"),
        [-0.530559, -1.129971, -0.673383, -0.766919],
        ["1c3c7f125e3a", "2660c4642b81"],
    ),
    "resize": (
        NoiseSettings((1000,), resize_from=(32, 48), source="CPU"),
        [-0.530559, -1.129971, -0.673383, -0.766919],
        ["7419c6e854e1", "7ee983a4679c"],
    ),
    "seed delta": (
        NoiseSettings((1000,), source="CPU", seed_delta=31337),
        [-0.530559, -1.129971, -0.673383, -0.766919],
        ["69651a62547a", "8f2155ef1db7"],
    ),
}
MEANS = {"resize": -0.0223836, "resize and subseed": -0.0285684, "NV batch": -0.0218225}


@pytest.mark.parametrize("name", RECORDED)
def test_recorded_streams(name: str) -> None:
    """First four numbers of the start noise and the exact bytes of the next draws, by A1111."""
    settings, head, digests = RECORDED[name]
    streams = settings.start((len(settings.seeds), 4, 8, 8), "cpu")
    start = streams.next()
    assert start.flatten()[:4].tolist() == pytest.approx(head, abs=1e-6)
    assert [digest(streams.next()) for _ in digests] == digests
    if name in MEANS:
        assert float(start.mean()) == pytest.approx(MEANS[name], abs=1e-6)


@pytest.mark.parametrize("source", ["CPU", "NV", "GPU"])
def test_an_image_does_not_depend_on_its_batch(source: str) -> None:
    together = NoiseSettings((3, 4, 5), source=source).start((3, 4, 6, 5), "cpu")
    alone = NoiseSettings((4,), source=source).start((1, 4, 6, 5), "cpu")
    for _ in range(3):
        assert torch.equal(together.next()[1], alone.next()[0])


def test_gpu_source_draws_on_the_sampling_device() -> None:
    on_cpu = NoiseSettings((7,), source="GPU").start((1, 4, 8, 8), "cpu").next()
    assert torch.equal(on_cpu, NoiseSettings((7,), source="CPU").start((1, 4, 8, 8), "cpu").next())


def test_multiplier_scales_the_start_noise_only() -> None:
    plain = NoiseSettings((1,), source="CPU").start((1, 4, 8, 8), "cpu")
    scaled = NoiseSettings((1,), source="CPU", multiplier=1.1).start((1, 4, 8, 8), "cpu")
    assert torch.allclose(scaled.next(), plain.next() * 1.1)
    assert torch.equal(scaled.next(), plain.next())


def test_seeds_have_to_fill_the_batch() -> None:
    with pytest.raises(ValueError, match="2 seeds were given for a batch of 3"):
        NoiseSettings((1, 2)).start((3, 4, 8, 8), "cpu")


def test_missing_subseeds_count_as_zero() -> None:
    listed = NoiseSettings((1, 2), (5, 0), 0.4, source="CPU").start((2, 4, 8, 8), "cpu").next()
    missing = NoiseSettings((1, 2), (5,), 0.4, source="CPU").start((2, 4, 8, 8), "cpu").next()
    assert torch.equal(listed, missing)


def test_slerp_of_parallel_noises_swaps_the_weights() -> None:
    low = torch.randn(4, 8, 8, generator=torch.Generator().manual_seed(1))
    assert torch.allclose(slerp(0.25, low, low * 2), low * 0.25 + low * 2 * 0.75)


def test_slerp_keeps_the_length_of_unit_vectors() -> None:
    generator = torch.Generator().manual_seed(2)
    low, high = (torch.randn(4, 8, 8, generator=generator) for _ in range(2))
    low, high = low / low.norm(dim=1, keepdim=True), high / high.norm(dim=1, keepdim=True)
    mixed = slerp(0.3, low, high)
    assert torch.allclose(mixed.norm(dim=1), torch.ones(4, 8), atol=1e-5)


def test_paste_centred_crops_and_pads() -> None:
    canvas, patch = torch.zeros(1, 4, 4), torch.arange(12.0).reshape(1, 2, 6) + 1
    pasted = paste_centred(canvas, patch)
    assert torch.equal(pasted[:, 1:3], patch[:, :, 1:5])
    assert not pasted[:, [0, 3]].any()
    assert not canvas.any()


def test_seed_is_a_number_with_the_settings() -> None:
    seed = NoiseSeed(NoiseSettings((41, 42)))
    assert seed == 41
    assert seed + 1 == 42
    assert seed.settings.seeds == (41, 42)
