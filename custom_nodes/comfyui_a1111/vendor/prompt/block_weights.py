# Copied from translator/prompt/block_weights.py by tools/pack_shared.py: edit it there.
"""Factors of a LoRA's blocks: ``<lora:name:0.7:lbw=MIDD>``, as LoRA Block Weight reads them.

Source: sd-webui-lora-block-weight (b403cb7, 2025-06-19) ``scripts/lora_block_weight.py``, restated.
``lbw=`` (or ``w=``) holds a preset's name or 12, 17, 20, 26 or 61 factors, ``lbwe=`` the name of a
preset by elements, ``x=`` what stands for X among the factors. A1111 without that extension ignores
them.
"""

from __future__ import annotations

import math
import random
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from ..prompt.error import PromptError

BLOCKS = (
    "BASE",
    *(f"IN{number:02}" for number in range(12)),
    "M00",
    *(f"OUT{number:02}" for number in range(12)),
)
"""The blocks of all factors: text encoders, then the UNet's from its input on."""

_BLOCKS_17 = (1, 2, 4, 5, 7, 8)
_BLOCKS_12 = (4, 5, 7, 8)


def _named(inputs: Sequence[int], outputs: range) -> tuple[str, ...]:
    names = (f"IN{number:02}" for number in inputs), (f"OUT{number:02}" for number in outputs)
    return ("BASE", *names[0], "M00", *names[1])


SPELLINGS: Mapping[int, tuple[str, ...]] = {
    12: _named(_BLOCKS_12, range(6)),
    17: _named(_BLOCKS_17, range(3, 12)),
    20: _named(range(9), range(9)),
    26: BLOCKS,
    61: BLOCKS,
}
"""Number of factors -> the blocks that they are of; the rest is 0. 61 are Flux's: of another model
the extension takes the first 26."""

_PRESETS_17: Mapping[str, str] = {
    "NONE": "00000000000000000",
    "ALL": "11111111111111111",
    "INS": "11110000000000000",
    "IND": "10001110000000000",
    "INALL": "11111110000000000",
    "MIDD": "10001111111100000",
    "OUTD": "10000000111100000",
    "OUTS": "10000000000011111",
    "OUTALL": "10000000111111111",
}

DEFAULT_RATIOS: Mapping[str, str] = {
    **{name: ",".join(digits) for name, digits in _PRESETS_17.items()},
    "ALL0.5": ",".join(["0.5"] * 17),
    "FLUXALL": ",".join("1" * 61),
}
"""The extension's own presets."""

DEFAULT_ELEMENTS: Mapping[str, str] = {
    "ATTNDEEPON": "IN05-OUT05:attn:1",
    "ATTNDEEPOFF": "IN05-OUT05:attn:0",
    "PROJDEEPOFF": "IN05-OUT05:proj:0",
    "XYZ": "::1",
}

NAMES = ("lbw", "w", "lbwe", "x", "start", "stop", "step")
"""Members of a tag that the extension reads, beside A1111's."""

_INHERITED = re.compile(r"X([+-])?([\d.]+)?")


@dataclass(frozen=True)
class Element:
    """A factor for the parts of blocks whose names hold certain words.

    Attributes:
        blocks: block names, or other text of a weight's name; one of them is in it.
        but_blocks: whether instead none of them may be.
        words, but_words: likewise, beside the blocks.
        ratio: the factor.
    """

    blocks: tuple[str, ...]
    but_blocks: bool
    words: tuple[str, ...]
    but_words: bool
    ratio: float


@dataclass(frozen=True)
class BlockWeights:
    """Factors of a LoRA's blocks.

    Attributes:
        ratios: of `BLOCKS`.
        elements: what goes before `ratios`, the last that fits counts.
    """

    ratios: tuple[float, ...]
    elements: tuple[Element, ...] = ()


@dataclass(frozen=True)
class Presets:
    """What names in ``lbw=`` and ``lbwe=`` stand for.

    Attributes:
        ratios: name -> factors, as text.
        elements: name -> the text of elements.
    """

    ratios: Mapping[str, str] = field(default_factory=lambda: DEFAULT_RATIOS)
    elements: Mapping[str, str] = field(default_factory=lambda: DEFAULT_ELEMENTS)


@dataclass(frozen=True)
class Script:
    """How the extension is set.

    Attributes:
        on: whether it reads tags; as it comes it does.
        named: whether the request names it.
        presets: what it knows.
    """

    on: bool = True
    named: bool = False
    presets: Presets = field(default_factory=Presets)


def read_ratios(text: str) -> dict[str, str]:
    """Presets of factors: ``NAME:factors`` a line; a line of another form is a comment."""
    lines = (line for line in text.splitlines() if ":" in line and "#" not in line)
    named = (line.split(":", 1) for line in lines if line.count(",") + 1 in SPELLINGS)
    return {name.strip(): ratios for name, ratios in named}


def read_elements(text: str) -> dict[str, str]:
    """Presets of elements: ``NAME:blocks:words:factor,...``, an empty line between two."""
    named = (entry.split(":", 1) for entry in text.split("\n\n") if ":" in entry)
    return {name.strip(): elements for name, elements in named}


def block_weights(items: Sequence[str], presets: Presets, draw: random.Random) -> BlockWeights:
    """The factors that a tag asks for.

    Args:
        items: the tag's texts between colons.
        draw: what R (0..1) and U (-0.5..1.5) among the factors are drawn from.

    Raises:
        PromptError: a preset that is not known, or a factor that cannot be read.
    """
    asked = member(items, "lbw=")
    asked = member(items, "w=") if asked is None else asked
    ratios: tuple[float, ...] = (1.0,) * len(BLOCKS)
    if asked is not None:
        ratios = _all_ratios(_factors(asked, presets.ratios), items, draw)
    named = member(items, "lbwe=")
    if named is None:
        return BlockWeights(ratios)
    if named not in presets.elements:
        raise PromptError(f"lbwe={named} is no preset of elements{_known(presets.elements)}")
    return BlockWeights(ratios, _read_elements(presets.elements[named]))


def member(items: Sequence[str], start: str) -> str | None:
    """What stands behind `start` in the first item that holds it, or None."""
    found = next((item for item in items if start in item), None)
    return None if found is None else found.replace(start, "")


def _factors(asked: str, presets: Mapping[str, str]) -> list[str]:
    text = presets.get(asked, asked)
    factors = [factor.strip() for factor in text.split(",")]
    if len(factors) in SPELLINGS:
        return factors
    if len(factors) > 1:
        counts = ", ".join(map(str, SPELLINGS))
        raise PromptError(f"lbw= has {len(factors)} factors, not one of {counts}")
    raise PromptError(f"lbw={asked} is no preset{_known(presets)}")


def _known(presets: Mapping[str, str]) -> str:
    names = ", ".join(presets)
    return (
        f" (there are {names}); send the factors themselves, or presets of your own with the "
        "always-on script LoRA Block Weight"
    )


def _all_ratios(
    factors: Sequence[str], items: Sequence[str], draw: random.Random
) -> tuple[float, ...]:
    given = [_factor(factor, items, draw) for factor in factors]
    by_name = dict(zip(SPELLINGS[len(factors)], given, strict=False))
    return tuple(by_name.get(name, 0.0) for name in BLOCKS)


def _factor(text: str, items: Sequence[str], draw: random.Random) -> float:
    if text == "R":
        return round(draw.random(), 3)
    if text == "U":
        return round(draw.uniform(-0.5, 1.5), 3)
    if text.startswith("X"):
        return _inherited(text, items)
    return _finite(text, "lbw=")


def _inherited(text: str, items: Sequence[str]) -> float:
    """X is the tag's x= (1 without), X+0.2 and X-0.2 lie beside it."""
    given = member(items, "x=")
    base = 1.0 if given is None else _finite(given, "x=")
    match = _INHERITED.match(text)
    if match is None or match[1] is None:
        return base
    step = _finite(match[2] or "", "lbw=")
    return base + step if match[1] == "+" else base - step


def _finite(text: str, name: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise PromptError(f"{name}: {text!r} is not a finite number")
    return number


@lru_cache(maxsize=64)
def _read_elements(text: str) -> tuple[Element, ...]:
    return tuple(_elements(text))


def _elements(text: str) -> Iterator[Element]:
    for entry in text.replace("\n", ",").split(","):
        if entry.count(":") != 2:
            continue
        blocks, words, ratio = entry.split(":")
        chosen, but_blocks = _unless(_spread(blocks))
        holding, but_words = _unless(words.split(" "))
        yield Element(chosen, but_blocks, holding, but_words, _finite(ratio, "lbwe="))


def _unless(words: Sequence[str]) -> tuple[tuple[str, ...], bool]:
    """Words, and whether NOT stands before them."""
    but = words[0] == "NOT"
    return tuple(words[1:] if but else words), but


def _spread(blocks: str) -> list[str]:
    """Block names with ranges (``IN05-OUT05``) written out."""
    names: list[str] = []
    for name in blocks.split(" "):
        first, dash, last = name.partition("-")
        if not dash:
            names.append(name)
            continue
        if first not in BLOCKS or last not in BLOCKS:
            raise PromptError(f"lbwe=: {name!r} is no range of blocks such as IN05-OUT05")
        low, high = sorted((BLOCKS.index(first), BLOCKS.index(last)))
        names += BLOCKS[low : high + 1]
    return names
