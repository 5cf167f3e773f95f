"""Prompts by region: masks at tokens, and what cross-attention comes to."""

from __future__ import annotations

import copy

import pytest

torch = pytest.importorskip("torch")

from custom_nodes.comfyui_a1111.maths.attention_couple import (  # noqa: E402
    Box,
    Couple,
    at_tokens,
    region_masks,
)
from custom_nodes.comfyui_a1111.maths.unet_layers import Kept, layer_size  # noqa: E402

pytestmark = pytest.mark.torch

HALVES: list[Box] = [(0, 0, 32, 64, 1.0), (32, 0, 64, 64, 1.0)]


def attend(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    return torch.softmax(q @ k.transpose(1, 2), dim=-1) @ v


def test_masks_are_shares() -> None:
    masks = region_masks([*HALVES, (0, 0, 64, 64, 0.5)], 64, 64)
    assert masks.sum(dim=0).unique().tolist() == [1.0]
    assert float(masks[2, 0, 5, 5]) == pytest.approx(0.5 / 1.5)
    with pytest.raises(ValueError, match="without a prompt"):
        region_masks(HALVES[:1], 64, 64)


@pytest.mark.parametrize(("tokens", "width", "height"), [(64, 8, 8), (16, 4, 4), (15, 5, 3)])
def test_masks_follow_the_levels(tokens: int, width: int, height: int) -> None:
    shape = (2, 4, 8, 8) if tokens != 15 else (2, 4, 6, 10)
    masks = at_tokens(region_masks(HALVES, 64, 64), tokens, shape)
    left = masks[0, :, 0].view(height, width)
    assert bool((left[:, : width // 2] == 1).all()) and bool((left[:, -(width // 2) :] == 0).all())


@pytest.mark.parametrize("size", [(2, 64), (1, 5), (17, 9)])
def test_every_level_of_a_latent_has_its_size(size: tuple[int, int]) -> None:
    height, width = size
    for _ in range(4):
        assert layer_size((1, 4, *size), height * width) == (height, width)
        height, width = -(-height // 2), -(-width // 2)
    with pytest.raises(ValueError, match="no level"):
        layer_size((1, 4, 6, 10), 14)


def test_what_layers_ask_for_is_made_once() -> None:
    kept, made = Kept(), []

    def make() -> torch.Tensor:
        made.append(1)
        return torch.ones(2)

    for like in (torch.zeros(1), torch.zeros(1), torch.zeros(1, dtype=torch.float16)):
        assert kept.get("name", like, make).dtype == like.dtype
    assert len(made) == 2
    for number in range(1000):
        kept.get(number, torch.zeros(1), make)
    assert len(kept._made) <= 128


def test_the_patches_of_a_copied_model_share_their_masks() -> None:
    """ComfyUI copies a model's options deeply with every clone."""
    couple = Couple(region_masks(HALVES, 64, 64), (torch.zeros(1, 77, 6),) * 2)
    assert copy.deepcopy([couple.before])[0].__self__ is couple


@pytest.mark.parametrize("kinds", [[0], [1, 0], [0, 1]])
def test_each_half_attends_to_its_own_text(kinds: list[int]) -> None:
    torch.manual_seed(3)
    images, channels = 2, 6
    texts = (torch.randn(1, 77, channels), torch.randn(1, 154, channels))
    q = torch.randn(images * len(kinds), 16, channels)
    k = torch.randn(images * len(kinds), 77, channels)
    options = {"cond_or_uncond": kinds, "original_shape": (images * len(kinds), 4, 8, 8)}
    couple = Couple(region_masks(HALVES, 64, 64), texts)
    divided = couple.before(q, k, k, options)
    assert options["cond_or_uncond"] == [kind for kind in kinds for _ in range(1 + (kind == 0))]
    out = couple.after(attend(*divided), options)
    assert out.shape == q.shape and options["cond_or_uncond"] == kinds
    left = (torch.arange(16) % 4 < 2).view(1, 16, 1)
    for number, kind in enumerate(kinds):
        rows = slice(number * images, (number + 1) * images)
        own = q[rows]
        if kind == 0:
            one, other = (attend(own, *[text.repeat(images, 1, 1)] * 2) for text in texts)
            wanted = torch.where(left, one, other)
        else:
            wanted = attend(own, k[rows], k[rows])
        assert torch.allclose(out[rows], wanted, atol=1e-5)
