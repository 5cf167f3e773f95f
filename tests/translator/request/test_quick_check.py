"""The quick check says yes only to what JSON Schema and the shape's rules take."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from translator.request.quick_check import is_sound
from translator.schemas import read_schema
from translator.shape import fault

SCHEMAS = ("txt2img", "img2img", "extras", "controlnet_unit", "controlnet_detect")

FIELDS = [(name, field) for name in SCHEMAS for field in read_schema(name)["properties"]]

NUMBERS = st.one_of(
    st.sampled_from([0, 1, -1, 2**63, 2**64, -(2**63) - 1, 10**100, 10**101, 0.5, 1e300, 20.0]),
    st.sampled_from([math.nan, math.inf, -math.inf]),
    st.integers(),
    st.floats(),
)
TEXTS = st.sampled_from(["", "a", "é", "\ud800", "Just Resize", "Balanced", "Both", "simple"])
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), NUMBERS, TEXTS),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["data", "name", "x"]), inner, max_size=3)
    ),
    max_leaves=6,
)


def judged(schema_name: str, document: dict[str, Any]) -> bool:
    """Whether the full rules take a document."""
    if any(fault(value) for value in document.values()):
        return False
    return Draft202012Validator(read_schema(schema_name)).is_valid(document)


@given(st.sampled_from(FIELDS), VALUES)
def test_what_it_takes_the_full_rules_take(where: tuple[str, str], value: Any) -> None:
    schema_name, field = where
    if is_sound(schema_name, {field: value}):
        assert judged(schema_name, {field: value})


@pytest.mark.parametrize("schema_name", ["txt2img", "img2img", "controlnet_unit"])
def test_defaults_need_no_second_look(schema_name: str) -> None:
    properties = read_schema(schema_name)["properties"]
    document = {name: item["default"] for name, item in properties.items() if "default" in item}
    document = {name: value for name, value in document.items() if value is not None}
    assert document
    assert is_sound(schema_name, document)


def test_an_unknown_field_gets_no_yes() -> None:
    assert not is_sound("txt2img", {"no_such_field": 1})
