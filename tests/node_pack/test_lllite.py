"""ControlLLLite on tensors: what it reads, and what it leaves to the next job."""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch")

from custom_nodes.comfyui_a1111.maths.lllite import (  # noqa: E402
    LLLite,
    attention_patch,
    models_of,
)

pytestmark = pytest.mark.torch

NAME = "lllite_unet_input_blocks_4_1_transformer_blocks_0_attn1_to_q"
WIDTH, DEEP = 6, 4


class Module(torch.nn.Module):
    """The layers of a ControlLLLite for one projection."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.conditioning1 = torch.nn.Conv2d(3, DEEP, 8, 8)
        self.down = torch.nn.Linear(WIDTH, DEEP)
        self.mid = torch.nn.Linear(2 * DEEP, DEEP)
        self.up = torch.nn.Linear(DEEP, WIDTH)


class Levels:
    """Noise levels that count how often they are read."""

    def __init__(self, level: float) -> None:
        self.level = level
        self.read = 0

    def __getitem__(self, place: int) -> float:
        self.read += 1
        return self.level


def made(first: float = 10.0, last: float = 1.0) -> tuple[LLLite, Module]:
    module = Module()
    return LLLite({NAME: module}, torch.rand(1, 3, 64, 96), 0.5, first, last), module


def options(sigmas: Any, height: int = 8, width: int = 12) -> dict[str, Any]:
    return {
        "sigmas": sigmas,
        "block": ("input", 4),
        "block_index": 0,
        "original_shape": [2, 4, height, width],
    }


def run(patch: Any, sigmas: Any, height: int = 8, width: int = 12, dtype: Any = None) -> Any:
    x = torch.ones(2, height * width, WIDTH, dtype=dtype)
    with torch.no_grad():
        q, *others = patch(x, x, x, options(sigmas, height, width))
    assert all(torch.equal(item, x) for item in others)
    return q - x


def test_a_call_of_the_model_reads_its_level_once() -> None:
    """Reading it waits for the GPU, and a UNet has scores of attentions."""
    patch = attention_patch("attn1", [made()[0]])
    for level, acts in ((5.0, True), (0.5, False), (11.0, False)):
        sigmas = Levels(level)
        for _ in range(20):
            assert bool(run(patch, sigmas).abs().max() > 0) is acts
        assert sigmas.read == 1


def test_passes_of_other_sizes_and_types_are_told_apart() -> None:
    model, module = made()
    patch = attention_patch("attn1", [model])
    large = run(patch, Levels(5.0))
    small = run(patch, Levels(5.0), 4, 6)
    assert small.shape != large.shape
    assert torch.equal(run(patch, Levels(5.0)), large)
    model.rest()
    half = run(patch, Levels(5.0), dtype=torch.bfloat16)
    assert half.dtype == torch.bfloat16 and torch.allclose(half.float(), large, atol=0.05)
    model.rest()
    assert torch.equal(run(patch, Levels(5.0)), large), "the file's numbers are not rounded"
    assert module.up.weight.dtype == torch.float32


def test_several_models_add_up_on_the_bare_input() -> None:
    one, other = made()[0], made()[0]
    alone = run(attention_patch("attn1", [one]), Levels(5.0))
    both = attention_patch("attn1", [one, other])
    assert models_of(both) == (one, other) and models_of(print) == ()
    single = run(attention_patch("attn1", [other]), Levels(5.0))
    assert torch.allclose(run(both, Levels(5.0)), alone + single, atol=1e-6)
