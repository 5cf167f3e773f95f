"""Stage: the latent that a pass starts from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from translator.comfy import nodes
from translator.comfy.graph import Graph, Latent, Vae
from translator.geometry import latent_pixels
from translator.plan.seeds import as_torch
from translator.plan.values import (
    EmptyLatent,
    Encoded,
    Enlarged,
    LatentUpscale,
    Plan,
    SamplingPass,
)
from translator.stages.init_images import Prepared
from translator.stages.loaders import Loaded
from translator.stages.sampling import Batch
from translator.stages.targets.base import Target


@dataclass(frozen=True)
class Started:
    """What a pass samples, and the pictures that it comes from, if it does."""

    latent: Latent
    prepared: Prepared | None = None


def start(
    graph: Graph,
    plan: Plan,
    sampling_pass: SamplingPass,
    target: Target,
    before: Latent | None,
    loaded: Sequence[Loaded],
    batch: Batch,
) -> Started:
    """What a pass starts from.

    Args:
        before: the latent of the pass before it, None for the first pass.
        loaded: the models of the passes so far, the pass' own the last.
    """
    source = sampling_pass.start
    if isinstance(source, EmptyLatent):
        return Started(
            target.empty_latent(
                sampling_pass.checkpoint.family, *sampling_pass.size, len(batch.seeds)
            )
        )
    if isinstance(source, Encoded):
        return _encoded(graph, plan, sampling_pass, source, target, loaded[-1], batch)
    assert before is not None and isinstance(source, Enlarged)
    vaes = loaded[-2].vae, loaded[-1].vae
    latent = _enlarged(graph, source, target, before, vaes, posterior_seed(plan, batch.seeds))
    if source.crop:
        latent = target.crop_latent(latent, source.crop, sampling_pass.size)
    return Started(latent)


def _encoded(
    graph: Graph,
    plan: Plan,
    sampling_pass: SamplingPass,
    source: Encoded,
    target: Target,
    loaded: Loaded,
    batch: Batch,
) -> Started:
    """The request's pictures as a latent, with what inpainting makes of it."""
    prepared = target.prepare(source, plan.requested_size, batch)
    repeats = len(batch.seeds) if len(source.images) == 1 else 1
    pixels = prepared.pixels
    if repeats > 1 and source.posterior_seed >= 0:  # each copy has a draw of its own
        pixels, repeats = nodes.repeat_image(graph, pixels, repeats), 1
    latent = target.encode_image(pixels, loaded.vae, source.posterior_seed)
    if repeats > 1:
        latent = nodes.repeat_latent(graph, latent, repeats)
    if source.resizing.in_latent_space:
        latent = target.enlarge_latent(
            latent, LatentUpscale("bilinear", False), *sampling_pass.size
        )
    if source.inpainting is not None and prepared.mask is not None:
        mask = prepared.latent_mask or prepared.mask
        latent = target.mask_latent(latent, mask, source.inpainting, plan, loaded.model)
    return Started(latent, prepared)


def _enlarged(
    graph: Graph,
    source: Enlarged,
    target: Target,
    latent: Latent,
    vaes: tuple[Vae, Vae],
    posterior_seed: int,
) -> Latent:
    """A latent enlarged, by itself or by its picture.

    Args:
        vaes: what decodes for an image upscaler, and what encodes its result: A1111 loads the
            hires checkpoint in between.
        posterior_seed: with which A1111 samples the VAE's posterior; -1 takes its mean.
    """
    if isinstance(source.upscale, LatentUpscale):
        width, height = map(latent_pixels, source.target)
        return target.enlarge_latent(latent, source.upscale, width, height)
    image = nodes.vae_decode(graph, latent, vaes[0])
    image = target.enlarge_image(image, source.upscale, source.source, source.target)
    return target.encode_image(image, vaes[1], posterior_seed)


def posterior_seed(plan: Plan, seeds: Sequence[int]) -> int:
    """A1111 encodes with the torch seed that its last noise left; NV noise leaves none (-1).

    Args:
        seeds: of a batch's images.
    """
    return -1 if plan.noise.source == "NV" else as_torch(seeds[-1])
