"""``[SEP]``, ``[PROMPT]`` and ``[SKIP]``."""

from __future__ import annotations

import pytest

from translator.detailer.prompts import parts, region_prompts


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ("main",)),
        ("a cat", ("a cat",)),
        ("a [SEP] b", ("a", "b")),
        ("[SEP]b[SEP]", ("main", "b", "main")),
        ("[PROMPT], smiling", ("main, smiling",)),
        ("a[sep]b", ("a[sep]b",)),
    ],
)
def test_parts(text: str, expected: tuple[str, ...]) -> None:
    assert parts(text, "main") == expected


def test_each_prompt_has_its_own_count_and_equal_pairs_are_one() -> None:
    pairs, order = region_prompts(("a", "b"), ("n", "n", "m"))
    assert pairs == (("a", "n"), ("b", "n"), ("b", "m"))
    assert order == (0, 1, 2)
    assert region_prompts(("a", "b", "a"), ("n",)) == ((("a", "n"), ("b", "n")), (0, 1, 0))


def test_skip_leaves_a_region_alone() -> None:
    pairs, order = region_prompts(("a", " [SKIP] ", "c"), ("n",))
    assert pairs == (("a", "n"), ("c", "n"))
    assert order == (0, None, 1)
    assert region_prompts(("[SKIP]",), ("n",)) == ((), (None,))
    assert region_prompts(("[SKIP], a",), ("[SKIP]",)) == ((("[SKIP], a", "[SKIP]"),), (0,))
