"""A1111's grids and legends."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from PIL import Image  # noqa: E402

from custom_nodes.comfyui_a1111.maths import grid_ops  # noqa: E402

pytestmark = pytest.mark.torch


def flat(level: int, width: int = 64, height: int = 64) -> Image.Image:
    return Image.new("RGB", (width, height), (level, level, level))


@pytest.mark.parametrize(
    ("count", "rows", "expected"),
    [(1, 0, 1), (2, 0, 1), (3, 0, 2), (6, 0, 2), (7, 0, 3), (12, 0, 3), (5, 1, 1), (2, 9, 2)],
)
def test_rows(count: int, rows: int, expected: int) -> None:
    assert grid_ops.grid_rows(count, rows) == expected


def test_cells_have_the_largest_size_and_centre_their_image() -> None:
    grid = np.asarray(grid_ops.image_grid([flat(10), flat(20, 32, 16), flat(30)], 0, "#102030"))
    assert grid.shape == (128, 128, 3)
    assert (grid[24:40, 80:112] == 20).all()
    assert grid[0, 64].tolist() == [0x10, 0x20, 0x30]
    assert grid[64 + 5, 5].tolist() == [30, 30, 30]
    assert grid[64 + 5, 64 + 5].tolist() == [0x10, 0x20, 0x30]


def test_prompt_matrix_labels_follow_the_bits() -> None:
    columns, rows = grid_ops.prompt_matrix_labels(["night", "snow", "fog"])
    assert [[label.active for label in cell] for cell in columns] == [
        [False, False],
        [True, False],
        [False, True],
        [True, True],
    ]
    assert [[label.text for label in cell] for cell in rows] == [["fog"], ["fog"]]


def test_a_prompt_matrix_has_the_size_of_a1111s() -> None:
    """Golden scripts/prompt_matrix: "a cat|night|snow" in cells of 64 pixels gives 176x137."""
    cells = [flat(level) for level in (10, 20, 30, 40)]
    legend = grid_ops.parse_legend({"prompt_matrix": ["night", "snow"]})
    drawn = grid_ops.draw_legend(grid_ops.image_grid(cells, 2), (64, 64), legend)
    assert drawn.size == (176, 137)
    picture = np.asarray(drawn)
    assert (picture[9:73, 48:112] == 10).all() and (picture[73:, 112:] == 40).all()
    # the inactive label of the first column is struck through in grey, the second's is not
    assert (picture[:9, 80] == 0x99).all(axis=1).sum() >= 3
    assert not (picture[:9, 144] == 0x99).all(axis=1).any()


def test_margins_part_the_cells_and_columns_without_text_take_no_room() -> None:
    cells = [flat(level) for level in (10, 20)]
    legend = grid_ops.parse_legend({"columns": [[""], [""]], "rows": [[""]], "margin": 6})
    picture = np.asarray(grid_ops.draw_legend(grid_ops.image_grid(cells), (64, 64), legend))
    assert picture.shape == (64, 134, 3)
    assert (picture[:, 64:70] == 255).all() and (picture[:, 70:] == 20).all()


def test_long_labels_wrap_to_the_cell() -> None:
    columns = [["masterpiece of many words that do not fit on one line of a small cell"]]
    legend = grid_ops.parse_legend({"columns": columns, "rows": [[""]]})
    one_line = grid_ops.parse_legend({"columns": [["masterpiece"]], "rows": [[""]]})
    tall, short = (
        grid_ops.draw_legend(flat(0, 128, 128), (128, 128), text).height
        for text in (legend, one_line)
    )
    assert tall >= short + 2 * 5


def test_labels_must_match_the_cells() -> None:
    legend = grid_ops.parse_legend({"columns": [["a"]], "rows": [["b"], ["c"]]})
    with pytest.raises(ValueError, match="2 labels for 1 rows"):
        grid_ops.draw_legend(flat(0), (64, 64), legend)


def test_labels_that_take_far_more_room_than_the_pictures_are_refused() -> None:
    """Thousands of words above a picture would be a picture of gigabytes."""
    legend = grid_ops.parse_legend({"columns": [["word " * 8_000], [""]], "rows": [[""]]})
    with pytest.raises(ValueError, match=r"pixels 1024x.*ask for shorter ones"):
        grid_ops.draw_legend(flat(0, 1024, 512), (512, 512), legend)


def test_labels_of_a_million_letters_are_refused_before_they_are_measured() -> None:
    legend = grid_ops.parse_legend({"columns": [["word " * 200_000], [""]], "rows": [[""]]})
    with pytest.raises(ValueError, match="1000000 letters, more than 200000"):
        grid_ops.draw_legend(flat(0, 256, 128), (128, 128), legend)


def test_unknown_legend_keys_are_refused() -> None:
    with pytest.raises(ValueError, match="colour"):
        grid_ops.parse_legend({"columns": [], "rows": [], "colour": "red"})
