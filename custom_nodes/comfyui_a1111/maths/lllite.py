"""ControlLLLite: a picture's small addition to what attention projections read.

Source of the rule: sd-webui-controlnet v1.1.455 (`controlnet_lllite.py`). The embedded picture is
stretched to the size of each block, so that any size of picture fits; several models add up, each
reading the projection's bare input.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional
from torch import Tensor

from .unet_layers import layer_size

_PROJECTIONS = ("to_q", "to_k", "to_v")


@dataclass
class _Working:
    """What a ControlLLLite has worked out for the pass that runs.

    Attributes:
        modules: copies of the modules on the UNet's device and of its type, by name.
        embedded: the picture by module and size, `[1, places, C]`.
        sigmas: of the last call, whose first is `level`: reading it waits for the GPU.
    """

    modules: dict[str, Any] = field(default_factory=dict)
    embedded: dict[tuple[str, tuple[int, int]], Tensor] = field(default_factory=dict)
    sigmas: Tensor | None = None
    level: float = 0.0


class LLLite:
    """A ControlLLLite with its picture.

    Args:
        modules: by the names of its file; each has `conditioning1`, `down`, `mid` and `up`. They
            belong to whoever loaded the file and are not changed.
        picture: `[1, 3, H, W]`, -1..1, at the size of the pass.
        weight: multiplies what is added.
        first, last: the noise levels from which and down to which it acts.
    """

    def __init__(
        self, modules: Mapping[str, Any], picture: Tensor, weight: float, first: float, last: float
    ) -> None:
        self._modules = modules
        self._picture = picture
        self._weight = weight
        self._first = first
        self._last = last
        self._working = _Working()

    def acts(self, sigmas: Tensor) -> bool:
        """Whether it acts in a call of the model at the noise levels `[B]`, all the same."""
        working = self._working
        if working.sigmas is not sigmas:
            working.sigmas, working.level = sigmas, float(sigmas[0])
        return self._last <= working.level <= self._first

    def added(self, name: str, x: Tensor, size: tuple[int, int]) -> Tensor | float:
        """What a module adds to `x` (`[B, places, C]`) of a block of a size; 0 without one."""
        if name not in self._modules:
            return 0.0
        working = self._working
        if name not in working.modules:
            working.modules[name] = copy.deepcopy(self._modules[name]).to(x)
        module = working.modules[name]
        if (name, size) not in working.embedded:
            working.embedded[name, size] = _embedding(module, self._picture.to(x), size)
        embedded = working.embedded[name, size].repeat(x.shape[0], 1, 1)
        made: Tensor = module.up(module.mid(torch.cat([embedded, module.down(x)], dim=2)))
        return made * self._weight

    def rest(self) -> None:
        """Let go of what a pass needed, which may lie on the GPU."""
        self._working = _Working()


def attention_patch(attention: str, models: Sequence[LLLite]) -> Callable[..., Any]:
    """A patch of ComfyUI's attention of one kind: ``attn1`` (self-attention) or ``attn2``.

    `models_of` knows the ones given. A plain function: ComfyUI copies a model's options deeply, but
    functions it leaves alone. (`models` would be ComfyUI's own word for a patch's method.)
    """

    def patch(
        q: Tensor, k: Tensor, v: Tensor, options: Mapping[str, Any]
    ) -> tuple[Tensor | float, ...]:
        acting = [model for model in models if model.acts(options["sigmas"])]
        if not acting:
            return q, k, v
        prefix = f"{_transformer(options)}_{attention}"
        size = layer_size(options["original_shape"], q.shape[1])
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
