"""Pictures for the images that were only calculated: flat, labelled, and marked with their seed."""

from __future__ import annotations

import colorsys
import io
import json
import random
import struct
import textwrap
import zlib
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Literal

from PIL import Image as Pillow
from PIL import ImageDraw, ImageFont, PngImagePlugin, UnidentifiedImageError

from devserver.canny import canny
from devserver.pack_maths import load
from devserver.values import Grid, Picture

PREVIEW_SIDE = 512
"""Longest side of a sampling preview, in pixels."""

_MARK = struct.Struct(">2sQH")
_MARK_WORD = b"DV"
_MARK_PIXELS = _MARK.size // 3
_SMALLEST_LABELLED = 96
_SKY_BANDS, _HILLS = 14, 3

Style = Literal["label", "photo"]


def render(
    picture: Picture, size: tuple[int, int], title: str, style: Style = "label"
) -> Pillow.Image:
    """Draw one image of a batch.

    A picture that was loaded and only resized since is drawn as it is, or its edges where Canny's
    were taken; a grid is its pictures side by side. Any other is a landscape of its own colours
    with a caption (node title, size, seed, prompt) and, where it was sampled, its seed and batch
    index in its first pixels for `read_mark`.

    Args:
        size: width and height in pixels.
        title: of the output node.
        style: ``photo`` puts a texture under the caption that compresses as badly as a photo.
    """
    loaded = _loaded(picture, size)
    if loaded is not None:
        return loaded
    if picture.grid is not None:
        return _grid(picture.grid, size, title, style)
    lines = [title, f"{size[0]} x {size[1]}"]
    if picture.seed is not None:
        batch = f", image {picture.index + 1}" if picture.index else ""
        lines.append(f"seed {picture.seed}{batch}")
    canvas = _background(size, zlib.crc32(repr((picture, title)).encode()), style)
    if min(size) >= _SMALLEST_LABELLED:
        _write(canvas, lines, picture.text)
    if picture.seed is not None:
        _write_mark(canvas, picture.seed, picture.index)
    return canvas


def read_mark(image: Pillow.Image) -> tuple[int, int] | None:
    """The seed and batch index of a drawn picture, or None where it carries none.

    The mark survives lossless formats only.
    """
    if image.width < _MARK_PIXELS:
        return None
    pixels = image.convert("RGB").crop((0, 0, _MARK_PIXELS, 1)).tobytes()
    word, seed, index = _MARK.unpack(pixels)
    return (seed, index) if word == _MARK_WORD else None


def encode_png(image: Pillow.Image, level: int, texts: Mapping[str, Any] | None = None) -> bytes:
    """A PNG with zlib `level`, and a tEXt chunk of JSON for each of `texts`."""
    info = PngImagePlugin.PngInfo()
    for key, value in (texts or {}).items():
        info.add_text(key, json.dumps(value))
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=level, pnginfo=info)
    return buffer.getvalue()


def encode_preview(image: Pillow.Image) -> bytes:
    """A JPEG no longer than `PREVIEW_SIDE`, as a sampling preview."""
    image.thumbnail((PREVIEW_SIDE, PREVIEW_SIDE), Pillow.Resampling.BILINEAR)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=95)
    return buffer.getvalue()


def _loaded(picture: Picture, size: tuple[int, int]) -> Pillow.Image | None:
    if picture.file is None:
        return None
    try:
        with Pillow.open(picture.file) as file:
            plain = file.convert("RGB").resize(size)
        return canny(plain, *picture.edges).convert("RGB") if picture.edges else plain
    except (OSError, UnidentifiedImageError):
        # Answered from cache after its file was deleted: only the label is left.
        return None


def _grid(grid: Grid, size: tuple[int, int], title: str, style: Style) -> Pillow.Image:
    """Pictures side by side, with the legend that the pack draws around them."""
    columns = -(-len(grid.pictures) // grid.rows)
    width, height = grid.cell
    canvas = Pillow.new("RGB", (width * columns, height * grid.rows))
    for place, picture in enumerate(grid.pictures):
        row, column = divmod(place, columns)
        drawn = render(picture, grid.cell, title, style)
        canvas.paste(drawn, (column * width, row * height))
    if grid.legend:
        rules = load("grid_ops")
        canvas = rules.draw_legend(canvas, grid.cell, rules.parse_legend(json.loads(grid.legend)))
    return canvas if canvas.size == size else canvas.resize(size)


def _landscape(size: tuple[int, int], key: int) -> Pillow.Image:
    """A sky in bands, a sun and hills, drawn from a number; flat, so that it packs well."""
    drawn = random.Random(key)
    hue, (width, height) = drawn.random(), size
    canvas = Pillow.new("RGB", size)
    pen = ImageDraw.Draw(canvas)
    for band in range(_SKY_BANDS):
        top = height * band // _SKY_BANDS
        share = band / _SKY_BANDS
        pen.rectangle((0, top, width, height), _colour(hue, 0.55 - 0.3 * share, 0.45 + 0.4 * share))
    radius = min(size) * drawn.uniform(0.06, 0.14)
    x, y = width * drawn.uniform(0.15, 0.85), height * drawn.uniform(0.35, 0.55)
    sun = (x - radius, y - radius, x + radius, y + radius)
    pen.ellipse(sun, _colour(hue + 0.45, 0.3, 0.98))
    for hill in range(_HILLS):
        base = height * (0.58 + 0.13 * hill)
        line, at = [(0.0, base)], 0.0
        while at < width:
            at += width * drawn.uniform(0.06, 0.2)
            line.append((at, base - height * drawn.uniform(0, 0.16 - 0.03 * hill)))
        shade = _colour(hue + 0.08 * hill, 0.45 + 0.1 * hill, 0.48 - 0.12 * hill)
        pen.polygon([*line, (width, height), (0, height)], shade)
    return canvas


def _colour(hue: float, saturation: float, value: float) -> tuple[int, int, int]:
    red, green, blue = colorsys.hsv_to_rgb(hue % 1.0, saturation, value)
    return round(red * 255), round(green * 255), round(blue * 255)


def _background(size: tuple[int, int], key: int, style: Style) -> Pillow.Image:
    if style == "label" and min(size) >= _SMALLEST_LABELLED:
        return _landscape(size, key)
    canvas = Pillow.new(
        "RGB", size, _colour((key % 360) / 360, 0.45, 0.55 + (key >> 12) % 30 / 100)
    )
    if style == "photo":
        return Pillow.blend(canvas, _texture(size), 0.5)
    return canvas


@lru_cache(maxsize=8)
def _texture(size: tuple[int, int]) -> Pillow.Image:
    """Smooth noise with grain: as a PNG about 1.5 bytes a pixel, as a photo has."""
    noise = random.Random(0)
    coarse_size = (max(size[0] // 16, 2), max(size[1] // 16, 2))
    coarse = _noise_image(noise, coarse_size).resize(size, Pillow.Resampling.BICUBIC)
    return Pillow.blend(coarse, _noise_image(noise, size), 0.06)


def _noise_image(noise: random.Random, size: tuple[int, int]) -> Pillow.Image:
    return Pillow.frombytes("RGB", size, noise.randbytes(size[0] * size[1] * 3))


def _write(canvas: Pillow.Image, lines: list[str], text: str) -> None:
    """The prompt's words in large letters, and what else is known in small ones above."""
    small = max(10, canvas.width // 36)
    large = max(12, canvas.width // 18)
    pen = ImageDraw.Draw(canvas)
    white, black, edge = (255, 255, 255), (0, 0, 0), max(1, small // 10)
    pen.multiline_text(
        (small, small), "\n".join(lines), white, _font(small), stroke_width=edge, stroke_fill=black
    )
    columns = max(8, round(canvas.width / (large * 0.55)) - 3)
    words = "\n".join(textwrap.wrap(text, columns, max_lines=6, placeholder=" ..."))
    bottom = canvas.height - large
    pen.multiline_text(
        (large, bottom),
        words,
        white,
        _font(large),
        anchor="ld",
        stroke_width=edge,
        stroke_fill=black,
    )


@lru_cache(maxsize=16)
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def _write_mark(canvas: Pillow.Image, seed: int, index: int) -> None:
    if canvas.width < _MARK_PIXELS:
        return
    data = _MARK.pack(_MARK_WORD, seed % 2**64, index % 2**16)
    canvas.paste(Pillow.frombytes("RGB", (_MARK_PIXELS, 1), data), (0, 0))
