"""Ultimate SD upscale on the real server: what the same inpaintings give one after the other."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageOps

from tests.comfyui.pictures import as_base64, decoded, photo, png
from tests.comfyui.worker import Worker

IMG2IMG = "/sdapi/v1/img2img"
TILE, PADDING, BLUR = 64, 8, 4
SIZE = (128, 96)
SEAMS = {"padding": 8, "blur": 2, "denoise": 0.4, "width": 32}
REQUEST: dict[str, Any] = {
    "prompt": "a cat",
    "seed": 21,
    "steps": 4,
    "cfg_scale": 4,
    "sampler_name": "Euler a",
    "denoising_strength": 0.6,
    "override_settings": {"sd_model_checkpoint": "synth_sd15"},
}
Mask = tuple[Image.Image, tuple[int, int], dict[str, Any]]


def arguments(redraw: int, seams: int) -> list[Any]:
    return [
        *(None, TILE, 0, BLUR, PADDING, SEAMS["width"], SEAMS["denoise"], SEAMS["padding"]),
        *("None", True, redraw, False, SEAMS["blur"], seams, 1, *SIZE, 2),
    ]


def tiles() -> list[tuple[int, int]]:
    across, down = (math.ceil(side / TILE) for side in SIZE)
    return [(x, y) for y in range(down) for x in range(across)]


def redrawn(redraw: int) -> Iterator[Mask]:
    """The tiles' masks as the script draws them."""
    side = math.ceil((TILE + PADDING) / 64) * 64
    fields = {"inpaint_full_res_padding": PADDING, "mask_blur": BLUR}
    order = tiles()
    if redraw == 1:
        order = [*(p for p in order if sum(p) % 2 == 0), *(p for p in order if sum(p) % 2)]
    for x, y in order:
        mask = Image.new("L", SIZE, "black")
        box = (x * TILE, y * TILE, x * TILE + TILE, y * TILE + TILE)
        ImageDraw.Draw(mask).rectangle(box, fill="white")
        yield mask, (side, side), fields


def bands() -> Iterator[Mask]:
    bicubic = Image.Resampling.BICUBIC
    gradient, mirrored = Image.linear_gradient("L"), Image.new("L", (256, 256), "black")
    mirrored.paste(gradient.resize((256, 128), bicubic), (0, 0))
    mirrored.paste(gradient.rotate(180).resize((256, 128), bicubic), (0, 128))
    width = SEAMS["width"]
    fields = {"inpaint_full_res_padding": SEAMS["padding"], "mask_blur": 0}
    across, down = (math.ceil(side / TILE) for side in SIZE)
    for x in range(1, across):
        mask = Image.new("L", SIZE, "black")
        upright = mirrored.rotate(90).resize((width, SIZE[1]), bicubic)
        mask.paste(upright, (x * TILE - width // 2, 0))
        yield mask, (width + SEAMS["padding"] * 2, SIZE[1]), fields
    for y in range(1, down):
        mask = Image.new("L", SIZE, "black")
        mask.paste(mirrored.resize((SIZE[0], width), bicubic), (0, y * TILE - width // 2))
        yield mask, (SIZE[0], width + SEAMS["padding"] * 2), fields


def corners() -> Iterator[Mask]:
    gradient = Image.radial_gradient("L").resize((TILE, TILE), Image.Resampling.BICUBIC)
    across, down = (math.ceil(side / TILE) for side in SIZE)
    for y in range(down - 1):
        for x in range(across - 1):
            mask = Image.new("L", SIZE, "black")
            mask.paste(ImageOps.invert(gradient), (x * TILE + TILE // 2, y * TILE + TILE // 2))
            fields = {"inpaint_full_res_padding": 0, "mask_blur": SEAMS["blur"]}
            yield mask, (TILE, TILE), fields


def by_hand(worker: Worker, masks: Iterator[Mask], picture: bytes, **more: Any) -> bytes:
    """A picture after one inpainting for each mask."""
    for mask, (width, height), fields in masks:
        payload = {
            **REQUEST,
            **fields,
            **more,
            "width": width,
            "height": height,
            "init_images": [as_base64(picture)],
            "mask": as_base64(png(mask)),
            "inpaint_full_res": True,
            "inpainting_fill": 1,
        }
        answer = worker.call(payload, IMG2IMG)
        picture = png(decoded(answer["images"][0]).convert("RGB"))
    return picture


def upscaled() -> bytes:
    image = Image.open(io.BytesIO(photo()))
    return png(image.resize(SIZE, resample=Image.Resampling.LANCZOS))


def run(worker: Worker, redraw: int, seams: int) -> list[np.ndarray[Any, Any]]:
    payload = {
        **REQUEST,
        "init_images": [as_base64(photo())],
        "script_name": "Ultimate SD upscale",
        "script_args": arguments(redraw, seams),
    }
    images = worker.call(payload, IMG2IMG)["images"]
    return [np.asarray(decoded(image).convert("RGB"), np.int16) for image in images]


def same(one: np.ndarray[Any, Any], other: bytes) -> None:
    wanted = np.asarray(Image.open(io.BytesIO(other)).convert("RGB"), np.int16)
    assert one.shape == wanted.shape
    assert np.abs(one - wanted).max() <= 1


@pytest.mark.parametrize("redraw", [0, 1])
def test_tiles_are_inpaintings_of_the_picture_before(worker: Worker, redraw: int) -> None:
    (picture,) = run(worker, redraw, 0)
    wanted = by_hand(worker, redrawn(redraw), upscaled())
    same(picture, wanted)
    assert np.abs(picture - np.asarray(Image.open(io.BytesIO(upscaled())), np.int16)).max() > 20


def test_bands_correct_the_seams(worker: Worker) -> None:
    first, second = run(worker, 2, 1)
    same(first, upscaled())
    same(second, by_hand(worker, bands(), upscaled(), denoising_strength=SEAMS["denoise"]))


def test_half_tiles_and_corners_correct_the_seams(worker: Worker) -> None:
    """The corners come last; before them the same picture as with half tiles alone."""
    _, halves = run(worker, 2, 2)
    _, all_of_them = run(worker, 2, 3)
    picture = png(Image.fromarray(halves.astype(np.uint8)))
    same(all_of_them, by_hand(worker, corners(), picture, denoising_strength=SEAMS["denoise"]))
