"""What an answer holds: pictures of the generations, grids of them, detected maps."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from translator.plan.pictures import Made, Picture, parts


@dataclass(frozen=True)
class DetectedMaps:
    """The ControlNet maps that a variant's generation answers after its images."""

    variant: int


@dataclass(frozen=True)
class Assembled:
    """A picture that a script makes of its generations' pictures; its file carries no infotext."""

    picture: Made


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

    cells: tuple[Picture | Assembled | Grid, ...]
    rows: int
    legend: str = ""
    background: str = "#ffffff"
    infotext_of: int | None = None


Output = Picture | Assembled | Grid | DetectedMaps
"""What an answer holds: an image, a grid, or as many maps as a generation has."""


def pictures(outputs: Iterable[Output]) -> Iterator[Picture]:
    """The generations' pictures that an answer holds, those in what it puts together included."""
    for output in outputs:
        if isinstance(output, Picture):
            yield output
        elif isinstance(output, Assembled):
            yield from _of_generations(output.picture)
        elif isinstance(output, Grid):
            yield from pictures(output.cells)


def needed_images(
    outputs: Iterable[Output], variants: int, made: Iterable[Made] = ()
) -> list[set[int]]:
    """Of each variant, the positions of its images that are answered or that another starts from.

    Args:
        made: what variants start from, see `Expansion.made`.
    """
    found: list[set[int]] = [set() for _ in range(variants)]
    for picture in pictures(outputs):
        found[picture.variant].add(picture.index)
    for start in made:
        for picture in _of_generations(start):
            found[picture.variant].add(picture.index)
    return found


def _of_generations(picture: Made) -> Iterator[Picture]:
    return (item for item in parts(picture) if isinstance(item, Picture))
