"""Token merging as A1111 asks tomesd for it: no random choice, by what enters a transformer block.

Self-attention at the UNet's full resolution runs on fewer tokens: of every 2x2 cell the upper left
token stays, and of the others those are merged into the staying token most like them that are the
most alike. (ComfyUI's own node chooses the staying tokens at random, compares what the block's norm
left, and merges queries alone.)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

WRAPPER_KEY = "a1111_token_merging"
_CELL = 2


@dataclass(frozen=True)
class Merging:
    """Which of N tokens are merged into which, for each row of a batch.

    Attributes:
        staying: positions (S) of the tokens that others are merged into.
        others: positions (N - S) of the rest.
        kept, gone: places in `others`, (B, .) each: as they are, and merged.
        into: places in `staying` (B, .), for each of `gone`.
    """

    staying: Tensor
    others: Tensor
    kept: Tensor
    gone: Tensor
    into: Tensor

    def merge(self, tokens: Tensor) -> Tensor:
        """Tokens (B, N, C) -> fewer of them: those that are kept, then those merged into."""
        others, staying = tokens[:, self.others], tokens[:, self.staying]
        merged = staying.scatter_reduce(
            1, _wide(self.into, tokens), _taken(others, self.gone), reduce="mean"
        )
        return torch.cat([_taken(others, self.kept), merged], dim=1)

    def unmerge(self, tokens: Tensor) -> Tensor:
        """What `merge` left -> (B, N, C), each merged token what it was merged into."""
        kept = self.kept.shape[1]
        merged = tokens[:, kept:]
        others = tokens.new_empty(len(tokens), len(self.others), tokens.shape[2])
        others.scatter_(1, _wide(self.kept, tokens), tokens[:, :kept])
        others.scatter_(1, _wide(self.gone, tokens), _taken(merged, self.into))
        whole = tokens.new_empty(len(tokens), len(self.staying) + len(self.others), tokens.shape[2])
        whole[:, self.staying] = merged
        whole[:, self.others] = others
        return whole


def merging_of(tokens: Tensor, size: tuple[int, int], ratio: float) -> Merging | None:
    """How tokens (B, N, C) of a block are merged; None where nothing is.

    Args:
        size: height and width of the latent that the UNet was given.
        ratio: of the tokens to merge; no more than are not staying can be.
    """
    height, width = size
    count = int(tokens.shape[1] * ratio)
    if tokens.shape[1] != height * width or count <= 0 or min(size) < _CELL:
        return None
    stays = torch.zeros(height, width, dtype=torch.bool, device=tokens.device)
    stays[: height // _CELL * _CELL : _CELL, : width // _CELL * _CELL : _CELL] = True
    staying = stays.flatten().nonzero().flatten()
    others = (~stays).flatten().nonzero().flatten()
    unit = tokens / tokens.norm(dim=-1, keepdim=True)
    alike, into = (unit[:, others] @ unit[:, staying].transpose(-1, -2)).max(dim=-1)
    order = alike.argsort(dim=-1, descending=True)
    gone = order[:, :count]
    return Merging(staying, others, order[:, count:], gone, into.gather(1, gone))


def merge_tokens(model: Any, ratio: float) -> Any:
    """A clone of a ComfyUI MODEL whose UNet merges tokens; one without a UNet stays as it is."""
    from comfy.patcher_extension import WrappersMP

    patched = model.clone()
    current: dict[str, Any] = {}

    def noting(module: Any, args: tuple[Tensor, ...]) -> None:
        del module
        current["merging"] = merging_of(args[0].detach(), current["size"], ratio)

    def run_noting(executor: Any, x: Tensor, *args: Any, **kwargs: Any) -> Any:
        """What enters a block is seen by its first norm; the module is shared between jobs."""
        blocks = [item for item in executor.class_obj.modules() if hasattr(item, "attn1")]
        handles = [item.norm1.register_forward_pre_hook(noting) for item in blocks]
        current["size"] = (x.shape[-2], x.shape[-1])
        try:
            return executor(x, *args, **kwargs)
        finally:
            for handle in handles:
                handle.remove()
            current.clear()

    def merge(
        query: Tensor, key: Tensor, value: Tensor, options: Mapping[str, Any]
    ) -> tuple[Tensor, Tensor, Tensor]:
        del options
        merging = current.get("merging")
        if merging is None:
            return query, key, value
        merged = merging.merge(query)
        if key is not query:
            return merged, key, value
        return merged, merged, merged

    def unmerge(attended: Tensor, options: Mapping[str, Any]) -> Tensor:
        del options
        merging = current.pop("merging", None)
        return attended if merging is None else merging.unmerge(attended)

    patched.remove_wrappers_with_key(WrappersMP.DIFFUSION_MODEL, WRAPPER_KEY)
    patched.add_wrapper_with_key(WrappersMP.DIFFUSION_MODEL, WRAPPER_KEY, run_noting)
    patched.set_model_attn1_patch(merge)
    patched.set_model_attn1_output_patch(unmerge)
    return patched


def _taken(tokens: Tensor, places: Tensor) -> Tensor:
    """Tokens (B, N, C) at places (B, n)."""
    return tokens.gather(1, _wide(places, tokens))


def _wide(places: Tensor, tokens: Tensor) -> Tensor:
    return places[..., None].expand(-1, -1, tokens.shape[2])
