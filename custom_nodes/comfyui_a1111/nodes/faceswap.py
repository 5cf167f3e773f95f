"""What is answered of a face swapper's work."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from ..maths import face_swap, image_ops
from .inputs import InputTypes, flag


class A1111FaceSwapResult:
    """What a face swapper made of a picture: processed further only where a face was swapped.

    `swapped` is the swapper's own answer, `processed` what was made of that (restored, enlarged).
    Where nothing was swapped, or the swapper's filter left the picture out (it answers black), the
    result is `image`; `forced` takes `processed` of an unswapped picture too.
    """

    CATEGORY = "A1111/image"
    RETURN_TYPES = ("IMAGE",)
    FUNCTION = "choose"

    @classmethod
    def INPUT_TYPES(cls) -> InputTypes:
        return {
            "required": {
                "image": ("IMAGE",),
                "swapped": ("IMAGE",),
                "processed": ("IMAGE", {"lazy": True}),
                "forced": flag(),
            }
        }

    def check_lazy_status(
        self,
        image: torch.Tensor,
        swapped: torch.Tensor,
        forced: bool,
        processed: torch.Tensor | None = None,
    ) -> list[str]:
        """The inputs that have to be made yet."""
        wanted = processed is None and _is_processed(image, swapped, forced)
        return ["processed"] if wanted else []

    def choose(
        self, image: torch.Tensor, swapped: torch.Tensor, forced: bool, processed: Any = None
    ) -> tuple[torch.Tensor]:
        return (processed if _is_processed(image, swapped, forced) else image,)


def _is_processed(image: torch.Tensor, swapped: torch.Tensor, forced: bool) -> bool:
    picture, result = (
        np.asarray(image_ops.to_pil(item[:1])[0].convert("RGB")) for item in (image, swapped)
    )
    if face_swap.was_left_out(picture, result):
        return False
    return forced or face_swap.was_swapped(picture, result)
