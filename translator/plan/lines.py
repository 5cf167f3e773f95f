"""A picture divided into lines of cells, each with a text of its own: the node pack has a copy.

Numbers are shares of a side, 0..1.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Cell:
    """A region within a line.

    Attributes:
        start, end: where it lies along the line.
        base: the base prompt's share.
        text: position of its text among the prompt's.
    """

    start: float
    end: float
    base: float
    text: int


@dataclass(frozen=True)
class Line:
    """Regions beside each other; `start` and `end` say where they lie across."""

    start: float
    end: float
    cells: tuple[Cell, ...]


def to_json(lines: Iterable[Line]) -> list[Any]:
    """The input ``lines`` of A1111RegionalPrompter."""
    return [
        [line.start, line.end, [[c.start, c.end, c.base, c.text] for c in line.cells]]
        for line in lines
    ]


def from_json(value: Sequence[Any]) -> tuple[Line, ...]:
    """What `to_json` wrote.

    Raises:
        ValueError, TypeError: it is none of that.
    """
    return tuple(
        Line(
            low, high, tuple(Cell(start, end, base, int(text)) for start, end, base, text in cells)
        )
        for low, high, cells in value
    )
