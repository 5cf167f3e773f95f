"""The figures of a run as a page: how much of what was wanted each takes, and how time grows."""

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
_WIDTH, _HEIGHT = 480, 200
_STYLE = """
:root { color-scheme: light dark; font: 16px/1.4 system-ui, sans-serif; }
body { max-width: 1100px; margin: 1rem auto; padding: 0 1rem; }
.bar { background: light-dark(#0b57c4, #7db3ff); height: 14px; border-radius: 3px; }
.bar.over { background: light-dark(#b3181b, #ff9a94); }
.frame { position: relative; border-left: 1px solid #888; margin: .2rem 0 .8rem; max-width: 720px; }
svg polyline { fill: none; stroke: light-dark(#0b57c4, #7db3ff); stroke-width: 2; }
svg circle { fill: light-dark(#0b57c4, #7db3ff); }
svg .proportion { stroke: #888; stroke-dasharray: 4; }
.frame i { position: absolute; left: 50%; top: -3px; bottom: -3px; border-left: 2px dashed #888; }
"""


def ratio(row: str) -> float | None:
    """What a row measures as a share of what is wanted, or the times it tells; None without."""
    wanted, measured = _WANTED.search(row), _MEASURED.search(row)
    if wanted and measured and float(wanted[1]):
        return float(measured[1]) / float(wanted[1])
    times = _TIMES.search(row)
    return float(times[1]) if times else None


Curve = tuple[str, Sequence[tuple[float, float]]]
"""What grows, and (how much of it, milliseconds)."""


def page(sections: Mapping[str, Sequence[str]], curves: Iterable[Curve] = ()) -> str:
    """The page: a bar for every figure that has a ratio (the dashed line is 1), then the curves."""
    body = "".join(
        f"<h2>{html.escape(name)}</h2>{''.join(map(_row, rows))}" for name, rows in sections.items()
    )
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>Bench</title>'
        f"<style>{_STYLE}</style><h1>Bench</h1><p>Bars are measured over wanted; "
        f"the dashed line is 1, and what goes beyond 2 ends there.</p>{body}"
        f"{''.join(curve(name, points) for name, points in curves)}</html>"
    )


def write(file: Path, sections: Mapping[str, Iterable[str]], curves: Iterable[Curve] = ()) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(page({name: list(rows) for name, rows in sections.items()}, curves), "utf-8")


def curve(name: str, points: Sequence[tuple[float, float]]) -> str:
    """A curve from the origin, beside the straight line to its last point: growth in proportion."""
    last_x, last_y = points[-1]
    top = max(y for _, y in points)
    placed = [(_WIDTH * x / last_x, _HEIGHT * (1 - y / top)) for x, y in [(0.0, 0.0), *points]]
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in placed)
    dots = "".join(
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3"><title>{count:g}: {taken:.2f} ms</title></circle>'
        for (x, y), (count, taken) in zip(placed[1:], points, strict=True)
    )
    end = _HEIGHT * (1 - last_y / top)
    return (
        f"<h3>{html.escape(name)}: {last_x:g} in {last_y:.1f} ms</h3>"
        f'<svg viewBox="-5 -5 {_WIDTH + 10} {_HEIGHT + 10}" width="{_WIDTH}" role="img" '
        f'aria-label="time against {html.escape(name)}"><line x1="0" y1="{_HEIGHT}" '
        f'x2="{_WIDTH}" y2="{end:.1f}" class="proportion"/>'
        f'<polyline points="{line}"/>{dots}</svg>'
    )


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
