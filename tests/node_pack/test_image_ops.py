"""A1111's resizing and tiled upscaling of 8-bit images."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from PIL import Image  # noqa: E402

from custom_nodes.comfyui_a1111.maths import image_ops  # noqa: E402

pytestmark = pytest.mark.torch


def noise_image(width: int, height: int, seed: int = 0) -> Image.Image:
    generator = np.random.default_rng(seed)
    return Image.fromarray(generator.integers(0, 256, (height, width, 3), dtype=np.uint8))


def enlarged(image: Image.Image, factor: int) -> Image.Image:
    return image.resize((image.width * factor, image.height * factor), Image.Resampling.NEAREST)


def levels(image: Image.Image) -> np.ndarray:
    return np.asarray(image).astype(int)


def test_pixels_are_truncated_not_rounded() -> None:
    pixels = torch.tensor([0.999 / 255, 1.0 / 255, 254.9 / 255, 1.5, -1.0]).view(1, 1, 5, 1)
    (image,) = image_ops.to_pil(pixels.expand(1, 1, 5, 3))
    assert levels(image)[0, :, 0].tolist() == [0, 1, 254, 255, 0]


def test_bytes_survive_the_round_trip() -> None:
    ramp = Image.fromarray(np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, axis=2))
    (back,) = image_ops.to_pil(image_ops.to_tensor([ramp]))
    assert np.array_equal(levels(back), levels(ramp))


@pytest.mark.parametrize(
    ("size", "target", "factor", "runs"),
    [
        ((64, 64), (96, 96), 4, 1),
        ((64, 64), (320, 320), 4, 2),
        ((64, 64), (256, 256), 2, 2),
        ((8, 8), (512, 512), 2, 3),
        ((64, 64), (64, 64), 4, 0),
        ((64, 64), (32, 32), 4, 0),
        # both sides reach the multiple of 8 below the target at once: 64*1.1 = 70.4 -> 64
        ((64, 64), (70, 70), 4, 0),
        ((64, 64), (96, 96), 1, 1),
    ],
)
def test_the_upscaler_runs_until_the_size_is_reached(
    size: tuple[int, int], target: tuple[int, int], factor: int, runs: int
) -> None:
    calls = []

    def run(image: Image.Image) -> Image.Image:
        calls.append(image.size)
        return enlarged(image, factor)

    result = image_ops.upscale(noise_image(*size), *target, run)
    assert len(calls) == runs
    assert result.size == target


def test_upscaling_passes_a_multiple_of_eight_before_the_size() -> None:
    image = noise_image(64, 64)
    expected = image.resize((100, 100), Image.Resampling.LANCZOS)
    expected = expected.resize((96, 96), Image.Resampling.LANCZOS)
    expected = expected.resize((100, 100), Image.Resampling.LANCZOS)
    assert np.array_equal(
        levels(image_ops.scale_image(image, 100, 100, "lanczos")), levels(expected)
    )


@pytest.mark.parametrize("method", ["lanczos", "nearest", "none"])
def test_shrinking_is_one_lanczos_resize(method: str) -> None:
    image = noise_image(64, 48)
    expected = image.resize((40, 30), Image.Resampling.LANCZOS)
    assert np.array_equal(levels(image_ops.scale_image(image, 40, 30, method)), levels(expected))


def test_nearest_keeps_the_levels_at_whole_factors() -> None:
    image = noise_image(16, 16)
    assert np.array_equal(
        levels(image_ops.scale_image(image, 32, 32, "nearest")), levels(enlarged(image, 2))
    )


@pytest.mark.parametrize(
    ("size", "tile", "overlap"),
    [((500, 300), 192, 8), ((192, 192), 192, 8), ((193, 192), 192, 8), ((100, 70), 0, 8)],
)
def test_tiles_of_a_pointwise_model_join_without_a_seam(
    size: tuple[int, int], tile: int, overlap: int
) -> None:
    image = noise_image(*size)
    joined = image_ops.run_tiled(image, tile, overlap, lambda part: enlarged(part, 2))
    # Pillow's masked paste may be one level off where two equal values are mixed
    assert np.abs(levels(joined) - levels(enlarged(image, 2))).max() <= 1


def test_tiles_are_spread_evenly_and_end_at_the_border() -> None:
    seen = []

    def run(part: Image.Image) -> Image.Image:
        seen.append(levels(part)[0, 0].tolist())
        return part

    ramp = np.zeros((192, 500, 3), dtype=np.uint8)
    ramp[..., 0], ramp[..., 1] = np.arange(500) % 250, np.arange(500) // 250
    image_ops.run_tiled(Image.fromarray(ramp), 192, 8, run)
    # ceil((500 - 8) / 184) = 3 columns at 0, 154, 308
    assert [red + 250 * green for red, green, _ in seen] == [0, 154, 308]


def test_tiles_fade_linearly_over_the_overlap() -> None:
    values = iter((0, 240))
    joined = image_ops.run_tiled(
        Image.new("RGB", (24, 16)),
        16,
        8,
        lambda part: Image.new("RGB", part.size, (next(values),) * 3),
    )
    row = levels(joined)[0, :, 0]
    assert row[:8].tolist() == [0] * 8
    assert np.abs(row[8:16] - np.arange(8) * 30).max() <= 1
    assert row[16:].tolist() == [240] * 8


def test_a_small_image_is_padded_with_black_at_left_and_top() -> None:
    seen = []

    def run(part: Image.Image) -> Image.Image:
        seen.append(part)
        return part

    image = Image.new("RGB", (10, 12), (9, 9, 9))
    joined = image_ops.run_tiled(image, 16, 4, run)
    part = levels(seen[0])
    assert part.shape == (16, 16, 3)
    assert part[:4].max() == 0 and part[:, :6].max() == 0 and part[4:, 6:].min() == 9
    assert np.array_equal(levels(joined), levels(image))


def test_models_see_blue_green_red_and_the_result_is_rounded() -> None:
    seen = []

    def network(tensor: torch.Tensor) -> torch.Tensor:
        seen.append(tensor)
        return tensor + 0.6 / 255

    run = image_ops.model_filter(network, torch.device("cpu"), torch.float32)
    result = run(Image.new("RGB", (2, 2), (10, 20, 255)))
    assert (seen[0][0, :, 0, 0] * 255).round().tolist() == [255, 20, 10]
    assert levels(result)[0, 0].tolist() == [11, 21, 255]


@pytest.mark.parametrize(
    ("target", "scale", "runs"),
    [
        ((128, 128), 4, 1),
        ((320, 320), 4, 2),
        ((64, 64), 4, 0),
        ((512, 512), 2, 3),
        ((72, 64), 1, 1),
    ],
)
def test_upscale_runs(target: tuple[int, int], scale: int, runs: int) -> None:
    assert image_ops.upscale_runs((64, 64), target, scale) == runs
