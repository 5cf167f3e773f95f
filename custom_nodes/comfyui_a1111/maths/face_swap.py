"""Whether a face swapper did anything to a picture, as it answers no more than a picture.

Pictures are 8-bit arrays `[H, W, 3]`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Levels = NDArray[Any]


def was_left_out(picture: Levels, swapped: Levels) -> bool:
    """Whether the swapper's filter left the picture out: a black one stands for it."""
    return not swapped.any() and bool(picture.any())


def was_swapped(picture: Levels, swapped: Levels) -> bool:
    """Whether anything of the picture was changed."""
    return not np.array_equal(picture, swapped)
