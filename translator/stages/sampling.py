"""Stage: what a sampling pass is run with, and the run."""

from __future__ import annotations

from dataclasses import dataclass

from translator.comfy import nodes
from translator.comfy.graph import (
    Conditioning,
    Graph,
    Guider,
    Latent,
    Model,
    Noise,
    Sampler,
    Sigmas,
)


@dataclass(frozen=True)
class Batch:
    """The images that are sampled together.

    Attributes:
        first: position of its first image over all batches.
        seeds, subseeds: one an image.
    """

    first: int
    seeds: tuple[int, ...]
    subseeds: tuple[int, ...]


@dataclass(frozen=True)
class Conditioned:
    """A model with the conditioning that steers it.

    Attributes:
        image: what our guider joins to the latent, where the model reads a picture beside it.
        negative_without_image: with core nodes the negative prompt without that picture, where the
            picture guides besides.
        under_noise: what all noise is laid over, or None.
    """

    model: Model
    positive: Conditioning
    negative: Conditioning
    image: Latent | None = None
    negative_without_image: Conditioning | None = None
    under_noise: Latent | None = None


@dataclass(frozen=True)
class Sampled:
    """A latent sampled, what it was sampled from, and the model whose scale both have."""

    start: Latent
    latent: Latent
    model: Model


@dataclass(frozen=True)
class SamplingParts:
    """What SamplerCustomAdvanced, or a node that samples by itself, is given."""

    noise: Noise
    guider: Guider
    sampler: Sampler
    sigmas: Sigmas


def run(graph: Graph, parts: SamplingParts, latent: Latent) -> Latent:
    """A latent sampled."""
    return nodes.sampler_custom(
        graph,
        noise=parts.noise,
        guider=parts.guider,
        sampler=parts.sampler,
        sigmas=parts.sigmas,
        latent=latent,
    )
