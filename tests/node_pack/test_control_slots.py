"""ControlNet's residuals in A1111's slots, for UNets of the usual length and for shorter ones."""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch")

from custom_nodes.comfyui_a1111.maths import control_slots  # noqa: E402


def _control(encoder: int) -> dict[str, list[Any]]:
    """Residuals that carry their number: the encoder's from 0 on, then the middle one's."""
    numbered = [torch.full((1, 1, 2, 2), float(number)) for number in range(encoder + 1)]
    return {"output": numbered[:-1], "middle": numbered[-1:]}


def _numbers(control: dict[str, list[Any]], blocks: int, slots: int) -> list[float | None]:
    skips, middle = control_slots.residuals_of_blocks(control, blocks, slots)
    return [None if item is None else float(item.flatten()[0]) for item in [*skips, middle]]


def test_a_usual_unet_gets_each_residual_in_its_own_block() -> None:
    assert _numbers(_control(12), 12, control_slots.SLOTS) == list(range(13))
    assert _numbers(_control(9), 9, control_slots.SLOTS_SDXL) == list(range(10))


def test_a_short_unet_with_a_whole_control_net_gets_the_deepest_residuals() -> None:
    assert _numbers(_control(12), 6, control_slots.SLOTS) == [6, 7, 8, 9, 10, 11, 12]


def test_a_short_control_net_fills_the_slots_from_the_front() -> None:
    """Six blocks and the middle one: only the last of the seven is met, by the first block."""
    assert _numbers(_control(6), 6, control_slots.SLOTS) == [6, *[None] * 6]


def test_the_wrapper_adds_stretched_residuals_and_keeps_other_patches() -> None:
    """As the UNet calls it: patches from the last skip connection to the first."""
    seen: list[Any] = []

    def other(h: Any, skip: Any, options: Any) -> Any:
        seen.append(skip)
        return h, skip * 2

    def apply_model(x: Any, sigma: Any, **c: Any) -> list[Any]:
        assert c["control"] == {"output": [], "middle": [], "input": ["kept"]}
        patches = c["transformer_options"]["patches"]["output_block_patch"]
        results = []
        for side in (2, 4, 4):
            h, skip = torch.zeros(1, 1, side, side), torch.ones(1, 1, side, side)
            for patch in patches:
                h, skip = patch(h, skip, c["transformer_options"])
            results.append(skip)
        return results

    options = {"patches": {"output_block_patch": [other]}}
    control = {**_control(3), "input": ["kept"]}
    c = {"control": control, "transformer_options": options}
    wrapper = control_slots.by_slots(None, blocks=3, slots=7)
    deep, middle, shallow = wrapper(apply_model, {"input": None, "timestep": None, "c": c})
    assert torch.equal(deep, torch.full((1, 1, 2, 2), 2.0))
    assert torch.equal(middle, torch.full((1, 1, 4, 4), 2.0))
    assert torch.equal(shallow, torch.full((1, 1, 4, 4), 2.0 * (1 + 3)))
    assert len(seen) == 3
    assert options == {"patches": {"output_block_patch": [other]}}, "the model's own stay"


def test_the_wrapper_hands_on_to_the_one_before_it() -> None:
    def inner(apply_model: Any, args: Any) -> Any:
        return apply_model(args["input"], args["timestep"], **args["c"])

    def apply_model(x: Any, sigma: Any, **c: Any) -> Any:
        return (x, sigma, c)

    wrapper = control_slots.by_slots(inner, blocks=3, slots=7)
    c = {"control": None, "transformer_options": {}}
    assert wrapper(apply_model, {"input": 1, "timestep": 2, "c": c}) == (1, 2, c)
