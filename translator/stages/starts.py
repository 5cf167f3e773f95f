"""Stage: from the first pass' latent to the one that the second pass starts from."""

from __future__ import annotations

from translator.comfy import nodes
from translator.comfy.graph import Graph, Image, Latent, Vae
from translator.geometry import LATENT_CELL, latent_pixels
from translator.plan.values import HiresPlan, ImageUpscale, LatentUpscale

_MAX_RUNS = 3
"""How often A1111 runs an upscale model at the most."""

_MODEL_SCALE = 4
"""The factor A1111 reports for every upscale model, whatever the file does."""

_CORE_LATENT_MODES = {"nearest": "nearest-exact"}
"""Latent modes that core's LatentUpscale lacks -> the nearest that it has."""

_CORE_IMAGE_METHODS = {"nearest": "nearest-exact", "none": "lanczos"}


def enlarge(
    graph: Graph,
    hires: HiresPlan,
    latent: Latent,
    *,
    first_vae: Vae,
    second_vae: Vae,
    exact: bool,
    posterior_seed: int,
) -> Latent:
    """The first pass' latent at the hires size.

    Args:
        first_vae: decodes for an image upscaler.
        second_vae: encodes its result: A1111 loads the hires checkpoint in between.
        exact: whether our node pack is used.
        posterior_seed: with which A1111 samples the VAE's posterior; -1 takes its mean.
    """
    if isinstance(hires.upscale, LatentUpscale):
        enlarged = _latent(graph, hires, hires.upscale, latent, exact)
    else:
        image = nodes.vae_decode(graph, latent, first_vae)
        image = _image(graph, hires, hires.upscale, image, exact)
        if exact:
            enlarged = nodes.a1111_vae_encode(graph, image, second_vae, posterior_seed)
        else:
            enlarged = nodes.vae_encode(graph, image, second_vae)
    return _cropped(graph, hires, enlarged, exact) if hires.crop else enlarged


def _latent(
    graph: Graph, hires: HiresPlan, upscale: LatentUpscale, latent: Latent, exact: bool
) -> Latent:
    width, height = map(latent_pixels, hires.upscaled)
    if exact:
        return nodes.a1111_latent_upscale(
            graph, latent, width, height, upscale.mode, upscale.antialias
        )
    mode = _CORE_LATENT_MODES.get(upscale.mode, upscale.mode)
    return nodes.latent_upscale(graph, latent, mode, width, height)


def _image(
    graph: Graph, hires: HiresPlan, upscale: ImageUpscale, image: Image, exact: bool
) -> Image:
    width, height = hires.upscaled
    if upscale.model is None:
        return _resized(graph, image, upscale.method, width, height, exact)
    model = nodes.load_upscale_model(graph, upscale.model.name)
    if exact:
        return nodes.a1111_upscale_with_model(
            graph,
            model,
            image,
            width=width,
            height=height,
            tile=upscale.tile,
            tile_overlap=upscale.tile_overlap,
        )
    for _ in range(model_runs(hires.enlarged_from, hires.upscaled)):
        image = nodes.image_upscale_with_model(graph, model, image)
    return nodes.image_scale(graph, image, "lanczos", width, height)


def model_runs(source: tuple[int, int], target: tuple[int, int]) -> int:
    """How often core runs the upscale model: until both sides are there, three times at most."""
    runs, factor = 0, 1
    wanted = max(target[0] / source[0], target[1] / source[1])
    while runs < _MAX_RUNS and factor < wanted:
        runs, factor = runs + 1, factor * _MODEL_SCALE
    return runs


def _resized(
    graph: Graph, image: Image, method: str, width: int, height: int, exact: bool
) -> Image:
    if exact:
        return nodes.a1111_image_scale(graph, image, width, height, method)
    core = _CORE_IMAGE_METHODS.get(method, method)
    return nodes.image_scale(graph, image, core, width, height)


def _cropped(graph: Graph, hires: HiresPlan, latent: Latent, exact: bool) -> Latent:
    crop = hires.crop
    if exact:
        return nodes.a1111_latent_crop(graph, latent, crop.left, crop.top, crop.right, crop.bottom)
    return nodes.latent_crop(
        graph,
        latent,
        hires.sampling.width,
        hires.sampling.height,
        crop.left * LATENT_CELL,
        crop.top * LATENT_CELL,
    )
