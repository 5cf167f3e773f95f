"""How many chunks a prompt is, against the recorded tokens of a real A1111."""

from __future__ import annotations

import pytest

from tests.translator import goldens
from translator import prompt as prompts
from translator.prompt.length import Chunks, Comparison, chunks, compare

BACKTRACK = 20


@pytest.mark.parametrize(
    ("text", "least", "most"),
    [
        ("", 1, 1),
        ("a cat, a dog", 1, 1),
        ("BREAK", 1, 1),
        ("BREAK BREAK", 2, 2),
        ("a BREAK b", 2, 2),
        ("a BREAK", 1, 1),
        ("cat " * 75, 1, 5),
        ("cat " * 76, 2, 5),
        ("7" * 76, 2, 2),
        ("(red:1.2) [blue]", 1, 1),
    ],
)
def test_bounds(text: str, least: int, most: int) -> None:
    assert chunks(text, "Original", BACKTRACK) == Chunks(least, most)


def test_without_emphasis_a_break_is_a_word() -> None:
    assert chunks("a BREAK b", "None", BACKTRACK) == Chunks(1, 1)


def test_recorded_prompts_lie_within_their_bounds() -> None:
    """Embeddings are vectors without a text, so prompts that name one are left out."""
    seen = 0
    for case in goldens.prompts():
        for text, found in case.get("chunks", {}).items():
            if any(chunk["fixes"] for chunk in found["chunks"]):
                continue
            bounds = chunks(text, "Original", BACKTRACK)
            assert bounds.least <= len(found["chunks"]) <= bounds.most, text
            seen += 1
    assert seen > 50


LONG = "cat " * 76


@pytest.mark.parametrize(
    ("positive", "negative", "expected"),
    [
        ("cat", "", Comparison(False, True)),
        ("7" * 76, "", Comparison(True, True)),
        (LONG, "", Comparison(True, True)),
        (LONG, LONG, Comparison(False, False)),
        ("cat AND " + "7" * 76, "dog", Comparison(True, True)),
        (f"[cat:{LONG}:5]", "dog", Comparison(True, True)),
    ],
)
def test_both_prompts_are_compared_call_by_call(
    positive: str, negative: str, expected: Comparison
) -> None:
    both = prompts.parse(positive, 10), prompts.parse_negative(negative, 10)
    assert compare(*both, "Original", BACKTRACK) == expected
