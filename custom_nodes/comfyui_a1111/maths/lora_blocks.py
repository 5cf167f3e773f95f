"""Factors of a LoRA's blocks, as sd-webui-lora-block-weight gives them to the names of weights."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

_MARKS = (
    ("encoder", "BASE"),
    *((f"diffusion_model_input_blocks_{number}_", f"IN{number:02}") for number in range(12)),
    ("diffusion_model_middle_block_", "M00"),
    *((f"diffusion_model_output_blocks_{number}_", f"OUT{number:02}") for number in range(12)),
)
"""What is in the name of a block's weight, in the order of the factors."""

_SUFFIX = "_weight"
"""What ComfyUI's names have behind A1111's names of modules."""


@dataclass(frozen=True)
class Element:
    """A factor for weights whose names hold certain words, see `fits`.

    Attributes:
        blocks, words: one of each must be in the name, the block's own name included; with
            `but_blocks`, `but_words` none may be.
        ratio: the factor.
    """

    blocks: tuple[str, ...]
    but_blocks: bool
    words: tuple[str, ...]
    but_words: bool
    ratio: float

    def fits(self, name: str) -> bool:
        """Whether the factor is of that weight."""
        return _holds(name, self.blocks, self.but_blocks) and _holds(
            name, self.words, self.but_words
        )


@dataclass(frozen=True)
class BlockWeights:
    """Factors by block.

    Attributes:
        ratios: BASE (text encoders), IN00 to IN11, M00, OUT00 to OUT11.
        elements: what goes before them; the last that fits counts.
    """

    ratios: tuple[float, ...]
    elements: tuple[Element, ...] = ()

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
            if element.fits(name + block):
                factor = element.ratio
        return factor

    def groups(self, patches: Mapping[Any, Any]) -> Iterable[tuple[float, dict[Any, Any]]]:
        """Patches by their factor; a key is a name, or a tuple that begins with one."""
        found: dict[float, dict[Any, Any]] = {}
        for key, patch in patches.items():
            name = key if isinstance(key, str) else key[0]
            found.setdefault(self.ratio(name), {})[key] = patch
        return found.items()


def _holds(name: str, words: Iterable[str], but: bool) -> bool:
    return any(word in name for word in words) != but
