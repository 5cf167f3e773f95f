"""The request field ``infotext``: an infotext read back into fields and a1111_options.

Source: A1111 v1.10.1 ``modules/infotext_utils.py`` (``parse_generation_parameters``,
``get_override_settings``), ``infotext_versions.py``, ``api/api.py`` (``apply_infotext``), and the
paste fields of ``ui.py`` and ``processing_scripts``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from translator.comfy.catalog import Catalog
from translator.geometry import hires_size
from translator.models.names import Checkpoint
from translator.prompt import attention
from translator.report import Report, show
from translator.request import infotext_report
from translator.request.a1111_options import (
    A1111Options,
    OptionRow,
    option_rows,
    resolve_a1111_options,
)
from translator.request.schema import Tab
from translator.schedules.samplers import get_sampler_and_scheduler

Parameters = dict[str, Any]

SAME_SAMPLER = "Use same sampler"
SAME_SCHEDULER = "Use same scheduler"
SAME_CHECKPOINT = "Use same checkpoint"

_PARAMETER = re.compile(
    r"[ \-/]*+(?P<key>\w[\w \-/]++):\s*+"
    r'(?:(?P<quoted>"(?:\\.|[^\\"])++")(?=,|$)|(?P<bare>[^,]*+))(?:,|$)'
    r"|[\w \-/]++"
)
"""``key: value,`` as A1111's own expression reads it, or a run of letters that is no key: a run is
looked at once, where A1111's looks at it anew from each of its letters."""
_SIZE = re.compile(r"(\d+)x(\d+)")
_FEWEST_PARAMETERS = 3

_OLD_KEYS = ("First pass size", "Hypernet", "Hypernet strength")
"""Keys of old versions that are read into others."""

_SIZES = ("Size", "Hires resize", "Seed resize from", "First pass size")
"""Keys whose value is a size, which parsing makes two keys of."""

_DEFAULTS: Parameters = {
    "Clip skip": "1",
    "Hires resize-1": 0,
    "Hires resize-2": 0,
    "Hires sampler": SAME_SAMPLER,
    "Hires schedule type": SAME_SCHEDULER,
    "Hires checkpoint": SAME_CHECKPOINT,
    "Hires prompt": "",
    "Hires negative prompt": "",
    "Mask mode": "Inpaint masked",
    "Masked content": "original",
    "Inpaint area": "Whole picture",
    "Masked area padding": 32,
    "RNG": "GPU",
    "Schedule type": "Automatic",
    "Schedule max sigma": 0,
    "Schedule min sigma": 0,
    "Schedule rho": 0,
    "VAE Encoder": "Full",
    "VAE Decoder": "Full",
    "FP8 weight": "Disable",
    "Refiner switch by sampling steps": False,
}
"""What a key means that a text does not have."""


def parse_infotext(text: str, a1111_options: A1111Options) -> Parameters:
    """The parameters of an infotext by key, with A1111's defaults for what it does not say.

    Values are texts, but for defaults. A size ``WxH`` becomes two keys, ``Size-1`` and ``Size-2``.
    The last line holds the parameters if it has at least three; "Prompt" and "Negative prompt" are
    the lines before it. Texts of styles stay in the prompt.

    Args:
        a1111_options: the server's options.

    Raises:
        ValueError: a size or a weight in it is no number; A1111 fails as well.
    """
    prompt, negative, listed = _split(text)
    parameters: Parameters = {}
    for key, value in listed:
        size = _SIZE.fullmatch(value)
        if size:
            parameters[f"{key}-1"], parameters[f"{key}-2"] = size.groups()
        else:
            parameters[key] = _unquote(value)
    parameters["Prompt"] = prompt + _old_hypernetwork(parameters)
    parameters["Negative prompt"] = negative
    parameters |= {key: value for key, value in _DEFAULTS.items() if key not in parameters}
    _restore_first_pass_size(parameters, a1111_options)
    if _weighted(prompt) or _weighted(negative):
        parameters.setdefault("Emphasis", "Original")
    if a1111_options.auto_backcompat:
        _restore_old_behaviour(parameters)
    for key in a1111_options.infotext_skip_pasting:
        parameters.pop(key, None)
    return parameters


def apply_infotext(
    payload: Mapping[str, Any], server: Mapping[str, Any], report: Report, tab: Tab = "txt2img"
) -> dict[str, Any]:
    """The payload with the fields filled that it does not have and its infotext does.

    Fields that stand in the payload win, even as null, and so do keys of its override_settings. Of
    img2img A1111 fills only steps, sampler, seeds and refiner, since its other fields are not open
    to the API.

    Args:
        payload: the request as sent.
        server: the server's options (`Options.a1111_options`).
    """
    text = payload.get("infotext")
    if not isinstance(text, str) or not text:
        return dict(payload)
    try:
        parameters = parse_infotext(text, resolve_a1111_options(server, None, Report()))
    except ValueError as error:
        report.invalid("infotext", f"it cannot be read: {error}", text)
        return dict(payload)
    _warn_of_losses(text, parameters, payload, tab, report)
    filled = dict(payload)
    for field in _FIELDS[tab]:
        value = field.read(parameters)
        if field.name not in payload and value is not None:
            _convert(filled, field.name, field.kind, value, report)
    if tab == "img2img":
        _fill_soft_inpainting(filled, parameters, report)
    if parameters.get("Seed resize from-1") != parameters.get("Seed resize from-2"):
        report.warn("infotext", "width and height of its seed resize are swapped, as A1111 does")
    given = payload.get("override_settings") or {}
    if not isinstance(given, Mapping):
        return filled
    overrides = dict(given)
    for key, value in _overrides(parameters, server, report).items():
        overrides.setdefault(key, value)
    filled["override_settings"] = overrides
    return filled


def _fill_soft_inpainting(filled: dict[str, Any], parameters: Parameters, report: Report) -> None:
    """Arguments of img2img's one script whose entries A1111's API reads back."""
    if not any(key in parameters for key in _SOFT_INPAINTING):
        return
    args: dict[str, Any] = {}
    for key, usual in _SOFT_INPAINTING.items():
        args[key] = usual
        if key in parameters:
            _convert(args, key, bool if usual is False else float, parameters[key], report)
    scripts = filled.get("alwayson_scripts") or {}
    if not isinstance(scripts, Mapping):
        return
    title = next((name for name in scripts if name.lower() == "soft inpainting"), "soft inpainting")
    given = scripts.get(title)
    sent = given.get("args", []) if isinstance(given, Mapping) else []
    if isinstance(sent, list):
        args_list = [*sent, *list(args.values())[len(sent) :]]
        filled["alwayson_scripts"] = {**scripts, title: {"args": args_list}}


def _warn_of_losses(
    text: str, parameters: Parameters, payload: Mapping[str, Any], tab: Tab, report: Report
) -> None:
    """What of a text changes nothing in the request."""
    listed = [key for key, _ in _split(text)[2]]
    infotext_report.warn_of_form(text, listed, report)
    used = {key for field in _FIELDS[tab] for key in field.keys}
    used |= _SOFT_INPAINTING.keys() if tab == "img2img" else set(_OLD_KEYS)
    if tab == "txt2img" and "enable_hr" not in payload:
        infotext_report.warn_of_hires(listed, report)
    options = {row.infotext for row in option_rows().values() if row.infotext}
    infotext_report.warn_of_unused(listed, {*used, *options}, report)
    for key in _SIZES:
        if key in parameters and key in used:
            infotext_report.warn_of_size(key, parameters[key], report)
    if "sampler_name" not in payload:
        infotext_report.check_sampler(parameters, report)


def made_with(text: str | None, used: Checkpoint, catalog: Catalog, report: Report) -> None:
    """Say so where an infotext was made with another checkpoint than the one that is used.

    Args:
        text: the request's infotext.
    """
    if text:
        infotext_report.check_model(dict(_split(text)[2]), used, catalog, report)


def _split(text: str) -> tuple[str, str, list[tuple[str, str]]]:
    """Prompt, negative prompt and the listed parameters of an infotext."""
    *lines, last = text.strip().split("\n")
    listed = [
        (found["key"], found["quoted"] or found["bare"])
        for found in _PARAMETER.finditer(last)
        if found["key"]
    ]
    if len(listed) < _FEWEST_PARAMETERS:
        lines.append(last)
        listed = []
    prompts: dict[bool, list[str]] = {False: [], True: []}
    in_negative = False
    for line in map(str.strip, lines):
        if line.startswith("Negative prompt:"):
            in_negative = True
            line = line.removeprefix("Negative prompt:").strip()
        prompts[in_negative].append(line)
    prompt, negative = ("\n".join(prompts[part]).lstrip("\n") for part in (False, True))
    return prompt, negative, [(key, value) for key, value in listed if value]


def _unquote(value: str) -> Any:
    """A value that stands in quotes, read as JSON; other values as they are."""
    if not (value.startswith('"') and value.endswith('"')):
        return value
    try:
        return json.loads(value)
    except ValueError:
        return value


def _old_hypernetwork(parameters: Parameters) -> str:
    """The tag for a hypernetwork that texts of old versions name apart from the prompt."""
    name = parameters.get("Hypernet")
    strength = parameters.get("Hypernet strength", "1.0")
    return f"<hypernet:{name}:{strength}>" if name is not None else ""


def _restore_first_pass_size(parameters: Parameters, a1111_options: A1111Options) -> None:
    """Sizes of texts from before hires fix had a scale: "Size" was that of the second pass."""
    if a1111_options.use_old_hires_fix_width_height:
        resized = (int(parameters["Hires resize-1"]), int(parameters["Hires resize-2"]))
        if all(resized):
            parameters["Size-1"], parameters["Size-2"] = resized
            return
    if "First pass size-1" not in parameters:
        return
    first = (int(parameters["First pass size-1"]), int(parameters["First pass size-2"]))
    size = (int(parameters.get("Size-1", 512)), int(parameters.get("Size-2", 512)))
    if 0 in first:
        first = hires_size(*size, 1, 0, 0, old_rule=True).first
    parameters["Size-1"], parameters["Size-2"] = first
    parameters["Hires resize-1"], parameters["Hires resize-2"] = size


def _weighted(prompt: str) -> bool:
    """Whether some piece of a prompt has another weight than 1."""
    return any(weight != 1.0 and piece != "BREAK" for piece, weight in attention(prompt))


def _restore_old_behaviour(parameters: Parameters) -> None:
    """Switches that bring back how the version that wrote a text made pictures."""
    version = _version(str(parameters.get("Version", "")))
    if version is None:
        return
    if version < (1, 6, 0, 0) and "[" in parameters["Prompt"]:
        parameters["Old prompt editing timelines"] = True
    if version < (1, 6, 0, 0) and parameters.get("Sampler") in ("DDIM", "PLMS"):
        parameters["Pad conds v0"] = True
    if version < (1, 7, 0, 225):
        parameters["Downcast alphas_cumprod"] = True
    if version < (1, 8, 0, 0) and parameters.get("Refiner"):
        parameters["Refiner switch by sampling steps"] = True


def _version(text: str) -> tuple[int, int, int, int] | None:
    """Release and number of commits after it: "v1.7.0-225-gcc6f8e3" is (1, 7, 0, 225).

    A release candidate counts as before its release; None where there is no such version.
    """
    found = re.match(
        r"v?(\d+)\.(\d+)(?:\.(\d+))?(-?rc\d*)?(?:-(\d+))?(?:-.*)?$", text, re.IGNORECASE
    )
    if not found:
        return None
    major, minor, patch, candidate, commits = found.groups()
    return int(major), int(minor), int(patch or 0), -1 if candidate else int(commits or 0)


@dataclass(frozen=True)
class _Field:
    """A field of the request and where its value comes from.

    Attributes:
        name: of the field.
        kind: the type A1111 casts the value to.
        read: the value from the parameters, None where there is none.
        keys: the infotext's keys that it is read from.
    """

    name: str
    kind: type
    read: Callable[[Parameters], Any]
    keys: tuple[str, ...]


def _key(name: str, kind: type, key: str) -> _Field:
    return _Field(name, kind, lambda parameters: parameters.get(key), (re.sub(r"-[12]$", "", key),))


def _sampler(parameters: Parameters) -> str:
    sampler, _ = get_sampler_and_scheduler(
        parameters.get("Sampler"), parameters.get("Schedule type")
    )
    return sampler.name


def _scheduler(parameters: Parameters) -> str:
    _, scheduler = get_sampler_and_scheduler(
        parameters.get("Sampler"), parameters.get("Schedule type")
    )
    return scheduler.label


def _unless(key: str, same: str) -> Callable[[Parameters], Any]:
    """A hires key, or None for what means the first pass' own.

    A1111 hands its "Use same ..." on to the API, where a sampler of that name makes it fail.
    """
    return lambda parameters: None if parameters[key] == same else parameters[key]


_SCRIPT_FIELDS = (
    _key("steps", int, "Steps"),
    _Field("sampler_name", str, _sampler, ("Sampler",)),
    _Field("scheduler", str, _scheduler, ("Schedule type",)),
    _key("seed", int, "Seed"),
    _key("subseed", int, "Variation seed"),
    _key("subseed_strength", float, "Variation seed strength"),
    _key("seed_resize_from_h", int, "Seed resize from-1"),
    _key("seed_resize_from_w", int, "Seed resize from-2"),
    _key("refiner_checkpoint", str, "Refiner"),
    _key("refiner_switch_at", float, "Refiner switch at"),
)
"""Fields of both tabs. Width and height of the seed resize are swapped, as in A1111."""

_SOFT_INPAINTING: Parameters = {
    "Soft inpainting enabled": False,
    "Soft inpainting schedule bias": 1.0,
    "Soft inpainting preservation strength": 0.5,
    "Soft inpainting transition contrast boost": 4.0,
    "Soft inpainting mask influence": 0.0,
    "Soft inpainting difference threshold": 0.5,
    "Soft inpainting difference contrast": 2.0,
}
"""Its entries in the order of its arguments, and the page's values."""

_FIELDS: Mapping[Tab, tuple[_Field, ...]] = {
    "img2img": _SCRIPT_FIELDS,
    "txt2img": (
        _key("prompt", str, "Prompt"),
        _key("negative_prompt", str, "Negative prompt"),
        _key("cfg_scale", float, "CFG scale"),
        _key("width", int, "Size-1"),
        _key("height", int, "Size-2"),
        _key("batch_size", int, "Batch size"),
        _key("denoising_strength", float, "Denoising strength"),
        _Field("enable_hr", bool, lambda parameters: "Denoising strength" in parameters, ()),
        _key("hr_scale", float, "Hires upscale"),
        _key("hr_upscaler", str, "Hires upscaler"),
        _key("hr_second_pass_steps", int, "Hires steps"),
        _key("hr_resize_x", int, "Hires resize-1"),
        _key("hr_resize_y", int, "Hires resize-2"),
        _key("hr_checkpoint_name", str, "Hires checkpoint"),
        _Field("hr_sampler_name", str, _unless("Hires sampler", SAME_SAMPLER), ("Hires sampler",)),
        _Field(
            "hr_scheduler",
            str,
            _unless("Hires schedule type", SAME_SCHEDULER),
            ("Hires schedule type",),
        ),
        _key("hr_prompt", str, "Hires prompt"),
        _key("hr_negative_prompt", str, "Hires negative prompt"),
        *_SCRIPT_FIELDS,
    ),
}


def _convert(
    target: dict[str, Any], name: str, kind: Callable[[Any], Any], value: Any, report: Report
) -> None:
    """Store a value cast as A1111 casts it, or refuse the infotext."""
    try:
        target[name] = kind(value)
    except ValueError:
        report.invalid("infotext", f"{show(value)} cannot be read as {name}", value)


def _overrides(parameters: Parameters, server: Mapping[str, Any], report: Report) -> dict[str, Any]:
    """Options in the text that differ from the server's, in A1111's order."""
    a1111_options = resolve_a1111_options(server, None, Report())
    found: dict[str, Any] = {}
    for row in option_rows().values():
        value = parameters.get(row.infotext) if row.infotext else None
        if value is None:
            continue
        if row.key == "sd_model_checkpoint" and a1111_options.disable_weights_auto_swap:
            continue
        _convert(found, row.key, _caster(row), value, report)
        if found.get(row.key) == server.get(row.key, row.default):
            found.pop(row.key, None)
    return found


def _caster(row: OptionRow) -> Callable[[Any], Any]:
    """How A1111 casts a text to the type of an option's default."""
    if isinstance(row.default, bool):
        return lambda value: value != "False" and bool(value)
    return str if row.default is None else type(row.default)
