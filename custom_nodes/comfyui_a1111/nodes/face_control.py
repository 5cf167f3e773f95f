"""InstantID's ControlNet bound to its face. Imported inside ComfyUI only."""

from __future__ import annotations

from typing import Any

from comfy.controlnet import ControlBase
from torch import Tensor

from ..maths.control_ops import add_residuals, tokens_of_batch

_CONTEXT = "crossattn_controlnet"
"""Where a ControlNet looks for a text of its own before it takes the prompt's."""


class FaceControl(ControlBase):
    """A link in the chain of ControlNets whose inner one reads a face's tokens as its text.

    Args:
        inner: the ControlNet, with hint, strength and range set.
        cond, uncond: the face's tokens for positive and negative prompt, `[1, tokens, channels]`.
    """

    def __init__(self, inner: Any, cond: Tensor, uncond: Tensor) -> None:
        super().__init__()
        self.inner = inner
        self._cond = cond
        self._uncond = uncond

    def get_control(
        self,
        x_noisy: Tensor,
        t: Tensor,
        cond: dict[str, Any],
        batched_number: int,
        transformer_options: dict[str, Any],
    ) -> Any:
        before = None
        if self.previous_controlnet is not None:
            before = self.previous_controlnet.get_control(
                x_noisy, t, cond, batched_number, transformer_options
            )
        kinds = transformer_options["cond_or_uncond"]
        tokens = tokens_of_batch(self._cond, self._uncond, kinds, x_noisy.shape[0])
        own_cond = {**cond, _CONTEXT: tokens.to(x_noisy.device)}
        own = self.inner.get_control(x_noisy, t, own_cond, batched_number, transformer_options)
        return add_residuals(before, own)

    def pre_run(self, model: Any, percent_to_timestep_function: Any) -> None:
        super().pre_run(model, percent_to_timestep_function)
        self.inner.pre_run(model, percent_to_timestep_function)

    def cleanup(self) -> None:
        super().cleanup()
        self.inner.cleanup()

    def get_models(self) -> list[Any]:
        return [*self.inner.get_models(), *super().get_models()]

    def get_extra_hooks(self) -> list[Any]:
        return [*self.inner.get_extra_hooks(), *super().get_extra_hooks()]

    def inference_memory_requirements(self, dtype: Any) -> float:
        before: float = super().inference_memory_requirements(dtype)
        own: float = self.inner.inference_memory_requirements(dtype)
        return before + own

    def copy(self) -> FaceControl:
        copied = FaceControl(self.inner.copy(), self._cond, self._uncond)
        self.copy_to(copied)
        return copied
