"""How busy the machine is: what it withholds from a thread that wants to run."""

from __future__ import annotations

import bisect
import itertools
import threading
import time


class Pulse:
    """How long the machine lets a thread wait that wants to run: one that sleeps, and looks."""

    _SLEEP_S = 0.01

    def __init__(self) -> None:
        self._woken: list[float] = [time.monotonic()]
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._beat, daemon=True)
        self._thread.start()

    def withheld_s(self, start: float, end: float) -> float:
        """Seconds that were withheld between two moments of the monotonic clock."""
        first = bisect.bisect_left(self._woken, start)
        last = bisect.bisect_right(self._woken, end)
        beats = self._woken[max(0, first - 1) : last + 1]
        gaps = (after - before - self._SLEEP_S for before, after in itertools.pairwise(beats))
        return sum(max(0.0, gap) for gap in gaps)

    def close(self) -> float:
        """The share of its life that was withheld."""
        self._closing.set()
        self._thread.join()
        start, end = self._woken[0], time.monotonic()
        return self.withheld_s(start, end) / (end - start)

    def _beat(self) -> None:
        while not self._closing.is_set():
            time.sleep(self._SLEEP_S)
            self._woken.append(time.monotonic())
