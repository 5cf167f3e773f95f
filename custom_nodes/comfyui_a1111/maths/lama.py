"""The picture of ControlNet's inpaint_only+lama: what is masked, filled in by LaMa.

Source of the rules: sd-webui-controlnet v1.1.455. The network is any callable (image
`[1, 3, h, w]` 0..1 with black where it is masked, mask `[1, 1, h, w]` of 0 and 1) -> image: its
answer under the mask, the image elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from . import controlnet_ops

Array = NDArray[Any]
Network = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]

SHORT_SIDE = 256
"""Pixels of the short side that LaMa sees, whatever the unit's resolution."""

_MASKED_ABOVE = 0.5

_BARE_KEY = "model.1.bn_l.running_mean"
"""A tensor of the generator alone, as ControlNetLama.pth keeps it."""


def whole_weights(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """LaMa's tensors named as those of the whole training model, which spandrel knows."""
    if _BARE_KEY not in tensors:
        return tensors
    return {f"model.{name}": tensor for name, tensor in tensors.items()}


def fill(picture: Array, mask: Array, network: Network, device: torch.device | str) -> Array:
    """A picture filled in where it is masked.

    Args:
        picture: `[H, W, 3]`, 0 to 255, uint8 or float32.
        mask: `[H, W]`, of the same type, 255 where it is filled; grey levels mix.

    Returns:
        `[H, W, 3]` uint8.
    """
    height, width = mask.shape
    scaled = controlnet_ops.scale_short_side(np.dstack([picture, mask]), SHORT_SIDE)
    seen = _seen(controlnet_ops.pad_to_multiple(scaled), network, device)
    seen = np.ascontiguousarray(seen[: scaled.shape[0], : scaled.shape[1]])
    filled = controlnet_ops.resample(seen, width, height, "linear")
    share = mask[..., None].astype(np.float32) / 255.0
    mixed = filled.astype(np.float32) * share + picture.astype(np.float32) * (1 - share)
    return np.asarray(mixed.clip(0, 255).astype(np.uint8))


def _seen(levels: Array, network: Network, device: torch.device | str) -> Array:
    """What LaMa makes of `[h, w, 4]`, 0 to 255, the mask last: `[h, w, 3]` uint8, cut down."""
    planes = torch.from_numpy(levels.astype(np.float32) / 255.0).permute(2, 0, 1)[None].to(device)
    mask = (planes[:, 3:] > _MASKED_ABOVE).float()
    image = planes[:, :3] * (1 - mask)
    with torch.inference_mode():
        result = network(image, mask)[0] * 255.0
    return result.permute(1, 2, 0).cpu().numpy().clip(0, 255).astype(np.uint8)
