"""Goldens of a real A1111: what it was asked, what it answered, and how near an answer comes.

A folder of goldens has ``FAMILY/NAME.json`` (payload, endpoint, status, info or response),
``FAMILY/NAME_i.png`` (the images as answered) and ``inputs/`` (pictures that payloads name as
``"@file"``).
"""

from __future__ import annotations

import base64
import io
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

EXACT_DB = 60.0
NEAR_DB = 45.0

Pixels = NDArray[np.int16]

_VOLATILE_INFO = {"job_timestamp", "version"}
_SUBSEEDS = {"subseed", "all_subseeds"}
_VERSION = re.compile(r", (?:Version|Time taken): [^,\n]*")


@dataclass(frozen=True)
class Golden:
    """One case. `payload` has its pictures filled in as base64."""

    family: str
    name: str
    endpoint: str
    payload: Any
    status: int
    info: Mapping[str, Any] | None
    response: Any
    images: Sequence[Pixels]

    @property
    def id(self) -> str:
        return f"{self.family}/{self.name}"

    @property
    def refused(self) -> bool:
        return self.status >= 400


@dataclass(frozen=True)
class Verdict:
    """How near an answer comes.

    Attributes:
        kind: ``exact``, ``near``, ``other``, or ``refused`` where A1111 refused and so did we.
        psnr: the least of the images, in dB; None where there is nothing to compare.
        max_difference: the greatest of the images, 0 to 255.
        differences: what else differs: counts, sizes, info, infotexts.
    """

    kind: str
    psnr: float | None = None
    max_difference: int | None = None
    differences: Sequence[str] = field(default_factory=tuple)


def load(folder: Path, family: str | None = None) -> Iterator[Golden]:
    """The goldens below a folder, of one family or of all, by name."""
    for path in sorted(folder.glob(f"{family or '*'}/*.json")):
        case = json.loads(path.read_text("utf-8"))
        pictures = [path.parent / name for name in case.get("files", ())]
        yield Golden(
            family=path.parent.name,
            name=path.stem,
            endpoint=case["endpoint"],
            payload=_with_drawn_seed(_with_pictures(case["payload"], folder / "inputs"), case),
            status=case["status"],
            info=case.get("info"),
            response=case.get("response"),
            images=[_pixels(picture.read_bytes()) for picture in pictures],
        )


def _with_drawn_seed(payload: Any, case: Mapping[str, Any]) -> Any:
    """The payload with the seed that A1111 drew where it asks for a random one."""
    drawn = case["info"].get("seed") if isinstance(case.get("info"), Mapping) else None
    if drawn is None or not isinstance(payload, Mapping) or payload.get("infotext"):
        return payload
    return {**payload, "seed": drawn} if payload.get("seed", -1) == -1 else payload


def judge(golden: Golden, answer: Any) -> Verdict:
    """Hold an answer of the worker against a golden."""
    error = answer.get("error") if isinstance(answer, dict) else None
    if golden.refused:
        return Verdict("refused") if error else Verdict("other", differences=["A1111 refuses this"])
    if error:
        return Verdict("other", differences=[f"error: {_one_line(error)}"])
    images = [_pixels(base64.b64decode(text)) for text in _images(answer)]
    differences = [*_shape_differences(golden.images, images), *_info_differences(golden, answer)]
    if not golden.images:
        return _judge_without_images(golden, answer, differences)
    if [image.shape for image in images] != [image.shape for image in golden.images]:
        return Verdict("other", differences=differences)
    pairs = list(zip(golden.images, images, strict=True))
    psnr = min(_psnr(one, other) for one, other in pairs)
    most = max(int(np.abs(one - other).max()) for one, other in pairs)
    return Verdict(_kind(psnr), psnr, most, differences)


def _judge_without_images(golden: Golden, answer: Any, differences: Sequence[str]) -> Verdict:
    if golden.response is None or _without_warnings(answer) == golden.response:
        return Verdict("other" if differences else "exact", differences=differences)
    return Verdict("other", differences=[*differences, "another response"])


def _kind(psnr: float) -> str:
    if psnr >= EXACT_DB:
        return "exact"
    return "near" if psnr >= NEAR_DB else "other"


def _images(answer: Any) -> list[str]:
    """The images of an answer: of a generation, or the one of the extras tab."""
    if not isinstance(answer, dict):
        return []
    single = answer.get("image")
    return list(answer.get("images") or ([single] if single else []))


def _without_warnings(answer: Any) -> Any:
    if not isinstance(answer, dict):
        return answer
    return {key: value for key, value in answer.items() if key != "warnings"}


def _shape_differences(expected: Sequence[Pixels], found: Sequence[Pixels]) -> Iterator[str]:
    if len(found) != len(expected):
        yield f"{len(found)} images, not {len(expected)}"
    for index, (one, other) in enumerate(zip(expected, found, strict=False)):
        if one.shape != other.shape:
            yield f"image {index} is {_size(other)}, not {_size(one)}"


def _info_differences(golden: Golden, answer: Any) -> Iterator[str]:
    if golden.info is None:
        return
    found = json.loads(answer["info"])
    ignored = {"infotexts", *_VOLATILE_INFO, *_random_keys(golden)}
    for key in sorted((golden.info.keys() | found.keys()) - ignored):
        one, other = golden.info.get(key), found.get(key)
        if one != other:
            yield f"info.{key}: {_short(other)}, not {_short(one)}"
    texts = zip_longest(golden.info["infotexts"], found.get("infotexts", ()), fillvalue="")
    for index, (one, other) in enumerate(texts):
        if _VERSION.sub("", one) != _VERSION.sub("", other):
            yield f"infotext {index}: {_first_difference(one, other)}"


def _random_keys(golden: Golden) -> set[str]:
    """Subseeds that A1111 drew at random."""
    return set() if golden.payload.get("subseed", -1) != -1 else set(_SUBSEEDS)


def _first_difference(one: str, other: str) -> str:
    expected, found = _fields(one), _fields(other)
    for a, b in zip_longest(expected, found, fillvalue="nothing"):
        if a != b:
            return f"{_short(b)}, not {_short(a)}"
    return "spacing"


def _fields(text: str) -> list[str]:
    return [part for part in re.split(r", |\n", _VERSION.sub("", text)) if part]


def _with_pictures(value: Any, inputs: Path) -> Any:
    match value:
        case dict():
            return {key: _with_pictures(item, inputs) for key, item in value.items()}
        case list():
            return [_with_pictures(item, inputs) for item in value]
        case str() if value.startswith("@") and (inputs / value[1:]).is_file():
            return base64.b64encode((inputs / value[1:]).read_bytes()).decode("ascii")
        case _:
            return value


def _pixels(data: bytes) -> Pixels:
    image = Image.open(io.BytesIO(data))
    return np.asarray(image if image.mode == "RGBA" else image.convert("RGB"), np.int16)


def _psnr(one: Pixels, other: Pixels) -> float:
    error = float(np.mean((one.astype(np.float64) - other) ** 2))
    return float("inf") if error == 0 else 10 * float(np.log10(255**2 / error))


def _size(image: Pixels) -> str:
    return f"{image.shape[1]}x{image.shape[0]}"


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _one_line(text: str) -> str:
    return " ".join(text.split())[:160]
