"""How Regional Prompter's ratios divide a picture.

Source: sd-webui-regional-prompter ``scripts/regions.py`` (split_l2, matrixdealer, makeimgtmp) and
``scripts/rp.py`` (keyconverter), restated. "1,2;1,1" is two lines; the first number of a line is
its own ratio, the others are its regions'.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from translator.plan.lines import Cell, Line

ROW, COLUMN, BASE, COMMON, BREAK = "ADDROW", "ADDCOL", "ADDBASE", "ADDCOMM", "BREAK"
_LINES, _CELLS = ";", ","

MOST_REGIONS = 32
"""Of a picture; the extension has no bound."""


class RegionError(ValueError):
    """What the extension itself fails on."""


@dataclass(frozen=True)
class Order:
    """Which of two keys comes first.

    Attributes:
        columns: whether the picture is cut into columns first (the extension's "Rows").
    """

    columns: bool

    def cut(self, text: str, by_lines: str, by_cells: str) -> list[list[str]]:
        """A text cut twice."""
        outer, inner = (by_cells, by_lines) if self.columns else (by_lines, by_cells)
        return [line.split(inner) for line in text.split(outer)]


def region_keys(ratios: str, order: Order, *, base: bool, common: bool) -> list[str]:
    """The keys that stand for a prompt's BREAKs, in their order."""
    if _LINES in ratios:
        lines = [len(cells[1:] or cells) for cells in order.cut(ratios, _LINES, _CELLS)]
    else:
        lines = [len(ratios.split(_CELLS))]
    between, within = (COLUMN, ROW) if order.columns else (ROW, COLUMN)
    keys = [key for count in lines for key in (*[within] * (count - 1), between)][:-1]
    return [*[COMMON] * common, *[BASE] * base, *keys[:MOST_REGIONS]]


def lay_out(prompt: str, ratios: str, base_ratios: str, order: Order, *, base: bool) -> list[Line]:
    """The regions of a prompt that has its keys.

    Args:
        prompt: common and base prompt, and their keys, taken off.

    Raises:
        RegionError: a line's ratios come to 0, or there are too many regions.
    """
    breaks = [[cell.count(BREAK) for cell in line] for line in order.cut(prompt, ROW, COLUMN)]
    if sum(map(len, breaks)) > MOST_REGIONS:
        raise RegionError(f"it has more than {MOST_REGIONS} regions")
    by = order
    if _LINES not in ratios and (ROW in prompt) != (COLUMN in prompt):
        if (ROW in prompt) == order.columns:
            ratios = f"1{_CELLS}{ratios}"
            by = Order(columns=False)
        else:
            by = Order(columns=True)
    widths = [len(line) for line in breaks]
    heights, cells = _fitted(by.cut(ratios, _LINES, _CELLS), widths, 1.0, has_own=True)
    _, shares = _fitted(order.cut(base_ratios, _LINES, _CELLS), widths, 0.0, has_own=False)
    text, lines = int(base), []
    for edges, ranges, under, own in zip(
        _ranges(heights), map(_ranges, cells), shares, breaks, strict=True
    ):
        found = []
        for (start, end), share, more in zip(ranges, under, own, strict=True):
            found.append(Cell(start, end, share, text))
            text += 1 + more
        lines.append(Line(*edges, tuple(found)))
    return lines


def base_shares(base_ratios: str, regions: int) -> list[float]:
    """The base's share of each region of a mask."""
    given = Order(columns=False).cut(base_ratios, _LINES, _CELLS)
    return _fitted(given, [max(regions, 1)], 0.0, has_own=False)[1][0]


def _fitted(
    given: Sequence[Sequence[str]], widths: Sequence[int], usual: float, *, has_own: bool
) -> tuple[list[float], list[list[float]]]:
    """Numbers in lines of certain lengths.

    A line that is too short repeats its last number; what a line has too much begins the next one;
    missing lines repeat the last number of all.

    Args:
        usual: in place of what is no number.
        has_own: whether a line's first number is its own, where it has others.

    Returns:
        The lines' own numbers, and those of their cells.
    """
    own: list[float] = []
    lines: list[list[float]] = []
    last = 1.0
    for texts in given:
        values = [_number(text, usual) for text in texts]
        last = values[-1]
        while values and len(lines) < len(widths):
            if has_own:
                own.append(values[0])
                values = values[1:] or values
            width = widths[len(lines)]
            lines.append([*values[:width], *[values[-1]] * (width - len(values))])
            values = values[width:]
    lines += [[last] * width for width in widths[len(lines) :]]
    own += [own[-1]] * (len(widths) - len(own)) if own else []
    return own, lines


def _number(text: str, usual: float) -> float:
    try:
        value = float(text)
    except ValueError:
        return usual
    if not math.isfinite(value):
        raise RegionError(f"{text.strip()} is no ratio")
    return value


def _ranges(ratios: Sequence[float]) -> list[tuple[float, float]]:
    """Where each ratio's share begins and ends, summed up as the extension does."""
    total = sum(ratios)
    if not 0 < total < math.inf or min(ratios) < 0:
        raise RegionError("ratios of regions are 0 or more, not all 0, and have a finite sum")
    ends = [0.0]
    for ratio in ratios:
        ends.append(ratio / total if len(ends) == 1 else ratio / total + ends[-1])
    return list(pairwise(ends))
