"""Tiles, enlarging by a factor and the outpainting's noise, on Pillow images."""

from __future__ import annotations

import math

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from PIL import Image  # noqa: E402

from custom_nodes.comfyui_a1111.maths import image_ops, outpainting, resize_ops  # noqa: E402
from custom_nodes.comfyui_a1111.nodes.tiles import (  # noqa: E402
    A1111EnlargeBy,
    A1111JoinTiles,
    A1111OutpaintNoise,
)

pytestmark = pytest.mark.torch


def picture(width: int, height: int, seed: int = 0) -> Image.Image:
    levels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(levels)


def join(tiles: list[Image.Image], **inputs: object) -> np.ndarray:
    (joined,) = A1111JoinTiles().join(image_ops.to_tensor(tiles), **inputs)  # type: ignore[arg-type]
    return np.asarray(image_ops.to_pil(joined)[0])


# --- Joining ------------------------------------------------------------------------------------


def test_tiles_of_a_picture_make_the_picture_again() -> None:
    """Where tiles agree fading changes nothing, but for the byte that Pillow's mask rounds by."""
    whole = picture(96, 80)
    columns, rows = [0, 32], [0, 16]
    tiles = [whole.crop((x, y, x + 64, y + 64)) for y in rows for x in columns]
    joined = join(
        tiles,
        width=96,
        height=80,
        columns="[0, 32]",
        rows="[0, 16]",
        tile_width=64,
        tile_height=64,
        overlap=32,
    )
    assert np.abs(joined.astype(int) - np.asarray(whole).astype(int)).max() <= 1


def test_a_tile_fades_in_over_the_overlap() -> None:
    """The mask rises from 0 by 255 / overlap a pixel, cut to whole levels, from left and top."""
    black, white = Image.new("RGB", (8, 8)), Image.new("RGB", (8, 8), "white")
    inputs = {"width": 12, "height": 8, "columns": "[0, 4]", "rows": "[0]"}
    joined = join([black, white], tile_width=8, tile_height=8, overlap=4, **inputs)
    assert joined[0, :, 0].tolist() == [0] * 4 + [0, 63, 127, 191] + [255] * 4
    inputs = {"width": 8, "height": 12, "columns": "[0]", "rows": "[0, 4]"}
    joined = join([black, white], tile_width=8, tile_height=8, overlap=4, **inputs)
    assert joined[:, 0, 0].tolist() == [0] * 4 + [0, 63, 127, 191] + [255] * 4


def test_tiles_smaller_than_asked_lie_on_black() -> None:
    small = Image.new("RGB", (8, 8), "white")
    inputs = {"width": 12, "height": 12, "columns": "[0]", "rows": "[0]"}
    joined = join([small], tile_width=12, tile_height=12, overlap=0, **inputs)
    assert joined[7, 7].tolist() == [255] * 3
    assert not joined[8:].any()
    assert not joined[:, 8:].any()


def test_inputs_count_by_their_number() -> None:
    """The tenth input comes after the second, not before it."""
    tiles = [Image.new("RGB", (2, 2), (level, 0, 0)) for level in range(11)]
    more = {f"image_{number}": image_ops.to_tensor([tiles[number]]) for number in range(1, 11)}
    (joined,) = A1111JoinTiles().join(
        image_ops.to_tensor(tiles[:1]),
        width=22,
        height=2,
        columns=str(list(range(0, 22, 2))),
        rows="[0]",
        tile_width=2,
        tile_height=2,
        overlap=0,
        **more,
    )
    levels = np.asarray(image_ops.to_pil(joined)[0])
    assert levels[0, ::2, 0].tolist() == list(range(11))


def test_too_few_tiles_are_told() -> None:
    with pytest.raises(ValueError, match="1 tiles for 2 columns and 1 rows"):
        join(
            [picture(8, 8)],
            width=12,
            height=8,
            columns="[0, 4]",
            rows="[0]",
            tile_width=8,
            tile_height=8,
            overlap=4,
        )


# --- Enlarging by a factor ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "factor", "size"),
    [
        ("lanczos", 2, (128, 96)),
        ("lanczos", 1.3, (80, 56)),
        ("nearest", 1.5, (96, 72)),
        ("nearest", 0.5, (32, 24)),
        ("lanczos", 1, (64, 48)),
        ("none", 3, (64, 48)),
    ],
)
def test_sides_end_at_multiples_of_8(method: str, factor: float, size: tuple[int, int]) -> None:
    assert resize_ops.Upscaler(method).enlarge(picture(64, 48), factor).size == size


def test_lanczos_by_a_factor_is_pillows_once_where_it_fits() -> None:
    source = picture(64, 48)
    enlarged = resize_ops.Upscaler("lanczos").enlarge(source, 2)
    expected = source.resize((128, 96), Image.Resampling.LANCZOS)
    assert np.array_equal(np.asarray(enlarged), np.asarray(expected))


def test_a_model_runs_as_often_as_it_takes_and_once_for_a_factor_of_1() -> None:
    runs: list[tuple[int, int]] = []

    def doubled(image: Image.Image) -> Image.Image:
        runs.append(image.size)
        return image.resize((image.width * 2, image.height * 2), Image.Resampling.NEAREST)

    for factor, expected in ((1.0, 1), (2.0, 1), (3.0, 2), (16.0, 3), (0.5, 0)):
        runs.clear()
        image_ops.enlarge(picture(16, 16), factor, doubled)
        assert len(runs) == expected, factor


def test_the_node_enlarges_every_picture() -> None:
    upscaled = A1111EnlargeBy().enlarge(image_ops.to_tensor([picture(16, 8), picture(16, 8, 1)]), 2)
    assert upscaled[0].shape == (2, 8, 16, 3)  # without an upscaler nothing grows


# --- The outpainting's noise --------------------------------------------------------------------


def area(width: int, height: int, kept: int) -> Image.Image:
    mask = Image.new("L", (width, height), 255)
    mask.paste(0, (0, 0, kept, height))
    return mask


def test_what_is_kept_of_an_outpainting_stays_to_the_byte() -> None:
    source = picture(128, 64)
    filled = outpainting.noised(source, area(128, 64, 80), 1.0, 0.05)
    kept = np.asarray(filled)[:, :80].astype(int) - np.asarray(source)[:, :80].astype(int)
    assert np.abs(kept).max() <= 1  # a byte through 0..1 and back
    assert np.asarray(filled)[:, 80:].std() > 10


def test_the_noise_has_the_levels_of_what_is_kept() -> None:
    levels = np.full((64, 128, 3), 0, np.uint8)
    levels[:, :64] = np.linspace(100, 120, 64, dtype=np.uint8)[None, :, None]
    filled = np.asarray(outpainting.noised(Image.fromarray(levels), area(128, 64, 64), 1.0, 0.0))
    made = filled[:, 64:]
    assert made.min() >= 99
    assert made.max() <= 120


def test_the_noise_is_the_same_every_time_and_grey_without_colours() -> None:
    source, mask = picture(64, 64), area(64, 64, 32)
    node = A1111OutpaintNoise()
    plane = torch.from_numpy(np.asarray(mask).astype(np.float32) / 255)[None]
    first = node.fill(image_ops.to_tensor([source]), plane, 1.0, 0.05)[0]
    second = node.fill(image_ops.to_tensor([source]), plane, 1.0, 0.05)[0]
    assert torch.equal(first, second)
    other = node.fill(image_ops.to_tensor([source]), plane, 2.0, 0.05)[0]
    assert not torch.equal(first, other)


def test_numpys_fourier_transforms_are_orthonormal_round_trips() -> None:
    values = np.random.default_rng(3).random((64, 128, 3))
    spectrum = outpainting._forward(values)
    assert math.isclose(np.sum(values**2), np.sum(np.abs(spectrum) ** 2), rel_tol=1e-12)
    assert np.allclose(np.real(outpainting._backward(spectrum)), values)


def test_histograms_are_matched_by_shares() -> None:
    levels = np.array([0.1, 0.9, 0.5, 0.5])
    wanted = np.array([0.0, 0.25, 0.5, 1.0])
    matched = outpainting.match_histogram(levels, wanted)
    assert matched.tolist() == [0.0, 1.0, 0.5, 0.5]


def test_a_picture_without_light_gives_black_not_a_failure() -> None:
    filled = outpainting.noised(Image.new("RGB", (64, 64)), area(64, 64, 32), 1.0, 0.05)
    assert not np.asarray(filled).any()
