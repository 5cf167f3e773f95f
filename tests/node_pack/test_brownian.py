"""Brownian noise: per image, over a fixed range, from any source."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")
torchsde = pytest.importorskip("torchsde")

from custom_nodes.comfyui_a1111.maths.brownian import BrownianNoise  # noqa: E402

pytestmark = [pytest.mark.torch, pytest.mark.filterwarnings("ignore:Should have")]

X = torch.zeros(2, 4, 8, 8)
LEVELS = [torch.tensor(level) for level in (14.0, 5.0, 2.0, 0.5)]


@pytest.mark.parametrize("source", ["CPU", "GPU", "NV"])
def test_an_image_does_not_depend_on_its_batch(source: str) -> None:
    together = BrownianNoise(X, 0.03, 14.6, (8, 9), source)
    alone = BrownianNoise(X[:1], 0.03, 14.6, (9,), source)
    assert torch.equal(together(LEVELS[0], LEVELS[1])[1], alone(LEVELS[0], LEVELS[1])[0])


def test_is_the_increment_of_torchsdes_tree() -> None:
    tree = torchsde.BrownianTree(
        torch.tensor(0.03), torch.zeros(4, 8, 8), torch.tensor(14.6), entropy=8
    )
    expected = -tree(LEVELS[1], LEVELS[0]) / (LEVELS[0] - LEVELS[1]).sqrt()
    assert torch.equal(BrownianNoise(X, 0.03, 14.6, (8, 9), "CPU")(*LEVELS[:2])[0], expected)


@pytest.mark.parametrize("source", ["CPU", "NV"])
def test_increments_add_up(source: str) -> None:
    noise = BrownianNoise(X, 0.03, 14.6, (8, 9), source)
    high, middle, low = LEVELS[:3]
    parts = (
        noise(high, middle) * (high - middle).sqrt() + noise(middle, low) * (middle - low).sqrt()
    )
    assert torch.allclose(parts, noise(high, low) * (high - low).sqrt(), atol=1e-5)


def test_steps_do_not_change_the_path() -> None:
    first = BrownianNoise(X, 0.03, 14.6, (8, 9), "NV")
    first(LEVELS[0], LEVELS[3])
    second = BrownianNoise(X, 0.03, 14.6, (8, 9), "NV")
    assert torch.allclose(first(LEVELS[1], LEVELS[2]), second(LEVELS[1], LEVELS[2]), atol=1e-5)


def test_another_range_is_another_path() -> None:
    full, cut = (BrownianNoise(X, 0.03, high, (8, 9), "CPU") for high in (14.6, 10.0))
    assert not torch.allclose(full(LEVELS[1], LEVELS[2]), cut(LEVELS[1], LEVELS[2]))


@pytest.mark.parametrize("source", ["CPU", "NV"])
def test_unit_variance(source: str) -> None:
    noise = BrownianNoise(torch.zeros(1, 4, 64, 64), 0.03, 14.6, (8,), source)
    drawn = noise(LEVELS[1], LEVELS[2])
    assert float(drawn.std()) == pytest.approx(1, abs=0.03)


def test_nv_leaves_torchsde_as_it_is() -> None:
    from torchsde._brownian import brownian_interval

    before = brownian_interval._randn
    BrownianNoise(X, 0.03, 14.6, (8, 9), "NV")(*LEVELS[:2])
    assert brownian_interval._randn is before


def test_one_seed_spans_the_batch() -> None:
    noise = BrownianNoise(X, 0.03, 14.6, 8, "CPU")(*LEVELS[:2])
    assert noise.shape == X.shape
    assert not torch.equal(noise[0], noise[1])


def test_seeds_have_to_fill_the_batch() -> None:
    with pytest.raises(ValueError, match="3 seeds were given for a batch of 2"):
        BrownianNoise(X, 0.03, 14.6, (1, 2, 3), "CPU")
