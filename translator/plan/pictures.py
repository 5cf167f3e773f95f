"""Pictures that a graph makes beside its generations, for scripts to start from and to answer.

They are values without a node: `stages/pictures` spells them. Sizes are (width, height) in pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from translator.plan.starts import ImageUpscale
from translator.request.images import ImageUpload

Size = tuple[int, int]

BLACK = 0x000000
"""The colour of a canvas that nothing covers."""


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
class Sent:
    """A picture of the request.

    Attributes:
        image: the picture.
        background: what lies under its transparent parts, as ``#rrggbb``; None drops transparency.
    """

    image: ImageUpload
    background: str | None


@dataclass(frozen=True)
class EnlargedBy:
    """A picture enlarged by A1111's upscalers.

    Attributes:
        of: the picture.
        upscaler: what enlarges it.
        factor: by which; the sides end at multiples of 8.
        source, size: before and after.
    """

    of: Made
    upscaler: ImageUpscale
    factor: float
    source: Size
    size: Size


@dataclass(frozen=True)
class Stretched:
    """A picture brought to a size by one Lanczos resize of Pillow's."""

    of: Made
    size: Size


@dataclass(frozen=True)
class Pasted:
    """A picture laid on another one, or on a black canvas; what stands over is cut off.

    Attributes:
        under: None is the canvas.
        at: where the picture's corner lies, left and top.
        size: of the result.
    """

    under: Made | None
    over: Made
    at: tuple[int, int]
    size: Size


@dataclass(frozen=True)
class Cut:
    """A part of a picture, which lies within it: corner (left, top) and size."""

    of: Made
    at: tuple[int, int]
    size: Size


@dataclass(frozen=True)
class Joined:
    """Tiles put together, each faded over what lies left of it and above it.

    Attributes:
        tiles: line by line, all of one size.
        columns, rows: left of each column, top of each line.
        tile: size of a tile.
        size: of the result.
        overlap: pixels over which a tile fades in.
    """

    tiles: tuple[Made, ...]
    columns: tuple[int, ...]
    rows: tuple[int, ...]
    tile: Size
    size: Size
    overlap: int


@dataclass(frozen=True)
class Frame:
    """A mask as a picture: white, with a black rectangle.

    Attributes:
        size: of the picture.
        kept: the rectangle: left, top, right, bottom, the last two excluded; within the picture.
    """

    size: Size
    kept: tuple[int, int, int, int]


@dataclass(frozen=True)
class Noised:
    """A picture with noise of its own spectrum where a mask is white (Outpainting mk2).

    Attributes:
        falloff, colors: see the node A1111OutpaintNoise.
    """

    of: Made
    mask: Frame
    falloff: float
    colors: float


Made = Picture | Sent | EnlargedBy | Stretched | Pasted | Cut | Joined | Frame | Noised
"""A picture that a graph makes."""


def placeholder(name: str, size: Size, mode: str = "RGB") -> ImageUpload:
    """What stands in a request's fields for a picture that the graph makes; nothing is uploaded.

    Args:
        name: the key of the picture in `Expansion.made`.
        mode: Pillow's, ``RGB`` or ``L``.
    """
    return ImageUpload(name, "", *size, mode, has_alpha=False)


def parts(picture: Made) -> Iterator[Made]:
    """A picture and all that it is made of."""
    yield picture
    if isinstance(picture, EnlargedBy | Stretched | Cut):
        yield from parts(picture.of)
    elif isinstance(picture, Noised):
        yield from parts(picture.of)
        yield picture.mask
    elif isinstance(picture, Pasted):
        yield from parts(picture.over)
        if picture.under is not None:
            yield from parts(picture.under)
    elif isinstance(picture, Joined):
        for tile in picture.tiles:
            yield from parts(tile)


def size_of(picture: Made, of_generation: Callable[[Picture], Size]) -> Size:
    """The size of a picture.

    Args:
        of_generation: tells that of a variant's image.
    """
    if isinstance(picture, Picture):
        return of_generation(picture)
    if isinstance(picture, Sent):
        return picture.image.width, picture.image.height
    if isinstance(picture, Noised):
        return size_of(picture.of, of_generation)
    return picture.size


def cut(picture: Made, size: Size, at: tuple[int, int], part: Size) -> Made:
    """Pillow's crop: what lies outside of the picture is black; some of it must lie inside.

    Args:
        size: of the picture.
        at, part: corner and size of what is cut out.
    """
    left, top = max(at[0], 0), max(at[1], 0)
    right, bottom = min(at[0] + part[0], size[0]), min(at[1] + part[1], size[1])
    shown = (right - left, bottom - top)
    visible = picture if shown == size else Cut(picture, (left, top), shown)
    return visible if shown == part else Pasted(None, visible, (left - at[0], top - at[1]), part)


def frame(size: Size, kept: tuple[int, int, int, int]) -> Frame:
    """The mask of everything outside of a rectangle, whose corners Pillow's drawing includes."""
    left, top, right, bottom = kept
    width, height = size
    box = max(left, 0), max(top, 0), min(right + 1, width), min(bottom + 1, height)
    return Frame(size, box)
