"""Canny's edges with Pillow alone: Sobel, thinning across the edge, two thresholds.

As OpenCV's ``Canny`` with an aperture of 3 and the sum of both gradients as their size.
"""

from __future__ import annotations

from typing import Any

from PIL import Image as Pillow
from PIL import ImageChops, ImageFilter, ImageMath

_TAN_22 = 13573
"""tan(22.5 degrees) in 1/32768, OpenCV's own constant."""

_MOST_GROWTH = 400

_AROUND = ((0, 0), (2, 0), (0, 2), (2, 2), (0, 1), (2, 1), (1, 0), (1, 2))


def canny(image: Pillow.Image, low: int, high: int) -> Pillow.Image:
    """White edges on black (mode L), the size of the picture.

    Args:
        low, high: gradients from which a pixel goes on an edge, and begins one.
    """
    grey = image.convert("L").convert("I")
    gx, gy = _sobel(grey)
    size = ImageMath.lambda_eval(lambda of: abs(of["x"]) + abs(of["y"]), x=gx, y=gy)
    thin = _thinned(size, gx, gy)
    low, high = sorted((low, high))
    weak = _above(thin, low)
    return _grown(_above(thin, high), weak)


def _at(image: Pillow.Image, dx: int, dy: int, *, repeats: bool = False) -> Pillow.Image:
    """The neighbour at an offset in each pixel's place; outside is 0, or the border again."""
    width, height = image.size
    wide = Pillow.new(image.mode, (width + 2, height + 2))
    for place in _AROUND if repeats else ():
        wide.paste(image, place)
    wide.paste(image, (1, 1))
    return wide.crop((1 + dx, 1 + dy, 1 + dx + width, 1 + dy + height))


def _sobel(grey: Pillow.Image) -> tuple[Pillow.Image, Pillow.Image]:
    named: dict[str, Any] = {
        "nw": _at(grey, -1, -1, repeats=True),
        "n": _at(grey, 0, -1, repeats=True),
        "ne": _at(grey, 1, -1, repeats=True),
        "w": _at(grey, -1, 0, repeats=True),
        "e": _at(grey, 1, 0, repeats=True),
        "sw": _at(grey, -1, 1, repeats=True),
        "s": _at(grey, 0, 1, repeats=True),
        "se": _at(grey, 1, 1, repeats=True),
    }
    gx = ImageMath.lambda_eval(
        lambda of: of["ne"] + 2 * of["e"] + of["se"] - of["nw"] - 2 * of["w"] - of["sw"], **named
    )
    gy = ImageMath.lambda_eval(
        lambda of: of["sw"] + 2 * of["s"] + of["se"] - of["nw"] - 2 * of["n"] - of["ne"], **named
    )
    return gx, gy


def _thinned(size: Pillow.Image, gx: Pillow.Image, gy: Pillow.Image) -> Pillow.Image:
    """The gradient where it is largest across its edge, else 0."""

    def keep(of: dict[str, Any]) -> Any:
        m = of["m"]
        flat = (of["ay"] << 15) < of["ax"] * _TAN_22
        steep = (of["ay"] << 15) > of["ax"] * (_TAN_22 + (1 << 16))
        across = flat * (m > of["w"]) * (m >= of["e"])
        along = steep * (m > of["n"]) * (m >= of["s"])
        falls = of["same"] * (m > of["nw"]) * (m > of["se"])
        rises = (1 - of["same"]) * (m > of["ne"]) * (m > of["sw"])
        slanted = (1 - flat) * (1 - steep) * (falls + rises)
        return m * (across + along + slanted)

    def same_sign(of: dict[str, Any]) -> Any:
        return ((of["x"] < 0) == (of["y"] < 0)) * 1

    thin: Pillow.Image = ImageMath.lambda_eval(
        keep,
        m=size,
        ax=ImageMath.lambda_eval(lambda of: abs(of["x"]), x=gx),
        ay=ImageMath.lambda_eval(lambda of: abs(of["y"]), y=gy),
        same=ImageMath.lambda_eval(same_sign, x=gx, y=gy),
        n=_at(size, 0, -1),
        s=_at(size, 0, 1),
        w=_at(size, -1, 0),
        e=_at(size, 1, 0),
        nw=_at(size, -1, -1),
        ne=_at(size, 1, -1),
        sw=_at(size, -1, 1),
        se=_at(size, 1, 1),
    )
    return thin


def _above(image: Pillow.Image, bound: int) -> Pillow.Image:
    found: Pillow.Image = ImageMath.lambda_eval(lambda of: (of["m"] > bound) * 255, m=image)
    return found.convert("L")


def _grown(strong: Pillow.Image, weak: Pillow.Image) -> Pillow.Image:
    """The weak pixels that hang together with a strong one."""
    edges = strong
    for _ in range(_MOST_GROWTH):
        grown = ImageChops.darker(edges.filter(ImageFilter.MaxFilter(3)), weak)
        grown = ImageChops.lighter(grown, edges)
        if grown.tobytes() == edges.tobytes():
            break
        edges = grown
    return edges
