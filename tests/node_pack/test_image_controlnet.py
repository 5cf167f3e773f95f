"""Fitting of control maps, against OpenCV where it is installed."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from custom_nodes.comfyui_a1111.maths import controlnet_ops as ops  # noqa: E402

pytestmark = pytest.mark.torch


def noise_map(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def smooth_gray(seed: int) -> np.ndarray:
    cv2 = pytest.importorskip("cv2")
    noise = np.random.default_rng(seed).integers(0, 256, (40, 53), dtype=np.uint8)
    return cv2.GaussianBlur(noise, (5, 5), 1.2)


def line_map(side: int) -> np.ndarray:
    """White one-pixel lines on black."""
    lines = np.zeros((side, side, 3), dtype=np.uint8)
    lines[side // 2] = 255
    lines[range(side), range(side)] = 255
    return lines


@pytest.mark.parametrize("seed", range(5))
def test_thinning_equals_opencv(seed: int) -> None:
    cv2 = pytest.importorskip("cv2")
    gray = smooth_gray(seed)
    for footprint in ops._LINE_FOOTPRINTS:
        assert np.array_equal(
            ops._neighbourhood(gray, footprint, True),
            cv2.dilate(gray, footprint.astype(np.uint8)),
        )
    _, binary = cv2.threshold(gray, 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    assert np.array_equal(ops.otsu(gray), binary)
    assert np.array_equal(ops.otsu(binary), binary)
    for pattern in (*ops._THINNING_PATTERNS, *ops._PRUNING_PATTERNS):
        hits = cv2.morphologyEx(binary, cv2.MORPH_HITMISS, np.ascontiguousarray(pattern))
        assert np.array_equal(ops._hit_or_miss(binary, pattern), hits > 127)


def test_thin_lines_stay_one_pixel_thick_when_enlarged() -> None:
    fitted = ops.resize_map(line_map(32), 96, 96)
    assert set(np.unique(fitted)) == {0, 255}
    column = fitted[:, 10, 0]
    assert (column > 0).sum() == 2  # one row of the level line, one of the diagonal
    assert (fitted > 0).mean() < 0.03


def test_broad_binary_areas_stay_binary_without_thinning() -> None:
    area = np.zeros((32, 32, 3), dtype=np.uint8)
    area[8:24, 8:24] = 255
    fitted = ops.resize_map(area, 64, 64)
    assert set(np.unique(fitted)) == {0, 255}
    assert abs(int((fitted[..., 0] > 0).sum()) - 32 * 32) <= 4


def test_few_colours_are_never_mixed() -> None:
    palette = np.array([[0, 0, 0], [90, 10, 200], [255, 0, 0]], dtype=np.uint8)
    segments = palette[np.random.default_rng(1).integers(0, 3, (20, 30))]
    fitted = ops.resize_map(segments, 77, 41)
    assert {tuple(color) for color in fitted.reshape(-1, 3)} <= {tuple(c) for c in palette}


def test_many_colours_use_area_down_and_cubic_up() -> None:
    cv2 = pytest.importorskip("cv2")
    image = noise_map(60, 80)
    for (width, height), flag in (((40, 30), cv2.INTER_AREA), ((160, 128), cv2.INTER_CUBIC)):
        expected = cv2.resize(image, (width, height), interpolation=flag)
        assert np.array_equal(ops.resize_map(image, width, height), expected)


@pytest.mark.parametrize("size", [(77, 41), (13, 9), (40, 90)])
def test_nearest_equals_opencv(size: tuple[int, int]) -> None:
    cv2 = pytest.importorskip("cv2")
    image = noise_map(20, 30)
    expected = cv2.resize(image, size, interpolation=cv2.INTER_NEAREST)
    assert np.array_equal(ops.resample(image, *size, "nearest"), expected)


def test_a_map_of_the_right_size_is_left_alone() -> None:
    image = noise_map(16, 24)
    assert np.array_equal(ops.fit(image, 24, 16, "Crop and Resize"), image)


@pytest.mark.parametrize("mode", ops.RESIZE_MODES)
@pytest.mark.parametrize("size", [(64, 64), (96, 40), (40, 96), (15, 15)])
def test_every_mode_gives_the_size(mode: str, size: tuple[int, int]) -> None:
    assert ops.fit(noise_map(48, 31), *size, mode).shape == (size[1], size[0], 3)


def test_crop_keeps_the_middle() -> None:
    image = noise_map(32, 64)
    fitted = ops.fit(image, 32, 32, "Crop and Resize")
    assert np.array_equal(fitted, image[:, 16:48])


def test_fill_uses_the_median_of_the_border() -> None:
    image = noise_map(32, 64)
    image[0], image[-1], image[:, 0], image[:, -1] = 70, 70, 70, 70
    fitted = ops.fit(image, 64, 64, "Resize and Fill")
    assert (fitted[:16] == 70).all() and (fitted[48:] == 70).all()
    assert np.array_equal(fitted[16:48], image)


def test_an_inpainting_mask_is_fitted_along_and_covers_the_fill() -> None:
    mask = np.zeros((32, 64, 1), dtype=np.float32)
    mask[8:24, 20:40] = 255
    image = np.concatenate([noise_map(32, 64).astype(np.float32), mask], axis=2)
    fitted = ops.fit(image, 64, 64, "Resize and Fill")
    assert fitted.shape == (64, 64, 4)
    assert set(np.unique(fitted[..., 3])) == {0.0, 255.0}
    assert (fitted[:16, :, 3] == 255).all() and fitted[20, 0, 3] == 0 and fitted[32, 30, 3] == 255


def test_preparation_scales_the_short_side_and_repeats_the_edge() -> None:
    scaled = ops.scale_short_side(noise_map(100, 150), 70)
    assert scaled.shape[:2] == (70, 105)
    padded = ops.pad_to_multiple(scaled)
    assert padded.shape[:2] == (128, 128)
    assert np.array_equal(padded[:70, :105], scaled)
    assert (padded[100, :105] == scaled[-1]).all() and (padded[:70, 120] == scaled[:, -1]).all()


def test_without_opencv_the_resizing_is_near(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("cv2")
    image = ops.resample(noise_map(12, 16), 64, 48, "cubic")
    sizes = {"area": (32, 24), "cubic": (96, 72)}
    exact = {method: ops.resample(image, *size, method) for method, size in sizes.items()}
    monkeypatch.setattr(ops, "_opencv", lambda: None)
    for method, size in sizes.items():
        near = ops.resample(image, *size, method)
        assert near.dtype == np.uint8 and near.shape == exact[method].shape
        assert np.abs(near.astype(int) - exact[method].astype(int)).mean() < 8, method
