"""Our nodes for pictures and latents: scaling, encoding, inpainting, grids, faces."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from translator.comfy.graph import Graph, Image, Latent, Mask, Model, Number, Ref, UpscaleModel, Vae
from translator.comfy.nodes.a1111.json_text import json_text as _json


class Overlay(Ref):
    """A1111_OVERLAY: what an inpainting puts back over its results"""

    __slots__ = ()


class Upscaler(Ref):
    """A1111_UPSCALER: what enlarges pictures where a resize mode does"""

    __slots__ = ()


def a1111_latent_upscale(
    graph: Graph, samples: Latent, width: int, height: int, mode: str, antialias: bool
) -> Latent:
    node = graph.add(
        "A1111LatentUpscale",
        samples=samples,
        width=width,
        height=height,
        mode=mode,
        antialias=antialias,
    )
    return node.out(Latent)


def a1111_latent_crop(
    graph: Graph, samples: Latent, left: int, top: int, right: int, bottom: int
) -> Latent:
    node = graph.add(
        "A1111LatentCrop", samples=samples, left=left, top=top, right=right, bottom=bottom
    )
    return node.out(Latent)


def a1111_vae_encode(
    graph: Graph,
    pixels: Image,
    vae: Vae,
    seed: Number | int,
    drawn: Sequence[Sequence[int]] = (),
    upscaled: tuple[UpscaleModel, tuple[int, int]] | None = None,
) -> Latent:
    """A latent of a picture.

    Args:
        drawn: shapes of what was drawn from the seed before.
        upscaled: the model that enlarged the picture, and its size before.
    """
    model, before = upscaled or (None, None)
    node = graph.add(
        "A1111VAEEncode",
        pixels=pixels,
        vae=vae,
        seed=seed,
        drawn=_json(drawn) if drawn else None,
        upscale_model=model,
        upscaled_from=_json(before) if before else None,
    )
    return node.out(Latent)


def a1111_image_scale(graph: Graph, image: Image, width: int, height: int, method: str) -> Image:
    node = graph.add("A1111ImageScale", image=image, width=width, height=height, method=method)
    return node.out(Image)


def a1111_upscale_with_model(
    graph: Graph, model: UpscaleModel, image: Image, **settings: Any
) -> Image:
    node = graph.add("A1111UpscaleWithModel", upscale_model=model, image=image, **settings)
    return node.out(Image)


def a1111_face_restore(graph: Graph, image: Image, model: str, codeformer_weight: float) -> Image:
    node = graph.add(
        "A1111FaceRestore", image=image, model=model, codeformer_weight=codeformer_weight
    )
    return node.out(Image)


def a1111_face_swap_result(
    graph: Graph, image: Image, swapped: Image, processed: Image, forced: bool
) -> Image:
    """What a face swapper made of a picture; `forced` takes it unswapped as well."""
    node = graph.add(
        "A1111FaceSwapResult", image=image, swapped=swapped, processed=processed, forced=forced
    )
    return node.out(Image)


def a1111_image_grid(
    graph: Graph, images: Sequence[Image], rows: int, legend: str, background: str
) -> Image:
    """A1111ImageGrid, which takes its pictures as images, image_1, image_2 and so on."""
    first, *others = images
    more: dict[str, Any] = {f"image_{number}": image for number, image in enumerate(others, 1)}
    node = graph.add(
        "A1111ImageGrid", images=first, rows=rows, legend=legend, background=background, **more
    )
    return node.out(Image)


def a1111_upscaler(
    graph: Graph, method: str, tile: int, tile_overlap: int, model: UpscaleModel | None
) -> Upscaler:
    node = graph.add(
        "A1111Upscaler",
        method=method,
        tile=tile,
        tile_overlap=tile_overlap,
        upscale_model=model,
    )
    return node.out(Upscaler)


def a1111_flatten(graph: Graph, image: Image, alpha: Mask, color: str) -> Image:
    return graph.add("A1111Flatten", image=image, alpha=alpha, color=color).out(Image)


def a1111_resize_image(
    graph: Graph,
    image: Image,
    width: int,
    height: int,
    resize_mode: int,
    upscaler: Upscaler | None,
) -> Image:
    node = graph.add(
        "A1111ResizeImage",
        image=image,
        width=width,
        height=height,
        resize_mode=resize_mode,
        upscaler=upscaler,
    )
    return node.out(Image)


def a1111_inpaint_mask(
    graph: Graph,
    image: Image,
    alpha: Mask | None,
    *,
    rounds: bool,
    invert: bool,
    blur: tuple[int, int],
) -> Mask:
    node = graph.add(
        "A1111InpaintMask",
        image=image,
        alpha=alpha,
        round=rounds,
        invert=invert,
        blur_x=blur[0],
        blur_y=blur[1],
    )
    return node.out(Mask)


def a1111_inpaint(
    graph: Graph,
    image: Image,
    mask: Mask,
    upscaler: Upscaler | None,
    latent_mask: Mask | None,
    before: Overlay | None,
    **settings: Any,
) -> tuple[Image, Mask, Overlay]:
    node = graph.add(
        "A1111Inpaint",
        image=image,
        mask=mask,
        upscaler=upscaler,
        latent_mask=latent_mask,
        before=before,
        **settings,
    )
    return node.out(Image), node.out(Mask, 1), node.out(Overlay, 2)


def a1111_inpaint_latent(
    graph: Graph,
    samples: Latent,
    mask: Mask,
    *,
    rounds: bool,
    content: str,
    seeds: Sequence[int],
    source: str,
    model: Model | None,
) -> Latent:
    node = graph.add(
        "A1111InpaintLatent",
        samples=samples,
        mask=mask,
        round=rounds,
        content=content,
        seeds=_json(seeds),
        source=source,
        model=model,
    )
    return node.out(Latent)


def a1111_soft_inpaint(
    graph: Graph, overlay: Overlay, start: Latent, samples: Latent, model: Model, **settings: Any
) -> Overlay:
    node = graph.add(
        "A1111SoftInpaint",
        overlay=overlay,
        start=start,
        samples=samples,
        model=model,
        **settings,
    )
    return node.out(Overlay)


def a1111_color_correction(graph: Graph, image: Image, source: Image) -> Image:
    return graph.add("A1111ColorCorrection", image=image, source=source).out(Image)


def a1111_overlay(
    graph: Graph, image: Image, overlay: Overlay, covers: bool, upscaler: Upscaler | None
) -> tuple[Image, Image, Image]:
    """The results put back, the overlay's mask, and the results alone."""
    node = graph.add("A1111Overlay", image=image, overlay=overlay, covers=covers, upscaler=upscaler)
    return node.out(Image), node.out(Image, 1), node.out(Image, 2)


def a1111_enlarge_by(graph: Graph, image: Image, factor: float, upscaler: Upscaler | None) -> Image:
    node = graph.add("A1111EnlargeBy", image=image, factor=factor, upscaler=upscaler)
    return node.out(Image)


def a1111_join_tiles(
    graph: Graph,
    tiles: Sequence[Image],
    size: tuple[int, int],
    columns: Sequence[int],
    rows: Sequence[int],
    tile: tuple[int, int],
    overlap: int,
) -> Image:
    """A1111JoinTiles, which takes its tiles as images, image_1, image_2 and so on.

    Args:
        tiles: as many as the node has inputs; batches count each picture.
    """
    first, *others = tiles
    more: dict[str, Any] = {f"image_{number}": image for number, image in enumerate(others, 1)}
    node = graph.add(
        "A1111JoinTiles",
        images=first,
        width=size[0],
        height=size[1],
        columns=_json(columns),
        rows=_json(rows),
        tile_width=tile[0],
        tile_height=tile[1],
        overlap=overlap,
        **more,
    )
    return node.out(Image)


def a1111_outpaint_noise(
    graph: Graph, image: Image, mask: Mask, falloff: float, colors: float
) -> Image:
    node = graph.add("A1111OutpaintNoise", image=image, mask=mask, falloff=falloff, colors=colors)
    return node.out(Image)
