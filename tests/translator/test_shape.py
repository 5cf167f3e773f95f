"""What no part of a document may be."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from translator import TranslationError, shape, translate
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


LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.sampled_from([10**100, 10**101, -(10**400), "", "\ud800", "ü", "x" * 1500]),
)
KEYS = st.sampled_from(["a", "ü", "\udfff", "k" * 1001, "b"])
DOCUMENTS = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4)
)


@given(DOCUMENTS)
def test_the_quick_look_finds_no_fault_where_there_is_none(document: Any) -> None:
    slow = list(shape._faults(document, ""))
    if shape._is_sound(document):
        assert slow == []
    else:
        assert slow or "ü" in repr(document)  # keys beyond ASCII are looked at twice


@pytest.mark.parametrize("depth", [98, 99, 100, 101])
def test_the_quick_look_counts_the_same_depth(depth: int) -> None:
    document = nested(depth)
    assert bool(list(shape._faults(document, ""))) == (depth >= 100)
    assert not (shape._is_sound(document) and depth >= 100)
