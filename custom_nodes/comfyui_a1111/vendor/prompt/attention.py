# Copied from translator/prompt/attention.py by tools/pack_shared.py: edit it there.
"""Attention: the weights that brackets give to stretches of a prompt.

Source: A1111 v1.10.1 ``modules/prompt_parser.py`` (``parse_prompt_attention``).
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from ..prompt.embeddings import EmbeddingNames
from ..prompt.error import DEEPEST, PromptError

Emphasis = Literal["Original", "No norm", "Ignore", "None"]
"""A1111's option ``emphasis``."""

BREAK = ("BREAK", -1.0)
"""The piece that closes a chunk of 75 tokens."""

Piece = tuple[str, float]
"""A stretch of text and its weight, or `BREAK`."""

_ROUND, _SQUARE = 1.1, 1 / 1.1

_NO_EMBEDDINGS = EmbeddingNames()

_BREAK = re.compile(r"\bBREAK\b")
_ATTENTION = re.compile(
    r"(?P<escape>\\[()\[\]\\]?)"
    r"|(?P<open>[(\[])"
    r"|:\s*(?P<weight>[+-]?[.\d]+)\s*\)"
    r"|(?P<close>[)\]])"
    r"|(?P<text>[^\\()\[\]:]+|:)"
)


@lru_cache(maxsize=1024)
def attention(text: str) -> tuple[Piece, ...]:
    r"""Pieces of text with their weights, and `BREAK` between chunks.

    ``(x)`` is 1.1, ``[x]`` 1/1.1, ``(x:w)`` w, nested weights multiply; ``\(`` and its like are
    literal. An unclosed bracket reaches to the end, a closing one without its opener is text.

    Raises:
        PromptError: a weight such as "1.2.3" (A1111 fails on it) or one that is no finite number,
            or more than `DEEPEST` open brackets.
    """
    pieces = _Pieces()
    for match in _ATTENTION.finditer(text):
        token, kind = match[0], match.lastgroup
        if kind == "escape":
            pieces.add(token[1:])
        elif kind == "open":
            pieces.open(token)
        elif kind == "weight" and pieces.opened["("]:
            pieces.close("(", _weight(match[kind]))
        elif token == ")" and pieces.opened["("]:
            pieces.close("(", _ROUND)
        elif token == "]" and pieces.opened["["]:
            pieces.close("[", _SQUARE)
        else:
            pieces.add_with_breaks(token)
    return pieces.finished()


def encode_pieces(text: str, emphasis: Emphasis = "Original") -> tuple[Piece, ...]:
    """The pieces that A1111 tokenizes: with emphasis "None" the literal text, BREAK included.

    Raises:
        PromptError: see `attention`.
    """
    return ((text, 1.0),) if emphasis == "None" else attention(text)


def comfy_texts(pieces: Sequence[Piece], embeddings: EmbeddingNames = _NO_EMBEDDINGS) -> list[str]:
    r"""The pieces in core ComfyUI's prompt syntax, one text for each chunk that BREAK separates.

    ComfyUI reads ``(text:weight)`` and the escapes ``\(`` and ``\)``, and wants "embedding:name"
    where A1111 finds the bare name of an embedding.

    Args:
        embeddings: those that ComfyUI has.
    """
    texts = [""]
    for piece in pieces:
        text, weight = piece
        if piece == BREAK:
            texts.append("")
        elif text:
            named = _escape(_with_embeddings(text, embeddings))
            texts[-1] += named if weight == 1.0 else f"({named}:{round(weight, 6)})"
    return texts


def _with_embeddings(text: str, embeddings: EmbeddingNames) -> str:
    """The text with every embedding as a word that tells ComfyUI so."""
    written, end = [], 0
    for start, stop, name in embeddings.found(text):
        written += [text[end:start], f" embedding:{name} "]
        end = stop
    return "".join((*written, text[end:]))


def _escape(text: str) -> str:
    return text.replace("(", r"\(").replace(")", r"\)")


def _weight(number: str) -> float:
    try:
        weight = float(number)
    except ValueError:
        raise PromptError(f"the weight {number!r} is not a number") from None
    if not math.isfinite(weight):
        raise PromptError(f"the weight {number!r} is too large")
    return weight


@dataclass
class _Piece:
    texts: list[str]
    weight: float


class _Pieces:
    """The pieces of a text while it is read.

    Neighbours between which no bracket stands share a piece, so that closing a bracket costs no
    more than the brackets in it.

    Attributes:
        opened: kind of bracket -> where its open ones start, outermost first.
    """

    def __init__(self) -> None:
        self.opened: dict[str, list[int]] = {"(": [], "[": []}
        self._pieces: list[_Piece] = []

    def add(self, text: str, weight: float = 1.0) -> None:
        count = len(self._pieces)
        starts_here = any(starts and starts[-1] == count for starts in self.opened.values())
        if count and not starts_here and self._pieces[-1].weight == weight == 1.0:
            self._pieces[-1].texts.append(text)
        else:
            self._pieces.append(_Piece([text], weight))

    def add_with_breaks(self, text: str) -> None:
        """Add a text; the word BREAK, and the blanks around it, is a piece of its own."""
        first, *others = _BREAK.split(text)
        self.add(first.rstrip() if others else first)
        for position, part in enumerate(others, 1):
            self.add(*BREAK)
            self.add(part.lstrip() if position == len(others) else part.strip())

    def open(self, bracket: str) -> None:
        if sum(map(len, self.opened.values())) >= DEEPEST:
            raise PromptError(f"more than {DEEPEST} brackets are open at once")
        self.opened[bracket].append(len(self._pieces))

    def close(self, bracket: str, factor: float) -> None:
        self._multiply(self.opened[bracket].pop(), factor)

    def finished(self) -> tuple[Piece, ...]:
        """The pieces; neighbours of equal weight are one, none at all are an empty one."""
        for start in self.opened["("]:
            self._multiply(start, _ROUND)
        for start in self.opened["["]:
            self._multiply(start, _SQUARE)
        runs = itertools.groupby(self._pieces, key=lambda piece: piece.weight)
        merged = tuple(
            ("".join(itertools.chain.from_iterable(piece.texts for piece in run)), weight)
            for weight, run in runs
        )
        if not all(math.isfinite(weight) for _, weight in merged):
            raise PromptError("nested weights multiply to more than a number holds")
        return merged or (("", 1.0),)

    def _multiply(self, start: int, factor: float) -> None:
        for position in range(start, len(self._pieces)):
            self._pieces[position].weight *= factor
