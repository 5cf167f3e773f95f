"""A1111's styles.csv and how styles are merged into prompts."""

from __future__ import annotations

import pytest

from tests.translator.goldens import STYLES_CSV
from translator.options import Style
from translator.request.styles import StylesError, apply_styles, merge, read_styles


def test_reading() -> None:
    assert read_styles("\ufeff" + STYLES_CSV) == {
        "cine": Style("cinematic film still of {prompt}, dramatic light", "cartoon, drawing"),
        "tail": Style("highly detailed, 8k", ""),
        "negonly": Style("", "ugly, deformed"),
    }


def test_comments_blank_rows_and_blanks_after_commas_do_not_count() -> None:
    text = 'name,prompt,negative_prompt\r\n#old,a,b\r\n\r\nnew, "x, y",\r\nshort,z\r\n'
    assert read_styles(text) == {"new": Style("x, y", ""), "short": Style("z", "")}


def test_the_old_columns_and_line_breaks_in_a_text() -> None:
    assert read_styles('name,text\nold,"a\nb"\n') == {"old": Style("a\nb", "")}


def test_the_last_of_two_rows_with_a_name_counts() -> None:
    assert read_styles("name,prompt\na,1\na,2\n") == {"a": Style("2", "")}


def test_an_empty_file_has_no_styles() -> None:
    assert read_styles("") == {}


@pytest.mark.parametrize("text", ["prompt,negative_prompt\na,b\n", "name,words\na,b\n"])
def test_a_file_without_the_columns_is_refused(text: str) -> None:
    with pytest.raises(StylesError, match="lack name and prompt"):
        read_styles(text)


@pytest.mark.parametrize(
    ("style", "prompt", "merged"),
    [
        ("film of {prompt}, light", " a cat ", "film of  a cat , light"),
        ("8k", " a cat ", "a cat, 8k"),
        (" 8k ", "", "8k"),
        ("", " a cat ", "a cat"),
        ("", "", ""),
        ("{prompt} and {prompt}", "x", "x and x"),
    ],
)
def test_merging(style: str, prompt: str, merged: str) -> None:
    assert merge(style, prompt) == merged


def test_styles_are_applied_in_order() -> None:
    assert apply_styles("cat", ["a {prompt}", "b", "c ({prompt})"]) == "c (a cat, b)"
