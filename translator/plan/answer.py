"""What an answer holds: pictures of the generations, grids of them, detected maps."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Picture:
    """One image of a variant.

    Attributes:
        variant: position in `Expansion.variants`.
        index: position among that variant's images, over all its batches.
    """

    variant: int
    index: int


@dataclass(frozen=True)
class DetectedMaps:
    """The ControlNet maps that a variant's generation answers after its images."""

    variant: int


@dataclass(frozen=True)
class Grid:
    """Pictures (or grids) laid out in rows.

    Attributes:
        cells: row by row.
        rows: the number of rows.
        legend: the legend of the node A1111ImageGrid, as JSON; empty without one.
        background: the colour between and around the cells.
        infotext_of: the variant whose infotext the file carries; None for grids of scripts, whose
            files carry none.
    """

    cells: tuple[Picture | Grid, ...]
    rows: int
    legend: str = ""
    background: str = "#ffffff"
    infotext_of: int | None = None


Output = Picture | Grid | DetectedMaps
"""What an answer holds: an image, a grid, or as many maps as a generation has."""


def pictures(outputs: Iterable[Output]) -> Iterator[Picture]:
    """The pictures that an answer holds, those in its grids included."""
    for output in outputs:
        if isinstance(output, Picture):
            yield output
        elif isinstance(output, Grid):
            yield from pictures(output.cells)


def answered_images(outputs: Iterable[Output], variants: int) -> list[set[int]]:
    """Of each variant, the positions of its images that the answer holds."""
    found: list[set[int]] = [set() for _ in range(variants)]
    for picture in pictures(outputs):
        found[picture.variant].add(picture.index)
    return found
