"""Passes that end early: what A1111Sampler answers when its prompt is to stop."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="the node pack needs torch")

from custom_nodes.comfyui_a1111.maths.stopping import (  # noqa: E402
    STOPS,
    Dropped,
    Stops,
    Watched,
    run_watched,
)
from custom_nodes.comfyui_a1111.nodes import interrupt  # noqa: E402


def halving(x: Any, sigma: Any, **_: Any) -> Any:
    return x / 2


def run(start: Any, steps: int, ends_at: int) -> Any:
    calls: list[int] = []

    def ends() -> bool:
        calls.append(1)
        return len(calls) > ends_at

    model = Watched(halving, start, ends)

    def sample() -> Any:
        x = torch.full((1, 4, 2, 2), 8.0)
        for _ in range(steps):
            x = model(x, torch.tensor([1.0]))
        return x

    return run_watched(sample)


def test_a_pass_ends_with_what_it_has_reached() -> None:
    nothing = torch.zeros(1, 4, 2, 2)
    assert run(nothing, 3, ends_at=9).unique().tolist() == [1.0]
    before = STOPS.ended
    assert run(nothing, 3, ends_at=2).unique().tolist() == [2.0]
    assert STOPS.ended == before + 1, "the cache must not answer it again"


def test_a_pass_that_ends_before_its_first_call_keeps_its_start() -> None:
    assert run(torch.zeros(1, 4, 2, 2), 3, ends_at=0).unique().tolist() == [8.0]
    assert run(torch.full((1, 4, 2, 2), 5.0), 3, ends_at=0).unique().tolist() == [5.0]


def test_what_is_asked_adds_up_and_is_bounded() -> None:
    stops = Stops()
    assert not stops.ends("p", "1")
    stops.ask("p", ["1"], False)
    assert stops.ends("p", "1")
    assert not stops.ends("p", "2")
    stops.ask("p", ["2"], True)
    assert stops.ends("p", "1")
    assert stops.ends("p", "2")
    with pytest.raises(Dropped):
        stops.ends("p", "3")
    for number in range(100):
        stops.ask(f"later {number}", ["1"], False)
    assert not stops.ends("p", "3")


@pytest.mark.parametrize("body", ["{", "[]", "5", '{"prompt_id": "a"}', '{"nodes": 3}'])
def test_a_body_of_another_shape_is_the_callers_mistake(body: str) -> None:
    class Request:
        async def json(self) -> Any:
            return json.loads(body)

    answer = asyncio.run(interrupt._stop(Request()))
    assert answer.status == 400
