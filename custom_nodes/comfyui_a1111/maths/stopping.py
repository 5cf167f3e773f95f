"""Requests to end the sampling of a prompt early, as A1111's interrupt and skip do.

A1111 looks at its flags at every call of the denoiser (``modules/sd_samplers_cfg_denoiser.py`` of
v1.10.1): the pass then ends, and what it has reached is decoded and answered.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from torch import Tensor

_KEPT = 64
"""Prompts whose requests are remembered; one that ended is asked no more."""


class Dropped(Exception):
    """The node that samples is not to run at all: its prompt ends here."""


class _Ended(Exception):
    """The pass ends with what it has reached."""

    def __init__(self, reached: Tensor) -> None:
        super().__init__()
        self.reached = reached


@dataclass(frozen=True)
class _Stop:
    nodes: frozenset[str]
    drop_others: bool


class Stops:
    """What was asked, by prompt id.

    Attributes:
        ended: passes ended early since the start; whose results must not be found in a cache.
    """

    def __init__(self) -> None:
        self._stops: OrderedDict[str, _Stop] = OrderedDict()
        self.ended = 0

    def ask(self, prompt_id: str, nodes: Iterable[str], drop_others: bool) -> None:
        """End the passes of these nodes, beside those that were asked before.

        drop_others: whether the prompt ends at the next sampling node that is none of them.
        """
        before = self._stops.pop(prompt_id, _Stop(frozenset(), False))
        asked = _Stop(before.nodes | frozenset(nodes), before.drop_others or drop_others)
        self._stops[prompt_id] = asked
        while len(self._stops) > _KEPT:
            self._stops.popitem(last=False)

    def ends(self, prompt_id: str, node: str) -> bool:
        """Whether the pass of that node ends now; raises `Dropped` where the prompt does."""
        stop = self._stops.get(prompt_id)
        if stop is None:
            return False
        if node in stop.nodes:
            return True
        if stop.drop_others:
            raise Dropped
        return False


STOPS = Stops()


class Watched:
    """The model of a pass, which looks at every call whether the pass is to end.

    model_wrap: what ComfyUI's guider gives a sampler. start: the latent the pass starts from; where
    it holds a picture, that is what a pass has reached that ends before its first call. ends: asked
    before every call.
    """

    def __init__(self, model_wrap: Any, start: Tensor, ends: Callable[[], bool]) -> None:
        self._model_wrap = model_wrap
        self._reached: Tensor | None = start if bool((start != 0).any()) else None
        self._ends = ends

    def __call__(self, x: Tensor, sigma: Tensor, **arguments: Any) -> Tensor:
        if self._ends():
            raise _Ended(x if self._reached is None else self._reached)
        self._reached = self._model_wrap(x, sigma, **arguments)
        return self._reached

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model_wrap, name)


def run_watched(sample: Callable[[], Tensor]) -> Tensor:
    """The latent of a whole pass, or what it had reached when it was ended."""
    try:
        return sample()
    except _Ended as end:
        STOPS.ended += 1
        return end.reached
