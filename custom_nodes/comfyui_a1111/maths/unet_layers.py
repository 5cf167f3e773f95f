"""What patches of a UNet's layers share: a layer's size, and tensors that many layers ask for."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence

from torch import Tensor

_MOST_KEPT = 128
"""More than a UNet's levels and the regions' texts come to at one size of the latent."""


def layer_size(latent: Sequence[int], tokens: int) -> tuple[int, int]:
    """Height and width of a layer with that many tokens.

    Args:
        latent: the latent's shape `[B, C, H, W]`; every level below halves it, rounding up.

    Raises:
        ValueError: no level has so many.
    """
    height, width = latent[-2:]
    while height * width > max(tokens, 1):
        height, width = (height + 1) // 2, (width + 1) // 2
    if height * width != tokens:
        raise ValueError(f"no level of a latent of {latent[-2]}x{latent[-1]} has {tokens} tokens")
    return height, width


class Kept:
    """Tensors that the layers of a UNet ask for again at every call, worked out once.

    They are made on the CPU and copied to where the UNet runs; a copy in every layer of every step
    would make the GPU wait each time. All are dropped where there are too many.
    """

    def __init__(self) -> None:
        self._made: dict[Hashable, Tensor] = {}

    def get(self, name: Hashable, like: Tensor, make: Callable[[], Tensor]) -> Tensor:
        """A tensor with the device and type of `like`.

        Args:
            name: what tells it from the others, the size that it is made for included.
            make: makes it where it is not kept, on whatever device and of whatever type.
        """
        key = (name, like.device, like.dtype)
        found = self._made.get(key)
        if found is None:
            if len(self._made) >= _MOST_KEPT:
                self._made = {}
            found = self._made[key] = make().to(like)
        return found
