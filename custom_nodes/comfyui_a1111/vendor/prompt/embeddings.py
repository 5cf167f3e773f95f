# Copied from translator/prompt/embeddings.py by tools/pack_shared.py: edit it there.
"""Textual inversion embeddings that a text names.

Source: A1111 v1.10.1 ``modules/textual_inversion/textual_inversion.py``
(``find_embedding_at_position``): of those whose tokens stand at a place, the one with the most.
Tokens are told apart by the words that CLIP's tokenizer cuts a text into before it looks them up
(transformers' ``CLIPTokenizer``): letters, single digits, and runs of whatever else.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

_WORD = re.compile(r"'s|'t|'re|'ve|'m|'ll|'d|[^\W\d_]+|\d|(?:[^\w\s]|_)+", re.IGNORECASE)


class EmbeddingNames:
    """Finds the names of embeddings in texts, in any case.

    Args:
        names: without the files' suffixes; of equal ones the last counts. One without words cannot
            be written.
    """

    def __init__(self, names: Iterable[str] = ()) -> None:
        self._names = {words: name for name in names if (words := _words(name))}
        lengths: dict[str, set[int]] = {}
        for words in self._names:
            lengths.setdefault(words[0], set()).add(len(words))
        self._lengths = {first: sorted(found, reverse=True) for first, found in lengths.items()}

    def found(self, text: str) -> Iterator[tuple[int, int, str]]:
        """Start, end and name of each embedding in a piece of a prompt, from left to right."""
        if not self._names:
            return
        matches = list(_WORD.finditer(text))
        words = tuple(match[0].lower() for match in matches)
        place = 0
        while place < len(words):
            stop = place + 1
            for length in self._lengths.get(words[place], ()):
                name = self._names.get(words[place : place + length])
                if name is not None and place + length <= len(words):
                    stop = place + length
                    yield matches[place].start(), matches[stop - 1].end(), name
                    break
            place = stop


def _words(text: str) -> tuple[str, ...]:
    return tuple(word.lower() for word in _WORD.findall(text))
