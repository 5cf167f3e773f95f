"""What Regional Prompter makes of a request's prompts before A1111 reads them.

Source: sd-webui-regional-prompter ``scripts/rp.py`` (process and what it calls), restated. Words
are replaced wherever they stand, within other words too.
"""

from __future__ import annotations

from dataclasses import dataclass

from translator.plan.regions import Calculation
from translator.scripts.regions.ratios import (
    BASE,
    BREAK,
    COLUMN,
    COMMON,
    MOST_REGIONS,
    ROW,
    Order,
    region_keys,
)

AND, BY_PROMPT = "AND", "ADDP"
_KEYS = (COMMON, ROW, COLUMN, BASE, BY_PROMPT)
_HIDDEN = "RP_TEMP_REPLACE"
"""Stands for BREAK where that does not divide regions."""

_BLANK = ("", ",")


@dataclass(frozen=True)
class TextRules:
    """How prompts are cut.

    Attributes:
        calculation: see `RegionalPrompts`.
        base, common, negative_common: the page's switches; keys in the prompt turn them on too.
        keeps_and: option "disable convert 'AND' to 'BREAK'".
        keeps_break: option "Use BREAK to change chunks".
        flips: option "Flip prompts": with a common prompt, regions in the other order.
        comments: option "Comment Out `#`".
    """

    calculation: Calculation
    base: bool
    common: bool
    negative_common: bool
    keeps_and: bool = False
    keeps_break: bool = False
    flips: bool = False
    comments: bool = False


@dataclass(frozen=True)
class CutTexts:
    """Prompts cut into texts.

    Attributes:
        positive, negative: what A1111 encodes.
        texts, negative_texts: what they are cut into.
        keyed: the positive prompt with its keys, common and base prompt taken off.
        base: whether the first text is the base.
        by_prompt: whether a key asks for regions by prompt.
    """

    positive: str
    negative: str
    texts: tuple[str, ...]
    negative_texts: tuple[str, ...]
    keyed: str
    base: bool
    by_prompt: bool


def divides(prompt: str) -> bool:
    """Whether the extension acts on a prompt."""
    return any(key in prompt for key in (*_KEYS, BREAK, AND))


def is_too_long(*prompts: str) -> bool:
    """Whether a prompt has more keys than regions are done."""
    keys = (*_KEYS, BREAK, AND)
    return any(sum(map(text.count, keys)) > MOST_REGIONS + 1 for text in prompts)


def cut(prompt: str, negative: str, rules: TextRules, ratios: str, order: Order | None) -> CutTexts:
    """What becomes of both prompts.

    Args:
        ratios, order: of a matrix, whose BREAKs become its keys; order None for others.
    """
    if not rules.keeps_and:
        prompt, negative = prompt.replace(AND, BREAK), negative.replace(AND, BREAK)
    keyed = prompt
    if order is not None and not rules.keeps_break:
        keyed = _with_keys(keyed, region_keys(ratios, order, base=rules.base, common=rules.common))
    common, base = rules.common or COMMON in keyed, rules.base or BASE in keyed
    for key, wanted in ((COMMON, common), (BASE, base)):
        if wanted and key not in keyed:
            keyed = keyed.replace(BREAK, key, 1)
    by_prompt = BY_PROMPT in keyed.upper()
    if rules.keeps_break:
        keyed = keyed.replace(BREAK, "")
    for key in (COMMON, BASE):
        keyed = keyed.partition(key)[2] if key in keyed else keyed
    positive = _not_blank(_with_breaks(prompt, rules), rules)
    positive = _joined(positive, rules, common=common)
    negative = _joined(
        _with_breaks(negative, rules),
        rules,
        common=rules.negative_common or COMMON in negative,
    )
    return CutTexts(
        _shown(positive),
        _shown(negative),
        _split(positive, rules),
        _split(negative, rules),
        keyed,
        base,
        by_prompt,
    )


def _with_keys(prompt: str, keys: list[str]) -> str:
    for key in keys:
        if key not in (COMMON, BASE) or key not in prompt:
            prompt = prompt.replace(BREAK, key, 1)
    return prompt


def _with_breaks(text: str, rules: TextRules) -> str:
    """A prompt whose keys are BREAKs."""
    if rules.comments:
        lines = (line.partition("#")[0].strip() for line in text.split("\n"))
        text = "\n".join(filter(None, lines))
    if rules.keeps_break:
        text = text.replace(BREAK, _HIDDEN)
    for key in _KEYS:
        text = text.replace(key, BREAK)
    return text


def _not_blank(text: str, rules: TextRules) -> str:
    """The last text is not empty; in Latent the extension looks only at a whole empty prompt."""
    last = text.split(AND if rules.calculation == "Latent" else BREAK)[-1]
    return f"{text} _" if last.strip() in _BLANK else text


def _joined(text: str, rules: TextRules, *, common: bool) -> str:
    """A prompt with its common part in every text, divided as the calculation needs it."""
    if common:
        first, *others = text.split(BREAK)
        parts = [f"{first}, {other}" for other in others]
        text = f" {BREAK} ".join(parts[::-1] if rules.flips else parts)
    return text.replace(BREAK, AND) if rules.calculation == "Latent" else text


def _split(text: str, rules: TextRules) -> tuple[str, ...]:
    parts = text.split(AND if rules.calculation == "Latent" else BREAK)
    return tuple(map(_shown, parts))


def _shown(text: str) -> str:
    return text.replace(_HIDDEN, BREAK)
