"""Answers without the names that stand in our tables beyond A1111's, to compare with recordings."""

from __future__ import annotations

from functools import cache
from typing import Any

from translator.tables import read_table

_TABLES = {
    "samplers": ("samplers",),
    "schedulers": ("schedulers",),
    "upscalers": ("latent", "resize", "model"),
}


@cache
def names_beyond_a1111() -> frozenset[str]:
    """Names and labels of the rows that are marked ``beyond_a1111``."""
    rows = [
        row for table, keys in _TABLES.items() for key in keys for row in read_table(table)[key]
    ]
    marked = [row for row in rows if row.get("beyond_a1111")]
    return frozenset(str(row[key]) for row in marked for key in ("name", "label") if key in row)


def a1111s_own(answer: Any) -> Any:
    """An answer whose lists hold only what A1111 has itself.

    A list that still differs from A1111's recording has a row too many or too few: a name that
    A1111 lacks needs the mark ``beyond_a1111`` in its row, behind A1111's rows.
    """
    if isinstance(answer, dict):
        return {key: a1111s_own(value) for key, value in answer.items()}
    if isinstance(answer, list):
        return [a1111s_own(item) for item in answer if not _is_beyond(item)]
    return answer


def _is_beyond(item: Any) -> bool:
    name = item.get("name") if isinstance(item, dict) else item
    return isinstance(name, str) and name in names_beyond_a1111()
