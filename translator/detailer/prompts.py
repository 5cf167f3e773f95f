"""The grammar of ADetailer's prompts: ``[SEP]``, ``[PROMPT]``, ``[SKIP]``."""

from __future__ import annotations

import re
from collections.abc import Sequence

from translator.detailer.units import DetailerScript
from translator.prompt.error import LONGEST_SCHEDULE, PromptError
from translator.report import Report

_SEPARATOR, _SKIP, _WHOLE_PROMPT = "[SEP]", "[SKIP]", "[PROMPT]"

_TEMPLATE = re.compile(r"\{[^{}]*\}|__[^\s_].*?__")


def refuse_templates(script: DetailerScript, report: Report) -> None:
    """Dynamic Prompts draws ADetailer's own prompts for every region anew, which is not done."""
    for unit in script.units if script.is_on else ():
        for key in ("ad_prompt", "ad_negative_prompt"):
            if unit.is_on and _TEMPLATE.search(getattr(unit, key)):
                report.unsupported(
                    f"{unit.path}.{key}",
                    "Dynamic Prompts does not draw ADetailer's own prompts here",
                    instead="the template is taken as it stands",
                )


def parts(text: str, inherited: str) -> tuple[str, ...]:
    """The prompts of a unit, one for each region in order, the last for all that follow.

    Args:
        text: ad_prompt or ad_negative_prompt.
        inherited: the request's prompt, for empty parts and in place of ``[PROMPT]``.

    Raises:
        PromptError: they have more than `LONGEST_SCHEDULE` characters.
    """
    if len(text) + text.count(_WHOLE_PROMPT) * len(inherited) > LONGEST_SCHEDULE:
        raise PromptError(
            f"with the request's prompt in place of {_WHOLE_PROMPT} it has more than "
            f"{LONGEST_SCHEDULE} characters"
        )
    found = text.split(_SEPARATOR)  # the blanks beside a separator are part of it
    last = len(found) - 1
    stripped = (part.lstrip() if place else part for place, part in enumerate(found))
    trimmed = (part.rstrip() if place < last else part for place, part in enumerate(stripped))
    return tuple(part.replace(_WHOLE_PROMPT, inherited) if part else inherited for part in trimmed)


def region_prompts(
    positive: Sequence[str], negative: Sequence[str]
) -> tuple[tuple[tuple[str, str], ...], tuple[int | None, ...]]:
    """The different pairs of prompts, and for each region the pair's position (None skips it)."""
    pairs: dict[tuple[str, str], int] = {}
    order: list[int | None] = []
    for region in range(max(len(positive), len(negative))):
        text = positive[min(region, len(positive) - 1)]
        pair = text, negative[min(region, len(negative) - 1)]
        skipped = text.strip() == _SKIP
        order.append(None if skipped else pairs.setdefault(pair, len(pairs)))
    return tuple(pairs), tuple(order)
