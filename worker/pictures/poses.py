"""Openpose's poses as pictures, drawn as sd-webui-controlnet v1.1.455 draws them.

Source: its ``annotator/openpose/util.py`` (order of points and limbs, colours, sizes). Points are
``(x, y)``, None where there is none. Where every point of a part lies within 0..1 they are shares
of the canvas, else pixels. OpenCV draws, without smoothing, as there.
"""

from __future__ import annotations

import colorsys
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING, Any

from worker.errors import RequestError

if TYPE_CHECKING:
    import numpy as np

    Canvas = np.ndarray[Any, np.dtype[np.uint8]]

Point = tuple[float, float] | None
Points = Sequence[Point]
Color = tuple[float, float, float]

BODY_POINTS, HAND_POINTS, ANIMAL_POINTS = 18, 21, 17
"""Points that a body, a hand and an animal have at least."""

_LIMBS = (
    *((2, 3), (2, 6), (3, 4), (4, 5), (6, 7), (7, 8), (2, 9), (9, 10), (10, 11)),
    *((2, 12), (12, 13), (13, 14), (2, 1), (1, 15), (15, 17), (1, 16), (16, 18)),
)
"""Pairs of body points, counted from 1."""
_HUES: Sequence[Color] = (
    *((255, 0, 0), (255, 85, 0), (255, 170, 0), (255, 255, 0), (170, 255, 0), (85, 255, 0)),
    *((0, 255, 0), (0, 255, 85), (0, 255, 170), (0, 255, 255), (0, 170, 255), (0, 85, 255)),
    *((0, 0, 255), (85, 0, 255), (170, 0, 255), (255, 0, 255), (255, 0, 170), (255, 0, 85)),
)
"""Of the body's points; of its limbs darker."""
_FINGERS = tuple(
    (0 if joint == first else joint - 1, joint)
    for first in (1, 5, 9, 13, 17)
    for joint in range(first, first + 4)
)
_ANIMAL_LIMBS: Sequence[tuple[int, int, Color]] = (
    *((1, 2, (255, 255, 255)), (2, 3, (100, 255, 100)), (1, 3, (150, 255, 255))),
    *((3, 4, (100, 50, 255)), (4, 9, (50, 150, 200)), (9, 10, (0, 255, 255))),
    *((10, 11, (0, 150, 0)), (4, 6, (0, 0, 255)), (6, 7, (0, 0, 150))),
    *((7, 8, (255, 50, 255)), (4, 5, (255, 0, 255)), (5, 15, (255, 0, 0))),
    *((15, 16, (150, 0, 0)), (16, 17, (255, 255, 100)), (5, 12, (0, 150, 0))),
    *((12, 13, (255, 255, 0)), (13, 14, (150, 150, 150))),
)
"""Pairs of an animal's points (AP-10K), counted from 1, and the line's colour."""
_ANIMAL_WIDTH = 5
_LIMB_BRIGHTNESS, _LIMB_RADIUS, _POINT_RADIUS, _FACE_RADIUS, _FINGER_WIDTH = 0.6, 4, 4, 3, 2
_FARTHEST = 2**30
_HAND_COLOR, _FACE_COLOR = (0, 0, 255), (255, 255, 255)


@dataclass(frozen=True)
class Person:
    """One person's points; a hand or a face is None where it was not found."""

    body: Points
    left_hand: Points | None = None
    right_hand: Points | None = None
    face: Points | None = None


def draw(
    people: Sequence[Person], width: int, height: int, animals: Sequence[Points] = ()
) -> bytes:
    """People, or animals, on black, as a PNG.

    Args:
        animals: their points, always in pixels.
        width, height: of the canvas in pixels, 1 or more.

    Raises:
        RequestError: OpenCV is not installed, or a point lies too far away for it.
    """
    try:
        import cv2  # noqa: F401
        import numpy as np
        from PIL import Image
    except ImportError:
        raise RequestError(
            "poses are drawn by OpenCV, which is not installed beside this worker",
            "pip install opencv-python-headless",
        ) from None
    canvas: Canvas = np.zeros((height, width, 3), np.uint8)
    for person in people:
        for part in (person.body, person.left_hand, person.right_hand, person.face):
            _check(part or ())
        _draw_body(canvas, person.body)
        for hand in (person.left_hand, person.right_hand):
            _draw_hand(canvas, hand or ())
        _draw_dots(canvas, person.face or (), _FACE_RADIUS, _FACE_COLOR)
    for animal in animals:
        _check(animal)
        _draw_animal(canvas, animal)
    out = BytesIO()
    Image.fromarray(canvas).save(out, "PNG")
    return out.getvalue()


def _draw_body(canvas: Canvas, points: Points) -> None:
    import cv2

    scaled = _scaling(canvas, points)
    for (one, other), color in zip(_LIMBS, _HUES, strict=False):
        start, end = points[one - 1], points[other - 1]
        if start is not None and end is not None:
            limb = _limb(scaled(start), scaled(end))
            cv2.fillConvexPoly(canvas, limb, [int(part * _LIMB_BRIGHTNESS) for part in color])
    for point, color in zip(points, _HUES, strict=False):
        if point is not None:
            cv2.circle(canvas, _pixel(scaled(point)), _POINT_RADIUS, color, thickness=-1)


def _limb(start: tuple[float, float], end: tuple[float, float]) -> Any:
    """An ellipse from point to point, as OpenCV's polygon."""
    import cv2

    (x0, y0), (x1, y1) = start, end
    middle = int((x0 + x1) / 2), int((y0 + y1) / 2)
    length = ((y0 - y1) ** 2 + (x0 - x1) ** 2) ** 0.5
    angle = math.degrees(math.atan2(y0 - y1, x0 - x1))
    return cv2.ellipse2Poly(middle, (int(length / 2), _LIMB_RADIUS), int(angle), 0, 360, 1)


def _draw_hand(canvas: Canvas, points: Points) -> None:
    import cv2

    if not points:
        return
    scaled = _scaling(canvas, points)
    for index, (one, other) in enumerate(_FINGERS):
        start, end = points[one], points[other]
        if start is not None and end is not None:
            ends = _pixel(scaled(start)), _pixel(scaled(end))
            if all(side > 0 for pixel in ends for side in pixel):
                hue = colorsys.hsv_to_rgb(index / len(_FINGERS), 1.0, 1.0)
                cv2.line(canvas, *ends, [part * 255 for part in hue], thickness=_FINGER_WIDTH)
    _draw_dots(canvas, points, _POINT_RADIUS, _HAND_COLOR)


def _draw_dots(canvas: Canvas, points: Points, radius: int, color: Color) -> None:
    """A disc a point; none on the first row or column, where hands and faces have lost points."""
    import cv2

    scaled = _scaling(canvas, points)
    for point in points:
        if point is not None:
            x, y = _pixel(scaled(point))
            if x > 0 and y > 0:
                cv2.circle(canvas, (x, y), radius, color, thickness=-1)


def _draw_animal(canvas: Canvas, points: Points) -> None:
    import cv2

    for one, other, color in _ANIMAL_LIMBS:
        start, end = points[one - 1], points[other - 1]
        if start is not None and end is not None:
            cv2.line(canvas, _pixel(start), _pixel(end), color, _ANIMAL_WIDTH)


def _scaling(
    canvas: Canvas, points: Points
) -> Callable[[tuple[float, float]], tuple[float, float]]:
    """What makes pixels of these points."""
    there = [point for point in points if point is not None]
    if there and all(abs(side) <= 1 for point in there for side in point):
        height, width = canvas.shape[:2]
        return lambda point: (point[0] * width, point[1] * height)
    return lambda point: point


def _check(points: Points) -> None:
    """Refuse coordinates beyond OpenCV's whole numbers, on which the extension fails, too."""
    if any(abs(side) >= _FARTHEST for point in points if point is not None for side in point):
        raise RequestError(
            "a point of a pose lies too far away to be drawn",
            "send pixels, or shares of the canvas",
            exception="error",
        )


def _pixel(point: tuple[float, float]) -> tuple[int, int]:
    return int(point[0]), int(point[1])
