"""A ControlNet that acts in a region: the extension's ``effective_region_mask``.

Each residual is weighed by the mask at its own size, taken from the whole mask, and averaged over
the picture only then where the model pools. (Advanced-ControlNet shrinks the mask to the latent
first and from there to each block.) Source: sd-webui-controlnet v1.1.455, `hook.py`.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch.nn.functional
from torch import Tensor

Control = Mapping[str, Sequence[Tensor | None]]
"""Residuals by place in the UNet: ``output`` and ``middle``, each shallow to deep."""

_PLACES = ("input", "output", "middle")


@dataclass(frozen=True)
class Region:
    """Where, and how much, the residuals of a ControlNet act.

    Attributes:
        mask: `[1, 1, H, W]`, 0..1, in any size.
        weights: of the residuals, shallow to deep and the middle last; those that have none are
            left out. Empty weighs nothing.
    """

    mask: Tensor
    weights: tuple[float, ...] = ()

    def weighed(self, control: Control) -> dict[str, list[Tensor | None]]:
        """The residuals that are left."""
        weights = self._each()
        places = (place for place in _PLACES if place in control)
        return {
            place: [self._one(residual, next(weights)) for residual in control[place]]
            for place in places
        }

    def _each(self) -> Iterator[float]:
        yield from self.weights
        while True:
            yield 0.0 if self.weights else 1.0

    def _one(self, residual: Tensor | None, weight: float) -> Tensor | None:
        if residual is None:
            return None
        mask = torch.nn.functional.interpolate(
            self.mask.to(residual), size=residual.shape[-2:], mode="bilinear"
        )
        return residual * weight * mask


def with_region(control_net: Any, mask: Tensor, weights: Sequence[float]) -> Any:
    """A copy of a ComfyUI ControlNet that acts in a region, as do its own copies.

    Args:
        mask: `[H, W]` or `[1, H, W]`, 0..1.
    """
    made = control_net.copy()
    made.__class__ = _regional(type(control_net))
    made.region = Region(mask.reshape(-1, 1, *mask.shape[-2:])[:1], tuple(weights))
    return made


@functools.cache
def _regional(base: type) -> Any:
    """A class of ControlNets with a region; ComfyUI goes on to see its own class."""

    def control_merge(self: Any, control: Control, *args: Any, **more: Any) -> Any:
        return base.control_merge(self, self.region.weighed(control), *args, **more)  # type: ignore[attr-defined]

    def copy(self: Any) -> Any:
        made = base.copy(self)  # type: ignore[attr-defined]
        made.__class__ = type(self)
        made.region = self.region
        return made

    members = {"__module__": base.__module__, "control_merge": control_merge, "copy": copy}
    return type(f"Regional{base.__name__}", (base,), members)
