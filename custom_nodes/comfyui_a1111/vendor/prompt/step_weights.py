# Copied from translator/prompt/step_weights.py by tools/pack_shared.py: edit it there.
"""A LoRA's strength from step to step, as extensions of A1111 write it into its tag.

Sources: sd-webui-loractl (``0.2@0,1@0.5``), sd-webui-lora-block-weight (``start=``, ``stop=``).
What counts is A1111's ``sampling_step``, which lags behind by one at a step's first model call.
"""

from __future__ import annotations

import math
import re
from bisect import bisect_right
from dataclasses import dataclass

_POINT = re.compile("[@~]")
_POINTS = re.compile("[,;]")

_STEP_OFFSET = 2
"""Steps that sd-webui-loractl leaves out of the count where positions are shares of all."""

MAX_POINTS = 1000
"""Points of the longest curve that is read."""


@dataclass(frozen=True)
class Window:
    """Steps in which a LoRA acts on the UNet.

    Attributes:
        start: the step that it begins with; None begins at once.
        stop: the step that it ends before; None goes on to the end.
    """

    start: int | None
    stop: int | None

    def at(self, step: int, steps: int) -> float:
        """1 where it acts, 0 elsewhere.

        Both take effect one step early, which makes up for the counter's lag. A stop that comes
        before the start is spent when the start comes.

        Args:
            step: A1111's counter.
            steps: of the pass.
        """
        del steps
        started = self.start is None or step > self.start - 2
        stopped = self.stop is not None and step > self.stop - 2
        spent = self.start is not None and self.stop is not None and self.stop < self.start
        return float(started and (spent or not stopped))


@dataclass(frozen=True)
class Curve:
    """Strengths at certain steps, straight lines between them.

    Attributes:
        positions: ascending: shares of the steps where the last is at most 1, else steps.
        values: the strength at each.
    """

    positions: tuple[float, ...]
    values: tuple[float, ...]

    @property
    def ends(self) -> tuple[float, float]:
        """The strength at the first step and after the last."""
        return self._at(0.0), self.values[-1]

    def at(self, step: int, steps: int) -> float:
        """The strength.

        Args:
            step: A1111's counter.
            steps: of the pass.
        """
        if self.positions[-1] > 1:
            return self._at(float(step))
        counted = steps - _STEP_OFFSET
        return self._at(step / counted if counted else 1.0)

    def _at(self, position: float) -> float:
        after = bisect_right(self.positions, position)
        if after == 0:
            return self.values[0]
        if after == len(self.positions):
            return self.values[-1]
        (left, right), (low, high) = (
            (numbers[after - 1], numbers[after]) for numbers in (self.positions, self.values)
        )
        return low + (high - low) * (position - left) / (right - left)


def is_curve(text: str) -> bool:
    """Whether a strength is written by step."""
    return bool(_POINT.search(text))


def read_strength(text: str) -> float | Curve:
    """``0.2@0,1@0.5``; a point without a position lies at 1, a first one alone is a number.

    Raises:
        ValueError: a part that is no finite number, or too many of them.
    """
    texts = _POINTS.split(text)
    if len(texts) > MAX_POINTS:
        raise ValueError(f"{len(texts)} strengths by step; at most {MAX_POINTS} are taken")
    points = [[_finite(number) for number in _POINT.split(point)] for point in texts]
    if len(points[0]) == 1:
        return points[0][0]
    ordered = sorted(
        ((point[0], point[1] if len(point) == 2 else 1.0) for point in points),
        key=lambda point: point[1],
    )
    return Curve(tuple(at for _, at in ordered), tuple(value for value, _ in ordered))


def _finite(text: str) -> float:
    number = float(text.strip())
    if not math.isfinite(number):
        raise ValueError(f"{text!r} is not a finite number")
    return number
