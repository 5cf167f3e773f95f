"""Regional Prompter's patches in ComfyUI's own transformer block, against that block unpatched.

Needs a ComfyUI checkout (COMFYUI_DIR) and an interpreter that can import it; runs on the CPU.
"""

from __future__ import annotations

from typing import Any

import pytest

from custom_nodes.comfyui_a1111.maths.attention_couple import Couple, region_masks
from custom_nodes.comfyui_a1111.maths.reference import BATCH, WholeBatch
from custom_nodes.comfyui_a1111.maths.regional import (
    CHUNK,
    Counts,
    Matrix,
    Regional,
)
from custom_nodes.comfyui_a1111.vendor.plan.lines import Cell, Line
from tests.node_pack.comfy_models import BasicTransformerBlock, comfy, comfy_guider, torch

pytestmark = [pytest.mark.torch, pytest.mark.comfyui]

CHANNELS, HEADS, TEXT = 64, 8, 24
HEIGHT, WIDTH = 4, 8
HALVES = Matrix(True, False, (Line(0.0, 1.0, (Cell(0.0, 0.5, 0.0, 0), Cell(0.5, 1.0, 0.0, 1))),))


@pytest.fixture
def block() -> Any:
    torch.manual_seed(4)
    made = BasicTransformerBlock(
        CHANNELS,
        HEADS,
        CHANNELS // HEADS,
        context_dim=TEXT,
        dtype=torch.float32,
        operations=comfy.ops.disable_weight_init,
    )
    for value in made.parameters():
        torch.nn.init.normal_(value, std=0.2)
    return made.eval()


def run(block: Any, x: Any, context: Any, options: dict[str, Any]) -> Any:
    options = {
        "cond_or_uncond": [0, 1],
        "original_shape": [x.shape[0], 4, HEIGHT, WIDTH],
        "block": ("input", 1),
        "block_index": 0,
        **options,
    }
    with torch.no_grad():
        return block(x.clone(), context=context, transformer_options=options)


def patches(regional: Regional | Couple) -> dict[str, Any]:
    return {
        "patches": {"attn2_patch": [regional.before], "attn2_output_patch": [regional.after]},
        BATCH: WholeBatch(level=True),
    }


def test_halves_follow_their_texts_and_the_negative_prompt_stays(block: Any) -> None:
    x, context = torch.randn(2, HEIGHT * WIDTH, CHANNELS), torch.randn(2, 2 * CHUNK, TEXT)
    got = run(block, x, context, patches(Regional(HALVES, Counts((1, 1), (2,)), False)))
    left, right = (
        run(block, x, torch.cat([context[:1, part], context[1:, part]]), {})
        for part in (slice(0, CHUNK), slice(CHUNK, 2 * CHUNK))
    )
    columns = torch.arange(HEIGHT * WIDTH) % WIDTH < WIDTH // 2
    wanted = torch.where(columns.view(-1, 1), left[0], right[0])
    assert torch.allclose(got[0], wanted, atol=1e-5)
    assert torch.allclose(got[1], run(block, x, context, {})[1], atol=1e-5)


def test_half_the_heads(block: Any) -> None:
    """The block's cross-attention with four heads of twice the length."""
    x, context = torch.randn(2, HEIGHT * WIDTH, CHANNELS), torch.randn(2, CHUNK, TEXT)
    got = run(block, x, context, comfy_guider.with_half_heads({}))
    block.attn2.heads, block.attn2.dim_head = HEADS // 2, 2 * CHANNELS // HEADS
    wanted = run(block, x, context, {})
    assert torch.isfinite(got).all()
    assert torch.allclose(got, wanted, atol=1e-5)


def test_an_image_prompt_beside_coupled_regions(block: Any) -> None:
    """It adds to each region's attention what it adds to the one of the whole picture."""
    x, context = torch.randn(4, HEIGHT * WIDTH, CHANNELS), torch.randn(4, CHUNK, TEXT)
    own = {0: torch.randn(CHANNELS), 1: torch.randn(CHANNELS)}

    def image_prompt(q: Any, k: Any, v: Any, options: Any) -> Any:
        kinds = options["cond_or_uncond"]
        each = q.shape[0] // len(kinds)
        rows = torch.stack([own[kind] for kind in kinds for _ in range(each)]).unsqueeze(1)
        found = comfy.ldm.modules.attention.optimized_attention(q, k, v, options["n_heads"])
        return found + rows

    with_image = {"patches_replace": {"attn2": {("input", 1): image_prompt}}}
    masks = region_masks([(0, 0, 4, 4, 1.0), (4, 0, 8, 4, 1.0)], WIDTH, HEIGHT)
    texts = [torch.randn(1, CHUNK, TEXT) for _ in range(2)]
    couple = Couple(masks, tuple(texts))
    got = run(block, x, context, {**patches(couple), **with_image})
    left, right = (
        run(block, x, torch.cat([text, text, context[2:]]), with_image) for text in texts
    )
    columns = (torch.arange(HEIGHT * WIDTH) % WIDTH < WIDTH // 2).view(-1, 1)
    assert torch.allclose(got[:2], torch.where(columns, left[:2], right[:2]), atol=1e-5)
    assert torch.allclose(got[2:], left[2:], atol=1e-5)
