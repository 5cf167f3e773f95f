"""The levels of the model calls, against those that a real A1111 made."""

from __future__ import annotations

import math

import pytest

from tests.translator import goldens
from translator import translate
from translator.schedules import passes as schedule
from translator.schedules import samplers
from translator.schedules.levels import called_levels, refiner_call

PASSES = goldens.passes()
CHURNED = {"misc/churn_heun"}
OWN_LEVELS = {"DPM adaptive", "Restart"}
TOLERANCE = 2e-4


@pytest.mark.parametrize("case", sorted(PASSES.keys() - CHURNED))
def test_levels_are_those_that_a1111_sees(case: str) -> None:
    payload, calls = PASSES[case]["payload"], PASSES[case]["calls"]
    ours = goldens.plan_passes(PASSES[case])
    if any(one.sampler.name in OWN_LEVELS for one in ours):
        pytest.skip("it chooses its own levels")
    options = payload.get("override_settings", {})
    eta = payload.get("eta", options.get("eta_ancestral", 1.0))
    found = [level for one in ours for level in called_levels(one, eta)]
    assert len(found) == len(calls)
    assert all(
        math.isclose(one, other, rel_tol=TOLERANCE, abs_tol=1e-3)
        for one, other in zip(found, calls, strict=True)
    )


def test_an_ancestral_step_that_goes_to_nothing_calls_once() -> None:
    resolved = samplers.resolve("DPM2 a", None)
    one = schedule.first_pass(resolved, 4)
    assert len(called_levels(one, 1.0)) == 7
    assert len(called_levels(one, 100.0)) == 4


@pytest.mark.parametrize("name", ["DPM2 a", "DPM fast"])
def test_a_schedule_that_goes_up_has_levels_too(name: str) -> None:
    """As options sigma_min and sigma_max ask for it, the lower one above the upper one."""
    payload = {
        "prompt": "a cat",
        "seed": 1,
        "steps": 6,
        "sampler_name": name,
        "scheduler": "Karras",
        "s_min_uncond": 0.5,
        "override_settings": {"sigma_min": 10.0, "sigma_max": 1.0},
    }
    assert "Steps: 6" in translate(payload).info["infotexts"][0]


@pytest.mark.parametrize(
    ("name", "steps", "switch_at", "call"),
    [
        ("DPM fast", 20, 0.8, 10),
        ("DPM fast", 5, 0.97, 4),
        ("DPM fast", 4, 0.97, None),
        ("Heun", 20, 0.5, 19),
        ("Euler", 20, 0.8, 16),
        ("Euler", 20, None, 0),
        ("DDIM", 20, 0.97, None),
    ],
)
def test_the_refiner_takes_over_by_the_level_of_a_call(
    name: str, steps: int, switch_at: float | None, call: int | None
) -> None:
    """DPM fast's levels are its own: of 4 steps none comes to where the schedule's last one is."""
    one = schedule.first_pass(samplers.resolve(name, None), steps)
    assert refiner_call(one, 1.0, switch_at, by_steps=False) == call


def test_the_refiner_is_told_of_only_where_a_call_reaches_it() -> None:
    payload = {
        "seed": 1,
        "steps": 4,
        "sampler_name": "DPM fast",
        "refiner_checkpoint": "refined.safetensors",
    }
    texts = [
        translate({**payload, "refiner_switch_at": at}).info["infotexts"][0] for at in (0.8, 0.97)
    ]
    assert ["Refiner: refined" in text for text in texts] == [True, False]
