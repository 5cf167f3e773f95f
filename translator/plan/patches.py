"""Changes of a model that always-on scripts and options ask for, each done by a node."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from translator.plan.free_u import Stage
from translator.prompt import Prompt


@dataclass(frozen=True)
class FreeU:
    """Scaled features of the decoder.

    Attributes:
        stages: of 1280, 640 and 320 channels.
        second: whether it is FreeU's second version.
        start, stop: a share of the steps that it acts in, or, as whole numbers, steps.
        smoothness: 0 switches, 1 fades in and out.
        by_calls: whether calls of the model are counted, those of the passes before included, or
            A1111's steps.
    """

    stages: tuple[Stage, ...]
    second: bool
    start: float
    stop: float
    smoothness: float
    by_calls: bool

    @property
    def is_plain(self) -> bool:
        """Whether it acts in all steps on half of the channels, as core's nodes do."""
        usual = all(
            (stage.offset, stage.width, stage.cutoff, stage.high) == (0.0, 0.5, 0.0, 1.0)
            for stage in self.stages
        )
        whole = (self.start, self.stop) == (0.0, 1.0) and not self.smoothness
        return usual and whole and all(stage == Stage() for stage in self.stages[2:])


@dataclass(frozen=True)
class SelfAttentionGuidance:
    """Guidance away from a prediction whose attended parts are blurred."""

    scale: float
    blur_sigma: float


@dataclass(frozen=True)
class PerturbedAttentionGuidance:
    """Guidance away from a prediction without self-attention in the middle block.

    Attributes:
        scale: at first.
        attenuation: how much of it is lost with each call, in percent.
        start, end: the share of the steps that it acts in.
    """

    scale: float
    attenuation: float = 0.0
    start: float = 0.0
    end: float = 1.0

    @property
    def is_plain(self) -> bool:
        """Whether it acts alike in all steps, as core's node does."""
        return (self.attenuation, self.start, self.end) == (0.0, 0.0, 1.0)


@dataclass(frozen=True)
class DeepShrink:
    """A block's features made smaller for a share of the steps (Kohya's HRFix)."""

    block: int
    factor: float
    start: float
    end: float
    after_skip: bool
    down: str
    up: str


@dataclass(frozen=True)
class DynamicThresholding:
    """The guided prediction clamped to what another scale gives; the node's inputs by name."""

    inputs: tuple[tuple[str, Any], ...]


@dataclass(frozen=True)
class RescaledGuidance:
    """The guided prediction brought to the spread of the positive prompt's, by a share of it."""

    share: float


@dataclass(frozen=True)
class HyperTile:
    """Self-attention in tiles.

    Attributes:
        tile, swap_size, depth: as options hypertile_*_unet have them.
        roles: of the passes that it acts in.
        scales: whether tiles are larger in deeper layers.
    """

    tile: int
    swap_size: int
    depth: int
    roles: tuple[str, ...]
    scales: bool = False


@dataclass(frozen=True)
class TiledRegion:
    """A box of the latent with prompts of its own.

    Attributes:
        place: left, top, width and height, as shares.
        kind: ``Background`` or ``Foreground``.
        feather: which share of a foreground's edge fades.
        positive, negative: its prompts.
    """

    place: tuple[float, float, float, float]
    kind: str
    feather: float
    positive: Prompt
    negative: Prompt


@dataclass(frozen=True)
class TiledDiffusion:
    """Prediction in overlapping tiles; lengths in cells of the latent.

    Attributes:
        method: ``MultiDiffusion`` or ``Mixture of Diffusers``.
        size: width and height of the latents that are cut; None cuts every pass'.
        tile: width and height of a tile.
        overlap: of two tiles.
        batch: tiles in one call of the model.
        regions: boxes with prompts of their own.
        draws_tiles: whether the pass' own prompts count beside them.
    """

    method: str
    size: tuple[int, int] | None
    tile: tuple[int, int]
    overlap: int
    batch: int
    regions: tuple[TiledRegion, ...] = ()
    draws_tiles: bool = True


ModelPatch = (
    FreeU
    | SelfAttentionGuidance
    | PerturbedAttentionGuidance
    | DeepShrink
    | DynamicThresholding
    | RescaledGuidance
    | HyperTile
    | TiledDiffusion
)
"""A change of the model that a pass is sampled with."""
