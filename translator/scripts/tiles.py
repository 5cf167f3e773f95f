"""A1111's tiles: where a picture is cut, for the scripts that work on one tile after the other.

Source: A1111 v1.10.1 ``modules/images.py`` (split_grid).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from translator.plan import pictures
from translator.plan.pictures import Joined, Made, Size


class TileError(ValueError):
    """A picture that A1111 cannot cut into such tiles."""


@dataclass(frozen=True)
class Tiles:
    """A picture's tiles, line by line.

    Attributes:
        size: of the picture, in pixels.
        tile: of a tile.
        overlap: pixels that neighbours share at the least.
        columns, rows: left of each column, top of each line; negative where the picture is smaller
            than a tile.
    """

    size: Size
    tile: Size
    overlap: int
    columns: tuple[int, ...]
    rows: tuple[int, ...]

    @property
    def corners(self) -> Iterator[tuple[int, int]]:
        """Left and top of every tile."""
        return ((x, y) for y in self.rows for x in self.columns)

    def cut(self, picture: Made, corner: tuple[int, int]) -> Made:
        """The tile at a corner."""
        return pictures.cut(picture, self.size, corner, self.tile)

    def joined(self, tiles: Sequence[Made]) -> Joined:
        """Tiles put together again."""
        return Joined(tuple(tiles), self.columns, self.rows, self.tile, self.size, self.overlap)


def tile_count(size: Size, tile: Size, overlap: int) -> int:
    """How many tiles a picture has.

    Raises:
        TileError: none, or A1111 fails to count them.
    """
    across, down = (_count(length, side, overlap) for length, side in zip(size, tile, strict=True))
    return across * down


def split(size: Size, tile: Size, overlap: int) -> Tiles:
    """The tiles of a picture that `tile_count` takes."""
    columns, rows = (
        _starts(length, side, overlap) for length, side in zip(size, tile, strict=True)
    )
    return Tiles(size, tile, overlap, columns, rows)


def _count(length: int, side: int, overlap: int) -> int:
    if overlap < 0:
        raise TileError(f"an overlap of {overlap} pixels is below 0")
    if side <= overlap:
        raise TileError(f"an overlap of {overlap} pixels leaves nothing of a tile of {side} pixels")
    if length <= overlap:
        raise TileError(f"a picture of {length} pixels has no tile with an overlap of {overlap}")
    return math.ceil((length - overlap) / (side - overlap))


def _starts(length: int, side: int, overlap: int) -> tuple[int, ...]:
    count = _count(length, side, overlap)
    step = (length - side) / (count - 1) if count > 1 else 0
    starts = (int(number * step) for number in range(count))
    return tuple(length - side if start + side >= length else start for start in starts)
