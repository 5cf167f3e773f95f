"""ADetailer's arguments: the list that a request sends -> `DetailerScript`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from translator.comfy.catalog import Catalog
from translator.report import Report, show
from translator.schemas import read_schema
from translator.suggest import did_you_mean

TITLE = "ADetailer"
VERSION = "25.3.0"
FOLDER = "adetailer"
"""The model folder, as the catalog knows it, that holds the detectors."""

NO_MODEL = "None"
HUB_MODELS = (
    "face_yolov8n.pt",
    "face_yolov8s.pt",
    "hand_yolov8n.pt",
    "person_yolov8n-seg.pt",
    "person_yolov8s-seg.pt",
    "yolov8x-worldv2.pt",
)
"""What ADetailer fetches where it can, in the order of its list; the first is a unit's default."""

MEDIAPIPE = (
    "mediapipe_face_full",
    "mediapipe_face_short",
    "mediapipe_face_mesh",
    "mediapipe_face_mesh_eyes_only",
)
"""Always in its list, after `HUB_MODELS`; without the package mediapipe they find nothing."""

SAME_SAMPLER, SAME_SCHEDULER = "Use same sampler", "Use same scheduler"
PASSTHROUGH = "Passthrough"

RENAMED = {"ad_mask_k_largest": "ad_mask_k"}
"""Keys of releases up to v24.9."""


@dataclass(frozen=True)
class DetailerUnit:
    """One tab, by the extension's own keys.

    Attributes:
        path: where it stands in the request; that of the list for the default unit.
        number: position among the units that A1111 takes, from 0; off ones count.
    """

    path: str
    number: int
    ad_model: str = NO_MODEL
    ad_model_classes: str = ""
    ad_tab_enable: bool = True
    ad_prompt: str = ""
    ad_negative_prompt: str = ""
    ad_confidence: float = 0.3
    ad_mask_filter_method: str = "Area"
    ad_mask_k: int = 0
    ad_mask_min_ratio: float = 0.0
    ad_mask_max_ratio: float = 1.0
    ad_dilate_erode: int = 4
    ad_x_offset: int = 0
    ad_y_offset: int = 0
    ad_mask_merge_invert: str = "None"
    ad_mask_blur: int = 4
    ad_denoising_strength: float = 0.4
    ad_inpaint_only_masked: bool = True
    ad_inpaint_only_masked_padding: int = 32
    ad_use_inpaint_width_height: bool = False
    ad_inpaint_width: int = 512
    ad_inpaint_height: int = 512
    ad_use_steps: bool = False
    ad_steps: int = 28
    ad_use_cfg_scale: bool = False
    ad_cfg_scale: float = 7.0
    ad_use_checkpoint: bool = False
    ad_checkpoint: str | None = None
    ad_use_vae: bool = False
    ad_vae: str | None = None
    ad_use_sampler: bool = False
    ad_sampler: str = "DPM++ 2M Karras"
    ad_scheduler: str = SAME_SCHEDULER
    ad_use_noise_multiplier: bool = False
    ad_noise_multiplier: float = 1.0
    ad_use_clip_skip: bool = False
    ad_clip_skip: int = 1
    ad_restore_face: bool = False
    ad_controlnet_model: str = NO_MODEL
    ad_controlnet_module: str = NO_MODEL
    ad_controlnet_weight: float = 1.0
    ad_controlnet_guidance_start: float = 0.0
    ad_controlnet_guidance_end: float = 1.0

    @property
    def is_on(self) -> bool:
        """Whether it does anything."""
        return self.ad_tab_enable and self.ad_model != NO_MODEL


KEYS: Mapping[str, str] = {
    item.name: str(item.type) for item in fields(DetailerUnit) if item.name.startswith("ad_")
}
"""Key -> its type."""

_IGNORED_KEYS = ("is_api",)

_BOUNDS: Mapping[str, tuple[float, float]] = {
    "ad_confidence": (0.0, 1.0),
    "ad_mask_k": (0, float("inf")),
    "ad_mask_min_ratio": (0.0, 1.0),
    "ad_mask_max_ratio": (0.0, 1.0),
    "ad_mask_blur": (0, float("inf")),
    "ad_denoising_strength": (0.0, 1.0),
    "ad_inpaint_only_masked_padding": (0, float("inf")),
    "ad_inpaint_width": (1, float("inf")),
    "ad_inpaint_height": (1, float("inf")),
    "ad_steps": (1, read_schema("txt2img")["properties"]["steps"]["maximum"]),
    "ad_cfg_scale": (0.0, float("inf")),
    "ad_noise_multiplier": (0.5, 1.5),
    "ad_clip_skip": (1, 12),
    "ad_controlnet_weight": (0.0, 1.0),
    "ad_controlnet_guidance_start": (0.0, 1.0),
    "ad_controlnet_guidance_end": (0.0, 1.0),
}

_CHOICES: Mapping[str, Sequence[str]] = {
    "ad_mask_filter_method": ("Area", "Confidence"),
    "ad_mask_merge_invert": ("None", "Merge", "Merge and Invert"),
}


@dataclass(frozen=True)
class DetailerScript:
    """What a request asks of ADetailer.

    Attributes:
        units: the valid ones in order, off ones too.
        skip_img2img: an img2img request's own pass is skipped, as far as it can be.
    """

    units: tuple[DetailerUnit, ...] = ()
    skip_img2img: bool = False

    @property
    def is_on(self) -> bool:
        """Whether any unit does anything; where none does, A1111 writes no infotext either."""
        return any(unit.is_on for unit in self.units)


OFF = DetailerScript()

_SWITCHES = 2
"""How many positions stand before the units: enable and skip_img2img."""


def default_detector(catalog: Catalog) -> str:
    """The first of ADetailer's list on this server, which its default unit uses."""
    known = catalog.files(FOLDER)
    if known is None:
        return HUB_MODELS[0]
    return next((name for name in HUB_MODELS if name in known), MEDIAPIPE[0])


def parse_script(
    args: Sequence[Any], max_models: int, default_model: str, path: str, report: Report
) -> DetailerScript:
    """Read the script's arguments.

    Positions that are not sent keep the values of A1111's page: enable and skip_img2img false, then
    a unit with the default model, then units that are off. So a list of less than three values runs
    the default unit too.

    Args:
        args: as sent.
        max_models: option ad_max_models: how many units there are.
        path: of the list.
    """
    positions = _SWITCHES + max_models
    page = [False, False, {"ad_model": default_model}, *({},) * max_models][:positions]
    sent = list(args[:positions])
    merged = [*sent, *page[len(sent) :]]
    if not sent or merged[0] is False:
        return OFF
    if len(args) > positions:
        report.warn(path, f"A1111 reads {positions} values, the others are ignored")
    if len(sent) < len(page[:3]):
        report.warn(
            path,
            f"less than three values are sent, so that A1111 runs its default unit "
            f"({default_model}) as well; send [true, false, unit] for the unit alone",
        )
    units: list[DetailerUnit] = []
    for position, value in enumerate(merged):
        where = f"{path}[{position}]" if position < len(sent) else path
        if not isinstance(value, Mapping):
            _warn_of_no_unit(position, value, where, report)
            continue
        unit = _unit(value, where, len(units), report)
        if unit is not None:
            units.append(unit)
    return DetailerScript(tuple(units), merged[1] is True)


def _warn_of_no_unit(position: int, value: Any, path: str, report: Report) -> None:
    """A value that ADetailer passes by; the first two are its switches, and null asks nothing."""
    if value is not None and not (position < _SWITCHES and isinstance(value, bool)):
        wanted = "true, false or " if position < _SWITCHES else ""
        report.warn(
            path,
            f"{show(value)} is not read, as in ADetailer: {wanted}a unit is wanted, as in "
            '{"ad_model": "face_yolov8n.pt"}',
        )


def _unit(values: Mapping[str, Any], path: str, number: int, report: Report) -> DetailerUnit | None:
    """One unit; None, and a report, where A1111 drops it."""
    settled: dict[str, Any] = {}
    sound = True
    for key, value in _by_newest_names(values, path, report).items():
        if key in _IGNORED_KEYS:
            continue
        try:
            settled[key] = _settled(key, value)
        except ValueError as error:
            sound = False
            report.unsupported(
                f"{path}.{key}", str(error), instead="the unit is left out, as A1111 does"
            )
    return DetailerUnit(path, number, **settled) if sound else None


def _by_newest_names(values: Mapping[str, Any], path: str, report: Report) -> Mapping[str, Any]:
    """The keys of older releases under the names that they have since."""
    renamed = {}
    for key, value in values.items():
        name = RENAMED.get(key, key)
        if name != key:
            report.warn(f"{path}.{key}", f"taken as {name}, its name since v24.11")
        if name == key or name not in values:
            renamed[name] = value
    return renamed


def _settled(key: str, value: Any) -> Any:
    """A value as the extension converts it. Raises ValueError for what it does not take."""
    kind = KEYS.get(key)
    if kind is None:
        raise ValueError(f"ADetailer has no such key{did_you_mean(key, KEYS)}")
    if value is None and kind.endswith("None"):
        return None
    converted = _CONVERTERS[kind.partition(" ")[0]](value)
    low, high = _BOUNDS.get(key, (float("-inf"), float("inf")))
    if key in _BOUNDS and not low <= converted <= high:
        upper = "" if high == float("inf") else f" and at most {high:g}"
        raise ValueError(f"{show(value)} is not at least {low:g}{upper}")
    if key in _CHOICES and converted not in _CHOICES[key]:
        raise ValueError(f"{show(value)} is not one of {', '.join(_CHOICES[key])}")
    return converted


def _number(value: Any) -> float:
    """A finite number; text that is one, and switches, count."""
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"{show(value)} is not a number") from None
    if number != number or abs(number) == float("inf"):
        raise ValueError(f"{show(value)} is not a number")
    return number


def _whole(value: Any) -> int:
    """A whole number: what lies behind the point is cut off, but not in a text."""
    if isinstance(value, str):
        try:
            return int(value)
        except ValueError:
            raise ValueError(f"{show(value)} is not a whole number") from None
    return int(_number(value))


def _text(value: Any) -> str:
    if isinstance(value, str | int | float):
        return str(value)
    raise ValueError(f"{show(value)} is not a text")


_TRUE = ("1", "1.0", "on", "t", "true", "y", "yes")
_FALSE = ("0", "0.0", "off", "f", "false", "n", "no")


def _switch(value: Any) -> bool:
    if isinstance(value, str | int | float):
        word = str(value).lower()
        number_text = isinstance(value, str) and "." in word
        if word in _TRUE and not number_text:
            return True
        if word in _FALSE and not number_text:
            return False
    raise ValueError(f"{show(value)} is neither true nor false")


_CONVERTERS: Mapping[str, Callable[[Any], Any]] = {
    "bool": _switch,
    "int": _whole,
    "float": _number,
    "str": _text,
}
