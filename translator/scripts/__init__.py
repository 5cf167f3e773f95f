"""``script_name``: which selectable scripts there are, and what expands them.

Source: A1111 v1.10.1 ``api/api.py`` and ``modules/scripts.py``; the selectable scripts have a
module each.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from translator.request import schema
from translator.scripts import lines, matrix, xyz
from translator.scripts.always_on import AlwaysOnScripts, read_always_on
from translator.scripts.expansion import (
    Expansion,
    Fields,
    ScriptContext,
    batch_grid,
    share_parameters,
)
from translator.suggest import did_you_mean

__all__ = [
    "AlwaysOnScripts",
    "Expansion",
    "Fields",
    "ScriptContext",
    "batch_grid",
    "expand",
    "read_always_on",
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

_IMG2IMG_ONLY: Mapping[str, str] = {
    "img2img alternative test": "no node samples backwards from a picture to its noise",
    "loopback": "a generation here cannot start from the one before it; "
    "send the answer's picture as init_images of the next request",
    "outpainting mk2": "no node makes its shaped noise; "
    "enlarge the picture, and send it with a mask and inpainting_fill 2",
    "poor man's outpainting": "a generation here cannot start from the one before it; "
    "enlarge the picture, and send it with a mask",
    "sd upscale": "a generation here cannot start from a tile of the picture; "
    "use upscaler_for_img2img, or POST /sdapi/v1/extra-single-image and img2img after it",
}
"""A1111's further selectable scripts of img2img -> why they are refused, and what to do."""


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


def _report_unusable(name: str, context: ScriptContext) -> None:
    if context.tab == "img2img" and name.lower() in _IMG2IMG_ONLY:
        context.report.unsupported(
            "script_name",
            f"the script {name} is not done: {_IMG2IMG_ONLY[name.lower()]}",
            instead="the picture is made without it",
            value=name,
        )
        return
    titles = {script.title: script.title for script in _SELECTABLE.values()}
    context.report.invalid(
        "script_name", f"Script '{name}' not found{did_you_mean(name, titles)}", name
    )
