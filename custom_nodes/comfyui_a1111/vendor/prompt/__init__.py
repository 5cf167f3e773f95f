# Copied from translator/prompt/__init__.py by tools/pack_shared.py: edit it there.
"""A1111's prompt language: extra networks, AND, editing, attention.

A1111 takes a prompt apart in this order, and so does `parse`::

    "a <lora:x:0.8> [b:c:0.5] (d:1.2) AND e :0.7"
      networks   <lora:x:0.8>                       taken out of the text
      AND        "a  [b:c:0.5] (d:1.2)" * 1.0, " e" * 0.7
      schedule   until call 10 "a  b (d:1.2)", then "a  c (d:1.2)"
      attention  "a  b ", 1.0   "d", 1.2

Styles and comments come before (`translator.request.styles`, `strip_comments`), tokens and chunks
after (``chunks.py`` of the node pack).

Steps in a schedule are model *calls*: for a second-order sampler twice the steps
(`samplers.Sampler.total_steps`). An entry holds for every call whose 0-based number is not above
its ``end``.

Sources: A1111 v1.10.1 ``modules/prompt_parser.py``, ``modules/extra_networks.py``, the built-in
Lora extension, ``modules/processing_scripts/comments.py``. Reading is linear in the text.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ..prompt.attention import (
    BREAK,
    Emphasis,
    Piece,
    attention,
    comfy_texts,
    encode_pieces,
)
from ..prompt.editing import ScheduledText, schedule
from ..prompt.embeddings import EmbeddingNames
from ..prompt.error import PromptError
from ..prompt.networks import (
    Hypernetwork,
    Lora,
    Network,
    hypernetworks,
    lora_tags,
    loras,
    split_networks,
)

__all__ = [
    "BREAK",
    "EmbeddingNames",
    "Emphasis",
    "Hypernetwork",
    "Lora",
    "Network",
    "Part",
    "Piece",
    "Prompt",
    "PromptError",
    "ScheduledText",
    "attention",
    "comfy_texts",
    "encode_pieces",
    "hypernetworks",
    "literal",
    "lora_tags",
    "loras",
    "node_input",
    "parse",
    "parse_negative",
    "schedule",
    "split_and",
    "split_networks",
    "strip_comments",
    "written_input",
]

_AND = re.compile(r"\bAND\b")
_PART_WEIGHT = re.compile(r"\s*([-+]?(?:\d+\.?|\d*\.\d+))\s*")
_WHOLE_LINE_COMMENT = re.compile("(^|\n)#[^\n]*(\n|$)")
_COMMENT = re.compile("#[^\n]*(\n|$)")


@dataclass(frozen=True)
class Part:
    """One of the parts that AND separates.

    Attributes:
        text: the part as written, less its weight.
        weight: the factor of its guidance.
        schedule: its texts in order; the last one's ``end`` is the number of calls.
    """

    text: str
    weight: float
    schedule: tuple[ScheduledText, ...]


@dataclass(frozen=True)
class Prompt:
    """A prompt taken apart.

    Attributes:
        text: the prompt without its extra networks.
        networks: the extra network tags in order.
        parts: at least one.
        ambiguous: A1111 itself reads this prompt in one of two ways, changing from process to
            process: an edit stands directly before a stray bracket or colon ("[a:b:5]]"). Here, as
            in the recorded runs, such an edit is plain text.
    """

    text: str
    networks: tuple[Network, ...]
    parts: tuple[Part, ...]
    ambiguous: bool = False

    @cached_property
    def loras(self) -> tuple[Lora, ...]:
        """The LoRAs to apply, see `loras`."""
        return loras(self.networks)

    @cached_property
    def hypernetworks(self) -> tuple[Hypernetwork, ...]:
        """The hypernetworks to apply, see `hypernetworks`."""
        return hypernetworks(self.networks)


def parse(
    prompt: str,
    steps: int,
    *,
    hires_steps: int | None = None,
    old_scheduling: bool = False,
) -> Prompt:
    """Take a positive prompt apart.

    Args:
        prompt: after styles and comments.
        steps: model calls of the first pass.
        hires_steps: model calls of the hires pass, to get that pass' schedule; None for the first.
        old_scheduling: option use_old_scheduling.

    Raises:
        PromptError: see `schedule` and `split_and`.
    """
    text, networks = split_networks(prompt)
    parts, ambiguous = [], False
    for part_text, weight in split_and(text):
        entries, unsure = schedule(part_text, steps, hires_steps, old_scheduling=old_scheduling)
        parts.append(Part(part_text, weight, entries))
        ambiguous |= unsure
    return Prompt(text, networks, tuple(parts), ambiguous)


def parse_negative(
    prompt: str,
    steps: int,
    *,
    hires_steps: int | None = None,
    old_scheduling: bool = False,
) -> Prompt:
    """Take a negative prompt apart: it is scheduled, but AND and network tags are plain text."""
    entries, unsure = schedule(prompt, steps, hires_steps, old_scheduling=old_scheduling)
    return Prompt(prompt, (), (Part(prompt, 1.0, entries),), unsure)


def literal(text: str) -> Prompt:
    """A prompt that scripts encode as it stands: edits, AND and tags in it are words."""
    return Prompt(text, (), (Part(text, 1.0, (ScheduledText(0, text),)),))


def strip_comments(text: str) -> str:
    """Remove comments from "#" to the end of the line; whole lines leave a line break."""
    return _COMMENT.sub("\n", _WHOLE_LINE_COMMENT.sub("\n", text))


def split_and(text: str) -> list[Piece]:
    """The parts between the words AND, each with the weight that ends it ("... :0.7", else 1).

    Raises:
        PromptError: a weight that is no finite number.
    """
    return [_split_weight(part) for part in _AND.split(text)]


def _split_weight(part: str) -> Piece:
    text, colon, tail = part.rpartition(":")
    found = _PART_WEIGHT.fullmatch(tail) if colon else None
    if not found:
        return part.rstrip(), 1.0
    weight = float(found[1])
    if not math.isfinite(weight):
        raise PromptError(f"the weight {found[1]!r} is too large")
    return text.rstrip(), weight


def written_input(
    text: str,
    calls: int,
    hires_calls: int = 0,
    *,
    negative: bool = False,
    emphasis: Emphasis = "Original",
    old_emphasis: bool = False,
    old_scheduling: bool = False,
) -> dict[str, Any]:
    """`node_input` of a prompt as A1111 writes it.

    Args:
        text: after styles and comments; tags of extra networks change nothing here.
        calls: model calls of the first pass.
        hires_calls: model calls of the hires pass, to get that pass' schedule; 0 for the first.
        negative: whether AND is plain text.
        emphasis: option emphasis.
        old_emphasis: option use_old_emphasis_implementation; the node then reads the brackets.
        old_scheduling: option use_old_scheduling.

    Raises:
        PromptError: see `schedule`, `split_and` and `attention`.
    """
    read = parse_negative if negative else parse
    parsed = read(text, calls, hires_steps=hires_calls or None, old_scheduling=old_scheduling)
    return node_input(parsed.parts, "None" if old_emphasis else emphasis)


def node_input(parts: Sequence[Part], emphasis: Emphasis = "Original") -> dict[str, Any]:
    """The value of A1111TextEncode's ``prompt``, to be written as JSON.

    The end of a text that is its part's only one never counts; it is written as 0, so that passes
    of any length share one encoding.

    Raises:
        PromptError: see `attention`.
    """
    return {
        "parts": [
            {
                "weight": part.weight,
                "schedule": [
                    [
                        entry.end if len(part.schedule) > 1 else 0,
                        [list(piece) for piece in encode_pieces(entry.text, emphasis)],
                    ]
                    for entry in part.schedule
                ],
            }
            for part in parts
        ]
    }
