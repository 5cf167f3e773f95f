"""Changes of a model that always-on scripts and options ask for, each done by a node."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class FreeU:
    """Scaled features of the decoder: FreeU's second version, or with `first` its first."""

    b1: float
    b2: float
    s1: float
    s2: float
    first: bool = False


@dataclass(frozen=True)
class SelfAttentionGuidance:
    """Guidance away from a prediction whose attended parts are blurred."""

    scale: float
    blur_sigma: float


@dataclass(frozen=True)
class PerturbedAttentionGuidance:
    """Guidance away from a prediction without self-attention in the middle block."""

    scale: float


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
    """

    tile: int
    swap_size: int
    depth: int
    roles: tuple[str, ...]


@dataclass(frozen=True)
class TiledDiffusion:
    """Prediction in overlapping tiles; lengths in cells of the latent.

    Attributes:
        method: ``MultiDiffusion`` or ``Mixture of Diffusers``.
        size: width and height of the latents that are cut; None cuts every pass'.
        tile: width and height of a tile.
        overlap: of two tiles.
        batch: tiles in one call of the model.
    """

    method: str
    size: tuple[int, int] | None
    tile: tuple[int, int]
    overlap: int
    batch: int


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
