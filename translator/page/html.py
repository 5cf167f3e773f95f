"""The page as one file: markup, styles and scripts of this folder put together."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any

_FOLDER = files("translator.page")


def html(view: Mapping[str, Any] | None = None) -> str:
    """The page.

    Args:
        view: what it shows, as `translator.page.view` gives it; None for the page of a server,
            which asks that server for it.
    """
    document = _file("page.html")
    for mark, text in (
        ("/* uplot.css */", _file("vendor/uPlot.min.css")),
        ("/* page.css */", _file("page.css")),
        ("/* uplot.js */", _file("vendor/uPlot.iife.min.js")),
        ("/* page.js */", _file("page.js")),
        ("null/* view */", "null" if view is None else _embedded(view)),
    ):
        document = document.replace(mark, text)
    return document


def _embedded(value: Mapping[str, Any]) -> str:
    """JSON that may stand in a script element."""
    text = json.dumps(value, ensure_ascii=False)
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


@cache
def _file(name: str) -> str:
    return (_FOLDER / name).read_text("utf-8")
