"""Factors of a LoRA's blocks: by name, and within ComfyUI's own patching of weights."""

from __future__ import annotations

import json

import pytest

from custom_nodes.comfyui_a1111.maths.lora_blocks import BlockWeights

NUMBERS = [float(number) for number in range(26)]


def weights(**more: object) -> BlockWeights:
    return BlockWeights.from_json(json.dumps({"ratios": NUMBERS, **more}))


@pytest.mark.parametrize(
    ("key", "ratio"),
    [
        ("clip_l.transformer.text_model.encoder.layers.0.self_attn.q_proj.weight", 0),
        ("clip_g.transformer.text_model.encoder.layers.31.mlp.fc1.weight", 0),
        ("clip_g.text_projection", 1.0),
        ("diffusion_model.time_embed.0.weight", 1.0),
        ("diffusion_model.input_blocks.0.0.weight", 1),
        ("diffusion_model.input_blocks.1.1.transformer_blocks.0.attn1.to_q.weight", 2),
        ("diffusion_model.input_blocks.11.0.in_layers.2.weight", 12),
        ("diffusion_model.middle_block.1.proj_in.weight", 13),
        ("diffusion_model.output_blocks.0.0.out_layers.3.weight", 14),
        ("diffusion_model.output_blocks.10.1.proj_out.weight", 24),
        ("diffusion_model.out.2.weight", 1.0),
    ],
)
def test_a_weight_has_the_factor_of_its_block(key: str, ratio: float) -> None:
    assert weights().ratio(key) == ratio


@pytest.mark.parametrize(
    ("element", "expected"),
    [
        ((["IN01"], False, ["attn1"], False), 0.5),
        ((["IN01"], False, ["attn2"], False), 2),
        ((["IN01"], True, ["attn1"], False), 2),
        ((["OUT01"], True, ["attn2"], True), 0.5),
        (([""], False, [""], False), 0.5),
        ((["input_blocks_1"], False, ["to_q"], False), 0.5),
    ],
)
def test_elements(element: tuple[list[str], bool, list[str], bool], expected: float) -> None:
    names = ("blocks", "but_blocks", "words", "but_words")
    given = {**dict(zip(names, element, strict=True)), "ratio": 0.5}
    key = "diffusion_model.input_blocks.1.1.transformer_blocks.0.attn1.to_q.weight"
    assert weights(elements=[given]).ratio(key) == expected


def test_patches_come_by_factor() -> None:
    keys = ["diffusion_model.middle_block.0.a.weight", "diffusion_model.middle_block.1.b.weight"]
    patches = {keys[0]: "p", (keys[1], (0, 0, 4)): "q", "clip_l.encoder.weight": "r"}
    assert dict(weights().groups(patches)) == {
        13.0: {keys[0]: "p", (keys[1], (0, 0, 4)): "q"},
        0.0: {"clip_l.encoder.weight": "r"},
    }


def test_another_number_of_factors_is_an_error() -> None:
    with pytest.raises(ValueError, match="17 ratios, not 26"):
        BlockWeights.from_json(json.dumps({"ratios": [1] * 17}))
