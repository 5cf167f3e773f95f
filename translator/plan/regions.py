"""Prompts by region: what Regional Prompter and Forge Couple ask of a pass."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from translator.plan.lines import Line
from translator.prompt import Prompt
from translator.request.images import ImageUpload

Box = tuple[int, int, int, int]
"""Left, top, right and bottom in pixels, the last two excluded."""


@dataclass(frozen=True)
class CoupledRegion:
    """A prompt of a part of the picture.

    Attributes:
        prompt: its positive prompt.
        place: its box, or the picture of its mask; None is the whole picture.
        weight: beside the regions that it overlaps.
    """

    prompt: Prompt
    place: Box | ImageUpload | None
    weight: float


@dataclass(frozen=True)
class CoupledRegions:
    """Forge Couple's regions, in place of the positive prompt.

    Attributes:
        size: width and height of the picture that the boxes lie in.
    """

    regions: tuple[CoupledRegion, ...]
    size: tuple[int, int]

    @property
    def uploads(self) -> tuple[ImageUpload, ...]:
        """The masks' pictures."""
        places = (region.place for region in self.regions)
        return tuple(place for place in places if isinstance(place, ImageUpload))


@dataclass(frozen=True)
class RegionLora:
    """A LoRA in a text: its name among the prompt's networks, and its strengths there."""

    name: str
    te: float
    unet: float


Calculation = Literal["Attention", "Latent"]
Division = Literal["rows", "columns", "mask", "whole"]


@dataclass(frozen=True)
class RegionalPrompts:
    """Regional Prompter's regions: the prompts of the pass, cut into texts.

    Attributes:
        calculation: whether regions act in cross-attention or as parts between ANDs.
        division: ``rows`` and ``columns`` have `lines`; ``whole`` divides nothing.
        base: whether the first text lies under all regions.
        lines: see `division`.
        base_shares: the base's share of each region of a mask.
        mask: the picture of the regions' colours.
        texts, negative_texts: what the prompts are cut into; empty in Latent.
        loras: in Latent, which LoRAs each text has, and how strong they are.
        negative_loras: those of the negative prompt.
        lora_stop: the step that they end before; None never.
        swaps: whether the extension takes positive and negative rows for each other where
            A1111 runs both in one batch.
    """

    calculation: Calculation
    division: Division
    base: bool
    lines: tuple[Line, ...] = ()
    base_shares: tuple[float, ...] = ()
    mask: ImageUpload | None = None
    texts: tuple[str, ...] = ()
    negative_texts: tuple[str, ...] = ()
    loras: tuple[tuple[RegionLora, ...], ...] = ()
    negative_loras: tuple[RegionLora, ...] = ()
    lora_stop: int | None = None
    swaps: bool = False

    @property
    def uploads(self) -> tuple[ImageUpload, ...]:
        """The picture of the mask."""
        return () if self.mask is None else (self.mask,)

    @property
    def separates_loras(self) -> bool:
        """Whether a LoRA acts only in the texts that name it."""
        return any(self.loras)


Regions = CoupledRegions | RegionalPrompts
