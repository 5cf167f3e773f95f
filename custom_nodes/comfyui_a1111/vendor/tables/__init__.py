# Copied from translator/tables/__init__.py by tools/pack_shared.py: edit it there.
"""The bundled tables: JSON files of this package, each read once."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import Any


@cache
def read_table(name: str) -> Mapping[str, Any]:
    """A table beside this file, by name without ``.json``; not to be changed."""
    return read_document(__name__, name)


def read_document(package: str, name: str) -> Mapping[str, Any]:
    """A JSON object of a package."""
    text = (resources.files(package) / f"{name}.json").read_text("utf-8")
    document: Mapping[str, Any] = json.loads(text)
    return document
