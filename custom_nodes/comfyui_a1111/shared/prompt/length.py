# Copied from translator/prompt/length.py by tools/pack_shared.py: edit it there.
"""How many chunks of 75 tokens A1111 makes of a prompt, as far as the text alone tells.

CLIP's vocabulary is not here. Its tokenizer parts a text into words, single digits and runs of
other marks, and each of these into at least one token and at most one a byte.
"""

from __future__ import annotations

import html
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from ..prompt import Part, Prompt
from ..prompt.attention import BREAK, Emphasis, encode_pieces

_CHUNK = 75

_WORD = re.compile(r"'(?:s|t|re|ve|m|ll|d)|[^\W\d_]+|\d|(?:[^\w\s]|_)+", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Chunks:
    """The least and the greatest number of chunks that a text can be."""

    least: int
    most: int

    @property
    def is_sure(self) -> bool:
        return self.least == self.most


def chunks(text: str, emphasis: Emphasis, backtrack: int) -> Chunks:
    """The chunks of a text as it reaches the encoder.

    Args:
        backtrack: option comma_padding_backtrack: tokens that a chunk may leave to the next one.

    Raises:
        PromptError: see `attention`.
    """
    segments: list[list[str]] = [[]]
    for piece in encode_pieces(text, emphasis):
        if piece == BREAK:
            segments.append([])
        else:
            segments[-1] += _WORD.findall(html.unescape(html.unescape(piece[0])))
    room = max(1, _CHUNK - backtrack)
    least = _count([math.ceil(len(words) / _CHUNK) for words in segments])
    most = _count([_most(sum(len(word.encode()) for word in words), room) for words in segments])
    return Chunks(least, most)


def _most(tokens: int, room: int) -> int:
    """Chunks of a stretch without BREAK, where each but the last may hold `room` tokens alone."""
    return min(tokens, 1) if tokens <= _CHUNK else 1 + math.ceil((tokens - room) / room)


def _count(segments: Sequence[int]) -> int:
    """A BREAK ends a chunk, if an empty one; what follows the last one may be nothing."""
    *ended, last = segments
    return max(1, sum(max(1, count) for count in ended) + last)


@dataclass(frozen=True, slots=True)
class Comparison:
    """Whether both prompts of a pass are of unequal length at some call of the model.

    Attributes:
        unequal: judged by the words.
        is_sure: whether the vocabulary could tell nothing else.
    """

    unequal: bool
    is_sure: bool


def compare(positive: Prompt, negative: Prompt, emphasis: Emphasis, backtrack: int) -> Comparison:
    """Compare both prompts call by call; AND parts are first brought to one length."""
    entries = [entry for part in (*positive.parts, *negative.parts) for entry in part.schedule]
    calls = {entry.end for entry in entries} | {0}
    pairs = set()
    for call in calls:
        parts = [chunks(_at(part, call), emphasis, backtrack) for part in positive.parts]
        longest = Chunks(max(item.least for item in parts), max(item.most for item in parts))
        pairs.add((longest, chunks(_at(negative.parts[0], call), emphasis, backtrack)))
    apart = any(one.most < other.least or other.most < one.least for one, other in pairs)
    alike = all(one.is_sure and one == other for one, other in pairs)
    return Comparison(
        unequal=any(one.least != other.least for one, other in pairs), is_sure=apart or alike
    )


def _at(part: Part, call: int) -> str:
    """A part's text at a model call, as `schedule` has it."""
    return next((entry.text for entry in part.schedule if call <= entry.end), part.schedule[0].text)
