"""The schemas of payloads: JSON files of this package, each read once."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from translator.tables import read_document


@cache
def read_schema(name: str) -> Mapping[str, Any]:
    """A schema beside this file, by name without ``.json``; not to be changed."""
    return read_document(__name__, name)
