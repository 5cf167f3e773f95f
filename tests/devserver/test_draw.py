"""Pictures of the development server that are what they stand for: edges, grids."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from devserver.canny import canny
from devserver.draw import read_mark, render
from devserver.values import Grid, Picture

FACE = Path(__file__).parents[2] / "examples" / "face.jpg"


@pytest.mark.parametrize(("low", "high"), [(100, 200), (30, 60), (200, 100), (255, 255)])
@pytest.mark.parametrize("size", [(320, 320), (97, 33)])
def test_edges_are_opencvs(low: int, high: int, size: tuple[int, int]) -> None:
    cv2 = pytest.importorskip("cv2")
    with Image.open(FACE) as file:
        picture = file.convert("L").resize(size)
    wanted = cv2.Canny(np.asarray(picture), low, high)
    assert np.array_equal(np.asarray(canny(picture, low, high)), wanted)


def test_the_edges_of_a_sent_picture_are_drawn() -> None:
    drawn = render(Picture(file=FACE, edges=(100, 200)), (256, 256), "map")
    assert {colour for _, colour in drawn.getcolors() or ()} == {(0, 0, 0), (255, 255, 255)}


def test_a_grid_is_its_pictures() -> None:
    cells = tuple(Picture(seed=seed, text=f"number {seed}") for seed in range(3))
    grid = render(Picture(grid=Grid(cells, 2, (128, 128))), (256, 256), "grid")
    for place, cell in enumerate(cells):
        row, column = divmod(place, 2)
        box = (column * 128, row * 128, column * 128 + 128, row * 128 + 128)
        found = grid.crop(box)
        assert read_mark(found) == (place, 0)
        assert found.tobytes() == render(cell, (128, 128), "grid").tobytes()


def test_pictures_of_other_seeds_and_prompts_look_different() -> None:
    drawn = {
        render(Picture(seed=seed, text=text), (256, 256), "x").tobytes()
        for seed in (1, 2)
        for text in ("a cat", "a dog")
    }
    assert len(drawn) == 4


def test_a_legend_is_drawn() -> None:
    legend = json.dumps({"columns": [["one"], ["two"]], "rows": [[""]], "margin": 0})
    cells = (Picture(seed=1), Picture(seed=2))
    grid = Grid(cells, 1, (128, 128), legend)
    plain = render(Picture(grid=Grid(cells, 1, (128, 128))), (256, 128), "x")
    assert render(Picture(grid=grid), (256, 128), "x").tobytes() != plain.tobytes()
