"""Token merging: which tokens are merged, and that they come back where they were."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from custom_nodes.comfyui_a1111.maths.token_merging import merging_of  # noqa: E402

pytestmark = pytest.mark.torch

HEIGHT, WIDTH, CHANNELS = 5, 7, 6


def tokens(batch: int = 2, height: int = HEIGHT, width: int = WIDTH) -> torch.Tensor:
    drawn = torch.Generator().manual_seed(1)
    return torch.randn(batch, height * width, CHANNELS, generator=drawn)


def by_hand(row: torch.Tensor, height: int, width: int, count: int) -> dict[int, int]:
    """Position -> the position it is merged into, of one row of tokens."""
    staying = [
        y * width + x for y in range(0, height // 2 * 2, 2) for x in range(0, width // 2 * 2, 2)
    ]
    found = []
    for place in range(height * width):
        if place not in staying:
            alike = [torch.cosine_similarity(row[place], row[to], dim=0).item() for to in staying]
            best = max(range(len(staying)), key=alike.__getitem__)
            found.append((alike[best], place, staying[best]))
    found.sort(reverse=True)
    return {place: into for _, place, into in found[:count]}


@pytest.mark.parametrize("size", [(4, 6), (5, 7), (2, 2), (9, 4)])
@pytest.mark.parametrize("ratio", [0.1, 0.4, 0.9])
def test_the_most_alike_are_merged_into_the_upper_left_of_a_cell(
    size: tuple[int, int], ratio: float
) -> None:
    given = tokens(height=size[0], width=size[1])
    merging = merging_of(given, size, ratio)
    count = int(size[0] * size[1] * ratio)
    if count == 0:
        assert merging is None
        return
    assert merging is not None
    merged = merging.merge(given)
    shown = merging.unmerge(merged)
    for row, result in zip(given, shown, strict=True):
        into = by_hand(row, *size, count)
        assert merged.shape[1] == len(row) - len(into)
        means = {}
        for to in set(into.values()):
            together = [row[to], *(row[place] for place, other in into.items() if other == to)]
            means[to] = torch.stack(together).mean(0)
        expected = torch.stack(
            [means.get(into.get(place, place), row[place]) for place in range(len(row))]
        )
        assert torch.allclose(result, expected, atol=1e-6)


def test_no_more_are_merged_than_do_not_stay() -> None:
    merging = merging_of(tokens(), (HEIGHT, WIDTH), 1.0)
    assert merging is not None
    assert merging.merge(tokens()).shape[1] == (HEIGHT // 2) * (WIDTH // 2)


@pytest.mark.parametrize(
    ("size", "ratio"),
    [((HEIGHT, WIDTH), 0.0), ((2 * HEIGHT, 2 * WIDTH), 0.5), ((1, HEIGHT * WIDTH), 0.5)],
    ids=["ratio", "lower resolution", "one line"],
)
def test_nothing_is_merged(size: tuple[int, int], ratio: float) -> None:
    assert merging_of(tokens(), size, ratio) is None
