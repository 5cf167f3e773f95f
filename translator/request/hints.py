"""What a client means that writes a field or an option under another name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache

from translator.schemas import read_schema
from translator.suggest import nearest
from translator.tables import read_table

_TABS = ("txt2img", "img2img")
"""Schemas of the endpoints that generate; an unknown field of one may be the other's."""

_LIKENESS = 0.8
"""How alike a field or option must be to be suggested: many of them resemble each other."""


def field_hint(kind: str, name: str, known: Iterable[str]) -> str:
    """``, did you mean "x"?`` for the field that an unknown one means, or an empty text.

    Args:
        kind: the part of ``tables/hints.json``; empty for none.
        known: the fields there are.
    """
    other = next((tab for tab in _TABS if name in read_schema(tab)["properties"]), None)
    if kind == "request" and other:
        return f"; {other} has it"
    meant = meaning(kind, name)
    if meant is None:
        found = nearest(name, known, likeness=_LIKENESS)
        meant = found[0] if found else None
    return f', did you mean "{meant}"?' if meant else ""


def meaning(kind: str, name: str) -> str | None:
    """The path that another name stands for, or None; an option stands for itself."""
    if kind == "request" and name in read_table("options")["options"]:
        return f"override_settings.{name}"
    return _meanings(kind).get(_plain(name))


@cache
def _meanings(kind: str) -> Mapping[str, str]:
    rows: Mapping[str, list[str]] = read_table("hints").get(kind, {})
    return {_plain(other): path for path, others in rows.items() for other in others}


def _plain(name: str) -> str:
    return "".join(character for character in name.lower() if character not in " -_")
