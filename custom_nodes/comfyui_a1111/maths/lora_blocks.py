"""Factors of a LoRA's blocks, as sd-webui-lora-block-weight gives them to the names of weights."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from ..vendor.prompt import block_weights
from ..vendor.prompt.block_weights import Element

_MARKS = (
    ("encoder", "BASE"),
    *((f"diffusion_model_input_blocks_{number}_", f"IN{number:02}") for number in range(12)),
    ("diffusion_model_middle_block_", "M00"),
    *((f"diffusion_model_output_blocks_{number}_", f"OUT{number:02}") for number in range(12)),
)
"""What is in the name of a block's weight, in the order of the factors."""

_SUFFIX = "_weight"
"""What ComfyUI's names have behind A1111's names of modules."""


class BlockWeights(block_weights.BlockWeights):
    """Factors of a LoRA's blocks, with what they mean for ComfyUI's names of weights."""

    @classmethod
    def from_json(cls, text: str) -> BlockWeights:
        """Read an object of these names; raises ValueError where there are not 26 factors."""
        given = json.loads(text)
        ratios = tuple(map(float, given["ratios"]))
        if len(ratios) != len(_MARKS):
            raise ValueError(f"weights: {len(ratios)} ratios, not {len(_MARKS)}")
        elements = (
            Element(
                tuple(item["blocks"]),
                bool(item["but_blocks"]),
                tuple(item["words"]),
                bool(item["but_words"]),
                float(item["ratio"]),
            )
            for item in given.get("elements", ())
        )
        return cls(ratios, tuple(elements))

    def ratio(self, key: str) -> float:
        """The factor of a weight by ComfyUI's name; 1 of one that is in no block."""
        name = key.replace(".", "_").removesuffix(_SUFFIX)
        factor, block = 1.0, ""
        for (mark, own), ratio in zip(_MARKS, self.ratios, strict=True):
            if mark in name:
                factor, block = ratio, own
        for element in self.elements:
            if _fits(element, name + block):
                factor = element.ratio
        return factor

    def groups(self, patches: Mapping[Any, Any]) -> Iterable[tuple[float, dict[Any, Any]]]:
        """Patches by their factor; a key is a name, or a tuple that begins with one."""
        found: dict[float, dict[Any, Any]] = {}
        for key, patch in patches.items():
            name = key if isinstance(key, str) else key[0]
            found.setdefault(self.ratio(name), {})[key] = patch
        return found.items()


def _fits(element: Element, name: str) -> bool:
    """Whether a factor is of the weight of that name, its block's name included."""
    return _holds(name, element.blocks, element.but_blocks) and _holds(
        name, element.words, element.but_words
    )


def _holds(name: str, words: Iterable[str], but: bool) -> bool:
    return any(word in name for word in words) != but
