"""``script_name``: which selectable scripts there are, and what expands them.

Source: A1111 v1.10.1 ``api/api.py`` and ``modules/scripts.py``; the selectable scripts have a
module each.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from translator.request import schema
from translator.scripts import (
    img2img_alternative,
    lines,
    loopback,
    matrix,
    outpainting_mk2,
    poor_mans_outpainting,
    sd_upscale,
    ultimate_upscale,
    xyz,
)
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
    """A selectable script.

    Attributes:
        title: its name.
        arguments: the names of its arguments.
        expand: what expands a request.
        tab: the only endpoint that has it, or None.
        node: the node of our pack that it cannot do without, or None.
        sets: fields of the request that it sets itself, whatever was sent.
    """

    title: str
    arguments: Sequence[str]
    expand: Callable[[Fields, Sequence[Any], ScriptContext], Expansion | None]
    tab: schema.Tab | None = None
    node: str | None = None
    sets: Sequence[str] = ()


_SELECTABLE = {
    script.title.lower(): script
    for script in (
        _Script(matrix.TITLE, matrix.ARGUMENTS, matrix.expand_matrix, sets=("n_iter",)),
        _Script(lines.TITLE, lines.ARGUMENTS, lines.expand_lines),
        _Script(xyz.TITLE, xyz.ARGUMENTS, xyz.expand_xyz),
        _Script(
            img2img_alternative.TITLE,
            img2img_alternative.ARGUMENTS,
            img2img_alternative.expand_img2img_alternative,
            "img2img",
            "A1111ReversedNoise",
        ),
        _Script(sd_upscale.TITLE, sd_upscale.ARGUMENTS, sd_upscale.expand_sd_upscale, "img2img"),
        _Script(
            ultimate_upscale.TITLE,
            ultimate_upscale.ARGUMENTS,
            ultimate_upscale.expand_ultimate_upscale,
            "img2img",
            "A1111Inpaint",
            sets=("batch_size", "n_iter", "mask"),
        ),
        _Script(
            loopback.TITLE,
            loopback.ARGUMENTS,
            loopback.expand_loopback,
            "img2img",
            sets=("batch_size",),
        ),
        _Script(
            poor_mans_outpainting.TITLE,
            poor_mans_outpainting.ARGUMENTS,
            poor_mans_outpainting.expand_poor_mans_outpainting,
            "img2img",
            "A1111JoinTiles",
            sets=("batch_size", "n_iter", "mask"),
        ),
        _Script(
            outpainting_mk2.TITLE,
            outpainting_mk2.ARGUMENTS,
            outpainting_mk2.expand_outpainting_mk2,
            "img2img",
            "A1111OutpaintNoise",
            sets=("mask",),
        ),
    )
}

_PICTURES = ("init_images", "mask", "latent_mask", "color_source", "decoding")
"""Fields that hold what no client sends: a picture of the graph, or the way back to noise."""


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
    if script is None or script.tab not in (None, context.tab):
        _report_unusable(name, context)
        return None
    if script.node and not (context.exact and context.catalog.has(script.node)):
        context.report.unsupported(
            "script_name",
            f"the script {name} needs our node pack",
            instead="the picture is made without it",
            value=name,
        )
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
    for field in script.sets:
        if fields[field] not in (1, None, ""):
            context.report.warn(
                field, f"without effect, as in A1111: {script.title} sets it itself"
            )
    expansion = script.expand(fields, args[: len(wanted)], context)
    for variant in expansion.variants if expansion else ():
        sent = {name: value for name, value in variant.items() if name not in _PICTURES}
        schema.validate(context.tab, sent, "script_args", context.report)
    return None if context.report.refused("script_args") else expansion


def _report_unusable(name: str, context: ScriptContext) -> None:
    scripts = _SELECTABLE.values()
    titles = {item.title: item.title for item in scripts if item.tab in (None, context.tab)}
    elsewhere = any(item.title.lower() == name.lower() for item in scripts)
    hint = f"; it is none of {context.tab}'s" if elsewhere else did_you_mean(name, titles)
    context.report.invalid("script_name", f"Script '{name}' not found{hint}", name)
