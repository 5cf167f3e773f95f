"""``POST /controlnet/render_openpose_json``: poses sent as JSON, drawn without ComfyUI.

The body is a list of ``{"people": [...], "canvas_width", "canvas_height"}``. Numbers are coerced as
pydantic 1 coerces them in the extension, and what it fails on fails here; but for ``animals``,
which its route drops although it can draw them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from translator.report import Report, show
from worker.errors import RequestError
from worker.limits import check_canvases
from worker.pictures import delivery, poses
from worker.pictures.delivery import Picture
from worker.pictures.poses import Person, Points
from worker.routes.call import Answerer, Call

PATH = "controlnet/render_openpose_json"

_POSE_KEYS = ("people", "canvas_width", "canvas_height")
_OTHER_KEYS = ("animals", "version")
"""Members that are not needed; ``version`` is openpose's own."""
_PERSON_KEYS: Mapping[str, str] = {
    "pose_keypoints_2d": "body",
    "hand_left_keypoints_2d": "left_hand",
    "hand_right_keypoints_2d": "right_hand",
    "face_keypoints_2d": "face",
}
"""The extension's key -> field of `Person`."""
_LEAST = {
    "body": poses.BODY_POINTS,
    "left_hand": poses.HAND_POINTS,
    "right_hand": poses.HAND_POINTS,
}
_MOST_PROBLEMS = 20
_CERTAIN = 1.0
"""A point below this confidence is none."""


@dataclass(frozen=True)
class _Sent:
    """A pose as it was sent: each part's numbers, three a point."""

    width: int
    height: int
    people: list[dict[str, list[float]]]
    animals: list[list[float]]


def _render(call: Call) -> Any:
    sent = _read(call)
    if not sent:
        return {"info": "No pose data detected."}
    how = call.a1111_options
    check_canvases([(pose.width, pose.height) for pose in sent], call.resources.settings)
    pictures: list[Picture] = []
    for index, pose in enumerate(sent):
        people = [
            _person(numbers, f"[{index}].people[{n}]") for n, numbers in enumerate(pose.people)
        ]
        animals = [
            _points(numbers, f"[{index}].animals[{n}]", poses.ANIMAL_POINTS)
            for n, numbers in enumerate(pose.animals)
        ]
        drawn = poses.draw(people, pose.width, pose.height, animals)
        pictures.append(delivery.a1111_picture(drawn, how.samples_format, how.jpeg_quality, None))
    return {"images": pictures, "info": "Success"}


def _read(call: Call) -> list[_Sent]:
    body, report = call.request.body, Report()
    if body is None:
        return []
    read = [
        _pose(item, f"[{index}]", call, report)
        for index, item in enumerate(_list(body, "", report))
    ]
    report.raise_if_refused()
    return [pose for pose in read if pose is not None]


def _pose(value: Any, path: str, call: Call, report: Report) -> _Sent | None:
    if not isinstance(value, Mapping):
        _invalid(report, path, "value is not a valid dict", value)
        return None
    for key in value:
        if key not in (*_POSE_KEYS, *_OTHER_KEYS):
            call.warn(f"{path}.{key}: ignored: not a field of a pose")
    missing = [key for key in _POSE_KEYS if key not in value]
    if missing == ["people"] and value.get("animals"):
        missing = []
    for key in missing:
        _invalid(report, f"{path}.{key}", "field required")
    if missing:
        return None
    people = [
        _numbers_of(person, f"{path}.people[{index}]", report)
        for index, person in enumerate(_list(value.get("people", []), f"{path}.people", report))
    ]
    animals = _animals(value.get("animals") or [], f"{path}.animals", report)
    if animals and people:
        call.warn(f"{path}.animals: ignored: a canvas has people or animals, and it has people")
    elif animals:
        call.warn(f"{path}.animals: drawn; the extension's own route forgets them")
    width, height = (_side(value[key], f"{path}.{key}", report) for key in _POSE_KEYS[1:])
    return _Sent(width, height, people, [] if people else animals)


def _animals(value: Any, path: str, report: Report) -> list[list[float]]:
    return [
        [
            _float(item, f"{path}[{index}][{n}]", report)
            for n, item in enumerate(_list(animal, f"{path}[{index}]", report))
        ]
        for index, animal in enumerate(_list(value, path, report))
    ]


def _numbers_of(person: Any, path: str, report: Report) -> dict[str, list[float]]:
    """Each part's numbers; parts that are null or absent are left out."""
    if not isinstance(person, Mapping):
        _invalid(report, path, "value is not a valid dict", person)
        return {}
    found: dict[str, list[float]] = {}
    for key, part in _PERSON_KEYS.items():
        where, value = f"{path}.{key}", person.get(key)
        if value is not None:
            items = _list(value, where, report)
            found[part] = [_float(item, f"{where}[{n}]", report) for n, item in enumerate(items)]
        elif part == "body":
            _invalid(
                report, where, "none is not an allowed value" if key in person else "field required"
            )
    return found


def _invalid(report: Report, path: str, message: str, value: Any = None) -> None:
    """Refuse; a body that is wrong all over is not read to its end."""
    report.invalid(path, message, value)
    if len(report.problems) == _MOST_PROBLEMS:
        report.raise_if_refused()


def _list(value: Any, path: str, report: Report) -> list[Any]:
    if isinstance(value, list):
        return value
    _invalid(report, path, "value is not a valid list", value)
    return []


def _float(value: Any, path: str, report: Report) -> float:
    try:
        number = float(value) if isinstance(value, int | float | str) else math.nan
    except (ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        _invalid(report, path, f"{show(value)} is not a number", value)
        return 0.0
    return number


def _side(value: Any, path: str, report: Report) -> int:
    number = int(_float(value, path, report))
    if number < 1 and not report.refused(path):
        _invalid(report, path, f"{number} is no size of a canvas; 1 or more is expected", value)
    return number


def _person(numbers: Mapping[str, list[float]], path: str) -> Person:
    """The points of a person.

    Raises:
        RequestError: too few of them, as the extension fails on it.
    """
    parts: dict[str, Points] = {}
    for key, part in _PERSON_KEYS.items():
        given = numbers.get(part)
        if given or (given is not None and part == "body"):
            parts[part] = _points(given, f"{path}.{key}", _LEAST.get(part, 0))
    return Person(**parts)


def _points(numbers: list[float], path: str, least: int) -> Points:
    if len(numbers) % 3:
        raise RequestError(
            f"{path}: {len(numbers)} numbers are no whole points",
            "send x, y and confidence of each",
            exception="AssertionError",
        )
    if len(numbers) < 3 * least:
        raise RequestError(
            f"{path}: {len(numbers) // 3} points; {least} are expected",
            "send x, y and confidence of each, zeros for those that are missing",
            exception="IndexError" if numbers else "TypeError",
        )
    return [
        (x, y) if certain >= _CERTAIN else None
        for x, y, certain in zip(numbers[::3], numbers[1::3], numbers[2::3], strict=True)
    ]


POST: Mapping[str, Answerer] = {PATH: _render}
