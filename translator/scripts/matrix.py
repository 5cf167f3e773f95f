"""The script "Prompt matrix": every combination of the optional parts of a prompt.

Source: A1111 v1.10.1 ``scripts/prompt_matrix.py``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from translator.infotext.text import GenerationFacts, create_info, create_infotext
from translator.plan.answer import DetectedMaps, Grid, Output
from translator.plan.pictures import Picture
from translator.scripts.expansion import (
    Expansion,
    Fields,
    ScriptContext,
    alone,
    fix_seeds,
    joined_hires,
    legend,
    margin,
    prompt_length,
    settled_sampler,
    share_parameters,
    warn_of_shared_networks,
    within_bounds,
)

TITLE = "Prompt matrix"

ARGUMENTS = (
    "put_at_start",
    "different_seeds",
    "prompt_type",
    "variations_delimiter",
    "margin_size",
)

_SURELY_TOO_MANY_PARTS = 40
"""Optional parts whose combinations are beyond every bound; more are not counted."""

_PROMPTS = {"positive": "prompt", "negative": "negative_prompt"}
_DELIMITERS = {"comma": ", ", "space": " "}


@dataclass(frozen=True)
class MatrixExpansion(Expansion):
    """The combinations of a prompt matrix, one variant each; A1111 runs them as one generation."""

    def info(self, facts: Sequence[GenerationFacts], now: datetime | None = None) -> dict[str, Any]:
        """The ``info`` of the one generation, the grid's text (that of the first image) first."""
        shared = share_parameters(facts)
        texts = [create_infotext(item, 0) for item in shared]
        joined = replace(
            shared[-1],
            prompts=tuple(item.prompts[0] for item in shared),
            negative_prompts=tuple(item.negative_prompts[0] for item in shared),
            seeds=tuple(item.seeds[0] for item in shared),
            subseeds=tuple(item.subseeds[0] for item in shared),
            batch_size=self.fields["batch_size"],
            hires=joined_hires([item.hires for item in shared if item.hires]),
        )
        return create_info(joined, [texts[0], *texts], index_of_first_image=1, now=now)


def expand_matrix(
    fields: Fields, args: Sequence[Any], context: ScriptContext
) -> MatrixExpansion | None:
    """The generations of a prompt matrix, or None after a report.

    Args:
        fields: the request.
        args: script_args, as many as `ARGUMENTS`.
    """
    given = dict(zip(ARGUMENTS, args, strict=True))
    for name, choices in (("prompt_type", _PROMPTS), ("variations_delimiter", _DELIMITERS)):
        if given[name] not in list(choices):
            path = f"script_args[{ARGUMENTS.index(name)}]"
            context.report.invalid(path, f"{name} is one of {', '.join(choices)}", given[name])
            return None
    base = fix_seeds(settled_sampler(fields), context.draw_seed)
    field = _PROMPTS[given["prompt_type"]]
    parts = base[field].split("|")
    count = 1 << min(len(parts) - 1, _SURELY_TOO_MANY_PARTS)
    if not within_bounds(count, prompt_length(base), field, context.report):
        return None
    texts = combinations(
        parts, _DELIMITERS[given["variations_delimiter"]], at_start=bool(given["put_at_start"])
    )
    if field == "prompt":
        warn_of_shared_networks(texts, base["batch_size"], "script_args", context.report)
    variants = tuple(
        {
            **base,
            **alone(base, index),
            field: text,
            "seed": base["seed"] + (index if given["different_seeds"] else 0),
            "subseed": base["subseed"] + index,
        }
        for index, text in enumerate(texts)
    )
    gap = margin(
        given["margin_size"], f"script_args[{ARGUMENTS.index('margin_size')}]", context.report
    )
    images = tuple(Picture(index, 0) for index in range(len(variants)))
    grid = Grid(
        cells=images,
        rows=1 << ((len(parts) - 1) // 2),
        legend=legend(context.a1111_options, prompt_matrix=parts[1:], margin=gap),
        background=context.a1111_options.grid_background_color,
    )
    outputs: tuple[Output, ...] = (grid, *images, DetectedMaps(0))
    return MatrixExpansion(base, context.a1111_options, variants, outputs, runs_as_one=True)


def combinations(parts: Sequence[str], delimiter: str, *, at_start: bool) -> list[str]:
    """Every combination: bit i of a combination's number takes part i + 1.

    Args:
        parts: of the prompt between ``|``; the first is in every combination.
        at_start: whether the optional parts stand before the first.
    """
    fixed, options = parts[0], [part.strip().strip(",") for part in parts[1:]]
    texts = []
    for number in range(1 << len(options)):
        chosen = [option for bit, option in enumerate(options) if number >> bit & 1]
        texts.append(delimiter.join([*chosen, fixed] if at_start else [fixed, *chosen]))
    return texts
