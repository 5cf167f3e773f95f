"""How AND parts are batched: ComfyUI's calculation is a stand-in that says what it was asked."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from custom_nodes.comfyui_a1111.maths.and_parts import (  # noqa: E402
    CALCULATE,
    TRANSFORMER,
    WRAPPER,
    may_run_together,
    predict_parts,
)
from custom_nodes.comfyui_a1111.maths.guider import Call  # noqa: E402
from custom_nodes.comfyui_a1111.maths.reference import BATCH, WholeBatch  # noqa: E402

pytestmark = pytest.mark.torch

PARTS = [[{"value": 1.0}], [{"value": 3.0}], [{"value": 5.0}]]
NEGATIVE = [{"value": 0.25}]


class CoreControl:
    """Stands for one of ComfyUI's own ControlNets."""

    __module__ = "comfy.controlnet"
    previous_controlnet: Any = None


class OtherControl(CoreControl):
    """Stands for another pack's."""

    __module__ = "adv_control.control"


def chain(*links: Any) -> Any:
    """ControlNets, each the one before the next."""
    for before, link in itertools.pairwise(links):
        link.previous_controlnet = before
    return links[-1]


@pytest.mark.parametrize(
    ("options", "control", "together"),
    [
        ({}, None, True),
        ({TRANSFORMER: {"patches": {"output_block_patch": [1]}}}, None, True),
        (
            {TRANSFORMER: {"patches": {"attn2_patch": []}, "patches_replace": {"attn2": {}}}},
            None,
            True,
        ),
        ({TRANSFORMER: {"patches": {"attn2_patch": [1]}}}, None, False),
        ({TRANSFORMER: {"patches": {"attn1_output_patch": [1]}}}, None, False),
        ({TRANSFORMER: {"patches_replace": {"attn2": {"key": 1}}}}, None, False),
        ({WRAPPER: 1}, None, False),
        ({CALCULATE: 1}, None, False),
        ({}, CoreControl(), True),
        ({}, chain(CoreControl(), CoreControl()), True),
        ({}, chain(OtherControl(), CoreControl()), False),
    ],
)
def test_parts_run_together_where_nothing_looks_at_the_chunks(
    options: Mapping[str, Any], control: Any, together: bool
) -> None:
    entries = [[{"control": control} if control else {}], [{}]]
    assert may_run_together(options, entries) is together


class Calculation:
    """Predicts the value of a prompt, zeros for none; keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[list[float | None]] = []
        self.batches: list[WholeBatch] = []

    def __call__(self, args: Mapping[str, Any]) -> list[Any]:
        self.asked.append([entries and entries[0]["value"] for entries in args["conds"]])
        self.batches.append(args["model_options"][TRANSFORMER][BATCH])
        return [torch.full((1,), value or 0.0) for value in self.asked[-1]]


def predict(together: bool, negative: Any = NEGATIVE) -> tuple[Calculation, list[Any], Call]:
    calculate, call = Calculation(), Call(1.0)
    options = {TRANSFORMER: {BATCH: WholeBatch(0, 0, 3)}}
    args = {"conds": [PARTS[0], negative], "model_options": options}
    found = predict_parts(PARTS, [1.0, -0.5, 2.0], call, calculate, together, args)
    return calculate, found, call


@pytest.mark.parametrize("negative", [NEGATIVE, None])
def test_parts_together_and_apart_come_to_the_same(negative: Any) -> None:
    _, joined, call = predict(True, negative)
    _, apart, _ = predict(False, negative)
    assert torch.equal(joined[0], apart[0])
    assert torch.equal(joined[1], apart[1])
    assert call.uncond is joined[1]
    base = 1.0 if negative is None else 0.25
    expected = base + (1.0 - base) - 0.5 * (3.0 - base) + 2.0 * (5.0 - base)
    assert float(joined[0]) == pytest.approx(expected)


def test_together_is_one_calculation() -> None:
    calculate, _, _ = predict(True)
    assert calculate.asked == [[1.0, 0.25, 3.0, 5.0]]


def test_apart_each_part_is_a_positive_prompt_and_knows_its_place() -> None:
    calculate, _, _ = predict(False)
    assert calculate.asked == [[1.0, 0.25], [3.0, None], [5.0, None]]
    assert [batch.part for batch in calculate.batches] == [0, 1, 2]
