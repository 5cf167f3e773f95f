"""A1111's image grids and their legends.

Source of the rules: A1111 v1.10.1 `modules/images.py` (grid layout and annotations), which draws
legends in Roboto.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image, ImageColor, ImageDraw, ImageFont

Font = ImageFont.FreeTypeFont

FONT_FILE = Path(__file__).parent / "fonts" / "Roboto-Regular.ttf"
"""A1111's legend font (see LICENSE.txt beside it)."""

_MOST_TIMES, _ALWAYS_FINE = 8, 64_000_000
"""By how much labels and margins may enlarge a grid, and pixels that it may have in any case."""

_MOST_LETTERS = 200_000
"""Of a grid's labels together: breaking so many into lines takes some seconds."""

_SMALL = 8
_DOTLESS = str.maketrans({"i": "l", "j": "lg"})
"""For measuring up to 8 pixels: FreeType now hints the dots of i and j a pixel above where the
version that A1111 shipped with put them, which would make the legend a pixel higher."""


@dataclass(frozen=True)
class Label:
    """One legend line; an inactive one is struck through, as the prompt matrix does."""

    text: str = ""
    active: bool = True


@dataclass(frozen=True)
class Legend:
    """Labels over the columns and beside the rows of a grid.

    `margin` (pixels) separates the cells. Colours are anything Pillow's ImageColor reads; the
    defaults are A1111's options grid_text_active_color, grid_text_inactive_color.
    """

    columns: list[list[Label]] = field(default_factory=list)
    rows: list[list[Label]] = field(default_factory=list)
    margin: int = 0
    active_color: str = "#000000"
    inactive_color: str = "#999999"


def parse_legend(data: dict[str, Any]) -> Legend:
    """Build a legend from its JSON form.

    Either `columns` and `rows`: a list per column or row of lines, each a text or
    `[text, active]`; or `prompt_matrix`: the optional parts of A1111's prompt matrix (without the
    first, fixed part). Also `margin`, `active_color`, `inactive_color`.
    Raises ValueError for an unknown key.
    """
    data = dict(data)
    if "prompt_matrix" in data:
        data["columns"], data["rows"] = prompt_matrix_labels(data.pop("prompt_matrix"))
    else:
        for axis in ("columns", "rows"):
            data[axis] = [[_label(line) for line in cell] for cell in data.get(axis, [])]
    unknown = set(data) - set(Legend.__dataclass_fields__)
    if unknown:
        raise ValueError(f"A1111ImageGrid: unknown legend keys {sorted(unknown)}")
    return Legend(**data)


def _label(line: str | Sequence[Any]) -> Label:
    return Label(line) if isinstance(line, str) else Label(str(line[0]), bool(line[1]))


def prompt_matrix_labels(parts: Sequence[str]) -> tuple[list[list[Label]], list[list[Label]]]:
    """Column and row labels of A1111's prompt matrix for its optional parts.

    The first ceil(n/2) parts vary along the columns, the others along the rows; in cell k part i
    is active when bit i of k is set.
    """
    boundary = math.ceil(len(parts) / 2)
    columns, rows = (
        [
            [Label(text, bool(cell >> bit & 1)) for bit, text in enumerate(axis)]
            for cell in range(1 << len(axis))
        ]
        for axis in (parts[:boundary], parts[boundary:])
    )
    return columns, rows


def grid_rows(count: int, rows: int = 0) -> int:
    """Rows of a grid of `count` images: `rows`, or round(sqrt(count)) when that is 0."""
    return min(rows if rows > 0 else round(math.sqrt(count)), count)


def image_grid(
    images: Sequence[Image.Image], rows: int = 0, background: str = "#ffffff"
) -> Image.Image:
    """Lay images out row by row in cells of the largest width and height, centred in them."""
    row_count = grid_rows(len(images), rows)
    column_count = math.ceil(len(images) / row_count)
    width = max(image.width for image in images)
    height = max(image.height for image in images)
    size = column_count * width, row_count * height
    grid = Image.new("RGB", size, ImageColor.getcolor(background, "RGB"))
    for index, image in enumerate(images):
        row, column = divmod(index, column_count)
        left = column * width + (width - image.width) // 2
        grid.paste(image, (left, row * height + (height - image.height) // 2))
    return grid


@functools.cache
def legend_font(size: int) -> Font:
    """Roboto at `size` pixels."""
    return ImageFont.truetype(str(FONT_FILE), size)


@dataclass(frozen=True)
class _Line:
    """A wrapped legend line, measured: ink size in pixels."""

    text: str
    active: bool
    width: float
    height: float


def draw_legend(
    grid: Image.Image, cell: tuple[int, int], legend: Legend, background: str = "#ffffff"
) -> Image.Image:
    """Add labels above the columns and left of the rows, and the margin between the cells.

    The type size is (cell width + cell height) // 25 pixels, the left column three quarters of
    a cell, the top as high as the tallest column label needs.
    Raises ValueError when the numbers of labels and cells differ, or where the labels take many
    times the pictures' place.
    """
    laid = _Laid.out(grid, cell, legend)
    result = laid.canvas(grid, ImageColor.getcolor(background, "RGB"))
    pen = _Pen(ImageDraw.Draw(result), laid.size, laid.spacing, legend)
    width, height = cell
    for column, lines in enumerate(laid.columns):
        middle = laid.left + laid.pitch[0] * column + width / 2
        stack = _stack_height(lines, laid.spacing) - laid.spacing
        pen.write(lines, middle, laid.top / 2 - stack / 2, width)
    for row, lines in enumerate(laid.rows):
        middle = laid.top + laid.pitch[1] * row + height / 2
        stack = sum(line.height for line in lines)
        pen.write(lines, laid.left / 2, middle - stack / 2, laid.left)
    return result


@dataclass(frozen=True)
class _Laid:
    """Where a grid's cells and labels lie, in pixels.

    Attributes:
        cell, pitch: width and height of a cell, and with the margin behind it.
        size, spacing: of the type, and between two lines.
        left, top: of the first cell.
        columns, rows: the labels in lines.
    """

    cell: tuple[int, int]
    pitch: tuple[int, int]
    size: int
    spacing: int
    left: int
    top: int
    columns: Sequence[Sequence[_Line]]
    rows: Sequence[Sequence[_Line]]

    @classmethod
    def out(cls, grid: Image.Image, cell: tuple[int, int], legend: Legend) -> _Laid:
        """Raises ValueError when the numbers of labels and cells differ, or for long labels."""
        width, height = cell
        _check_letters(legend)
        for axis, labels, cells in (
            ("columns", legend.columns, grid.width // width),
            ("rows", legend.rows, grid.height // height),
        ):
            if len(labels) != cells:
                raise ValueError(f"A1111ImageGrid: {len(labels)} labels for {cells} {axis}")
        size = max((width + height) // 25, 1)
        spacing = size // 2
        has_row_text = any(line.text for labels in legend.rows for line in labels)
        left = width * 3 // 4 if has_row_text else 0
        columns = [_wrap(labels, size, width) for labels in legend.columns]
        rows = [_wrap(labels, size, left) for labels in legend.rows]
        stacks = [_stack_height(lines, spacing) - spacing for lines in columns]
        top = int(max(stacks) + spacing * 2) if sum(stacks) else 0
        pitch = width + legend.margin, height + legend.margin
        return cls(cell, pitch, size, spacing, left, top, columns, rows)

    def canvas(self, grid: Image.Image, fill: Any) -> Image.Image:
        """The grid's cells apart, with room for the labels.

        Raises ValueError where that is many times the grid's size.
        """
        (width, height), columns, rows = self.cell, len(self.columns), len(self.rows)
        full = (
            self.left + self.pitch[0] * (columns - 1) + width,
            self.top + self.pitch[1] * (rows - 1) + height,
        )
        if full[0] * full[1] > max(_MOST_TIMES * grid.width * grid.height, _ALWAYS_FINE):
            raise ValueError(
                f"A1111ImageGrid: its labels and margins make a grid of {grid.width}x{grid.height} "
                f"pixels {full[0]}x{full[1]}; ask for shorter ones"
            )
        result = Image.new("RGB", full, fill)
        for row, column in itertools.product(range(rows), range(columns)):
            x, y = width * column, height * row
            picture = grid.crop((x, y, x + width, y + height))
            place = self.left + self.pitch[0] * column, self.top + self.pitch[1] * row
            result.paste(picture, place)
        return result


def _check_letters(legend: Legend) -> None:
    letters = sum(len(label.text) for label in itertools.chain(*legend.columns, *legend.rows))
    if letters > _MOST_LETTERS:
        raise ValueError(
            f"A1111ImageGrid: its labels have {letters} letters, more than {_MOST_LETTERS}; "
            "ask for shorter ones"
        )


def _stack_height(lines: Sequence[_Line], spacing: int) -> float:
    return sum(line.height + spacing for line in lines)


def _wrap(labels: Sequence[Label], size: int, limit: int) -> list[_Line]:
    """Break labels at blanks so that each line is at most `limit` pixels wide, and measure them."""
    font = legend_font(size)
    ruler = ImageDraw.Draw(Image.new("RGB", (1, 1)))
    lines = []
    for label in labels:
        texts = [""]
        for word in label.text.split():
            longer = f"{texts[-1]} {word}".strip()
            if ruler.textlength(longer, font=font) <= limit:
                texts[-1] = longer
            else:
                texts.append(word)
        for text in texts:
            x0, _, x1, _ = ruler.multiline_textbbox((0, 0), text, font=font)
            tall = text.translate(_DOTLESS) if size <= _SMALL else text
            _, y0, _, y1 = ruler.multiline_textbbox((0, 0), tall, font=font)
            lines.append(_Line(text, label.active, x1 - x0, y1 - y0))
    return lines


@dataclass(frozen=True)
class _Pen:
    draw: ImageDraw.ImageDraw
    size: int
    spacing: int
    legend: Legend

    def write(self, lines: Sequence[_Line], x: float, y: float, limit: int) -> None:
        """Write lines centred on `x`, downwards from `y`."""
        for line in lines:
            color = self.legend.active_color if line.active else self.legend.inactive_color
            middle = y + line.height / 2
            self.draw.multiline_text(
                (x, middle),
                line.text,
                font=legend_font(self._fitting(line.text, limit)),
                fill=color,
                anchor="mm",
                align="center",
            )
            if not line.active:
                half, level = line.width // 2, y + line.height // 2
                self.draw.line((x - half, level, x + half, level), fill=color, width=4)
            y += line.height + self.spacing

    def _fitting(self, text: str, limit: int) -> int:
        """The type size for a line: smaller while the left edge of its ink exceeds the limit."""
        size = self.size
        while size > 1 and self._ink_left(text, size) > limit:
            size -= 1
        return size

    def _ink_left(self, text: str, size: int) -> float:
        return self.draw.multiline_textbbox((0, 0), text, font=legend_font(size))[0]
