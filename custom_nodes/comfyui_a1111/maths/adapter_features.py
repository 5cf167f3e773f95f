"""The features of a T2I-Adapter as A1111's ControlNet adds them to the UNet.

The extension works an adapter's features out once a request, from the picture that its first call
sees, and stretches them to each block's size wherever they do not fit: in the hires pass, and where
a picture's sides are no multiples of 64. ComfyUI works them out anew for each pass, and leaves out
what does not fit. Source of the rule: sd-webui-controlnet v1.1.455 (`adapter.py`, `hook.py`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch.nn.functional
from torch import Tensor

Features = Sequence[Tensor | None]
Size = tuple[int, int]

LATENT_CELL = 8


class AdapterFeatures:
    """Stands for a T2I-Adapter's network in ComfyUI's T2IAdapter.

    Args:
        network: ComfyUI's, which makes the features.
        picture: `[1, C, H, W]`, 0..1, whose features are given whatever picture is shown; None
            takes the one that is shown.
    """

    def __init__(self, network: Any, picture: Tensor | None) -> None:
        self._network = network
        self._picture = picture

    @property
    def unshuffle_amount(self) -> int:
        """Pixels that a side must be a multiple of."""
        amount: int = self._network.unshuffle_amount
        return amount

    def to(self, *args: Any, **more: Any) -> AdapterFeatures:
        """Move the network, or change its type."""
        self._network.to(*args, **more)
        return self

    def cpu(self) -> AdapterFeatures:
        return self.to("cpu")

    def __call__(self, shown: Tensor) -> dict[str, list[Tensor | None]]:
        """Features by place, at the sizes that the UNet has for the picture shown."""
        picture = shown
        if self._picture is not None:
            picture = self._picture[:, : shown.shape[1]].to(shown)
        height, width = shown.shape[-2:]
        size = (height // LATENT_CELL, width // LATENT_CELL)
        return stretched(self._network(picture), size, self.unshuffle_amount // LATENT_CELL)


def stretched(
    features: Mapping[str, Features], latent: Size, first: int
) -> dict[str, list[Tensor | None]]:
    """Features at the sizes of the UNet's levels, each half of the one before, rounded up.

    Args:
        features: ComfyUI's: ``input`` with the deepest first, ``middle`` deeper still.
        latent: the latent's height and width.
        first: by what the shallowest feature's level is smaller than the latent: 1 or 2.
    """
    places = [(kind, index) for kind in features for index in range(len(features[kind]))]
    made = {kind: list(items) for kind, items in features.items()}
    deep_first = [*_in_order(places, "middle"), *_in_order(places, "input")]
    size, before = latent, None
    if first > 1:
        size = _halved(size)
    for kind, index in reversed(deep_first):
        feature = features[kind][index]
        if feature is None:
            continue
        if before is not None and feature.shape[-2:] != before:
            size = _halved(size)
        before = feature.shape[-2:]
        if before != size:
            feature = torch.nn.functional.interpolate(feature, size=size, mode="nearest")
        made[kind][index] = feature
    return made


def _in_order(places: Sequence[tuple[str, int]], kind: str) -> Iterator[tuple[str, int]]:
    return (place for place in places if place[0] == kind)


def _halved(size: Size) -> Size:
    return (size[0] + 1) // 2, (size[1] + 1) // 2
