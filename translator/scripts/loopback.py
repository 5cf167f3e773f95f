"""The script "Loopback": each generation starts from the one before it.

Source: A1111 v1.10.1 ``scripts/loopback.py``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from translator.geometry import latent_pixels
from translator.infotext.text import GenerationFacts
from translator.plan.answer import Grid, Output
from translator.plan.pictures import Made, Picture, Sent, placeholder
from translator.request.images import ImageUpload
from translator.scripts.chains import ChainExpansion, first_picture, number, whole
from translator.scripts.expansion import (
    Fields,
    ScriptContext,
    fix_seeds,
    prompt_length,
    settled_sampler,
    within_bounds,
)

TITLE = "Loopback"

ARGUMENTS = ("loops", "final_denoising_strength", "denoising_curve", "append_interrogation")

_LOOPS, _FINAL, _CURVE, _APPENDED = (f"script_args[{index}]" for index in range(4))

_CURVES: Mapping[str, Callable[[float], float]] = {
    "Aggressive": lambda progress: math.sin(progress * math.pi * 0.5),
    "Lazy": lambda progress: 1 - math.cos(progress * math.pi * 0.5),
}
"""Curve -> how far the strength has come at a share of the loops; any other is linear."""

_INTERROGATORS = ("CLIP", "DeepBooru")
_NO_INTERROGATION = "None"

_COLORS = "colours of Loopback"
_ORIGINAL = 1
"""inpainting_fill from the second loop on."""


@dataclass(frozen=True)
class LoopbackExpansion(ChainExpansion):
    """The loops of one picture, one variant each.

    Attributes:
        next_strength: of a loop after the last, which ``info`` shows.
    """

    next_strength: float

    def info(self, facts: Sequence[GenerationFacts], now: datetime | None = None) -> dict[str, Any]:
        """`ChainExpansion.info`, with the strength that A1111 has laid out for one more loop."""
        return {**super().info(facts, now), "denoising_strength": self.next_strength}


def expand_loopback(
    fields: Fields, args: Sequence[Any], context: ScriptContext
) -> LoopbackExpansion | None:
    """The loops of a picture, or None after a report.

    Args:
        fields: the request.
        args: script_args, as many as `ARGUMENTS`.
    """
    loops, final, curve, appended = args
    sent = first_picture(fields, context)
    if sent is None or not _check(fields, loops, final, context):
        return None
    base = fix_seeds(settled_sampler(fields), context.draw_seed)
    base["prompt"] = _prompt(base["prompt"], appended, context)
    first = base["denoising_strength"]
    strengths = [_strength(loop, loops, first, final, curve) for loop in range(1, loops)]
    variants, made = _loops(base, [first, *strengths], _result_size(base, sent, context))
    if context.server_options.img2img_color_correction:
        made[_COLORS] = Sent(sent, None)
        source = placeholder(_COLORS, (sent.width, sent.height))
        variants = [{**variant, "color_source": source} for variant in variants]
    last_of = 1 if base["n_iter"] == 1 else loops
    shown = [Picture(number, 0) for number in range(last_of - 1, len(variants), last_of)]
    return LoopbackExpansion(
        base,
        context.a1111_options,
        tuple(variants),
        _outputs(shown, context),
        made=made,
        parameters={"Final denoising strength": final, "Denoising curve": curve},
        next_strength=_strength(loops, loops, first, final, curve),
    )


def _loops(
    base: Fields, strengths: Sequence[float], size: tuple[int, int]
) -> tuple[list[Fields], dict[str, Made]]:
    """The loops of every batch, and what those after the first start from.

    Args:
        strengths: of the loops.
        size: of a loop's picture, in pixels.
    """
    variants: list[Fields] = []
    made: dict[str, Made] = {}
    for position in range(base["n_iter"] * len(strengths)):
        loop = position % len(strengths)
        variant = {
            **base,
            "seed": base["seed"] + position,
            "batch_size": 1,
            "n_iter": 1,
            "denoising_strength": strengths[loop],
        }
        if loop:
            name = f"loop {position} of {TITLE}"
            made[name] = Picture(position - 1, 0)
            variant |= {"init_images": [placeholder(name, size)], "inpainting_fill": _ORIGINAL}
        variants.append(variant)
    return variants, made


def _check(fields: Fields, loops: Any, final: Any, context: ScriptContext) -> bool:
    """Whether the arguments are ones that A1111 does not fail on; a report where not."""
    report = context.report
    good = whole(loops, _LOOPS, "the number of loops", report)
    good = number(final, _FINAL, "the final denoising strength", report) and good
    if good and loops < 1:
        report.invalid(_LOOPS, "there is at least one loop", loops)
    elif good and not 0 <= final <= 1:
        report.invalid(_FINAL, "the final denoising strength is within 0..1", final)
    elif good and len(fields["init_images"]) > 1:
        report.invalid("init_images", f"{TITLE} starts from one picture")
    elif good:
        count = loops * fields["n_iter"]
        return within_bounds(count, prompt_length(fields), _LOOPS, report)
    return False


def _prompt(prompt: str, appended: Any, context: ScriptContext) -> str:
    """The prompt of every loop; A1111 ends it with a comma before what it read off the picture."""
    if appended == _NO_INTERROGATION:
        return prompt
    if appended in _INTERROGATORS:
        context.report.unsupported(
            _APPENDED,
            f"{appended} reads a prompt off a picture that there is only while the graph runs",
            instead="nothing is appended to the prompt",
            value=appended,
        )
        return prompt
    return f"{prompt}, " if prompt else ""


def _strength(loop: int, loops: int, first: float, final: float, curve: Any) -> float:
    """The denoising strength of a loop, counted from 0."""
    if loops == 1:
        return first
    progress = loop / (loops - 1)
    bend = _CURVES.get(curve) if isinstance(curve, str) else None
    return first + (final - first) * (bend(progress) if bend else progress)


def _result_size(fields: Fields, sent: ImageUpload, context: ScriptContext) -> tuple[int, int]:
    """The size of a loop's picture: "only masked" puts it back on the one it started from."""
    only_masked = fields["mask"] and fields["inpaint_full_res"]
    if only_masked and context.a1111_options.overlay_inpaint:
        return sent.width, sent.height
    return latent_pixels(fields["width"]), latent_pixels(fields["height"])


def _outputs(shown: Sequence[Picture], context: ScriptContext) -> tuple[Output, ...]:
    """The pictures, after a grid of one line where there are several (option return_grid)."""
    if len(shown) < 2 or not context.server_options.return_grid:
        return tuple(shown)
    background = context.server_options.grid_background_color
    return (Grid(tuple(shown), rows=1, background=background), *shown)
