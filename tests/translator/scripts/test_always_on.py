"""Always-on scripts: off is a warning at most, unknown and on is A1111's 422."""

from __future__ import annotations

from typing import Any

import pytest

from translator import Catalog, Options
from translator.report import Report
from translator.request.a1111_options import A1111Options
from translator.scope import Scope
from translator.scripts.always_on import _READERS, always_on_rows, find_row, read_always_on
from translator.scripts.expansion import Tab
from translator.scripts.patches.readers import PATCH_READERS
from translator.tables import read_table


def read(scripts: dict[str, Any], report: Report | None = None, tab: Tab = "txt2img") -> Report:
    """The report after reading a request's always-on scripts."""
    report = report or Report()
    scope = Scope(Options(), A1111Options.with_defaults(), Catalog.bundled(), report)
    read_always_on(scripts, tab, scope)
    return report


@pytest.mark.parametrize(
    ("scripts", "problem"),
    [
        ({"Prompt Matrix": {"args": []}}, "Cannot have a selectable script"),
        ({"SD upscale": {"args": [None]}}, "Cannot have a selectable script"),
        ({"soft inpainting": {"args": [True]}}, "Script 'soft inpainting' not found"),
        ({"roop": {"args": ["iVBOR", True]}}, "send its picture to the script reactor"),
        ({"refiner": [True]}, 'is not an object with a list "args"'),
        ({"Dynamic Prompts v2.17.1": {"args": [True, False, 1, False, True]}}, "asks a web site"),
        ({"Dynamic Prompts v2.17.1": {"args": [True, False, 0]}}, "within 1..100"),
        ({"Tiled Diffusion": {"args": [True, "DemoFusion"]}}, "is not one of MultiDiffusion"),
        ({"FreeU": {"args": [True, 0, 1]}}, "one object"),
        ({"controlnet": "openpose"}, "A1111 reads nothing of it"),
        ({"refiner": 5}, 'is not an object with a list "args"'),
        ({"refiner": {"args": {"x": 1}}}, '{"x": 1} is not a list'),
        ({"sd_model_checkpoint": "x"}, 'did you mean "override_settings.sd_model_checkpoint"?'),
        ({"Additional networks for generating": {"args": [True, False]}}, "<lora:NAME:WEIGHT>"),
        ({"nope": {"args": [True]}}, "Script 'nope' not found"),
        ({"nope": {"args": [{"strength": 1}]}}, "Script 'nope' not found"),
        ({"nope": {"args": [{"enabled": True, "x": 1}]}}, "Script 'nope' not found"),
        ({"Control Net": {"args": [{"model": "x"}]}}, 'did you mean "ControlNet"?'),
    ],
)
def test_what_is_on_and_cannot_be_done_is_refused(scripts: dict[str, Any], problem: str) -> None:
    assert problem in str(read(scripts).problems[0])


@pytest.mark.parametrize(
    "scripts",
    [
        {"controlnet": {"args": [{"enabled": False}]}, "comments": {}, "refiner": {}},
        {"animatediff": {"args": [{"enable": False}]}, "API payload": {"args": []}},
        {"reactor": {"args": ["", False]}, "ControlNet": {"args": []}},
        {"Dynamic Prompts v2.17.1": {"args": [False, True, 3]}},
        {"Tiled Diffusion": {"args": [False, "MultiDiffusion", True, 1024]}},
        {"Regional Prompter": {"args": [False, False, "Matrix"]}},
        {"LoRA Block Weight": {"args": ["", False]}},
        {"Refiner": {"args": [False, "", 0.8]}, "Tiled VAE": {"args": [False, 1536]}},
        {"Sampler": {"args": [20, "DPM++ 2M", "Automatic"]}, "Seed": {"args": [-1, False, -1]}},
        {"refiner": [], "comments": ""},
    ],
)
def test_what_is_off_is_not_spoken_of(scripts: dict[str, Any]) -> None:
    report = read(scripts)
    assert not report.problems and not report.warnings


REGIONAL, COUPLE = {"args": [True]}, {"args": [True]}
OFF = {"args": [False]}


@pytest.mark.parametrize(
    ("scripts", "name"),
    [
        ({"Regional Prompter": REGIONAL, "Forge Couple": OFF}, "regions"),
        ({"Forge Couple": COUPLE, "Regional Prompter": OFF}, "regions"),
        ({"Tiled Diffusion": {"args": [True]}, "MultiDiffusion Integrated": OFF}, "tiled"),
    ],
)
def test_a_script_that_is_off_takes_nothing_from_another(
    scripts: dict[str, Any], name: str
) -> None:
    report = Report()
    scope = Scope(Options(), A1111Options.with_defaults(), Catalog.bundled(), report)
    assert getattr(read_always_on(scripts, "txt2img", scope), name) is not None
    assert not report.problems


def test_two_scripts_that_do_the_same_are_refused_beside_each_other() -> None:
    report = read({"Regional Prompter": REGIONAL, "Forge Couple": COUPLE})
    assert [problem.path for problem in report.problems] == ["alwayson_scripts.Forge Couple.args"]
    assert "leave one of both out" in str(report.problems[0])


def test_one_script_under_two_titles_is_no_fault_where_it_asks_for_nothing() -> None:
    scripts = {"ControlNet": {"args": []}, "controlnet": {"args": []}}
    assert not read(scripts).problems


@pytest.mark.parametrize(
    ("title", "count"),
    [
        ("Regional Prompter", 20),
        ("Forge Couple", 12),
        ("MultiDiffusion Integrated", 6),
        ("PerturbedAttentionGuidance Integrated", 5),
        ("Dynamic Prompts v2.17.1", 18),
    ],
)
def test_values_behind_the_last_one_are_told_of(title: str, count: int) -> None:
    row = find_row(title)
    assert row is not None
    args = [True, *_usual_of(title)[1:count], "more"]
    told = [item for item in read({title: {"args": args}}).warning_texts if "ignored" in item]
    assert told == [
        f"alwayson_scripts.{title}.args: the script reads {count} values, the others are ignored"
    ]


def _usual_of(title: str) -> list[Any]:
    return {
        "Regional Prompter": [
            *(False, False, "Matrix", "Columns", "Mask", "Prompt", "1,1", "0.2", False, False),
            *(False, "Attention", [], "0", "0", "0.4", None, "0", "0", False),
        ],
        "Forge Couple": [
            *(False, True, "Basic", "", "Horizontal", "None", 0.5, [], "{ }", False, True, False),
        ],
        "MultiDiffusion Integrated": [False, "MultiDiffusion", 768, 768, 64, 4],
        "PerturbedAttentionGuidance Integrated": [False, 3, 0, 0, 1],
        "Dynamic Prompts v2.17.1": [
            *(True, False, 1, False, False, False, 1.1, 1.5, 100, 0.7, False, False, True, False),
            *(False, 0, "default", ""),
        ],
    }[title]


@pytest.mark.parametrize(
    "args", [[False, 1, 2], [None], ["None", "", 0], [{"enabled": False, "x": 3}], [[], {}]]
)
def test_an_unknown_script_that_is_off_is_a_warning(args: list[Any]) -> None:
    report = read({"Some Extension": {"args": args}})
    assert not report.problems
    assert [warning.path for warning in report.warnings] == ["alwayson_scripts.Some Extension"]


def test_an_unknown_script_without_arguments_is_left_out_of_a_pages_dump_alone() -> None:
    """A1111 answers 422 to any unknown title; a page that dumps its scripts names all it has."""
    unknown = {"Some Extension": {"args": []}}
    assert "not found" in str(read(unknown).problems[0])
    dump = read({**unknown, "Seed": {"args": [-1, False, -1]}})
    assert not dump.problems and "left out" in dump.warning_texts[0]


def test_an_unknown_script_that_is_on_is_left_out_where_the_caller_wants_that() -> None:
    report = read({"Some Extension": {"args": [True]}}, Report("warn"))
    assert not report.problems and "left out" in report.warning_texts[0]
    assert "unsupported" in str(read({"Some Extension": {"args": [True]}}).problems[0])


def test_arguments_that_a1111s_api_ignores_are_told_of() -> None:
    report = read({"seed": {"args": [4242]}, "Tiled VAE": {"args": [True, 1024]}})
    assert [warning.path for warning in report.warnings] == [
        "alwayson_scripts.seed.args",
        "alwayson_scripts.Tiled VAE.args",
    ]
    assert "send the request's fields seed" in report.warning_texts[0]


def test_a_script_whose_switch_is_not_sent_is_told_of() -> None:
    report = read({"roop": {"args": [{"enable": True}]}, "ReActor": {"args": ["iVBOR"]}})
    assert not report.problems
    assert [warning.path for warning in report.warnings] == [
        "alwayson_scripts.roop.args",
        "alwayson_scripts.ReActor.args",
    ]
    assert "[1], which turns it on, is not sent" in report.warning_texts[0]


@pytest.mark.parametrize("title", ["FreeU Integrated", "selfattentionguidance integrated"])
def test_titles_of_other_releases(title: str) -> None:
    row = find_row(title)
    assert row is not None and row.title.lower().startswith(title.lower())


def test_every_row_that_is_read_has_its_reader_and_the_others_say_why() -> None:
    """A new script is a row of tables/always_on.json, and of _READERS where its state is read."""
    read_titles = {row.title.lower() for row in always_on_rows() if row.state == "read"}
    readers = {*_READERS, *PATCH_READERS}
    assert read_titles == readers, "rows of state read and readers must agree"
    for row in always_on_rows():
        assert bool(row.why) == (row.state in ("ignored", "unsupported")), f"{row.title}: why"
        assert find_row(row.title) is row, f"{row.title}: another row comes before it"


def test_every_script_of_a1111_has_a_row() -> None:
    for names in read_table("api")["scripts"].values():
        for name in names:
            argument = read_table("api")["script_arguments"].get(name)
            if argument is None or argument["is_alwayson"]:
                assert find_row(name) is not None, f"{name}: no row in tables/always_on.json"
