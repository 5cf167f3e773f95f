"""ReActor's arguments: the list that a request sends -> `FaceSwapScript`.

Errors never fail a request in A1111: whatever is wrong leaves the picture as it is. Here it is
refused by name.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from translator.report import Report, show
from translator.request.images import ImageReader, ImageUpload

GENDERS = ("no", "female", "male")
"""What a face has to be, by A1111's numbers; the first one takes any."""

NONE = "None"

POSITIONS = (
    "image",
    "enable",
    "source_faces",
    "target_faces",
    "model",
    "restorer",
    "restorer_visibility",
    "restores_first",
    "upscaler",
    "scale",
    "upscaler_visibility",
    "swaps_init",
    "swaps_result",
    "log_level",
    "source_gender",
    "target_gender",
    "keeps_original",
    "codeformer_weight",
    "source_hash_check",
    "target_hash_check",
    "device",
    "masks_faces",
    "source_kind",
    "face_model",
    "source_folder",
    "source_images",
    "random_image",
    "forces_upscale",
    "detection_threshold",
    "most_faces",
    "tab",
)
"""The arguments in order, by names of our own; the extension's are those of its page."""

_DEFAULTS: Mapping[str, Any] = {
    "image": None,
    "enable": False,
    "source_faces": "0",
    "target_faces": "0",
    "model": None,
    "restorer": "CodeFormer",
    "restorer_visibility": 1.0,
    "restores_first": True,
    "upscaler": NONE,
    "scale": 1.0,
    "upscaler_visibility": 1.0,
    "swaps_init": False,
    "swaps_result": True,
    "log_level": 1,
    "source_gender": 0,
    "target_gender": 0,
    "keeps_original": False,
    "codeformer_weight": 0.5,
    "masks_faces": False,
    "source_kind": 0,
    "face_model": NONE,
    "source_folder": "",
    "source_images": None,
    "random_image": False,
    "forces_upscale": False,
    "detection_threshold": 0.5,
    "most_faces": 0,
    "tab": "tab_single",
}
"""What stands for an argument that is not sent, or null."""

_BOUNDS: Mapping[str, tuple[float, float]] = {
    "restorer_visibility": (0.0, 1.0),
    "scale": (1.0, 8.0),
    "upscaler_visibility": (0.0, 1.0),
    "log_level": (0, 2),
    "codeformer_weight": (0.0, 1.0),
    "detection_threshold": (0.1, 1.0),
    "most_faces": (0, float("inf")),
}

_SWITCHES = (
    "restores_first",
    "swaps_init",
    "swaps_result",
    "keeps_original",
    "masks_faces",
    "random_image",
    "forces_upscale",
)

_IMAGE, _FACE_MODEL, _FOLDER = range(3)
"""Kinds of a source."""

_SOURCE_KINDS = ("Image(s)", "Face Model", "Folder")
"""Their names on the extension's page, which is what A1111 takes where no number is sent."""

_MOST_DIGITS = 4
"""Of a face's number; no picture has more faces."""

_KIND_POSITION = POSITIONS.index("source_kind")


@dataclass(frozen=True)
class FaceSwapScript:
    """What a request asks of ReActor.

    Attributes:
        path: JSON path of its arguments.
        image: the picture with the source faces; None where `face_model` is the source.
        face_model: file name of a stored face.
        source_faces, target_faces: numbers of faces from the left, from 0.
        source_gender, target_gender: one of `GENDERS`.
        model: file name of the swapper; None for the first that is there.
        restorer: name of a face restorer, or ``None``.
        restorer_visibility: 0..1.
        codeformer_weight: 0..1, 0 is the strongest.
        restores_first: whether faces are restored before the picture is enlarged.
        upscaler: name, or ``None``.
        scale: by which the picture is enlarged, 1..8.
        upscaler_visibility: 0..1, acts where `scale` is 1.
        swaps_init, swaps_result: whether faces of the init images and of the results are swapped.
        keeps_original: whether the results stay, and the swapped ones follow them.
        forces_upscale: whether a picture without a swapped face is restored and enlarged as well.
        log_level: 0..2.
    """

    path: str
    image: ImageUpload | None
    face_model: str | None
    source_faces: tuple[int, ...]
    target_faces: tuple[int, ...]
    source_gender: str
    target_gender: str
    model: str | None
    restorer: str
    restorer_visibility: float
    codeformer_weight: float
    restores_first: bool
    upscaler: str
    scale: float
    upscaler_visibility: float
    swaps_init: bool
    swaps_result: bool
    keeps_original: bool
    forces_upscale: bool
    log_level: int

    def path_of(self, name: str) -> str:
        """JSON path of an argument."""
        return f"{self.path}[{POSITIONS.index(name)}]"


def parse_script(args: Sequence[Any], path: str, report: Report) -> FaceSwapScript | None:
    """Read the script's arguments.

    Args:
        args: as sent; positions that are not sent keep the values of A1111's page.
        path: of the list.

    Returns:
        None where it is off, or after a report.
    """
    return _Reader(args, path, report).script()


class _Reader:
    def __init__(self, args: Sequence[Any], path: str, report: Report) -> None:
        sent = dict(zip(POSITIONS, args, strict=False))
        self._values = {
            **_DEFAULTS,
            **{key: item for key, item in sent.items() if item is not None},
        }
        self._count = len(args)
        self._path = path
        self._report = report
        self._sound = True

    def script(self) -> FaceSwapScript | None:
        values = self._values
        if not values["enable"]:
            return None
        if self._count > len(POSITIONS):
            message = f"ReActor reads {len(POSITIONS)} values, the others are ignored"
            self._report.warn(self._path, message)
        switches = {name: bool(values[name]) for name in _SWITCHES}
        numbers = {name: self._number(name) for name in _BOUNDS}
        script = FaceSwapScript(
            path=self._path,
            **self._source(),
            source_faces=_faces(values["source_faces"]),
            target_faces=_faces(values["target_faces"]),
            source_gender=self._gender("source_gender"),
            target_gender=self._gender("target_gender"),
            model=self._file("model"),
            restorer=str(values["restorer"]),
            restorer_visibility=numbers["restorer_visibility"],
            codeformer_weight=numbers["codeformer_weight"],
            restores_first=switches["restores_first"],
            upscaler=str(values["upscaler"]),
            scale=numbers["scale"],
            upscaler_visibility=numbers["upscaler_visibility"],
            swaps_init=switches["swaps_init"],
            swaps_result=switches["swaps_result"],
            keeps_original=switches["keeps_original"],
            forces_upscale=switches["forces_upscale"],
            log_level=int(numbers["log_level"]),
        )
        self._report_what_is_not_there(numbers)
        return script if self._sound else None

    def _source(self) -> dict[str, Any]:
        """Where the source faces come from."""
        kind = self._kind()
        if kind == _FACE_MODEL:
            name = self._file("face_model")
            if name == NONE:
                self._refuse("face_model", "a face model is asked for and none is named")
            return {"image": None, "face_model": name}
        if kind == _FOLDER:
            self._refuse("source_kind", "folders of the server are not read; send the picture")
        elif self._values["tab"] == "tab_multiple" or self._values["source_images"]:
            self._refuse("source_images", "several source pictures at once are not read; send one")
        elif self._values["image"] in (None, ""):
            self._refuse("image", "there is no picture with the source face")
        else:
            image = ImageReader(self._report).read(self._values["image"], self._where("image"))
            self._sound = self._sound and image is not None
            return {"image": image, "face_model": None}
        return {"image": None, "face_model": None}

    def _kind(self) -> int:
        if self._count <= _KIND_POSITION:
            self._report.warn(
                self._path,
                f"less than {_KIND_POSITION + 1} values are sent: A1111 then takes the name of the "
                "kind of source for its number, and may find no source; here it is the picture",
            )
        value = self._values["source_kind"]
        if value in _SOURCE_KINDS:
            return _SOURCE_KINDS.index(value)
        if isinstance(value, bool) or value not in range(len(_SOURCE_KINDS)):
            self._refuse(
                "source_kind", f"{show(value)} is not 0 (image), 1 (face model), 2 (folder)"
            )
            return _IMAGE
        return int(value)

    def _gender(self, name: str) -> str:
        value = self._values[name]
        if value == "No":
            return GENDERS[0]
        if isinstance(value, bool) or value not in range(len(GENDERS)):
            self._refuse(name, f"{show(value)} is not 0 (any), 1 (female) or 2 (male)")
            return GENDERS[0]
        return GENDERS[int(value)]

    def _file(self, name: str) -> str | None:
        """A bare file name; paths of the server are not taken from a request."""
        value = self._values[name]
        if value is None:
            return None
        if not isinstance(value, str):
            self._refuse(name, f"{show(value)} is not a file name")
            return None
        if re.search(r"[/\\]", value):
            self._refuse(name, f"{show(value)} is a path; name the file alone")
            return None
        return value

    def _number(self, name: str) -> float:
        value = self._values[name]
        low, high = _BOUNDS[name]
        if (
            isinstance(value, bool)
            or not isinstance(value, int | float)
            or not low <= value <= high
        ):
            upper = "" if high == float("inf") else f" to {high:g}"
            self._refuse(name, f"{show(value)} is not a number of {low:g}{upper or ' or more'}")
            return float(_DEFAULTS[name])
        return float(value)

    def _report_what_is_not_there(self, numbers: Mapping[str, float]) -> None:
        """Arguments for which ComfyUI-ReActor has no setting."""
        if self._values["masks_faces"]:
            self._report.unsupported(
                self._where("masks_faces"),
                "face mask correction is not done here",
                instead="faces are swapped without it",
            )
        if numbers["detection_threshold"] != _DEFAULTS["detection_threshold"]:
            self._report.unsupported(
                self._where("detection_threshold"),
                "ComfyUI-ReActor finds faces at 0.5 only",
                instead="they are found at 0.5",
            )
        if numbers["most_faces"] != _DEFAULTS["most_faces"]:
            self._report.unsupported(
                self._where("most_faces"),
                "ComfyUI-ReActor numbers all faces that it finds",
                instead="all of them count",
            )

    def _where(self, name: str) -> str:
        return f"{self._path}[{POSITIONS.index(name)}]"

    def _refuse(self, name: str, message: str) -> None:
        self._sound = False
        self._report.unsupported(
            self._where(name), message, instead="no face is swapped, as in A1111"
        )


def _faces(value: Any) -> tuple[int, ...]:
    """Numbers of faces from a text such as ``0, 2``; what is no number is skipped."""
    parts = str(value).replace(" ", "").split(",")
    numbers = (int(part) for part in parts if part.isdecimal() and len(part) <= _MOST_DIGITS)
    return tuple(numbers) or (0,)
