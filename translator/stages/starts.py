"""Stage: the latent that a pass starts from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from translator.comfy import nodes
from translator.comfy.graph import Graph, Image, Latent, Number, Vae
from translator.geometry import latent_pixels
from translator.plan.seeds import as_torch
from translator.plan.starts import EmptyLatent, Encoded, Enlarged, LatentUpscale
from translator.plan.values import (
    Plan,
    SamplingPass,
)
from translator.stages import loaders
from translator.stages.image_conditioning import PictureBeside, Shape, drawn_by, latent_shape
from translator.stages.init_images import Prepared
from translator.stages.loaders import Loaded
from translator.stages.sampling import Batch
from translator.stages.targets.base import Target, Upscaled

PosteriorSeed = Number | int
"""A seed that is known, or one that another node answers."""


@dataclass(frozen=True)
class Started:
    """What a pass samples, and what it comes from.

    Attributes:
        prepared: the request's pictures, if it comes from them.
        beside: what its checkpoint reads beside the latent, or None.
    """

    latent: Latent
    prepared: Prepared | None = None
    beside: PictureBeside | None = None


def start(
    graph: Graph,
    plan: Plan,
    index: int,
    target: Target,
    before: Latent | None,
    loaded: Sequence[Loaded],
    batch: Batch,
    posterior: PosteriorSeed | None,
) -> Started:
    """What a pass starts from.

    Args:
        index: of the pass.
        posterior: what the generation before it has seeded torch with, where a node tells.
        before: the latent of the pass before it, None for the first pass.
        loaded: the models of the passes so far, the pass' own the last.
    """
    sampling_pass = plan.passes[index]
    source = sampling_pass.start
    if isinstance(source, EmptyLatent):
        return _empty(plan, sampling_pass, target, loaded[-1], batch)
    if isinstance(source, Encoded):
        if posterior is not None and source.posterior_seed >= 0:
            seed = posterior
        else:
            seed = source.posterior_seed
        return _encoded(graph, plan, sampling_pass, source, target, loaded[-1], batch, seed)
    assert before is not None and isinstance(source, Enlarged)
    earlier = plan.passes[index - 1]
    drawn = (
        *drawn_by(plan.passes[:index], len(batch.seeds)),
        *earlier.drawn_in_between,
        *sampling_pass.checkpoint.drawn_by_loading_after(earlier.left_loaded),
    )
    encoding = _Encoding(posterior_seed(plan, batch.seeds), drawn)
    if isinstance(source.upscale, LatentUpscale):
        started = _enlarged_latent(
            sampling_pass, source, source.upscale, target, before, loaded[-1].vae, encoding
        )
    else:
        image = nodes.vae_decode(graph, before, loaders.decoder_after(graph, earlier, loaded[-2]))
        image = target.enlarge_image(image, source.upscale, source.source, source.target)
        upscaled = Upscaled(source.upscale.model, source.source)
        started = _enlarged_image(
            sampling_pass, source.target, upscaled, target, image, loaded[-1].vae, encoding, batch
        )
    if source.crop:
        latent = target.crop_latent(started.latent, source.crop, sampling_pass.size)
        return replace(started, latent=latent)
    return started


@dataclass(frozen=True)
class _Encoding:
    """With which seed a posterior is sampled, and what was drawn from it before."""

    seed: int
    drawn: tuple[Shape, ...] = ()


def _empty(
    plan: Plan, sampling_pass: SamplingPass, target: Target, loaded: Loaded, batch: Batch
) -> Started:
    """Nothing; a checkpoint that reads a picture beside it is given an even grey."""
    family = sampling_pass.checkpoint.family
    latent = target.empty_latent(family, *sampling_pass.size, len(batch.seeds))
    settings = sampling_pass.image_conditioning
    if settings is None:
        return Started(latent)
    seed = posterior_seed(plan, batch.seeds)
    size = plan.requested_size
    beside = PictureBeside(settings, latent, loaded.vae, "blank", size, posterior_seed=seed)
    return Started(latent, beside=beside)


def _encoded(
    graph: Graph,
    plan: Plan,
    sampling_pass: SamplingPass,
    source: Encoded,
    target: Target,
    loaded: Loaded,
    batch: Batch,
    seed: PosteriorSeed,
) -> Started:
    """The request's pictures as a latent, with what inpainting makes of it."""
    prepared = target.prepare(source, plan.requested_size, batch)
    count = len(batch.seeds)
    shared = count > 1 and len(source.images) == 1
    pixels = prepared.pixels
    if shared and seed != -1:  # each copy has a draw of its own
        pixels, shared = nodes.repeat_image(graph, pixels, count), False
    latent = target.encode_image(pixels, loaded.vae, seed)
    if shared:
        latent = nodes.repeat_latent(graph, latent, count)
    if source.resizing.in_latent_space:
        latent = target.enlarge_latent(
            latent, LatentUpscale("bilinear", False), *sampling_pass.size
        )
    if source.inpainting is not None and prepared.mask is not None:
        mask = prepared.latent_mask or prepared.mask
        latent = target.mask_latent(latent, mask, source.inpainting, plan, loaded.model)
    beside = None
    if sampling_pass.image_conditioning is not None:
        encoding = _after_latents(plan, sampling_pass, source)
        if encoding.seed >= 0:
            pixels = nodes.repeat_image(graph, prepared.pixels, count) if shared else pixels
        beside = PictureBeside(
            sampling_pass.image_conditioning,
            latent,
            loaded.vae,
            "pixels",
            plan.requested_size,
            pixels,
            prepared.mask,
            posterior_seed=encoding.seed,
            drawn=encoding.drawn,
        )
    return Started(latent, prepared, beside)


def _after_latents(plan: Plan, sampling_pass: SamplingPass, source: Encoded) -> _Encoding:
    """Where torch's generator stands when the init latents are made.

    Latent noise seeds it anew.
    """
    noise = source.inpainting.noise_seeds if source.inpainting else ()
    if noise:
        return _Encoding(posterior_seed(plan, noise))
    if source.posterior_seed < 0:
        return _Encoding(-1)
    return _Encoding(source.posterior_seed, (latent_shape(sampling_pass.size, plan.batch_size),))


def _enlarged_latent(
    sampling_pass: SamplingPass,
    source: Enlarged,
    upscale: LatentUpscale,
    target: Target,
    latent: Latent,
    vae: Vae,
    encoding: _Encoding,
) -> Started:
    """A latent enlarged by itself.

    Args:
        vae: the pass' own.
        encoding: how A1111 samples the VAE's posterior.
    """
    settings, size = sampling_pass.image_conditioning, source.target
    width, height = map(latent_pixels, size)
    latent = target.enlarge_latent(latent, upscale, width, height)
    if settings is None:
        return Started(latent)
    kind: Literal["blank", "samples"] = "blank" if settings.mask_weight >= 1 else "samples"
    grey = PictureBeside(settings, latent, vae, kind, size)
    return Started(latent, beside=replace(grey, posterior_seed=encoding.seed, drawn=encoding.drawn))


def _enlarged_image(
    sampling_pass: SamplingPass,
    size: tuple[int, int],
    upscaled: Upscaled,
    target: Target,
    image: Image,
    vae: Vae,
    encoding: _Encoding,
    batch: Batch,
) -> Started:
    """The latent of an enlarged picture.

    Args:
        size: of the picture.
        upscaled: what has enlarged it.
        vae: the pass' own, which A1111 has loaded by then.
        encoding: how A1111 samples the VAE's posterior.
    """
    settings = sampling_pass.image_conditioning
    latent = target.encode_image(image, vae, encoding.seed, encoding.drawn, upscaled)
    if settings is None:
        return Started(latent)
    drawn = (*encoding.drawn, latent_shape(size, len(batch.seeds)))
    beside = PictureBeside(
        settings, latent, vae, "pixels", size, image, None, True, encoding.seed, drawn
    )
    return Started(latent, beside=beside)


def posterior_seed(plan: Plan, seeds: Sequence[int]) -> int:
    """A1111 encodes with the torch seed that its last noise left; NV noise leaves none (-1).

    Args:
        seeds: of a batch's images.
    """
    return -1 if plan.noise.source == "NV" else as_torch(seeds[-1])
