# Copied from translator/schedules/floats.py by tools/pack_shared.py: edit it there.
"""Even spacing, and rounding as torch's float32 and float16 do it."""

from __future__ import annotations

import struct
from array import array
from collections.abc import Iterable


def linspace(start: float, end: float, n: int) -> list[float]:
    """``n`` even points from ``start`` to ``end``; one point is ``start``."""
    if n <= 1:
        return [float(start)] * n
    step = (end - start) / (n - 1)
    return [start + step * i for i in range(n - 1)] + [float(end)]


def to_single(values: Iterable[float]) -> list[float]:
    """The values rounded to float32."""
    return array("f", values).tolist()


def to_half(values: Iterable[float]) -> list[float]:
    """The values rounded to float16. Raises OverflowError above 65504."""
    items = list(values)
    layout = f"<{len(items)}e"
    return list(struct.unpack(layout, struct.pack(layout, *items)))
