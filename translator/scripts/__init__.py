"""``script_name`` and ``alwayson_scripts``: which scripts there are, and what becomes of them.

Source: A1111 v1.10.1 ``api/api.py`` and ``modules/scripts.py``; the selectable scripts have a
module each.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from translator.report import Report, show
from translator.request import schema
from translator.scripts import lines, matrix, xyz
from translator.scripts.expansion import (
    Expansion,
    Fields,
    ScriptContext,
    Tab,
    batch_grid,
    share_parameters,
)
from translator.suggest import did_you_mean

__all__ = [
    "Expansion",
    "Fields",
    "ScriptContext",
    "batch_grid",
    "check_always_on",
    "expand",
    "share_parameters",
]


@dataclass(frozen=True)
class _Script:
    """A selectable script: its title, the names of its arguments, and what expands a request."""

    title: str
    arguments: Sequence[str]
    expand: Callable[[Fields, Sequence[Any], ScriptContext], Expansion | None]


_SELECTABLE = {
    script.title.lower(): script
    for script in (
        _Script(matrix.TITLE, matrix.ARGUMENTS, matrix.expand_matrix),
        _Script(lines.TITLE, lines.ARGUMENTS, lines.expand_lines),
        _Script(xyz.TITLE, xyz.ARGUMENTS, xyz.expand_xyz),
    )
}

_IMG2IMG_ONLY = (
    "img2img alternative test",
    "loopback",
    "outpainting mk2",
    "poor man's outpainting",
    "sd upscale",
)
"""A1111's further selectable scripts of img2img."""


@dataclass(frozen=True)
class _AlwaysOn:
    """A script that runs with every request.

    Attributes:
        why: why its arguments cannot be honoured; empty where they can, or mean nothing.
        ignored: why its arguments are without effect; empty where they are not.
        switch: position of the argument that turns it on.
        tab: the only endpoint that has it, or None.
    """

    why: str = ""
    ignored: str = ""
    switch: int = 0
    tab: Tab | None = None


_FIELDS_INSTEAD = "A1111's API ignores them too; send the request's own fields instead"

_ALWAYS_ON: Mapping[str, _AlwaysOn] = {
    "controlnet": _AlwaysOn(),
    "comments": _AlwaysOn(),
    "refiner": _AlwaysOn(ignored=_FIELDS_INSTEAD),
    "sampler": _AlwaysOn(ignored=_FIELDS_INSTEAD),
    "seed": _AlwaysOn(ignored=_FIELDS_INSTEAD),
    "extra options": _AlwaysOn(ignored="it concerns A1111's own pages; send override_settings"),
    "hypertile": _AlwaysOn(ignored="it takes none; A1111 reads options hypertile_* instead"),
    "soft inpainting": _AlwaysOn(why="there is no node for it", tab="img2img"),
    "adetailer": _AlwaysOn(why="this worker has no face detector for it"),
    "animatediff": _AlwaysOn(why="this worker paints no videos"),
    "reactor": _AlwaysOn(why="this worker has no face swapper", switch=1),
    "roop": _AlwaysOn(why="this worker has no face swapper", switch=1),
    "self attention guidance": _AlwaysOn(why="there is no node that guides as the extension does"),
}
"""Always-on scripts by lower-case title: A1111's own, and extensions that clients often send."""


def expand(fields: Fields, context: ScriptContext) -> Expansion | None:
    """The generations that a request's script makes of it.

    None where the request names no script, or the report has refused (or left out) what it names.

    Args:
        fields: all fields of the request, defaults included.
    """
    name = fields["script_name"]
    if not name:
        return None
    script = _SELECTABLE.get(name.lower())
    if script is None:
        _report_unusable(name, context)
        return None
    args, wanted = fields["script_args"], script.arguments
    if len(args) < len(wanted):
        context.report.invalid(
            "script_args",
            f"{script.title} takes {len(wanted)} values, {len(args)} are given; "
            f"missing: {', '.join(wanted[len(args) :])}",
        )
        return None
    if len(args) > len(wanted):
        context.report.warn(
            "script_args", f"{script.title} takes {len(wanted)} values, the others are ignored"
        )
    expansion = script.expand(fields, args[: len(wanted)], context)
    for variant in expansion.variants if expansion else ():
        schema.validate(context.tab, variant, "script_args", context.report)
    return None if context.report.refused("script_args") else expansion


def check_always_on(scripts: Mapping[str, Any], tab: Tab, report: Report) -> None:
    """Refuse unknown always-on scripts, and tell what becomes of the arguments of known ones.

    ControlNet's arguments are read elsewhere.
    """
    for title, script in scripts.items():
        path = f"alwayson_scripts.{title}"
        row = _ALWAYS_ON.get(title.lower())
        if row is None or row.tab not in (None, tab):
            _report_unknown(title, path, report)
            continue
        args = script.get("args", []) if isinstance(script, Mapping) else None
        for key in script if isinstance(script, Mapping) else ():
            if key != "args":
                report.warn(f"{path}.{key}", "A1111 reads only args of a script, it is ignored")
        if not isinstance(args, list):
            report.invalid(path, f'{show(script)} is not an object with a list "args"', script)
        elif args and row.ignored:
            report.warn(f"{path}.args", f"without effect: {row.ignored}")
        elif row.why and _is_on(args, row.switch):
            report.unsupported(f"{path}.args", row.why, instead="it is left out")


def _is_on(args: Sequence[Any], switch: int) -> bool:
    """Whether a script's switch is on; where an object of a1111_options stands, its own says so."""
    value = args[switch] if len(args) > switch else False
    if isinstance(value, Mapping):
        return bool(value.get("enable", value.get("enabled", True)))
    return bool(value)


def _report_unknown(title: str, path: str, report: Report) -> None:
    if title.lower() in (*_SELECTABLE, *_IMG2IMG_ONLY):
        report.invalid(
            path,
            "Cannot have a selectable script in the always on scripts params; "
            "it belongs in script_name",
        )
        return
    report.invalid(path, f"Script '{title}' not found{did_you_mean(title, _ALWAYS_ON)}")


def _report_unusable(name: str, context: ScriptContext) -> None:
    if context.tab == "img2img" and name.lower() in _IMG2IMG_ONLY:
        context.report.unsupported(
            "script_name",
            f"the script {name} is not there",
            instead="the request is painted without it",
            value=name,
        )
        return
    titles = {script.title: script.title for script in _SELECTABLE.values()}
    context.report.invalid(
        "script_name", f"Script '{name}' not found{did_you_mean(name, titles)}", name
    )
