"""Seeds as A1111 settles them: one for each image of the request.

Sources: A1111 v1.10.1 ``modules/processing.py`` (get_fixed_seed, process_images_inner).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

RANDOM = -1
"""The seed that asks for a random one."""

_TORCH_SEEDS = 2**64

Draw = Callable[[], int]
"""A source of random seeds; A1111's are 0 <= seed < 4294967294."""


@dataclass(frozen=True)
class Seeds:
    """The seeds of a request's images, in order over all batches.

    Attributes:
        seeds: seed + k for image k; the same for all where a variation seed is mixed in.
        subseeds: subseed + k, always.
    """

    seeds: tuple[int, ...]
    subseeds: tuple[int, ...]


def resolve(
    seed: int | float | str | None,
    subseed: int | float | str | None,
    subseed_strength: float,
    images: int,
    draw: Draw,
) -> Seeds:
    """The seeds of ``images`` images.

    Args:
        subseed_strength: with any but 0 all images share the seed and vary in the subseed.
        images: n_iter * batch_size.
        draw: called for the seed first, then for the subseed, where each is random.
    """
    first, first_subseed = fixed(seed, draw), fixed(subseed, draw)
    shared = subseed_strength != 0
    return Seeds(
        tuple(first if shared else first + k for k in range(images)),
        tuple(first_subseed + k for k in range(images)),
    )


def fixed(seed: int | float | str | None, draw: Draw) -> int:
    """One seed: None, "", -1 and text that is no whole number are drawn, a float is cut."""
    if isinstance(seed, str):
        try:
            seed = int(seed)
        except ValueError:
            seed = None
    return draw() if seed is None or seed == RANDOM else int(seed)


def as_torch(seed: int) -> int:
    """The seed that a torch generator makes of one: negative ones count from 2**64."""
    return seed % _TORCH_SEEDS
