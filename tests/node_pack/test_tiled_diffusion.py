"""Tiled Diffusion's tiles, weights and averages."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from custom_nodes.comfyui_a1111.maths.reference import BATCH, WholeBatch  # noqa: E402
from custom_nodes.comfyui_a1111.maths.tiled_control import Postponed  # noqa: E402
from custom_nodes.comfyui_a1111.maths.tiled_diffusion import (  # noqa: E402
    MIXTURE,
    MULTI,
    Tiling,
    gaussian_weights,
    tiled,
)
from custom_nodes.comfyui_a1111.maths.tiled_regions import (  # noqa: E402
    Region,
    feather_mask,
    region_at,
)

pytestmark = pytest.mark.torch


def tiling(method: str = MULTI, size: tuple[int, int] = (0, 0), **given: int) -> Tiling:
    settings = {"tile_width": 16, "tile_height": 16, "overlap": 8, "batch": 4, **given}
    return Tiling(method, *size, **settings)


@pytest.mark.parametrize(
    ("size", "columns", "rows"),
    [
        ((16, 16), [0], [0]),
        ((24, 16), [0, 8], [0]),
        ((30, 40), [0, 7, 14], [0, 8, 16, 24]),
        ((10, 20), [0], [0, 4]),
    ],
)
def test_tiles_lie_as_the_extension_puts_them(
    size: tuple[int, int], columns: list[int], rows: list[int]
) -> None:
    """Evenly, the last one at the edge; a latent smaller than a tile has one."""
    assert tiling().corners(*size) == [(x, y) for y in rows for x in columns]


def test_the_overlap_leaves_four_cells() -> None:
    assert tiling(overlap=100).corners(20, 16) == [(0, 0), (4, 0)]


def test_weights_are_bells_by_the_tiles_width() -> None:
    weights = gaussian_weights(12, 8)
    for y, x in ((0, 0), (3, 5), (7, 11)):
        across, down = (x - 5.5) ** 2 / 144 / 0.02, (y - 4) ** 2 / 144 / 0.02
        expected = math.exp(-across) * math.exp(-down) / (2 * math.pi * 0.01)
        assert float(weights[y, x]) == pytest.approx(expected, rel=1e-5)


class Model:
    """Doubles x, and adds the place's number in its tile; notes what it is given."""

    def __init__(self) -> None:
        self.calls: list[Mapping[str, Any]] = []

    def __call__(self, arguments: Mapping[str, Any]) -> Any:
        self.calls.append(arguments)
        x = arguments["input"]
        return 2 * x + torch.arange(x.shape[-1], dtype=x.dtype)


def arguments(width: int, height: int, images: int = 2) -> dict[str, Any]:
    torch.manual_seed(1)
    x = torch.randn(2 * images, 4, height, width)
    return {
        "input": x,
        "timestep": torch.arange(2.0 * images),
        "c": {
            "c_crossattn": torch.randn(2 * images, 7, 3),
            "c_concat": torch.randn(2 * images, 5, height, width),
            "transformer_options": {"cond_or_uncond": [0, 1], "sigmas": torch.ones(1)},
        },
        "cond_or_uncond": [0, 1],
    }


@pytest.mark.parametrize("method", [MULTI, MIXTURE])
@pytest.mark.parametrize("batch", [1, 3, 8])
def test_predictions_are_averaged(method: str, batch: int) -> None:
    given, model = arguments(30, 20), Model()
    settings = tiling(method, batch=batch)
    result = tiled(settings, model, given)
    x = given["input"]
    weights = torch.ones(16, 16) if method == MULTI else gaussian_weights(16, 16)
    wanted, total = torch.zeros_like(x), torch.zeros(20, 30)
    for left, top in settings.corners(30, 20):
        part = x[..., top : top + 16, left : left + 16]
        wanted[..., top : top + 16, left : left + 16] += weights * (2 * part + torch.arange(16))
        total[top : top + 16, left : left + 16] += weights
    assert torch.allclose(result, wanted / total, atol=1e-5)
    assert sum(call["input"].shape[0] for call in model.calls) == 4 * 6


def test_conditioning_goes_with_its_tile() -> None:
    given, model = arguments(24, 16), Model()
    tiled(tiling(), model, given)
    (call,) = model.calls
    c, options = call["c"], call["c"]["transformer_options"]
    assert torch.equal(call["timestep"], given["timestep"].repeat(2))
    assert torch.equal(c["c_crossattn"][4:], given["c"]["c_crossattn"])
    assert torch.equal(c["c_concat"][4:], given["c"]["c_concat"][..., 8:24])
    assert options["cond_or_uncond"] == call["cond_or_uncond"] == [0, 1, 0, 1]
    assert given["c"]["transformer_options"]["cond_or_uncond"] == [0, 1]


def test_other_sizes_and_single_tiles_are_left_whole() -> None:
    for settings, size in ((tiling(size=(24, 16)), (48, 32)), (tiling(), (16, 16))):
        given, model = arguments(*size), Model()
        tiled(settings, model, given)
        assert model.calls == [given]


def test_a_control_net_is_an_error() -> None:
    given = arguments(24, 16)
    given["c"]["control"] = {"output": []}
    with pytest.raises(ValueError, match="ControlNet"):
        tiled(tiling(), Model(), given)


# --- ControlNets ---------------------------------------------------------------------------------


class Control:
    """A ControlNet whose residual is its hint, one number a cell; notes the hints it saw."""

    upscale_algorithm = "nearest-exact"

    def __init__(self, hint: Any, before: Any = None) -> None:
        self.cond_hint_original = hint
        self.cond_hint: Any = None
        self.previous_controlnet = before
        self.seen: list[Any] = []

    def get_control(self, x: Any, t: Any, cond: Any, number: int, options: Any) -> Any:
        assert "control" not in cond and options["cond_or_uncond"] == [0, 1] * (number // 2)
        assert t.shape[0] == x.shape[0] and self.cond_hint is None
        self.seen.append(self.cond_hint_original)
        hint = self.cond_hint_original[..., ::8, ::8].mean(dim=1, keepdim=True)
        return {"output": [hint]}


def steered(arguments: Mapping[str, Any]) -> Any:
    return arguments["input"] + arguments["c"]["control"]["output"][0]


def upscale(hint: Any, width: int, height: int, how: str) -> Any:
    return torch.nn.functional.interpolate(hint, size=(height, width), mode=how)


@pytest.mark.parametrize("scale", [1, 2])
def test_a_control_nets_picture_is_cut_with_the_tiles(scale: int) -> None:
    """Where residuals are the picture itself, the average of tiles is picture and latent."""
    given = arguments(24, 16)
    hint = torch.rand(2, 3, 16 * 8 // scale, 24 * 8 // scale)
    first = Control(torch.zeros(1, 3, 128, 192))
    control = Control(hint, first)
    c, options = given["c"], given["c"]["transformer_options"]
    later = Postponed(control, upscale).get_control(given["input"], None, c, 2, options)
    given["c"] = {**c, "control": later}
    result = tiled(tiling(), steered, given)
    shown = upscale(hint, 192, 128, "nearest-exact")[..., ::8, ::8].mean(dim=1, keepdim=True)
    assert torch.allclose(result, given["input"] + shown.repeat(2, 1, 1, 1), atol=1e-6)
    assert control.seen[0].shape == (8, 3, 128, 128)
    assert control.cond_hint_original is hint, "it is put back"


def test_a_latent_that_is_not_cut_has_the_whole_picture() -> None:
    given = arguments(16, 16)
    control = Control(torch.rand(4, 3, 128, 128))
    c, options = given["c"], given["c"]["transformer_options"]
    later = Postponed(control, upscale).get_control(given["input"], None, c, 2, options)
    wanted = given["input"] + control.cond_hint_original[..., ::8, ::8].mean(dim=1, keepdim=True)
    given["c"] = {**c, "control": later.then(lambda c: {**c, "finished": True})}

    def inner(arguments: Mapping[str, Any]) -> Any:
        assert arguments["c"]["finished"]
        return steered(arguments)

    assert torch.equal(tiled(tiling(), inner, given), wanted)


# --- regions -------------------------------------------------------------------------------------


def entry(value: float, tokens: int = 7) -> list[dict[str, Any]]:
    return [{"cond": torch.full((1, tokens, 3), value)}]


def region(place: tuple[int, int, int, int], value: float, **more: Any) -> Region:
    given = {"foreground": False, "feather": 0.0, **more}
    return Region(*place, **given, positive=entry(value), negative=entry(-value, 14))


def told(arguments: Mapping[str, Any]) -> Any:
    """A model that predicts the mean of its text."""
    x, text = arguments["input"], arguments["c"]["c_crossattn"]
    return torch.zeros_like(x) + text.mean(dim=(1, 2)).view(-1, 1, 1, 1)


def spoken(width: int, height: int, value: float = 1.0) -> dict[str, Any]:
    given = arguments(width, height, images=1)
    given["c"]["c_crossattn"] = torch.full((2, 7, 3), value)
    given["c"]["transformer_options"][BATCH] = WholeBatch(call=0)
    return given


def test_a_background_region_is_one_more_tile() -> None:
    given = spoken(24, 16)
    result = tiled(tiling(), told, given, [region((4, 2, 8, 10), 4.0)])
    one = torch.ones(16, 24)
    two = torch.ones(16, 24) + torch.where(_within(24, 16, 8, 0, 8, 16), 1.0, 0.0)
    inside = _within(24, 16, 4, 2, 8, 10)
    positive = torch.where(inside, (two + 4.0) / (two + 1), one)
    negative = torch.where(inside, (two - 4.0) / (two + 1), one)
    assert torch.allclose(result[0], positive.expand(4, -1, -1))
    assert torch.allclose(result[1], negative.expand(4, -1, -1)), "each prompt has its own text"


def _within(width: int, height: int, left: int, top: int, w: int, h: int) -> Any:
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    return (x >= left) & (x < left + w) & (y >= top) & (y < top + h)


def test_mixture_weighs_a_region_by_a_bell_of_its_own() -> None:
    given = spoken(16, 16)
    result = tiled(tiling(MIXTURE), told, given, [region((0, 0, 8, 4), 5.0)])
    tile, own = gaussian_weights(16, 16)[:4, :8], gaussian_weights(8, 4)
    wanted = (tile + 5.0 * own) / (tile + own)
    assert torch.allclose(result[0, :, :4, :8], wanted.expand(4, -1, -1), rtol=1e-4)


@pytest.mark.parametrize(("method", "empty"), [(MULTI, 0.0), (MIXTURE, None)])
def test_without_tiles_nothing_lies_between_regions(method: str, empty: float | None) -> None:
    given = spoken(24, 16)
    regions = [region((0, 0, 8, 16), 2.0), region((4, 0, 8, 16), 4.0)]
    result = tiled(tiling(method), told, given, regions, draws_tiles=False)
    rest = given["input"][0, :, :, 12:] if empty is None else torch.zeros(4, 16, 12)
    assert torch.equal(result[0, :, :, 12:], rest)
    assert torch.allclose(result[0, :, :, :4], torch.tensor(2.0))
    assert torch.allclose(result[0, :, :, 8:12], torch.tensor(4.0))


def test_foreground_regions_are_laid_over() -> None:
    given = spoken(16, 16)
    regions = [
        region((0, 0, 8, 8), 3.0, foreground=True, feather=0.5),
        region((4, 0, 8, 8), 5.0, foreground=True, feather=0.0),
    ]
    result = tiled(tiling(), told, given, regions)[0, 0]
    mask = feather_mask(8, 8, 0.5)
    alone = 1 * (1 - mask[:, :4]) + 3.0 * mask[:, :4]
    assert torch.allclose(result[:8, :4], alone)
    share = (mask[:, 4:] + 1) / 2
    assert torch.allclose(result[:8, 4:8], 1 * (1 - share) + 4.0 * share)
    assert torch.allclose(result[:8, 8:12], torch.tensor(5.0))
    assert torch.allclose(result[8:], torch.tensor(1.0))


@pytest.mark.parametrize(("width", "height", "ratio"), [(8, 8, 0.5), (9, 7, 1.0), (6, 12, 0.2)])
def test_the_feather_fades_towards_the_edge(width: int, height: int, ratio: float) -> None:
    """By the square of the distance, quarter by quarter: an odd side's middle is not reached."""
    radius = int(min(width // 2, height // 2) * ratio)
    mask = feather_mask(width, height, ratio)
    for y in range(height):
        for x in range(width):
            i, j = min(y, height - 1 - y), min(x, width - 1 - x)
            reached = i < height // 2 and j < width // 2 and min(i, j) < radius
            wanted = (min(i, j) / radius) ** 2 if reached else 1.0
            assert float(mask[y, x]) == pytest.approx(wanted)


def test_places_are_shares_of_the_latent() -> None:
    found = region_at((0.1, 0.5, 0.35, 0.9), "Background", 0.2, (64, 33))
    assert found is not None
    assert (found.left, found.top, found.width, found.height) == (6, 16, 23, 17)
    assert region_at((1.0, 0, 0.5, 1), "Background", 0.2, (64, 64)) is None


def test_a_region_says_what_its_call_and_part_say() -> None:
    texts = [
        {"cond": torch.zeros(1, 7, 3), "a1111_part": 0, "a1111_end": 2},
        {"cond": torch.ones(1, 7, 3), "a1111_part": 0, "a1111_end": 4},
        {"cond": torch.full((1, 7, 3), 2.0), "a1111_part": 1},
    ]
    own = Region(0, 0, 1, 1, False, 0.0, positive=texts, negative=texts)
    said = [float(own.text(0, WholeBatch(call, part)).mean()) for call in (2, 3) for part in (0, 1)]
    assert said == [0.0, 2.0, 1.0, 2.0]
    assert float(own.text(1, WholeBatch(3, 1)).mean()) == 1.0, "the negative prompt has one part"
