"""A1111's image arithmetic on Pillow images: quantising, resizing, tiled upscaling.

Everything here works on 8-bit RGB `PIL.Image` objects, because A1111 does: each stage between
two models truncates to bytes, and reproducing its pictures means truncating at the same places.
Source of the rules: A1111 v1.10.1 `modules/images.py`, `upscaler.py`, `upscaler_utils.py`,
restated in shared facts `semantics.md` sections 1, 2.2 and 11.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from PIL import Image

LANCZOS = Image.Resampling.LANCZOS
NEAREST = Image.Resampling.NEAREST

MAX_UPSCALE_RUNS = 3
"""How often A1111 applies one upscaler to reach the wanted size."""

PilFilter = Callable[[Image.Image], Image.Image]


def to_pil(pixels: torch.Tensor) -> list[Image.Image]:
    """ComfyUI IMAGE `[B, H, W, C]` in 0..1 to RGB images, truncated to 8 bit as A1111 does.

    A fourth (alpha) channel is dropped.
    """
    scaled = 255.0 * np.clip(pixels.detach().cpu().float().numpy(), 0.0, 1.0)
    return [Image.fromarray(image[..., :3], "RGB") for image in scaled.astype(np.uint8)]


def to_tensor(images: Sequence[Image.Image]) -> torch.Tensor:
    """Images of one size to a ComfyUI IMAGE `[B, H, W, 3]`, float32 in 0..1."""
    stacked = np.stack([np.asarray(image.convert("RGB"), dtype=np.uint8) for image in images])
    return torch.from_numpy(stacked.astype(np.float32) / 255.0)


def to_levels(pixels: torch.Tensor) -> list[np.ndarray]:
    """ComfyUI IMAGE `[B, H, W, C]` in 0..1 to uint8 arrays `[H, W, 3]`, rounded.

    Loaded pictures are whole levels, which this gives back.
    """
    levels = np.rint(255.0 * np.clip(pixels[..., :3].cpu().float().numpy(), 0.0, 1.0))
    return list(levels.astype(np.uint8))


def from_levels(arrays: Sequence[np.ndarray]) -> torch.Tensor:
    """Arrays `[H, W, C]` of one size, 0..255, to a ComfyUI IMAGE `[B, H, W, C]` in 0..1."""
    return torch.from_numpy(np.stack(arrays).astype(np.float32) / 255.0)


def upscale(image: Image.Image, width: int, height: int, run: PilFilter) -> Image.Image:
    """A1111's `resize_mode 0` with an upscaler: enlarged by the larger factor, then fitted.

    Where nothing grows that is one Lanczos resize to exactly `width` x `height` pixels.
    """
    scale = max(width / image.width, height / image.height)
    if scale > 1.0:
        image = enlarge(image, scale, run)
    return resize(image, width, height)


def upscale_runs(source: tuple[int, int], target: tuple[int, int], scale: int) -> int:
    """How often `upscale` runs a model that enlarges `scale` times, from size to size."""
    sizes: list[tuple[int, int]] = []

    def run(image: Image.Image) -> Image.Image:
        sizes.append(image.size)
        return Image.new("1", (image.width * scale, image.height * scale))

    upscale(Image.new("1", source), *target, run)
    return len(sizes)


def enlarge(image: Image.Image, factor: float, run: PilFilter) -> Image.Image:
    """A1111's upscalers: `run` enlarges the image by its own factor until both sides are there.

    Where that is follows from `factor`: int(side * factor // 8 * 8). `run` is called at most three
    times and not again once it leaves the size alone, and where nothing grows only for a factor of
    exactly 1, once; Lanczos brings the result to the size.
    """
    target = _multiple_of_8(image.width * factor), _multiple_of_8(image.height * factor)
    for number in range(MAX_UPSCALE_RUNS):
        is_there = image.width >= target[0] and image.height >= target[1]
        if is_there and (number > 0 or factor != 1):
            break
        before = image.size
        image = run(image)
        if image.size == before:
            break
    return resize(image, *target)


def _multiple_of_8(length: float) -> int:
    return int(length // 8 * 8)


def resize(image: Image.Image, width: int, height: int) -> Image.Image:
    """One Lanczos resize; an image that already has the size is returned as it is."""
    return image if image.size == (width, height) else image.resize((width, height), LANCZOS)


def scale_image(image: Image.Image, width: int, height: int, method: str) -> Image.Image:
    """Resize to `width` x `height` by one of A1111's model-free upscalers.

    `none` is a single Lanczos resize, `lanczos` and `nearest` pass through the upscaler rule
    above (first by the factor, then to a multiple of 8, then to the size).
    """
    if method == "none":
        return resize(image, width, height)
    scale = max(width / image.width, height / image.height)
    return upscale(image, width, height, by_factor(method, scale))


def by_factor(method: str, factor: float) -> PilFilter:
    """A1111's upscalers Lanczos and Nearest: Pillow's resize by a factor."""
    resample = {"lanczos": LANCZOS, "nearest": NEAREST}[method]

    def run(image: Image.Image) -> Image.Image:
        return image.resize((int(image.width * factor), int(image.height * factor)), resample)

    return run


def run_tiled(image: Image.Image, tile: int, overlap: int, model: PilFilter) -> Image.Image:
    """Apply an upscaling model to square tiles and cross-fade them linearly.

    `tile` and `overlap` are pixels of the input; `tile` 0 runs the whole image at once. An image
    smaller than a tile is extended with black at the left and top, exactly as A1111's crop does.
    """
    if tile <= 0:
        return model(image)
    columns = _tile_offsets(image.width, tile, overlap)
    rows = _tile_offsets(image.height, tile, overlap)
    results = [[model(image.crop((x, y, x + tile, y + tile))) for x in columns] for y in rows]
    factor = results[0][0].width // tile
    return join_tiles(
        results,
        [x * factor for x in columns],
        [y * factor for y in rows],
        (image.width * factor, image.height * factor),
        overlap * factor,
    )


def join_tiles(
    tiles: Sequence[Sequence[Image.Image]],
    columns: Sequence[int],
    rows: Sequence[int],
    size: tuple[int, int],
    fade: int,
) -> Image.Image:
    """A1111's ``combine_grid``: tiles laid side by side, then line by line, faded into each other.

    Args:
        tiles: line by line, each as wide and as high as the others.
        columns, rows: left of each column and top of each line, in pixels; not 0 fades.
        size: width and height of the result.
        fade: pixels over which a tile replaces what lies left of it or above it.
    """
    strips = [_join_horizontally(row, columns, size[0], fade) for row in tiles]
    return _join_vertically(strips, rows, size, fade)


def _tile_offsets(length: int, tile: int, overlap: int) -> list[int]:
    count = max(1, math.ceil((length - overlap) / (tile - overlap)))
    step = (length - tile) / (count - 1) if count > 1 else 0
    offsets = (int(index * step) for index in range(count))
    return [length - tile if start + tile >= length else start for start in offsets]


def _ramp(length: int, across: int) -> np.ndarray:
    """Blend weights rising from 0 to 255 along the second axis: `[across, length]`, uint8."""
    weights = (np.arange(length, dtype=np.float32) * 255 / max(length, 1)).astype(np.uint8)
    return np.repeat(weights[None, :], across, axis=0)


def _join_horizontally(
    tiles: Sequence[Image.Image], offsets: Sequence[int], width: int, fade: int
) -> Image.Image:
    height = tiles[0].height
    mask = Image.fromarray(_ramp(fade, height)) if fade else None
    strip = Image.new("RGB", (width, height))
    for tile, x in zip(tiles, offsets, strict=True):
        if x == 0:
            strip.paste(tile, (0, 0))
            continue
        if mask is not None:
            strip.paste(tile.crop((0, 0, fade, height)), (x, 0), mask)
        strip.paste(tile.crop((fade, 0, tile.width, height)), (x + fade, 0))
    return strip


def _join_vertically(
    strips: Sequence[Image.Image], offsets: Sequence[int], size: tuple[int, int], fade: int
) -> Image.Image:
    width = size[0]
    mask = Image.fromarray(np.ascontiguousarray(_ramp(fade, width).T)) if fade else None
    joined = Image.new("RGB", size)
    for strip, y in zip(strips, offsets, strict=True):
        if y == 0:
            joined.paste(strip, (0, 0))
            continue
        if mask is not None:
            joined.paste(strip.crop((0, 0, width, fade)), (0, y), mask)
        joined.paste(strip.crop((0, fade, width, strip.height)), (0, y + fade))
    return joined


def model_filter(
    network: Callable[[torch.Tensor], torch.Tensor], device: torch.device, dtype: torch.dtype
) -> PilFilter:
    """Wrap an upscaling network `[1, 3, H, W]` -> `[1, 3, H*s, W*s]` as a Pillow filter.

    The channels go in as B, G, R and the result is rounded, as A1111 does for all its upscalers.
    """

    def apply(image: Image.Image) -> Image.Image:
        bgr = np.asarray(image.convert("RGB"))[:, :, ::-1].transpose(2, 0, 1) / 255
        tensor = torch.from_numpy(np.ascontiguousarray(bgr)).unsqueeze(0)
        with torch.inference_mode():
            output = network(tensor.to(device=device, dtype=dtype))
        scaled = 255.0 * output.squeeze(0).float().clamp(0, 1).cpu().numpy().transpose(1, 2, 0)
        return Image.fromarray(np.ascontiguousarray(scaled.round().astype(np.uint8)[:, :, ::-1]))

    return apply
