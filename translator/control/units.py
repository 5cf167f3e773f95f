"""ControlNet units: ``alwayson_scripts.controlnet.args`` -> `ControlUnit`, whatever the dialect.

Taken are the union of what sd-webui-controlnet since May 2024 takes (strict), what it took before
(lenient, and what most clients write) and what Forge takes. Facts: ``controlnet.json``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from translator.control import modules
from translator.control.modules import Module
from translator.report import Report, show
from translator.request.images import ImageReader, ImageUpload
from translator.request.reader import Reader
from translator.suggest import did_you_mean

ARGS_PATH = "alwayson_scripts.controlnet.args"

_READER = Reader("controlnet_unit", "a ControlNet unit", "unit")

RESIZE_MODES = ("Just Resize", "Crop and Resize", "Resize and Fill")
CONTROL_MODES = ("Balanced", "My prompt is more important", "ControlNet is more important")
HR_OPTIONS = ("Both", "Low res only", "High res only")
PULID_MODES = ("Fidelity", "Extremely style")
UNION_TYPES = (
    "OpenPose",
    "Depth",
    "Soft Edge",
    "Hard Edge",
    "Normal Map",
    "Segmentation",
    "Tile",
    "Inpaint",
    "Unknown",
)

ALIASES: Mapping[str, str] = {
    "input_image": "image",
    "guidance": "guidance_end",
    "lowvram": "low_vram",
    "mask_image": "mask",
}

_ENUMS: Mapping[str, Sequence[str]] = {
    "resize_mode": RESIZE_MODES,
    "control_mode": CONTROL_MODES,
    "hr_option": HR_OPTIONS,
    "pulid_mode": PULID_MODES,
    "union_control_type": UNION_TYPES,
    "input_mode": ("simple", "batch", "merge"),
}
"""Fields that name one of several; a number is a position in the list, as old clients write it."""

_ENUM_ALIASES: Mapping[str, Mapping[str, str]] = {
    "resize_mode": {
        "inner fit (scale to fit)": "Crop and Resize",
        "scale to fit (inner fit)": "Crop and Resize",
        "outer fit (shrink to fit)": "Resize and Fill",
        "envelope (outer fit)": "Resize and Fill",
        "3": "Just Resize",
    },
}

POSITIONAL = (
    "enabled",
    "module",
    "model",
    "weight",
    "image",
    "resize_mode",
    "low_vram",
    "processor_res",
    "threshold_a",
    "threshold_b",
    "guidance_start",
    "guidance_end",
    "pixel_perfect",
    "control_mode",
)
"""The order of a unit written as a list: the parameters of the extension's ``ControlNetUnit``."""

NO_EFFECT = frozenset(
    (
        "is_ui",
        "batch_images",
        "output_dir",
        "loopback",
        "batch_mask_dir",
        "animatediff_batch",
        "batch_modifiers",
        "batch_image_files",
        "batch_keyframe_idx",
        "guess_mode",
        "guessmode",
        "use_preview_as_input",
        "generated_image",
        "hr_option_visible",
        "use_mask",
        "image_fg",
        "mask_image_fg",
        "batch_image_dir",
        "batch_input_gallery",
        "batch_mask_gallery",
        "scribble_mode",
        "invert_image",
        "rgbbgr_mode",
    )
)
"""Fields of the user interface, of AnimateDiff, or long removed: they change no picture here."""

_MATTERS_IF_SET = frozenset(
    (
        "animatediff_batch",
        "loopback",
        "guess_mode",
        "guessmode",
        "image_fg",
        "mask_image_fg",
        "scribble_mode",
        "invert_image",
        "rgbbgr_mode",
    )
)
"""Those of `NO_EFFECT` that a client may have set on purpose."""


_MOST_SURPLUS = 3
"""Units that are not read, of which each is named."""

_INSTEAD: Mapping[str, str] = dict.fromkeys(
    ("guess_mode", "guessmode"), '; control_mode "ControlNet is more important" took its place'
)
"""Fields of `_MATTERS_IF_SET` -> what to send instead."""

_SLIDERS = ("processor_res", "threshold_a", "threshold_b")
"""A unit's fields that are bounded by the sliders of its module, in their order."""

_AS_SENT = (
    "weight",
    "resize_mode",
    "guidance_start",
    "guidance_end",
    "pixel_perfect",
    "control_mode",
    "hr_option",
    "save_detected_map",
    "inpaint_crop_input_image",
    "pulid_mode",
    "union_control_type",
)
"""Fields that a unit has as the reader gives them."""


@dataclass(frozen=True, slots=True)
class UnitImage:
    """An input image of a unit, with the mask that came with it."""

    image: ImageUpload
    mask: ImageUpload | None = None


@dataclass(frozen=True, slots=True)
class ControlUnit:
    """A unit that takes part, every field settled.

    Attributes:
        index: its position in ``args``.
        path: ``alwayson_scripts.controlnet.args[<index>]``.
        module: what its preprocessor does; `module_name` is how A1111 would write it.
        model: the control model's name as it was sent, None for ``None``.
        weight: 0..2.
        images: its own images; empty where it has none and img2img's is to be used.
        image_fault: what is wrong with them, where the extension would fail on that; else empty.
        resize_mode, control_mode, hr_option, pulid_mode, union_control_type: A1111's names.
        processor_res, threshold_a, threshold_b: after the module's bounds.
        guidance_start, guidance_end: fractions of the pass's steps, 0..1.
        advanced_weighting: a weight per block instead of `weight`, or None.
        effective_region_mask: where the unit acts, or None for everywhere.
        ipadapter_input: whether a ready-made preprocessor result was sent.
    """

    index: int
    path: str
    module: Module
    module_name: str
    model: str | None
    images: tuple[UnitImage, ...]
    processor_res: float
    threshold_a: float
    threshold_b: float
    weight: float = 1.0
    resize_mode: str = "Crop and Resize"
    guidance_start: float = 0.0
    guidance_end: float = 1.0
    pixel_perfect: bool = False
    control_mode: str = "Balanced"
    hr_option: str = "Both"
    save_detected_map: bool = True
    inpaint_crop_input_image: bool = True
    advanced_weighting: tuple[float, ...] | None = None
    effective_region_mask: ImageUpload | None = None
    pulid_mode: str = "Fidelity"
    union_control_type: str = "Unknown"
    ipadapter_input: bool = False
    image_fault: str = ""

    @property
    def infotext(self) -> str:
        """The value of A1111's infotext key ``ControlNet k``; empty where it cannot be written."""
        values = {
            "Module": self.module_name,
            "Model": self.model or "None",
            "Weight": self.weight,
            "Resize Mode": self.resize_mode,
            "Processor Res": self.processor_res,
            "Threshold A": self.threshold_a,
            "Threshold B": self.threshold_b,
            "Guidance Start": self.guidance_start,
            "Guidance End": self.guidance_end,
            "Pixel Perfect": self.pixel_perfect,
            "Control Mode": self.control_mode,
        }
        if any("," in str(value) or ":" in str(value) for value in values.values()):
            return ""
        return ", ".join(f"{name}: {value}" for name, value in values.items())


def parse_units(
    raw_args: Any,
    settings_unit_count: int,
    report: Report,
    images: ImageReader | None = None,
) -> tuple[ControlUnit, ...]:
    """The enabled units of a request.

    Args:
        raw_args: ``alwayson_scripts.controlnet.args``: a list of units, each an object, a list in
            the order of `POSITIONAL`, or null for none.
        settings_unit_count: option ``control_net_unit_count``: elements after these are not read.
        images: the request's images, where some were read before.
    """
    if not isinstance(raw_args, list):
        report.invalid(ARGS_PATH, f"{show(raw_args)} is not a list of units", show(raw_args))
        return ()
    _warn_of_surplus(raw_args, settings_unit_count, report)
    parser = _Parser(report, images or ImageReader(report))
    units: list[ControlUnit] = []
    for index, raw in enumerate(raw_args[:settings_unit_count]):
        units.extend(parser.units(index, raw))
    return tuple(units)


def _warn_of_surplus(raw_args: Sequence[Any], count: int, report: Report) -> None:
    """Units after the last that is read: named one by one, but for what is no list of units."""
    surplus = [
        index
        for index, raw in enumerate(raw_args[count:], start=count)
        if raw is not None and not (isinstance(raw, dict) and raw.get("enabled") is False)
    ]
    message = (
        f"left out, as A1111 does: option control_net_unit_count reads the first {count} units only"
    )
    if len(surplus) > _MOST_SURPLUS:
        report.warn(ARGS_PATH, f"{len(surplus)} more values are {message}")
        return
    for index in surplus:
        report.warn(f"{ARGS_PATH}[{index}]", message)


class _Parser:
    def __init__(self, report: Report, images: ImageReader) -> None:
        self._report = report
        self._images = images
        # The extension reads images late, where an error leaves out every unit.
        self._image_report = Report() if report.lenient else report
        self._unit_reader = ImageReader(self._image_report) if report.lenient else images

    def units(self, index: int, raw: Any) -> Iterator[ControlUnit]:
        """The units of one element: none, one, or with input_mode ``merge`` one per image."""
        path = f"{ARGS_PATH}[{index}]"
        if raw is None:
            return
        given = self._as_mapping(raw, path)
        if given is None:
            return
        fields, sound = self._canonical(given, path)
        if not fields["enabled"]:
            return
        if fields["input_mode"] == "batch":
            message = "counts as simple: no pictures are read from folders"
            self._report.warn(f"{path}.input_mode", message)
        unit = self._unit(index, path, fields)
        if unit is None or not sound:
            return
        yield from _unfolded(unit, fields["input_mode"])

    def _as_mapping(self, raw: Any, path: str) -> Mapping[str, Any] | None:
        if isinstance(raw, dict):
            return raw
        if isinstance(raw, list) and len(raw) <= len(POSITIONAL):
            return dict(zip(POSITIONAL, raw, strict=False))
        message = f"{show(raw)} is not a unit: an object with fields such as image, module, model"
        self._report.invalid(path, message, show(raw))
        return None

    def _canonical(self, given: Mapping[str, Any], path: str) -> tuple[dict[str, Any], bool]:
        """Fields under their names, and whether the schema takes them all.

        Those that are absent or wrong have their defaults, so that the others are looked at too.
        """
        fields = self._without_aliases(given, path)
        named = {name: _enum_name(name, value) for name, value in fields.items()}
        known = _READER.known(named, path, self._report)
        if known.get("enabled") is False:
            return {"enabled": False}, True
        found = _READER.checked(known, path, self._report)
        return found.settled(), not found.wrong

    def _without_aliases(self, given: Mapping[str, Any], path: str) -> dict[str, Any]:
        """The fields by their own names, without those that change no picture here."""
        present = {name: value for name, value in given.items() if not _is_absent(name, value)}
        fields: dict[str, Any] = {}
        for name, value in present.items():
            target = ALIASES.get(name, name)
            if target != name and target in present:
                self._warn_of_conflict(path, name, target, present)
            elif name not in NO_EFFECT:
                fields[target] = value
            elif name in _MATTERS_IF_SET and value:
                self._report.warn(f"{path}.{name}", f"has no effect{_INSTEAD.get(name, '')}")
        return fields

    def _warn_of_conflict(
        self, path: str, alias: str, name: str, present: Mapping[str, Any]
    ) -> None:
        if present[alias] != present[name]:
            self._report.warn(f"{path}.{alias}", f"ignored, {name} is given as well")

    def _unit(self, index: int, path: str, fields: Mapping[str, Any]) -> ControlUnit | None:
        module = modules.find(fields["module"])
        if module is None:
            self._unknown_module(fields["module"], path)
            return None
        if fields["guidance_start"] > fields["guidance_end"]:
            start, end = fields["guidance_start"], fields["guidance_end"]
            self._report.invalid(
                f"{path}.guidance_start", f"{start} is after guidance_end, which is {end}", start
            )
            return None
        model = _model_name(fields["model"])
        if module.name == "none" and model is None:
            self._report.warn(path, "names neither a module nor a model: left out")
            return None
        images = self._unit_images(fields["image"], fields["mask"], path)
        region = self._region(fields["effective_region_mask"], path)
        if (images is None and not self._report.lenient) or self._report.refused(path):
            return None
        weights = fields["advanced_weighting"]
        return ControlUnit(
            index=index,
            path=path,
            module=module,
            module_name=_written_name(fields["module"], module),
            model=model,
            images=images or (),
            image_fault=self._image_fault(path) or _lone_mask(fields),
            advanced_weighting=None if weights is None else tuple(weights),
            effective_region_mask=region,
            ipadapter_input=bool(fields["ipadapter_input"]),
            **self._numbers(module, fields, path),
            **{name: fields[name] for name in _AS_SENT},
        )

    def _numbers(self, module: Module, fields: Mapping[str, Any], path: str) -> dict[str, Any]:
        """The numbers of a unit's module, within the bounds of their sliders."""
        return {
            name: slider.checked(fields[name], f"{path}.{name}", self._report)
            for slider, name in zip(module.sliders, _SLIDERS, strict=True)
        }

    def _unknown_module(self, name: str, path: str) -> None:
        known = [name for row in modules.table().values() for name in (row.name, *row.names)]
        self._report.invalid(
            f"{path}.module", f'no module "{name}"{did_you_mean(name, known)}', name
        )

    def _region(self, value: Any, path: str) -> ImageUpload | None:
        return self._images.read(value, f"{path}.effective_region_mask") if value else None

    def _image_fault(self, path: str) -> str:
        """What is wrong with the images of a unit, where that refuses nothing yet."""
        faults = [item for item in self._image_report.problems if item.path.startswith(path)]
        return faults[0].message if faults and self._report.lenient else ""

    def _unit_images(self, image: Any, mask: Any, path: str) -> tuple[UnitImage, ...] | None:
        """The images of a unit; empty without any, None where one cannot be read."""
        if image is None:
            return ()
        pairs: list[UnitImage] = []
        for value, with_mask, where, mask_where in self._image_values(image, mask, path):
            picture = self._unit_reader.read(value, where)
            drawn = self._unit_reader.read(with_mask, mask_where) if with_mask else None
            if picture is None or (with_mask and drawn is None):
                return None
            if drawn and (drawn.width, drawn.height) != (picture.width, picture.height):
                self._image_report.invalid(
                    mask_where,
                    f"the mask is {drawn.width}x{drawn.height}, its image "
                    f"{picture.width}x{picture.height}: they must be of one size",
                )
                return None
            pairs.append(UnitImage(picture, drawn))
        return tuple(pairs)

    def _image_values(
        self, image: Any, mask: Any, path: str
    ) -> Iterator[tuple[Any, Any, str, str]]:
        """(image, mask, path of the image, path of the mask) of every image of a unit."""
        where = f"{path}.image"
        if isinstance(image, str):
            yield image, mask, where, f"{path}.mask"
        elif isinstance(image, dict):
            yield from self._image_object(image, where)
        elif image and isinstance(image[0], dict):
            for position, item in enumerate(image):
                yield from self._image_object(item, f"{where}[{position}]")
        elif 1 <= len(image) <= 2:
            drawn = image[1] if len(image) == 2 else mask
            yield image[0], drawn, f"{where}[0]", f"{where}[1]"
        else:
            self._image_report.invalid(
                where, "a list is [image, mask] or holds objects {image, mask}", None
            )

    def _image_object(self, item: Any, where: str) -> Iterator[tuple[Any, Any, str, str]]:
        if isinstance(item, dict) and item.get("image"):
            yield item["image"], item.get("mask"), f"{where}.image", f"{where}.mask"
        else:
            self._image_report.invalid(
                where, "an image object holds image, and mask if there is one"
            )


def _unfolded(unit: ControlUnit, input_mode: str) -> Iterator[ControlUnit]:
    """Input mode ``merge``: a unit per image, which share the weight; IP-Adapters take them all."""
    if input_mode != "merge" or unit.module.is_ip_adapter or len(unit.images) < 2:
        yield unit
        return
    for image in unit.images:
        yield replace(unit, images=(image,), weight=unit.weight / len(unit.images))


def _lone_mask(fields: Mapping[str, Any]) -> str:
    """What is wrong with a mask without an image, on which the extension fails."""
    alone = fields["image"] is None and fields["mask"] is not None
    return "the unit has a mask but no image of its own, on which A1111 fails" if alone else ""


def _is_absent(name: str, value: Any) -> bool:
    """Null stands for the default; so does an empty text in place of an image."""
    if value is None:
        return True
    image_field = ALIASES.get(name, name) in ("image", "mask", "effective_region_mask")
    return image_field and value == ""


def _enum_name(field: str, value: Any) -> Any:
    """A1111's name for an enum value written as a name in any case, an alias or a number."""
    names = _ENUMS.get(field)
    if names is None or isinstance(value, bool) or not isinstance(value, str | int):
        return value
    text = str(value).strip().lower()
    by_number = dict(zip(map(str, range(len(names))), names, strict=True))
    if text in by_number:
        return by_number[text]
    by_name = {name.lower(): name for name in names}
    return by_name.get(text, _ENUM_ALIASES.get(field, {}).get(text, value))


def _model_name(name: str) -> str | None:
    return None if name.strip().lower() in ("none", "") else name


def _written_name(name: str, module: Module) -> str:
    """How A1111 writes a module: as it was sent, but Forge's names by the internal one."""
    return name if name in (module.name, module.label) else module.name
