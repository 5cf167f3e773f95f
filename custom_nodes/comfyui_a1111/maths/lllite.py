"""ControlLLLite: a picture's small addition to what attention projections read.

Source of the rule: sd-webui-controlnet v1.1.455 (`controlnet_lllite.py`). The embedded picture is
stretched to the size of each block, so that any size of picture fits; several models add up, each
reading the projection's bare input.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional
from torch import Tensor

_PROJECTIONS = ("to_q", "to_k", "to_v")


@dataclass(frozen=True)
class LLLite:
    """A ControlLLLite with its picture.

    Attributes:
        modules: by the names of its file; each has `conditioning1`, `down`, `mid` and `up`.
        picture: `[1, 3, H, W]`, -1..1, at the size of the pass.
        weight: multiplies what is added.
        first, last: the noise levels from which and down to which it acts.
    """

    modules: Mapping[str, Any]
    picture: Tensor
    weight: float
    first: float
    last: float
    _embedded: dict[str, Tensor] = field(default_factory=dict)

    def acts_at(self, sigma: float) -> bool:
        return self.last <= sigma <= self.first

    def added(self, name: str, x: Tensor, size: tuple[int, int]) -> Tensor | float:
        """What a module adds to `x` (`[B, places, C]`) of a block of a size; 0 without one."""
        module = self.modules.get(name)
        if module is None:
            return 0.0
        module.to(device=x.device, dtype=x.dtype)
        if name not in self._embedded:
            self._embedded[name] = _embedding(module, self.picture.to(x), size)
        embedded = self._embedded[name].repeat(x.shape[0], 1, 1)
        made: Tensor = module.up(module.mid(torch.cat([embedded, module.down(x)], dim=2)))
        return made * self.weight


def attention_patch(attention: str, models: Sequence[LLLite]) -> Callable[..., Any]:
    """A patch of ComfyUI's attention of one kind: ``attn1`` (self-attention) or ``attn2``.

    `models_of` knows the ones given. A plain function: ComfyUI copies a model's options deeply, but
    functions it leaves alone. (`models` would be ComfyUI's own word for a patch's method.)
    """

    def patch(
        q: Tensor, k: Tensor, v: Tensor, options: Mapping[str, Any]
    ) -> tuple[Tensor | float, ...]:
        sigma = float(options["sigmas"][0])
        acting = [model for model in models if model.acts_at(sigma)]
        if not acting:
            return q, k, v
        prefix = f"{_transformer(options)}_{attention}"
        size = block_size(options["original_shape"], q.shape[1])
        return tuple(
            x + sum(model.added(f"{prefix}_{name}", x, size) for model in acting)
            for x, name in zip((q, k, v), _PROJECTIONS, strict=True)
        )

    patch.lllites = tuple(models)  # type: ignore[attr-defined]
    return patch


def models_of(patch: Any) -> tuple[LLLite, ...]:
    """The ControlLLLites of a patch; none of another's."""
    found: tuple[LLLite, ...] = getattr(patch, "lllites", ())
    return found


def block_size(latent: Sequence[int], places: int) -> tuple[int, int]:
    """Height and width of a block with so many places.

    Args:
        latent: `[B, C, h, w]`; each level of the UNet has half of it, rounded up.
    """
    height, width = latent[-2:]
    while height * width > places:
        height, width = (height + 1) // 2, (width + 1) // 2
    if height * width != places:
        raise ValueError(f"no level of a latent of {latent[-2]}x{latent[-1]} has {places} places")
    return height, width


def _embedding(module: Any, picture: Tensor, size: tuple[int, int]) -> Tensor:
    """What a module makes of the picture, `[1, places, C]`."""
    made = module.conditioning1(picture)
    made = torch.nn.functional.interpolate(made, size, mode="nearest-exact")
    return made.flatten(2).movedim(1, 2)


def _transformer(options: Mapping[str, Any]) -> str:
    """How a ControlLLLite's file names the transformer block that runs."""
    kind, number = options["block"][:2]
    where = "middle_block" if kind == "middle" else f"{kind}_blocks_{number}"
    return f"lllite_unet_{where}_1_transformer_blocks_{options['block_index']}"
