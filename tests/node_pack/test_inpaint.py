"""Masks, crops, masked content and overlays of inpainting, on what a real A1111 answered."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("cv2")

from PIL import Image  # noqa: E402

from custom_nodes.comfyui_a1111.maths import color_ops, inpaint, resize_ops  # noqa: E402
from custom_nodes.comfyui_a1111.maths.inpaint import Settings  # noqa: E402
from custom_nodes.comfyui_a1111.maths.soft_inpainting import percentile_filter  # noqa: E402

pytestmark = pytest.mark.torch

A1111 = Path(__file__).parents[1] / "comfyui" / "a1111"


def opened(name: str) -> Image.Image:
    return Image.open(A1111 / name)


def levels(image: Image.Image) -> np.ndarray:
    return np.asarray(image).astype(int)


@pytest.mark.parametrize("case", ["fill1_full", "fill2_full", "pad4", "fullres_false", "blur_xy"])
def test_what_a1111_kept_of_the_original_is_what_the_overlay_covers(case: str) -> None:
    """Put anything back: where the overlay is opaque, A1111's answer has the same pixels."""
    payload = json.loads((A1111 / "inpaint" / f"{case}.json").read_text("utf-8"))["payload"]
    image = opened("inputs/photo64.png").convert("RGB")
    blur = payload.get("mask_blur")
    sigmas = (blur, blur) if blur else (payload["mask_blur_x"], payload["mask_blur_y"])
    mask = inpaint.binary_mask(opened("inputs/mask64.png"), True)
    settings = Settings(
        width=64,
        height=64,
        resize_mode=0,
        only_masked=payload.get("inpaint_full_res", True),
        padding=payload.get("inpaint_full_res_padding", 0),
        fills=payload["inpainting_fill"] != 1,
    )
    prepared = inpaint.prepare([image], inpaint.blurred(mask, *sigmas), settings)
    assert prepared.overlay is not None
    black = Image.new("RGB", (64, 64))
    finished = inpaint.put_back(black, prepared.overlay, 0, covers=True)
    kept = levels(prepared.overlay.original(0))[..., 3] == 255
    answer = levels(opened(f"inpaint/{case}_0.png").convert("RGB"))
    assert 0 < kept.sum() < kept.size
    assert np.array_equal(levels(finished.image)[kept], answer[kept])


def test_an_empty_mask_makes_the_whole_picture_anew() -> None:
    image = opened("inputs/photo64.png").convert("RGB")
    settings = Settings(32, 48, 0, only_masked=True, padding=8, fills=True)
    prepared = inpaint.prepare([image], Image.new("L", (64, 64)), settings)
    assert prepared.mask is None
    assert prepared.overlay is None
    assert prepared.pixels[0].size == (32, 48)


@pytest.mark.parametrize(
    ("box", "padding", "size", "cut"),
    [
        ((20, 20, 30, 30), 0, (64, 64), (20, 20, 30, 30)),
        ((20, 20, 30, 30), 4, (64, 64), (16, 16, 34, 34)),
        ((20, 20, 30, 30), 0, (128, 64), (15, 20, 35, 30)),
        ((0, 20, 10, 30), 0, (128, 64), (0, 20, 20, 30)),
        ((50, 0, 64, 64), 0, (64, 64), (0, 0, 64, 64)),
    ],
)
def test_the_box_grows_to_the_aspect_and_stays_in_the_picture(
    box: tuple[int, ...], padding: int, size: tuple[int, int], cut: tuple[int, ...]
) -> None:
    mask = Image.new("L", (64, 64))
    mask.paste(255, box)
    assert inpaint.crop_box(mask, padding, *size) == cut


def test_a_transparent_picture_stands_for_its_alpha_any_other_for_its_brightness() -> None:
    clear = Image.new("RGBA", (2, 1), (255, 255, 255, 0))
    clear.putpixel((1, 0), (0, 0, 0, 200))
    assert levels(inpaint.binary_mask(clear, True)).tolist() == [[0, 255]]
    assert levels(inpaint.binary_mask(clear, False)).tolist() == [[0, 200]]
    opaque = Image.new("RGBA", (1, 1), (90, 90, 90, 255))
    assert levels(inpaint.binary_mask(opaque, True)).tolist() == [[90]]


def test_fill_spreads_the_surroundings_into_the_mask() -> None:
    image = Image.new("RGB", (64, 64), (200, 40, 10))
    image.paste((0, 0, 0), (24, 24, 40, 40))
    mask = Image.new("L", (64, 64))
    mask.paste(255, (22, 22, 42, 42))
    filled = levels(inpaint.fill(image, mask))
    assert np.abs(filled - [200, 40, 10]).max() <= 6


@pytest.mark.parametrize("mode", [0, 1, 2])
def test_resize_modes_leave_no_border_black(mode: int) -> None:
    image = Image.new("RGB", (96, 80), (9, 9, 9))
    resized = resize_ops.resize_image(image, 128, 48, mode)
    assert resized.size == (128, 48)
    assert resized.getpixel((0, 0)) == resized.getpixel((127, 47)) == (9, 9, 9)


def test_resize_and_fill_pulls_the_border_outwards() -> None:
    source = np.zeros((4, 8, 3), np.uint8)
    source[0], source[-1] = 50, 150
    fitted = levels(resize_ops.resize_image(Image.fromarray(source), 8, 8, 2))
    assert np.array_equal(fitted[2:6], source)
    assert np.abs(fitted[:2] - 50).max() <= 25
    assert np.abs(fitted[6:] - 150).max() <= 25


def test_a_histogram_matched_to_itself_stays_and_to_another_becomes_it() -> None:
    channel = np.asarray(opened("inputs/photo64.png").convert("L"))
    assert np.array_equal(color_ops.match_histogram(channel, channel), channel)
    halved = channel // 2
    matched = color_ops.match_histogram(channel, halved).astype(int)
    assert np.abs(matched - halved).max() <= 1


def test_luminosity_is_the_other_pictures_and_colors_stay_in_range() -> None:
    generator = np.random.default_rng(1)
    colors, other = generator.random((2, 8, 8, 3))
    weights = [0.299, 0.587, 0.114]
    blended = color_ops.with_luminosity(colors, other)
    assert np.allclose(blended @ weights, other @ weights, atol=0.02)
    assert blended.min() > -0.2
    assert blended.max() < 1.2
    assert np.allclose(color_ops.with_luminosity(colors, colors), colors)


def test_correction_keeps_the_brightness_and_takes_the_hue() -> None:
    image = opened("inputs/photo64.png").convert("RGB")
    dull = image.getchannel(1).point(lambda level: level // 3)
    red = Image.merge("RGB", [image.getchannel(0), dull, dull])
    corrected = color_ops.correct(image, red)
    assert np.abs(levels(corrected.convert("L")) - levels(image.convert("L"))).mean() < 8
    assert levels(corrected)[..., 0].mean() > levels(corrected)[..., 1].mean() + 5


def test_percentile_filter_is_a_weighted_mean_of_a_sorted_window() -> None:
    values = np.zeros((7, 7), np.float32)
    values[3, 3] = 5.0
    highest = percentile_filter(values, 0.9, 1.0)
    assert highest[3, 3] == pytest.approx(5.0)
    assert 0 < highest[3, 4] < 5
    assert highest[0, 0] == 0
    middle = percentile_filter(values, 0.25, 0.75)
    assert middle[3, 3] == 0
    flat = percentile_filter(np.full((4, 6), 2.5, np.float32), 0.25, 0.75)
    assert np.allclose(flat, 2.5)
