"""Requests read: defaults, conversions as pydantic 1 does them, unknown fields, nulls."""

from __future__ import annotations

from typing import Any

import pytest

from translator.options import Defaults
from translator.report import Report, TranslationError
from translator.request.txt2img import Txt2Img, parse
from translator.schemas import read_schema

PROPERTIES = read_schema("txt2img")["properties"]


def read(payload: Any, defaults: Defaults = "a1111") -> tuple[Txt2Img, list[str]]:
    report = Report()
    asked = parse(payload, defaults, report)
    report.raise_if_refused()
    return asked, report.warning_texts


def test_every_field_has_a_default_a_description_and_a_state() -> None:
    states = {"exact", "near", "no effect", "refused"}
    for name, item in PROPERTIES.items():
        assert "default" in item, name
        assert item["description"].endswith("."), name
        assert item["x-state"] in states, name


def test_absent_fields_take_a1111s_defaults() -> None:
    asked, warnings = read({})
    assert warnings == []
    assert vars(asked) == {name: item["default"] for name, item in PROPERTIES.items()}
    assert (asked.steps, asked.cfg_scale, asked.sampler_index, asked.hr_scale) == (
        50,
        7.0,
        "Euler",
        2.0,
    )


def test_runpod_workers_defaults_stand_in_where_it_fills_some_in() -> None:
    asked, _ = read({"steps": 7}, "runpod-worker-a1111")
    assert (asked.steps, asked.sampler_name, asked.eta, asked.s_noise) == (7, "Euler a", 0, 0)
    assert asked.hr_upscaler == ""
    assert asked.cfg_scale == 7.0


def test_defaults_are_not_shared_between_requests() -> None:
    first, _ = read({})
    first.script_args.append("x")
    assert read({})[0].script_args == []


@pytest.mark.parametrize(
    ("field", "given", "read_as"),
    [
        ("steps", "20", 20),
        ("steps", 20.9, 20),
        ("steps", True, 1),
        ("cfg_scale", 7, 7.0),
        ("cfg_scale", "7.5", 7.5),
        ("enable_hr", "yes", True),
        ("enable_hr", 0, False),
        ("enable_hr", "False", False),
        ("prompt", 5, "5"),
        ("override_settings", [], {}),
        ("alwayson_scripts", "", {}),
        ("seed", "", -1),
        ("seed", "12", 12),
        ("seed", None, None),
        ("subseed", 2**63, 2**63),
        ("styles", ["a", 5], ["a", "5"]),
        ("tiling", None, None),
    ],
)
def test_values_are_converted_as_pydantic_does(field: str, given: Any, read_as: Any) -> None:
    value = getattr(read({field: given})[0], field)
    assert value == read_as
    assert type(value) is type(read_as)


def test_null_takes_the_default_where_a1111_takes_none() -> None:
    asked, warnings = read({"n_iter": None, "scheduler": None})
    assert asked.n_iter == 1
    assert warnings == ["n_iter: null, so A1111's default is used"]


@pytest.mark.parametrize("field", ["prompt", "negative_prompt"])
def test_null_prompts_are_refused_as_by_a1111(field: str) -> None:
    with pytest.raises(TranslationError, match=f"^{field}: null is not a text"):
        read({field: None})


def test_unknown_fields_are_warned_of_with_the_near_one() -> None:
    _, warnings = read({"negativ_prompt": "x", "distilled_cfg_scale": 3})
    assert warnings == [
        'negativ_prompt: txt2img has no such field, it is ignored, did you mean "negative_prompt"?',
        "distilled_cfg_scale: txt2img has no such field, it is ignored",
    ]


def test_every_problem_is_told_with_value_and_what_would_be_right() -> None:
    with pytest.raises(TranslationError) as caught:
        read({"steps": 0, "width": "wide", "cfg_scale": [], "firstphase_width": -1})
    assert str(caught.value).splitlines() == [
        "steps: 0 is not within 1..10000",
        "cfg_scale: [] is not a number",
        'width: "wide" is not a whole number',
        "firstphase_width: -1 is not within 0..16384",
    ]
    assert [problem.value for problem in caught.value.problems] == [0, [], "wide", -1]


def test_a_wrong_field_has_its_default_so_that_reading_can_go_on() -> None:
    report = Report()
    asked = parse({"steps": "many", "styles": [1, {}], "width": 256}, "a1111", report)
    assert sorted(problem.path for problem in report.problems) == ["steps", "styles[1]"]
    assert (asked.steps, asked.styles, asked.width) == (50, None, 256)


def test_half_a_character_is_refused_before_it_breaks_an_infotext() -> None:
    with pytest.raises(TranslationError, match=r"^prompt: the text holds half a character"):
        read({"prompt": "a \ud83d cat"})
    assert read({"prompt": "a \U0001f600 cat"})[0].prompt == "a \U0001f600 cat"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("do_not_save_samples", True),
        ("do_not_save_grid", True),
        ("comments", {"a": 1}),
        ("force_task_id", "task"),
        ("save_images", True),
        ("override_settings_restore_afterwards", False),
    ],
)
def test_fields_without_effect_are_told_only_where_they_wish_for_something(
    field: str, value: Any
) -> None:
    assert read({field: PROPERTIES[field]["default"]})[1] == []
    assert [warning.partition(":")[0] for warning in read({field: value})[1]] == [field]


def test_long_values_are_shortened_in_messages() -> None:
    with pytest.raises(TranslationError) as caught:
        read({"steps": "x" * 5000})
    assert len(str(caught.value)) < 200


def test_echo_holds_every_field_under_its_own_name() -> None:
    asked, _ = read({"prompt": "a", "sampler_index": "DPM++ SDE Karras"})
    echo = asked.echo()
    assert echo.keys() == PROPERTIES.keys()
    assert echo["sampler_index"] == "DPM++ SDE Karras"
