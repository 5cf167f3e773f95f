"""Texts as chunks of 75 tokens with weights, as A1111 cuts them. Pure Python.

Sources: A1111 v1.10.1 `modules/sd_hijack_clip.py` (tokenize_line), `sd_hijack_clip_old.py`
(process_text_old) and `modules/textual_inversion/textual_inversion.py`
(find_embedding_at_position).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

CHUNK_LENGTH = 75
"""Tokens of text in a chunk; with start and end it has 77."""

START_TOKEN = 49406
END_TOKEN = 49407
"""CLIP's. The end token also fills a chunk up."""

BREAK = ("BREAK", -1.0)
"""The piece that closes a chunk."""

_EMPHASIS = 1.1
_LOUDER, _QUIETER = "(]", ")["
"""Brackets after which the old emphasis weighs text more, and less."""


class TextualInversion(Protocol):
    """An embedding: its name as written in prompts, and how many tokens it takes."""

    @property
    def name(self) -> str: ...

    @property
    def length(self) -> int: ...


E = TypeVar("E", bound=TextualInversion)

Lookup = dict[int, list[tuple[list[int], E]]]
"""First token of an embedding's name -> its tokens and the embedding, longest first."""


@dataclass(frozen=True)
class Chunk(Generic[E]):
    """77 tokens and what goes with them.

    Attributes:
        tokens: start, 75 of text (0 where an embedding's vectors go), end.
        multipliers: the weight of each token; 1 for start, end and filling.
        fixes: (offset, embedding): its vectors replace the tokens from `offset` + 1 on, as far as
            the chunk goes.
    """

    tokens: tuple[int, ...]
    multipliers: tuple[float, ...]
    fixes: tuple[tuple[int, E], ...] = ()


def empty_chunk() -> Chunk[TextualInversion]:
    """A chunk without text: start, then end tokens."""
    return _finished([], [], [])


def embedding_lookup(embeddings: Iterable[E], tokenize: Callable[[str], list[int]]) -> Lookup[E]:
    """Embeddings by the tokens of their names. A name without tokens cannot be written."""
    lookup: Lookup[E] = {}
    for embedding in embeddings:
        ids = tokenize(embedding.name)
        if ids:
            lookup.setdefault(ids[0], []).append((ids, embedding))
    for matches in lookup.values():
        matches.sort(key=lambda match: len(match[0]), reverse=True)
    return lookup


def chunk_text(
    pieces: Sequence[tuple[str, float]],
    tokenize: Callable[[str], list[int]],
    embeddings: Iterable[E],
    comma_token: int,
    backtrack: int,
) -> list[Chunk[E]]:
    """Cut weighted pieces of text into chunks, at least one.

    Args:
        pieces: texts and weights; `BREAK` fills the chunk up and begins the next.
        tokenize: token ids of a text, without start and end.
        comma_token: after which a chunk may be cut early.
        backtrack: where a chunk is full, what follows a comma among its last `backtrack` tokens
            moves to the next one; 0 cuts where it is full.
    """
    lookup = embedding_lookup(embeddings, tokenize)
    cutter = _Cutter[E](comma_token, backtrack)
    for text, weight in pieces:
        if (text, weight) == BREAK:
            cutter.finish_chunk()
            continue
        tokens = tokenize(text)
        position = 0
        while position < len(tokens):
            cutter.make_room(tokens[position])
            ids, embedding = _find(lookup, tokens, position)
            if embedding is None:
                cutter.add_token(tokens[position], weight)
            else:
                cutter.add_embedding(embedding, weight)
            position += len(ids)
    return cutter.finish()


def chunk_text_old(
    text: str,
    tokenize: Callable[[str], list[int]],
    embeddings: Iterable[E],
    multipliers: Mapping[int, float],
) -> Chunk[E]:
    """One chunk, by option use_old_emphasis_implementation: what exceeds 75 tokens is lost.

    The whole text is tokenized, brackets and all; a bracket is dropped and multiplies the weight
    of every token after it. Numbers after a colon mean nothing here.

    Args:
        multipliers: of tokens that contain brackets, see `bracket_multipliers`; empty for
            emphasis "None", which keeps the brackets as text.
    """
    lookup = embedding_lookup(embeddings, tokenize)
    source = tokenize(text)
    tokens: list[int] = []
    weights: list[float] = []
    fixes: list[tuple[int, E]] = []
    weight = 1.0
    position = 0
    while position < len(source):
        ids, embedding = _find(lookup, source, position)
        change = multipliers.get(source[position])
        if change is not None:
            weight *= change
            position += 1
            continue
        if embedding is None:
            tokens.append(source[position])
            weights.append(weight)
        else:
            fixes.append((len(tokens), embedding))
            tokens += [0] * embedding.length
            weights += [weight] * embedding.length
        position += len(ids)
    kept = [fix for fix in fixes if fix[0] < CHUNK_LENGTH]
    return _finished(tokens[:CHUNK_LENGTH], weights[:CHUNK_LENGTH], kept)


def bracket_multipliers(vocabulary: Mapping[str, int]) -> dict[int, float]:
    """Tokens that contain brackets -> the factor they mean to the old emphasis.

    Args:
        vocabulary: the tokenizer's: text of a token -> its id.
    """
    factors = {}
    for token, ident in vocabulary.items():
        factor = 1.0
        for character in token:
            if character in _LOUDER:
                factor *= _EMPHASIS
            elif character in _QUIETER:
                factor /= _EMPHASIS
        if factor != 1.0:
            factors[ident] = factor
    return factors


class _Cutter(Generic[E]):
    """The chunk being filled, and those that are full."""

    def __init__(self, comma_token: int, backtrack: int) -> None:
        self._comma_token = comma_token
        self._backtrack = backtrack
        self._chunks: list[Chunk[E]] = []
        self._begin([], [])

    def _begin(self, tokens: list[int], weights: list[float]) -> None:
        self._tokens = tokens
        self._weights = weights
        self._fixes: list[tuple[int, E]] = []
        self._last_comma: int | None = None

    def finish_chunk(self) -> None:
        """Fill the chunk up and begin the next."""
        self._chunks.append(_finished(self._tokens, self._weights, self._fixes))
        self._begin([], [])

    def make_room(self, token: int) -> None:
        """See to it that one more token fits.

        Embeddings among the tokens that move stay where they were, and only their 0 tokens move:
        A1111 does so.
        """
        full = len(self._tokens) == CHUNK_LENGTH
        if token == self._comma_token:
            self._last_comma = len(self._tokens)
        elif full and self._last_comma is not None and self._reaches(self._last_comma):
            cut = self._last_comma + 1
            moved = self._tokens[cut:], self._weights[cut:]
            del self._tokens[cut:], self._weights[cut:]
            self.finish_chunk()
            self._begin(*moved)
        if len(self._tokens) == CHUNK_LENGTH:
            self.finish_chunk()

    def _reaches(self, comma: int) -> bool:
        return self._backtrack != 0 and len(self._tokens) - comma <= self._backtrack

    def add_token(self, token: int, weight: float) -> None:
        self._tokens.append(token)
        self._weights.append(weight)

    def add_embedding(self, embedding: E, weight: float) -> None:
        """Add an embedding, in the next chunk where it does not fit whole into this one."""
        if len(self._tokens) + embedding.length > CHUNK_LENGTH:
            self.finish_chunk()
        self._fixes.append((len(self._tokens), embedding))
        self._tokens += [0] * embedding.length
        self._weights += [weight] * embedding.length

    def finish(self) -> list[Chunk[E]]:
        """All chunks; an empty one at the end is left out unless it is the only one."""
        if self._tokens or not self._chunks:
            self.finish_chunk()
        return self._chunks


def _find(
    lookup: Lookup[E], tokens: Sequence[int], position: int
) -> tuple[Sequence[int], E | None]:
    """The longest embedding whose name stands at `position`, or the one token and None."""
    for ids, embedding in lookup.get(tokens[position], ()):
        if list(tokens[position : position + len(ids)]) == ids:
            return ids, embedding
    return tokens[position : position + 1], None


def _finished(
    tokens: Sequence[int], weights: Sequence[float], fixes: Sequence[tuple[int, E]]
) -> Chunk[E]:
    """A chunk of at most 75 tokens, filled up. An embedding longer than a chunk makes it longer."""
    room = CHUNK_LENGTH - len(tokens)
    return Chunk(
        (START_TOKEN, *tokens, *[END_TOKEN] * room, END_TOKEN),
        (1.0, *weights, *[1.0] * room, 1.0),
        tuple(fixes),
    )
