"""The figures of a run as a page: how much of what was wanted each of them takes."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

_NUMBER = r"(\d+(?:\.\d+)?)"
_UNIT = r"(ms|s|MB|KB|GB)"
_WANTED = re.compile(rf"wanted: (?:under|at most|below) {_NUMBER}(?: {_UNIT})?")
_MEASURED = re.compile(rf": (?:[a-z ]*){_NUMBER} {_UNIT}\b")
_TIMES = re.compile(rf"{_NUMBER} times")
_STYLE = """
:root { color-scheme: light dark; font: 16px/1.4 system-ui, sans-serif; }
body { max-width: 1100px; margin: 1rem auto; padding: 0 1rem; }
.bar { background: light-dark(#0b57c4, #7db3ff); height: 14px; border-radius: 3px; }
.bar.over { background: light-dark(#b3181b, #ff9a94); }
.frame { position: relative; border-left: 1px solid #888; margin: .2rem 0 .8rem; max-width: 720px; }
.frame i { position: absolute; left: 50%; top: -3px; bottom: -3px; border-left: 2px dashed #888; }
"""


def ratio(row: str) -> float | None:
    """What a row measures as a share of what is wanted, or the times it tells; None without."""
    wanted, measured = _WANTED.search(row), _MEASURED.search(row)
    if wanted and measured and float(wanted[1]):
        return float(measured[1]) / float(wanted[1])
    times = _TIMES.search(row)
    return float(times[1]) if times else None


def page(sections: Mapping[str, Sequence[str]]) -> str:
    """The page: a bar for every figure that has a ratio; the dashed line is 1."""
    body = "".join(
        f"<h2>{html.escape(name)}</h2>{''.join(map(_row, rows))}" for name, rows in sections.items()
    )
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>Bench</title>'
        f"<style>{_STYLE}</style><h1>Bench</h1><p>Bars are measured over wanted; "
        f"the dashed line is 1, and what goes beyond 2 ends there.</p>{body}</html>"
    )


def write(file: Path, sections: Mapping[str, Iterable[str]]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(page({name: list(rows) for name, rows in sections.items()}), "utf-8")


def _row(row: str) -> str:
    share = ratio(row)
    text = f"<div>{html.escape(row)}</div>"
    if share is None:
        return text
    width = min(share, 2.0) * 50
    over = " over" if share > 1 else ""
    return (
        f'{text}<div class="frame" role="img" aria-label="{share:.2f} of what is wanted"><i></i>'
        f'<div class="bar{over}" style="width:{width:.1f}%"></div></div>'
    )
