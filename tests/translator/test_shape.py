"""What no part of a document may be."""

from __future__ import annotations

from typing import Any

import pytest

from translator import TranslationError, translate
from translator.shape import faults


def nested(depth: int) -> Any:
    value: Any = []
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("payload", "path", "said"),
    [
        ({"cfg_scale": 10**400}, "cfg_scale", "not a finite number"),
        ({"eta": -(10**5000)}, "eta", "thousands of digits"),
        ({"steps": float("nan")}, "steps", "not a finite number"),
        ({"alwayson_scripts": {"ControlNet": {"args": [{"weight": 10**400}]}}},
         "alwayson_scripts.ControlNet.args[0].weight", "not a finite number"),
        ({"script_args": ["a", "\ud800"]}, "script_args[1]", "half a character"),
        ({"\ud800": 1}, "", "half a character"),
        ({"x" * 5000: 1}, "", "a key has 5000 characters"),
        ({"script_args": nested(900)}, "script_args" + "[0]" * 99, "nested more than 100 deep"),
        ({"script_args": [0] * 400_000}, "", "more than 300000 values"),
    ],
)  # fmt: skip
def test_is_refused_with_its_path(payload: dict[str, Any], path: str, said: str) -> None:
    with pytest.raises(TranslationError) as caught:
        translate(payload)
    problem = caught.value.problems[0]
    assert problem.path == path
    assert said in problem.message


def test_every_fault_is_found_but_no_endless_list() -> None:
    assert len(faults({"a": float("inf"), "b": ["\udfff"]})) == 2
    assert len(faults([float("inf")] * 1000)) == 20


def test_sound_documents_pass() -> None:
    assert faults({"a": [1, 2.5, None, True, "ü 🎨", {"b": nested(50)}], "seed": 2**64}) == []
