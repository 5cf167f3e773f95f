"""Goldens of a real A1111: what it was asked, what it answered, and how near an answer comes.

A folder of goldens has ``FAMILY/NAME.json`` (payload, endpoint, status, info or response),
``FAMILY/NAME_i.png`` (the images as answered) and ``inputs/`` (pictures that payloads name as
``"@file"``). Where an answer has no ``info`` of a generation, ``response`` holds what it has
besides its images.
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

NEAR_DB = 45.0

INPUTS = Path(__file__).with_name("a1111") / "inputs"

Pixels = NDArray[np.int16]


@dataclass(frozen=True)
class Rule:
    """When two pictures are the same.

    Attributes:
        name: shown in the report; empty for the usual rule.
        least_db: least peak signal-to-noise ratio.
        most: greatest difference of a channel, of 255.
    """

    name: str
    least_db: float
    most: int

    def holds(self, psnr: float, difference: int) -> bool:
        return psnr >= self.least_db and difference <= self.most


REPEATABLE = Rule("", 60.0, 255)
"""Where A1111 repeats itself bit for bit."""

POSTERIOR = Rule("posterior", 50.0, 4)
"""A1111 draws the VAE posterior of an init image from an unseeded generator: it differs from
itself by up to 2 of 255."""

_VOLATILE_INFO = {"job_timestamp", "version"}
_SUBSEEDS = {"subseed", "all_subseeds"}
_PICTURE = re.compile(r"(?:data:[^,@]*,)?@[\w.-]+")
"""A picture of ``inputs/`` in a payload, with or without the prefix of a data URI."""

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
        rule: the name of the rule that its pictures are held to; empty for the usual one.
        psnr: the least of the images, in dB; None where there is nothing to compare.
        max_difference: the greatest of the images, 0 to 255.
        differences: what else differs: counts, sizes, info, infotexts.
    """

    kind: str
    psnr: float | None = None
    max_difference: int | None = None
    differences: Sequence[str] = field(default_factory=tuple)
    rule: str = ""


def load(folder: Path, family: str | None = None, cases: str = "*") -> Iterator[Golden]:
    """The goldens below a folder, of one family or of all, by name.

    Args:
        cases: a pattern of the names that are wanted.

    Pictures are those of the folder's own ``inputs/`` or, where it has none, of this repository's.
    """
    inputs = next(found for found in (folder / "inputs", INPUTS) if found.is_dir())
    for path in sorted(folder.glob(f"{family or '*'}/{cases}.json")):
        case = json.loads(path.read_text("utf-8"))
        pictures = [path.parent / name for name in case.get("files", ())]
        yield Golden(
            family=path.parent.name,
            name=path.stem,
            endpoint=case["endpoint"],
            payload=_with_drawn_seed(_with_pictures(case["payload"], inputs), case),
            status=case["status"],
            info=case["info"] if isinstance(case.get("info"), Mapping) else None,
            response=_response(case),
            images=[_pixels(picture.read_bytes()) for picture in pictures],
        )


def _response(case: Mapping[str, Any]) -> Any:
    """What an answer holds besides images; None where its info says everything."""
    info = case.get("info")
    return {"info": info} if isinstance(info, str) else case.get("response") or None


def _with_drawn_seed(payload: Any, case: Mapping[str, Any]) -> Any:
    """The payload with the seed that A1111 drew where it asks for a random one."""
    drawn = case["info"].get("seed") if isinstance(case.get("info"), Mapping) else None
    if drawn is None or not isinstance(payload, Mapping) or payload.get("infotext"):
        return payload
    return {**payload, "seed": drawn} if payload.get("seed", -1) in (-1, None) else payload


def judge(golden: Golden, answer: Any) -> Verdict:
    """Hold an answer of the worker against a golden."""
    error = answer.get("error") if isinstance(answer, dict) else None
    if golden.refused:
        return Verdict("refused") if error else Verdict("other", differences=["A1111 refuses this"])
    if error:
        return Verdict("other", differences=[f"error: {_one_line(error)}"])
    images = pictures_of(answer)
    differences = [
        *_shape_differences(golden.images, images),
        *_info_differences(golden, answer),
        *_response_differences(golden, answer),
    ]
    if not golden.images:
        return Verdict("other" if differences else "exact", differences=differences)
    if [image.shape for image in images] != [image.shape for image in golden.images]:
        return Verdict("other", differences=differences)
    pairs = list(zip(golden.images, images, strict=True))
    psnr = min(_psnr(one, other) for one, other in pairs)
    most = max(int(np.abs(one - other).max()) for one, other in pairs)
    rule = rule_of(golden)
    if rule.holds(psnr, most):
        return Verdict("exact", psnr, most, differences, rule.name)
    kind = "near" if psnr >= NEAR_DB else "other"
    return Verdict(kind, psnr, most, differences, rule.name)


def rule_of(golden: Golden) -> Rule:
    """The rule that a case's pictures are held to."""
    encodes = golden.endpoint.endswith("/img2img") and _posterior_shows(golden.payload)
    return POSTERIOR if encodes else REPEATABLE


def _posterior_shows(payload: Mapping[str, Any]) -> bool:
    """Whether what was drawn for an init image's encoding can be seen in the result.

    Measured on a real A1111 with the generator seeded otherwise before each of two equal requests:
    at full strength the noise drowns it (65 to 69 dB, 1 of 255), and under a mask that is white
    all over latent noise or nothing takes its place (equal in every pixel). At other strengths,
    with Soft Inpainting, in scripts and where the checkpoint reads the picture besides, it shows.
    """
    checkpoint = str((payload.get("override_settings") or {}).get("sd_model_checkpoint"))
    scripts = {name.lower() for name in payload.get("alwayson_scripts") or {}}
    if payload.get("script_name") or "inpainting" in checkpoint or "soft inpainting" in scripts:
        return True
    if (payload.get("denoising_strength") or 0) >= 1:
        return False
    return payload.get("inpainting_fill") not in _LATENT_FILLS or not _is_white(payload)


_LATENT_FILLS = (2, 3)
"""Values of inpainting_fill: latent noise, latent nothing."""


def _is_white(payload: Mapping[str, Any]) -> bool:
    """Whether a request has a mask that leaves nothing of its picture."""
    if not payload.get("mask") or payload.get("inpainting_mask_invert"):
        return False
    data = base64.b64decode(payload["mask"].rpartition(",")[2])
    extrema = Image.open(io.BytesIO(data)).convert("L").getextrema()
    return extrema == (255, 255)


def _images(answer: Any) -> list[str]:
    """The images of an answer: of a generation, or the one of the extras tab."""
    if not isinstance(answer, dict):
        return []
    single = answer.get("image")
    return list(answer.get("images") or ([single] if single else []))


def pictures_of(answer: Any) -> list[Pixels]:
    """The pixels of an answer's images."""
    return [_pixels(base64.b64decode(text)) for text in _images(answer)]


def _shape_differences(expected: Sequence[Pixels], found: Sequence[Pixels]) -> Iterator[str]:
    if len(found) != len(expected):
        yield f"{len(found)} images, not {len(expected)}"
    for index, (one, other) in enumerate(zip(expected, found, strict=False)):
        if one.shape != other.shape:
            yield f"image {index} is {_size(other)}, not {_size(one)}"


def _response_differences(golden: Golden, answer: Any) -> Iterator[str]:
    if golden.response is None:
        return
    if isinstance(golden.response, Mapping) and isinstance(answer, Mapping):
        ignored = {"image", "images", "warnings"}
        expected, found = (
            {key: value for key, value in each.items() if key not in ignored}
            for each in (golden.response, answer)
        )
    else:
        expected, found = golden.response, answer
    if expected != found:
        yield f"another response: {_short(found)}, not {_short(expected)}"


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
    return set(_SUBSEEDS) if golden.payload.get("subseed", -1) in (-1, None) else set()


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
        case str() if _PICTURE.fullmatch(value):
            prefix, _, name = value.rpartition("@")
            file = inputs / name
            if not file.is_file():
                return value
            return prefix + base64.b64encode(file.read_bytes()).decode("ascii")
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
