"""Ranges of a pass by A1111's step counter, where noise levels do not tell its calls apart.

ComfyUI, and the packs for ControlNet and image prompts, compare the noise level of a call with
those of their percents. Restart goes up in noise again, DPM fast and DPM adaptive make their own
levels; there percents stand for states of A1111's counter, and a call for the level of its state.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from .control_ops import control_chain
from .guider import Entry, percent_of_step

_START, _END = "timestep_start", "timestep_end"
_ALWAYS, _NEVER = (math.inf, -math.inf), (-math.inf, math.inf)
"""Ranges of a ControlNet: from the first level down to the second."""


class CountedRanges:
    """What acts at one call of the model.

    Args:
        sampling: the model's sampling, which turns percents into levels.
        step: A1111's step counter at the call.
        steps: what it is divided by.
    """

    def __init__(self, sampling: Any, step: int, steps: int) -> None:
        self._sampling = sampling
        self._level = float(sampling.percent_to_sigma(percent_of_step(step, steps)))

    def acting(self, entries: Iterable[Entry]) -> list[Entry]:
        """The entries that act, without ranges; their ControlNets act, or do not, at any level."""
        found = []
        for entry in entries:
            for control in _with_inner(entry.get("control")):
                start, end = map(self._sampling.percent_to_sigma, control.timestep_percent_range)
                control.timestep_range = _ALWAYS if self._lies_in(start, end) else _NEVER
            if self._lies_in(entry.get(_START, math.inf), entry.get(_END, 0.0)):
                kept = {key: value for key, value in entry.items() if key not in (_START, _END)}
                found.append(kept)
        return found

    def wrapper(self, inner: Callable[..., Any] | None) -> Callable[..., Any]:
        """A model wrapper that tells patches of the model the level which stands for the call.

        Args:
            inner: the wrapper that was there before, or None.
        """

        def wrapper(apply_model: Callable[..., Any], args: Mapping[str, Any]) -> Any:
            options = args["c"]["transformer_options"]
            level = args["timestep"].new_full(args["timestep"].shape, self._level)
            c = {**args["c"], "transformer_options": {**options, "sigmas": level}}
            if inner is not None:
                return inner(apply_model, {**args, "c": c})
            return apply_model(args["input"], args["timestep"], **c)

        return wrapper

    def _lies_in(self, start: Any, end: Any) -> bool:
        return float(end) <= self._level <= float(start)


def _with_inner(control: Any) -> Iterator[Any]:
    """A ControlNet, those before it, and those inside of them."""
    for item in control_chain(control):
        yield item
        yield from _with_inner(getattr(item, "inner", None))
