"""The bundled tables and schemas: JSON files of this package, each read once."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import Any

_PACKAGE = resources.files("translator")


@cache
def read_table(name: str) -> Mapping[str, Any]:
    """A table of ``translator/tables``, by file name without ``.json``; not to be changed."""
    return _read("tables", name)


@cache
def read_schema(name: str) -> Mapping[str, Any]:
    """A schema of ``translator/schemas``, by file name without ``.json``; not to be changed."""
    return _read("schemas", name)


def _read(folder: str, name: str) -> Mapping[str, Any]:
    text = (_PACKAGE / folder / f"{name}.json").read_text("utf-8")
    document: Mapping[str, Any] = json.loads(text)
    return document
