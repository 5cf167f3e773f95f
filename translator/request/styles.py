"""Styles: reading A1111's styles.csv and merging styles into prompts.

Source: A1111 v1.10.1 ``modules/styles.py``.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable

from translator.options import Style

_PLACE = "{prompt}"


class StylesError(ValueError):
    """A styles.csv without the columns of one."""


def read_styles(text: str) -> dict[str, Style]:
    """The styles of a styles.csv, by name; a name given twice is the last one.

    The columns are name, prompt and negative_prompt; old files have name and text. Blanks after a
    comma do not count; rows whose name starts with "#" are comments.

    Raises:
        StylesError: there is no name, or neither prompt nor text, among the columns.
    """
    rows = csv.DictReader(
        io.StringIO(text.removeprefix("\ufeff"), newline=""), skipinitialspace=True
    )
    columns = rows.fieldnames or ()
    prompt_column = "prompt" if "prompt" in columns else "text"
    if columns and not {"name", prompt_column} <= set(columns):
        raise StylesError(f"the columns {', '.join(columns)} lack name and prompt")
    return {
        row["name"]: Style(row[prompt_column] or "", row.get("negative_prompt") or "")
        for row in rows
        if not (row["name"] or "").startswith("#")
    }


def merge(style: str, prompt: str) -> str:
    """One style's text and a prompt: at its ``{prompt}``, or joined by a comma after it."""
    if _PLACE in style:
        return style.replace(_PLACE, prompt)
    return ", ".join(filter(None, (prompt.strip(), style.strip())))


def apply_styles(prompt: str, styles: Iterable[str]) -> str:
    """The prompt with each style's text merged in, in order.

    A1111 also does this for a name it does not know, with an empty text, which strips the prompt.
    """
    for style in styles:
        prompt = merge(style, prompt)
    return prompt
