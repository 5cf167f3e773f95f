"""ADetailer's arguments, against what the extension does with them."""

from __future__ import annotations

from typing import Any

import pytest

from translator.detailer.infotext import infotext_entries
from translator.detailer.units import DetailerScript, DetailerUnit, parse_script
from translator.report import Report

FACE = "face_yolov8n.pt"
HAND: dict[str, Any] = {"ad_model": "hand_yolov8n.pt"}
PATH = "alwayson_scripts.ADetailer.args"


def parse(args: list[Any], report: Report | None = None) -> DetailerScript:
    return parse_script(args, 4, FACE, PATH, report or Report("warn"))


def models(args: list[Any]) -> list[str]:
    return [unit.ad_model for unit in parse(args).units if unit.is_on]


@pytest.mark.parametrize(
    ("args", "run"),
    [
        ([], []),
        ([False], []),
        ([False, False, HAND], []),
        ([True], [FACE]),
        ([True, False], [FACE]),
        ([True, False, HAND], ["hand_yolov8n.pt"]),
        ([True, HAND], ["hand_yolov8n.pt", FACE]),
        ([HAND], ["hand_yolov8n.pt", FACE]),
        ([HAND, HAND, HAND], ["hand_yolov8n.pt"] * 3),
        ([True, False, *[HAND] * 5], ["hand_yolov8n.pt"] * 4),
        ([0, False, HAND], ["hand_yolov8n.pt"]),
        (["false", False, HAND], ["hand_yolov8n.pt"]),
        ([True, False, {**HAND, "ad_tab_enable": False}], []),
        ([True, False, {"ad_model": "None"}, HAND], ["hand_yolov8n.pt"]),
    ],
)
def test_positions_that_are_not_sent_keep_the_pages_values(args: list[Any], run: list[str]) -> None:
    assert models(args) == run


def test_the_default_unit_is_told_of() -> None:
    report = Report()
    parse([True, HAND], report)
    assert [warning.path for warning in report.warnings] == [PATH]
    assert FACE in report.warnings[0].message


@pytest.mark.parametrize(
    ("args", "places"),
    [
        ([True, False, "face_yolov8n.pt", 0.3], ["[2]", "[3]"]),
        (["false", 0, HAND], ["[0]", "[1]"]),
        ([True, False, HAND, None, {}], []),
    ],
)
def test_what_is_no_unit_is_told(args: list[Any], places: list[str]) -> None:
    report = Report()
    parse(args, report)
    assert [warning.path for warning in report.warnings] == [f"{PATH}{place}" for place in places]


def test_a_fault_of_the_default_unit_is_told_at_the_list() -> None:
    assert {unit.path for unit in parse([True]).units} == {PATH}


def test_values_are_converted() -> None:
    given = {
        **HAND,
        "ad_confidence": "0.5",
        "ad_mask_k": 3.7,
        "ad_mask_blur": True,
        "ad_tab_enable": "yes",
        "ad_inpaint_only_masked": "off",
        "ad_prompt": 12,
        "ad_checkpoint": None,
        "is_api": [],
    }
    report = Report()
    (unit, *_) = parse([True, False, given], report).units
    assert not report.problems
    assert (unit.ad_confidence, unit.ad_mask_k, unit.ad_mask_blur) == (0.5, 3, 1)
    assert (unit.ad_tab_enable, unit.ad_inpaint_only_masked) == (True, False)
    assert (unit.ad_prompt, unit.ad_checkpoint) == ("12", None)


WRONG = [
    ("ad_confidence", 1.1),
    ("ad_confidence", "much"),
    ("ad_confidence", float("nan")),
    ("ad_steps", 1e308),
    ("ad_mask_k", -1),
    ("ad_mask_k", "3.7"),
    ("ad_mask_k", [1]),
    ("ad_inpaint_width", 0),
    ("ad_noise_multiplier", 0.4),
    ("ad_clip_skip", 13),
    ("ad_tab_enable", "perhaps"),
    ("ad_tab_enable", 2),
    ("ad_prompt", None),
    ("ad_prompt", ["a"]),
    ("ad_mask_filter_method", "Size"),
    ("ad_mask_merge_invert", "merge"),
    ("ad_model", {}),
    ("ad_unknown", 1),
]


@pytest.mark.parametrize(("key", "value"), WRONG)
def test_a_unit_that_the_extension_drops_is_refused_by_key(key: str, value: Any) -> None:
    report = Report()
    parse([True, False, {**HAND, key: value}], report)
    assert [problem.path for problem in report.problems] == [f"{PATH}[2].{key}"]


@pytest.mark.parametrize(("key", "value"), WRONG)
def test_where_one_goes_on_it_is_dropped_and_the_others_run(key: str, value: Any) -> None:
    report = Report("warn")
    script = parse([True, False, {**HAND, key: value}, {"ad_model": FACE}], report)
    assert [unit.ad_model for unit in script.units if unit.is_on] == [FACE]
    assert report.warnings


@pytest.mark.parametrize(("newer", "expected"), [({}, 2), ({"ad_mask_k": 3}, 3)])
def test_a_renamed_key_counts_and_is_told_its_new_name(newer: Any, expected: int) -> None:
    report = Report()
    script = parse([True, False, {**HAND, "ad_mask_k_largest": "2", **newer}], report)
    assert script.units[0].ad_mask_k == expected
    assert "taken as ad_mask_k" in report.warning_texts[0] and not report.problems


def entries(*units: dict[str, Any]) -> dict[str, Any]:
    return infotext_entries(parse([True, False, *units]))


def test_infotext_of_the_defaults() -> None:
    assert entries(HAND) == {
        "ADetailer model": "hand_yolov8n.pt",
        "ADetailer confidence": 0.3,
        "ADetailer dilate erode": 4,
        "ADetailer mask blur": 4,
        "ADetailer denoising strength": 0.4,
        "ADetailer inpaint only masked": True,
        "ADetailer inpaint padding": 32,
        "ADetailer version": "25.3.0",
    }


def test_suffixes_count_the_valid_units() -> None:
    found = entries(HAND, {"ad_model": "None"}, {"ad_model": FACE, "nope": 1}, HAND)
    assert "ADetailer model" in found
    assert "ADetailer model 3rd" in found
    assert len([key for key in found if " model" in key]) == 2


def test_nothing_is_written_where_nothing_is_on() -> None:
    assert entries({"ad_model": "None"}) == {}
    assert infotext_entries(parse([False])) == {}


def test_infotext_of_what_is_not_taken_over() -> None:
    unit = {
        **HAND,
        "ad_use_steps": True,
        "ad_use_sampler": True,
        "ad_sampler": "Euler",
        "ad_controlnet_model": "tile",
        "ad_controlnet_weight": 0.5,
        "ad_mask_k": 2,
        "ad_inpaint_only_masked": False,
        "ad_restore_face": True,
    }
    assert list(entries(unit).items())[2:] == [
        ("ADetailer method to decide top k masks", "Area"),
        ("ADetailer mask only top k", 2),
        ("ADetailer dilate erode", 4),
        ("ADetailer mask blur", 4),
        ("ADetailer denoising strength", 0.4),
        ("ADetailer inpaint only masked", False),
        ("ADetailer use separate steps", True),
        ("ADetailer steps", 28),
        ("ADetailer use separate sampler", True),
        ("ADetailer sampler", "Euler"),
        ("ADetailer restore face", True),
        ("ADetailer ControlNet model", "tile"),
        ("ADetailer ControlNet weight", 0.5),
        ("ADetailer version", "25.3.0"),
    ]


def test_units_know_where_they_stand() -> None:
    units: tuple[DetailerUnit, ...] = parse([True, HAND]).units
    assert [unit.path for unit in units[:2]] == [f"{PATH}[1]", PATH]
