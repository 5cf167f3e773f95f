"""Pixel arithmetic of maps."""

from __future__ import annotations

import pytest

from translator.control.sizes import Size, fit_factor, pixel_perfect, tile_size


@pytest.mark.parametrize(
    ("image", "target", "mode", "resolution"),
    [
        (Size(300, 400), Size(960, 1280), "Crop and Resize", 960),
        (Size(1000, 500), Size(512, 512), "Crop and Resize", 512),
        (Size(1000, 500), Size(512, 512), "Resize and Fill", 256),
        (Size(1000, 500), Size(512, 512), "Just Resize", 512),
        (Size(640, 480), Size(512, 768), "Crop and Resize", 768),
        (Size(300, 300), Size(512, 768), "Resize and Fill", 512),
    ],
)
def test_pixel_perfect(image: Size, target: Size, mode: str, resolution: int) -> None:
    assert pixel_perfect(image, target, mode) == resolution


def test_the_short_side_is_rounded_as_numpy_does() -> None:
    assert Size(300, 400).with_short_side(1024) == Size(1024, 1365)
    assert Size(400, 300).with_short_side(512) == Size(683, 512)
    assert Size(2, 5).with_short_side(1) == Size(1, 2)


@pytest.mark.parametrize(
    ("mode", "size"),
    [("Crop and Resize", Size(512, 683)), ("Resize and Fill", Size(384, 512))],
)
def test_the_size_before_the_crop_or_the_border(mode: str, size: Size) -> None:
    image, target = Size(300, 400), Size(512, 512)
    assert image.scaled(fit_factor(image, target, mode)) == size


@pytest.mark.parametrize(
    ("rate", "size"), [(1.0, Size(301, 400)), (1.09, Size(301, 400)), (2.0, Size(150, 200))]
)
def test_tile_resample(rate: float, size: Size) -> None:
    assert tile_size(Size(301, 400), rate) == size


def test_padding_is_told() -> None:
    assert Size(512, 640).needs_no_padding
    assert not Size(512, 641).needs_no_padding
