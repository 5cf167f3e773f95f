"""A1111's rules of guidance: current texts, AND parts, skipped negative prompt, refiner."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from custom_nodes.comfyui_a1111.maths.guider import (  # noqa: E402
    END,
    PART,
    WEIGHT,
    Guidance,
    combine,
    current_entries,
    level_parts,
    pad_apart,
    pad_with_last_token,
    prompt_parts,
)

pytestmark = pytest.mark.torch


def entry(end: int, part: int = 0, weight: float = 1.0, **more: Any) -> dict[str, Any]:
    return {PART: part, WEIGHT: weight, END: end, **more}


def test_a_schedule_entry_lasts_through_its_end() -> None:
    """`[a:b:0.5]` with 20 steps: calls 0 to 10 are a, 11 to 19 are b."""
    a, b = entry(10), entry(20)
    picked = ["a" if current_entries([a, b], call) == [a] else "b" for call in range(20)]
    assert picked == ["a"] * 11 + ["b"] * 9


def test_alternation_repeats_its_first_text_once() -> None:
    """`[a|b]`: a, a, b, a, b ... since call 0 and call 1 both lie within the first entry."""
    entries = [entry(end, text="ab"[(end - 1) % 2]) for end in range(1, 7)]
    picked = [current_entries(entries, call)[0]["text"] for call in range(6)]
    assert picked == list("aababa")


def test_after_the_last_end_the_first_text_returns() -> None:
    a, b = entry(3), entry(6)
    assert current_entries([a, b], 7) == [a]


def test_untagged_entries_are_always_current() -> None:
    plain, late = {"text": "plain"}, entry(9)
    assert current_entries([plain, late, entry(20)], 4) == [plain, late]


def test_parts_keep_order_and_weight() -> None:
    first, second, plain = entry(8, 0), entry(8, 1, -0.5), {"text": "plain"}
    assert prompt_parts([first, second]) == [(1.0, [first]), (-0.5, [second])]
    assert prompt_parts([plain]) == [(1.0, [plain])]


def test_combine_is_the_weighted_sum_of_differences() -> None:
    generator = torch.Generator().manual_seed(3)
    a, b, base = (torch.randn(1, 4, 8, 8, generator=generator) for _ in range(3))
    joint = combine([a, b], [1.0, -0.7], base)
    assert torch.allclose(joint, base + (a - base) - 0.7 * (b - base), atol=1e-6)
    cfg = 7.0
    guided = base + cfg * (joint - base)
    assert torch.allclose(guided, base + cfg * (a - base) + cfg * -0.7 * (b - base), atol=1e-5)


def test_a_single_part_of_another_weight_counts() -> None:
    a, base = torch.ones(1, 4, 2, 2), torch.zeros(1, 4, 2, 2)
    assert torch.equal(combine([a], [0.5], base), a * 0.5)


@dataclass
class Text:
    cond: torch.Tensor


def text_entry(tokens: int) -> dict[str, Any]:
    return {"model_conds": {"c_crossattn": Text(torch.randn(1, tokens, 8)), "y": 1}}


def test_and_parts_are_padded_to_one_length() -> None:
    short, long = text_entry(77), text_entry(154)
    levelled = level_parts([[short], [long]])
    padded = levelled[0][0]["model_conds"]["c_crossattn"].cond
    original = short["model_conds"]["c_crossattn"].cond
    assert padded.shape[1] == 154
    assert torch.equal(padded[:, :77], original)
    assert torch.equal(padded[:, 100], original[:, -1])
    assert original.shape[1] == 77
    assert level_parts([[short]]) == [[short]]


def test_padding_never_shortens() -> None:
    tokens = torch.randn(1, 77, 8)
    assert pad_with_last_token(tokens, 77) is tokens


@pytest.mark.parametrize(
    ("guidance", "skipped"),
    [
        (Guidance(), []),
        (Guidance(s_min_uncond=5.0), [3, 5]),
        (Guidance(s_min_uncond=5.0, s_min_uncond_all=True), [2, 3, 4, 5]),
        (Guidance(skip_early_cond=0.25, total_steps=6), [0, 1]),
        (Guidance(skip_early_cond=0.25, total_steps=12), [0, 1, 2, 3]),
    ],
)
def test_calls_without_negative_prompt(guidance: Guidance, skipped: list[int]) -> None:
    sigmas = [14.6, 7.0, 4.0, 2.0, 1.0, 0.3]
    calls = [call for call, sigma in enumerate(sigmas) if guidance.skips_uncond(call, sigma)]
    assert calls == skipped


def test_refiner_switches_by_timestep() -> None:
    """0.8 means from timestep 199 on, wherever in the steps that is."""
    guidance = Guidance(refiner_switch_at=0.8)
    assert not guidance.wants_refiner(19, 200)
    assert guidance.wants_refiner(0, 199)
    assert Guidance(refiner_switch_at=0.0).wants_refiner(0, 999)


def test_refiner_switches_by_steps() -> None:
    guidance = Guidance(refiner_switch_at=0.8, refiner_switch_by_steps=True, total_steps=20)
    assert not guidance.wants_refiner(15, 0)
    assert guidance.wants_refiner(16, 999)


def filled_entry(value: float, tokens: int) -> dict[str, Any]:
    return {"model_conds": {"c_crossattn": Text(torch.full((1, tokens, 3), value))}}


def lengths_and_values(item: dict[str, Any]) -> list[float]:
    return item["model_conds"]["c_crossattn"].cond[0, :, 0].tolist()


@pytest.mark.parametrize(
    ("padding", "tokens", "positive", "negative"),
    [
        ("none", (2, 1), [2, 2], [5]),
        ("empty", (2, 1), [2, 2], [5, 9]),
        ("last", (2, 1), [2, 2], [5, 5]),
        ("empty", (1, 2), [2, 9], [5, 5]),
        ("last", (1, 2), [2], [5]),
        ("empty", (1, 1), [2], [5]),
    ],
)
def test_prompts_of_unequal_length_are_padded_as_the_options_say(
    padding: str, tokens: tuple[int, int], positive: list[float], negative: list[float]
) -> None:
    first, second = filled_entry(2.0, tokens[0]), filled_entry(5.0, tokens[1])
    empty = torch.full((1, 1, 3), 9.0)
    parts, other = pad_apart([[first]], [second], padding, empty)
    assert lengths_and_values(parts[0][0]) == positive
    assert lengths_and_values(other[0]) == negative
    assert lengths_and_values(first) == [2.0] * tokens[0]
