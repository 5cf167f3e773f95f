"""Regional Prompter on tensors: cross-attention and AND parts against the extension's rules."""

from __future__ import annotations

import copy
import time
import tracemalloc
from itertools import pairwise
from typing import Any

import pytest

torch = pytest.importorskip("torch")

import numpy as np  # noqa: E402
from PIL import Image, ImageDraw  # noqa: E402

from custom_nodes.comfyui_a1111.maths.guider import combine  # noqa: E402
from custom_nodes.comfyui_a1111.maths.reference import BATCH, WholeBatch  # noqa: E402
from custom_nodes.comfyui_a1111.maths.region_colors import (  # noqa: E402
    region_colors,
    region_numbers,
)
from custom_nodes.comfyui_a1111.maths.regional import (  # noqa: E402
    CHUNK,
    Counts,
    Masks,
    Matrix,
    Regional,
    half_heads,
)
from custom_nodes.comfyui_a1111.vendor.plan.lines import Cell, Line  # noqa: E402

pytestmark = pytest.mark.torch

HEADS, CHANNELS = 2, 8
HEIGHT, WIDTH = 6, 8


class Layer:
    """A cross-attention layer with weights of its own."""

    def __init__(self) -> None:
        self.q, self.k, self.v, self.out = (
            torch.nn.Linear(CHANNELS, CHANNELS, bias=name == "out", dtype=torch.float64)
            for name in ("q", "k", "v", "out")
        )

    def __call__(self, x: Any, context: Any, value: Any = None, heads: int = HEADS) -> Any:
        with torch.no_grad():
            value = context if value is None else value
            joined = attention(self.q(x), self.k(context), self.v(value), heads)
            return self.out(joined)


def attention(q: Any, k: Any, v: Any, heads: int) -> Any:
    q, k, v = (item.unflatten(-1, (heads, -1)).transpose(1, 2) for item in (q, k, v))
    weights = torch.softmax(q @ k.transpose(2, 3) / q.shape[-1] ** 0.5, dim=-1)
    return (weights @ v).transpose(1, 2).flatten(2)


@pytest.fixture
def layer() -> Layer:
    torch.manual_seed(5)
    return Layer()


def run(regional: Regional, layer: Layer, x: Any, context: Any, kinds: Any, **batch: Any) -> Any:
    """The layer within its patches, as ComfyUI calls it."""
    options = {
        "cond_or_uncond": kinds,
        "original_shape": [x.shape[0], 4, HEIGHT, WIDTH],
        BATCH: WholeBatch(**batch),
    }
    q, k, v = regional.before(x, context, context, options)
    return regional.after(layer(q, k, v), options)


def test_other_patches_are_told_of_the_rows_that_are_there(layer: Layer) -> None:
    """Image prompts find their tokens by what each chunk of rows is."""
    x, context = inputs(4, 2)
    options = {
        "cond_or_uncond": [0, 1],
        "original_shape": [4, 4, HEIGHT, WIDTH],
        BATCH: WholeBatch(),
    }
    regional = Regional(HALVES, Counts((1, 1), (1,)), False)
    q, k, v = regional.before(x, context, context, options)
    assert options["cond_or_uncond"] == [0, 0, 1]
    assert q.shape[0] == k.shape[0] == 6
    regional.after(layer(q, k, v), options)
    assert options["cond_or_uncond"] == [0, 1]


def test_a_copy_of_a_models_options_has_the_same_patches() -> None:
    regional = Regional(HALVES, Counts((1, 1), (1,)), False)
    assert copy.deepcopy({"patch": regional.before})["patch"].__self__ is regional


def inputs(rows: int, chunks: int) -> tuple[Any, Any]:
    return (
        torch.randn(rows, HEIGHT * WIDTH, CHANNELS, dtype=torch.float64),
        torch.randn(rows, chunks * CHUNK, CHANNELS, dtype=torch.float64),
    )


def chunk(context: Any, start: int, count: int = 1) -> Any:
    return context[:, start * CHUNK : (start + count) * CHUNK]


TWO_BY_ONE = (
    Line(0.0, 0.5, (Cell(0.0, 0.25, 0.1, 1), Cell(0.25, 1.0, 0.4, 2))),
    Line(0.5, 1.0, (Cell(0.0, 1.0, 0.7, 3),)),
)


@pytest.mark.parametrize("rows", [True, False])
@pytest.mark.parametrize("base", [True, False])
def test_every_place_attends_to_its_regions_text(layer: Layer, rows: bool, base: bool) -> None:
    """Two regions in the first line, one in the second; the second text has two chunks."""
    counts = Counts((1, 1, 2, 1) if base else (1, 1, 2), (1,))
    lines = TWO_BY_ONE if base else tuple(_earlier(line) for line in TWO_BY_ONE)
    regional = Regional(Matrix(rows, base, lines), counts, swaps=False)
    x, context = inputs(3, sum(counts.positive))
    starts = [sum(counts.positive[:n]) for n in range(len(counts.positive))]
    outs = [
        layer(x, chunk(context, start, count)).view(3, HEIGHT, WIDTH, CHANNELS)
        for start, count in zip(starts, counts.positive, strict=True)
    ]
    wanted = torch.zeros(3, HEIGHT, WIDTH, CHANNELS, dtype=torch.float64)
    for y in range(HEIGHT):
        for x_place in range(WIDTH):
            down, right = (y / HEIGHT, x_place / WIDTH) if rows else (x_place / WIDTH, y / HEIGHT)
            line = next(item for item in lines if down < item.end)
            cell = next(
                item
                for item in line.cells
                if right < int((WIDTH if rows else HEIGHT) * item.end) / (WIDTH if rows else HEIGHT)
            )
            own = outs[cell.text][:, y, x_place]
            if base:
                own = own * (1 - cell.base) + outs[0][:, y, x_place] * cell.base
            wanted[:, y, x_place] = own
    got = run(regional, layer, x, context, [0])
    assert torch.allclose(got, wanted.flatten(1, 2), atol=1e-12)


def _earlier(line: Line) -> Line:
    cells = tuple(Cell(c.start, c.end, c.base, c.text - 1) for c in line.cells)
    return Line(line.start, line.end, cells)


def test_a_sum_below_one_moves_the_last_region() -> None:
    """Six sixths come to less than 1, so the last part is taken from one place before."""
    ends = [0.0]
    for _ in range(6):
        ends.append(ends[-1] + 1 / 6)
    assert ends[-1] < 1
    pairs = pairwise(ends)
    cells = tuple(Cell(start, end, 0.0, n) for n, (start, end) in enumerate(pairs))
    matrix = Matrix(True, False, (Line(0.0, 1.0, cells),))
    numbered = torch.arange(12.0).view(1, 1, 12, 1)
    joined = matrix.joined([numbered + 100 * n for n in range(6)])
    assert joined.flatten().tolist() == [0, 1, 102, 103, 204, 205, 306, 307, 408, 409, 509, 510]
    shares = matrix.shares(1, 12)
    assert sum(shares).flatten().tolist() == [1.0] * 11 + [0.0], "Latent leaves the last one out"


def test_masks_and_base(layer: Layer) -> None:
    numbers = torch.full((12, 16), -1, dtype=torch.int16)
    numbers[:, :6], numbers[:, 10:] = 0, 1
    division = Masks(numbers, 2, True, (0.25, 0.5))
    x, context = inputs(2, 3)
    base, one, two = (
        layer(x, chunk(context, n)).view(2, HEIGHT, WIDTH, CHANNELS) for n in range(3)
    )
    wanted = torch.cat(
        [
            (one * 0.75 + base * 0.25)[:, :, :3],
            base[:, :, 3:5],
            (two * 0.5 + base * 0.5)[:, :, 5:],
        ],
        dim=2,
    )
    got = run(Regional(division, Counts((1, 1, 1), (1,)), swaps=False), layer, x, context, [0])
    assert torch.allclose(got, wanted.flatten(1, 2), atol=1e-12)
    shares = division.shares(HEIGHT, WIDTH)
    assert [share[0].tolist() for share in shares] == [
        [0.25, 0.25, 0.25, 1, 1, 0.5, 0.5, 0.5],
        [0.75, 0.75, 0.75, 0, 0, 0, 0, 0],
        [0, 0, 0, 0, 0, 0.5, 0.5, 0.5],
    ]


HALVES = Matrix(True, False, (Line(0.0, 1.0, (Cell(0.0, 0.5, 0.0, 0), Cell(0.5, 1.0, 0.0, 1))),))


def halved(left: Any, right: Any) -> Any:
    return torch.cat(
        [
            item.view(-1, HEIGHT, WIDTH, CHANNELS).narrow(2, start, WIDTH // 2)
            for item, start in ((left, 0), (right, WIDTH // 2))
        ],
        dim=2,
    ).flatten(1, 2)


@pytest.mark.parametrize("kinds", [[0, 1], [1, 0]])
def test_an_undivided_negative_prompt_is_left_whole(layer: Layer, kinds: list[int]) -> None:
    """ComfyUI repeats the shorter prompt; attention to it stays what it was."""
    x, context = inputs(2, 2)
    negative = kinds.index(1)
    context[negative, CHUNK:] = context[negative, :CHUNK]
    got = run(Regional(HALVES, Counts((1, 1), (1,)), False), layer, x, context, kinds)
    positive = 1 - negative
    own, others = x[positive : positive + 1], context[positive : positive + 1]
    assert torch.allclose(
        got[positive],
        halved(layer(own, chunk(others, 0)), layer(own, chunk(others, 1)))[0],
        atol=1e-12,
    )
    rest = layer(x[negative : negative + 1], chunk(context[negative : negative + 1], 0))
    assert torch.allclose(got[negative], rest[0], atol=1e-12)


@pytest.mark.parametrize(
    ("counts", "swaps", "level", "divided"),
    [
        (Counts((1, 1), (1, 1)), False, True, (True, True)),
        (Counts((1, 1), (2,)), False, True, (True, False)),
        (Counts((1, 1), (2,)), True, True, (False, True)),
        (Counts((1, 1), (1, 1)), True, True, (True, True)),
    ],
)
def test_which_prompts_are_divided(
    layer: Layer, counts: Counts, swaps: bool, level: bool, divided: tuple[bool, bool]
) -> None:
    """Equal numbers of texts and chunks divide both; DDIM and its like take one for the other."""
    x, context = inputs(2, 2)
    got = run(Regional(HALVES, counts, swaps), layer, x, context, [0, 1], level=level)
    for row, is_divided in enumerate(divided):
        own, text = x[row : row + 1], context[row : row + 1]
        wanted = layer(own, text)
        if is_divided:
            wanted = halved(layer(own, chunk(text, 0)), layer(own, chunk(text, 1)))
        assert torch.allclose(got[row], wanted[0], atol=1e-12)


@pytest.mark.parametrize(
    ("counts", "swaps", "batch", "halves"),
    [
        (Counts((1, 1), (2,)), False, {"level": True}, True),
        (Counts((1, 1), (2,)), False, {"level": True, "has_negative": False}, False),
        (Counts((1, 1), (1,)), False, {"level": False}, False),
        (Counts((1, 1), (1, 1)), False, {"level": True}, False),
        (Counts((1, 1), (2,)), True, {"level": True}, False),
    ],
)
def test_when_attention_has_half_its_heads(
    counts: Counts, swaps: bool, batch: dict[str, bool], halves: bool
) -> None:
    regional = Regional(HALVES, counts, swaps)
    assert regional.halves_heads(WholeBatch(**batch)) is halves
    assert Regional(None, counts, swaps).halves_heads(WholeBatch(**batch)) is (
        batch["level"] and batch.get("has_negative", True) and not swaps
    )


def test_half_heads() -> None:
    torch.manual_seed(2)
    q, k, v = (torch.randn(1, 5, CHANNELS) for _ in range(3))
    replaced = half_heads(attention)(q, k, v, {"n_heads": 4})
    assert torch.equal(replaced, attention(q, k, v, 2))


def test_a_pass_in_which_it_is_off_is_left_alone(layer: Layer) -> None:
    x, context = inputs(2, 2)
    got = run(Regional(None, Counts((1, 1), (1,)), False), layer, x, context, [0, 1])
    assert torch.equal(got, layer(x, context))


def test_parts_count_where_their_regions_are() -> None:
    """Where a part does not count, it is the negative prompt's prediction."""
    torch.manual_seed(1)
    base, one, two = (torch.randn(2, 4, HEIGHT, WIDTH) for _ in range(3))
    shares = [torch.rand(HEIGHT, WIDTH) for _ in range(2)]
    mixed = [
        own * share + base * (1 - share) for own, share in zip((one, two), shares, strict=True)
    ]
    wanted = base + 0.5 * (mixed[0] - base) + 2.0 * (mixed[1] - base)
    got = combine([one, two], [0.5, 2.0], base, shares)
    assert torch.allclose(got, wanted, atol=1e-6)


# --- colours -------------------------------------------------------------------------------------


def test_the_first_colours_are_the_documented_hues() -> None:
    """Hues of 0, 180, 90, 270 and 45 degrees at half saturation and half value."""
    assert region_colors()[:5] == (
        (128, 64, 64),
        (64, 128, 128),
        (96, 128, 64),
        (96, 64, 128),
        (128, 112, 64),
    )


def painted(*boxes: tuple[tuple[int, int, int, int], tuple[int, int, int]]) -> Any:
    picture = Image.new("RGB", (16, 8), (255, 255, 255))
    for box, color in boxes:
        ImageDraw.Draw(picture).rectangle(box, color)
    return np.asarray(picture)


def test_colours_are_regions_in_their_order() -> None:
    colors = region_colors()
    picture = painted(((0, 0, 3, 7), colors[2]), ((12, 0, 15, 7), colors[0]))
    numbers, count = region_numbers(picture, base=True)
    assert numbers.shape == (8, 16) and count == 2
    assert numbers[0].tolist() == [1] * 4 + [-1] * 8 + [0] * 4
    numbers, _ = region_numbers(picture, base=False)
    assert numbers[0].tolist() == [1] * 4 + [0] * 12, "the first region has what is left"


def test_colours_that_a_codec_moved_are_taken_for_theirs() -> None:
    """(129, 65, 65) has a saturation and a value near one half, and region 1's hue."""
    numbers, _ = region_numbers(painted(((0, 0, 7, 7), (129, 65, 65))), base=True)
    assert numbers[0].tolist() == [0] * 8 + [-1] * 8
    with pytest.raises(ValueError, match="no region's colour"):
        region_numbers(painted(((0, 0, 7, 7), (200, 64, 64))), base=True)


def test_a_stray_hue_is_no_region() -> None:
    colors = region_colors()
    picture = painted(((0, 0, 7, 7), colors[0]), ((8, 0, 8, 0), colors[100]))
    numbers, count = region_numbers(picture, base=True)
    assert count == 1 and numbers[0, 8] == -1


def test_a_picture_of_many_colours_is_read_in_bounded_time_and_memory() -> None:
    """Each region's own plane, and a look at each of 16 million colours, took minutes and 11 GB."""
    colors = np.array(region_colors(), dtype=np.uint8)
    drawn = np.random.default_rng(2).integers(0, 256, (2048, 2048, 3), dtype=np.uint8)
    drawn[:, :1024] = colors[np.arange(2048 * 1024) % len(colors)].reshape(2048, 1024, 3)
    tracemalloc.start()
    start = time.process_time()
    try:
        numbers, count = region_numbers(drawn, base=True)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert count > 300 and numbers.shape == (2048, 2048)
    assert time.process_time() - start < 10
    assert peak < 500 << 20
