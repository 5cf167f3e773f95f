"""Chunks of tokens, against A1111's own."""

from __future__ import annotations

import importlib.util
import json
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import pytest

from tests.translator import goldens

ROOT = Path(__file__).parent.parent.parent


def load_chunks() -> ModuleType:
    """The module by itself: the package around it needs torch, this one does not."""
    path = ROOT / "custom_nodes" / "comfyui_a1111" / "maths" / "chunks.py"
    spec = importlib.util.spec_from_file_location("comfyui_a1111_chunks", path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


chunks = load_chunks()

COMMA = 267
END = chunks.END_TOKEN
WORDS = json.loads((goldens.GOLDENS / "clip_words.json").read_text("utf-8"))
WORD = re.compile(
    r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[^\W\d_]+|\d|(?:[^\s\w]|_)+"
)
TEXTS = [
    (golden["attention"][text], expected["chunks"])
    for golden in goldens.prompts()
    for text, expected in golden.get("chunks", {}).items()
]


@dataclass(frozen=True)
class Embedding:
    name: str
    length: int


SYNTHEMB = Embedding("synthemb", 2)


def clip_tokens(text: str) -> list[int]:
    """CLIP's tokens of a text made of the goldens' words ("&amp;" is resolved, as ftfy does)."""
    words = WORD.findall(text.replace("&amp;", "&").lower())
    return [token for word in words for token in WORDS[word]]


def letters(text: str) -> list[int]:
    """A token a character; a comma is CLIP's."""
    return [COMMA if character == "," else ord(character) for character in text]


def texts_of(cut: list) -> list[str]:
    """What `letters` was given, chunk by chunk."""
    return [
        "".join(
            "," if token == COMMA else chr(token) for token in chunk.tokens[1:-1] if token != END
        )
        for chunk in cut
    ]


@pytest.mark.parametrize("index", range(len(TEXTS)))
def test_chunks_are_those_of_a1111(index: int) -> None:
    pieces, expected = TEXTS[index]
    cut = chunks.chunk_text(
        [(text, weight) for text, weight in pieces], clip_tokens, [SYNTHEMB], COMMA, 20
    )
    assert len(cut) == len(expected)
    for chunk, golden in zip(cut, expected, strict=True):
        used = len(golden["tokens"])
        assert list(chunk.tokens[:used]) == golden["tokens"]
        assert list(chunk.multipliers[:used]) == golden["weights"]
        assert chunk.tokens[used:] == (END,) * (77 - used)
        assert chunk.multipliers[used:] == (1.0,) * (77 - used)
        assert [[offset, fix.name] for offset, fix in chunk.fixes] == golden["fixes"]


def test_no_text_is_one_empty_chunk() -> None:
    assert chunks.chunk_text([("", 1.0)], letters, [], COMMA, 20) == [chunks.empty_chunk()]
    assert chunks.empty_chunk().tokens == (chunks.START_TOKEN, *[END] * 76)


@pytest.mark.parametrize(("backtrack", "first"), [(20, 66), (10, 66), (9, 75), (0, 75)])
def test_text_after_a_near_comma_moves_on(backtrack: int, first: int) -> None:
    """The comma is the 66th token, 9 tokens before the chunk is full."""
    text = "a" * 65 + "," + "b" * 20
    cut = chunks.chunk_text([(text, 1.0)], letters, [], COMMA, backtrack)
    assert texts_of(cut) == [text[:first], text[first:]]


def test_a_comma_is_not_moved_to_from_an_earlier_chunk() -> None:
    text = "a" * 70 + "," + "b" * 90
    assert [
        len(part) for part in texts_of(chunks.chunk_text([(text, 1.0)], letters, [], COMMA, 20))
    ] == [
        71,
        75,
        15,
    ]


def test_a_break_of_another_weight_is_a_word() -> None:
    cut = chunks.chunk_text([("a", 1.0), ("BREAK", -1.1), ("b", 1.0)], letters, [], COMMA, 20)
    assert texts_of(cut) == ["aBREAKb"]
    assert cut[0].multipliers[1:8] == (1.0, *[-1.1] * 5, 1.0)


def test_an_embedding_stays_whole() -> None:
    long = Embedding("xy", 10)
    cut = chunks.chunk_text([("a" * 70 + "xyb", 1.0)], letters, [long], COMMA, 20)
    assert texts_of(cut)[0] == "a" * 70
    assert cut[1].fixes == ((0, long),)
    assert cut[1].tokens[1:12] == (*[0] * 10, ord("b"))


def test_the_longest_name_wins() -> None:
    short, long = Embedding("xy", 1), Embedding("xyz", 1)
    cut = chunks.chunk_text([("xyzxy", 1.0)], letters, [short, long], COMMA, 20)
    assert cut[0].fixes == ((0, long), (1, short))


def test_a_moved_embedding_leaves_its_vectors_behind() -> None:
    """A1111's quirk: only the tokens move."""
    embedding = Embedding("x", 3)
    text = "a" * 65 + "," + "x" + "b" * 20
    cut = chunks.chunk_text([(text, 1.0)], letters, [embedding], COMMA, 20)
    assert (cut[0].fixes, cut[1].fixes) == (((66, embedding),), ())
    assert cut[1].tokens[1:5] == (0, 0, 0, ord("b"))


# --- The old emphasis ---------------------------------------------------------------------------

VOCABULARY = {"(": 40, ")": 41, "[": 91, "]": 93, "()": 500, "((": 501, ",</w>": COMMA}


def test_bracket_multipliers() -> None:
    factors = chunks.bracket_multipliers(VOCABULARY)
    assert factors == {
        40: 1.1,
        41: 1 / 1.1,
        91: 1 / 1.1,
        93: 1.1,
        501: 1.1 * 1.1,
    }


def test_old_emphasis_drops_brackets_and_weighs_what_follows() -> None:
    factors = chunks.bracket_multipliers(VOCABULARY)
    chunk = chunks.chunk_text_old("a(bx)c", letters, [Embedding("x", 2)], factors)
    assert chunk.tokens[1:6] == (ord("a"), ord("b"), 0, 0, ord("c"))
    assert chunk.multipliers[1:6] == pytest.approx((1.0, 1.1, 1.1, 1.1, 1.0))
    assert [offset for offset, _ in chunk.fixes] == [2]


def test_old_emphasis_loses_what_exceeds_a_chunk() -> None:
    chunk = chunks.chunk_text_old("a" * 80 + "x", letters, [Embedding("x", 2)], {})
    assert chunk.tokens == (chunks.START_TOKEN, *[ord("a")] * 75, END)
    assert chunk.fixes == ()
