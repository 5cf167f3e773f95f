"""What is answered of a face swapper's work."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from custom_nodes.comfyui_a1111.nodes.faceswap import A1111FaceSwapResult  # noqa: E402

NODE = A1111FaceSwapResult()
PICTURE = torch.rand(1, 8, 6, 3, generator=torch.Generator().manual_seed(1))
ROUNDED = torch.floor(PICTURE * 255) / 255
SWAPPED = ROUNDED.clone()
SWAPPED[0, 2, 2] = 1.0 - SWAPPED[0, 2, 2]
LARGER = torch.ones(1, 16, 12, 3)
LEFT_OUT = torch.zeros(1, 512, 512, 3)


def chosen(swapped: torch.Tensor, forced: bool, image: torch.Tensor = PICTURE) -> torch.Tensor:
    """As ComfyUI runs it: the lazy input is made where it is asked for."""
    asked = NODE.check_lazy_status(image, swapped, forced)
    processed = LARGER if asked == ["processed"] else None
    result = NODE.choose(image, swapped, forced, processed)[0]
    assert (result is LARGER) == bool(asked)
    return result


def test_a_swapped_picture_is_processed() -> None:
    assert chosen(SWAPPED, False) is LARGER


def test_a_picture_without_a_swapped_face_stays_as_it_is() -> None:
    """The swapper answers 8-bit levels, which is no change."""
    assert chosen(ROUNDED, False) is PICTURE
    assert chosen(ROUNDED, True) is LARGER


def test_a_picture_that_the_filter_left_out_stays_as_it_is() -> None:
    assert chosen(LEFT_OUT, False) is PICTURE
    assert chosen(LEFT_OUT, True) is PICTURE


def test_a_black_picture_is_not_left_out() -> None:
    black = torch.zeros(1, 8, 6, 3)
    assert chosen(black, False, black) is black
    assert chosen(black, True, black) is LARGER
