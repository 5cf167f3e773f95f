"""Seeds and subseeds of a request's images."""

from __future__ import annotations

import pytest

from translator.plan import seeds


def drawing(*numbers: int) -> seeds.Draw:
    left = list(numbers)
    return lambda: left.pop(0)


@pytest.mark.parametrize("random", [-1, -1.0, "-1", "", None, "abc", "1.5"])
def test_what_asks_for_a_random_seed(random: float | str | None) -> None:
    assert seeds.fixed(random, drawing(77)) == 77


@pytest.mark.parametrize(
    ("seed", "expected"),
    [(5, 5), (0, 0), (5.9, 5), ("12", 12), (" 7 ", 7), (2**40, 2**40), (-2, -2)],
)
def test_what_is_a_seed(seed: float | str, expected: int) -> None:
    assert seeds.fixed(seed, drawing()) == expected


def test_images_count_up_from_the_seed() -> None:
    drawn = seeds.resolve(10, 50, 0.0, 4, drawing())
    assert drawn == seeds.Seeds((10, 11, 12, 13), (50, 51, 52, 53))


def test_with_a_variation_only_the_subseed_counts_up() -> None:
    drawn = seeds.resolve(10, 50, 0.2, 3, drawing())
    assert drawn == seeds.Seeds((10, 10, 10), (50, 51, 52))


def test_the_seed_is_drawn_before_the_subseed() -> None:
    assert seeds.resolve(-1, -1, 0.0, 1, drawing(1, 2)) == seeds.Seeds((1,), (2,))
