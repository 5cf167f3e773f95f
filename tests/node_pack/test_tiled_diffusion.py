"""Tiled Diffusion's tiles, weights and averages."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from custom_nodes.comfyui_a1111.maths.tiled_diffusion import (  # noqa: E402
    MIXTURE,
    MULTI,
    Tiling,
    gaussian_weights,
    tiled,
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
