"""The report: warnings and problems, each once, with their place in the request."""

from __future__ import annotations

import contextlib
import time
from typing import Any

import pytest

from tests.worker.graphs import picture
from translator import translate
from translator.report import MOST_PROBLEMS, MOST_WARNINGS, Report, TranslationError, Warning

PICTURE = picture()


def test_a_warning_is_said_once_with_its_path() -> None:
    report = Report()
    report.warn("steps", "few")
    report.warn("steps", "few")
    report.warn("", "no list")
    assert report.warnings == (Warning("steps", "few"), Warning("", "no list"))
    assert report.warning_texts == ["steps: few", "no list"]


def test_what_cannot_be_honoured_is_refused_or_told() -> None:
    strict, lenient = Report(), Report("warn")
    for report in (strict, lenient):
        report.unsupported("tiling", "cannot be done", instead="it is left out")
    assert [str(problem) for problem in strict.problems] == [
        'tiling: cannot be done; with option unsupported="warn" it is left out'
    ]
    assert lenient.warnings == (Warning("tiling", "cannot be done; it is left out"),)


def test_a_part_is_refused_where_a_problem_lies_in_it() -> None:
    report = Report()
    report.invalid("args[1].image", "no image")
    assert report.refused("args[1].image") and report.refused("args[1]") and report.refused("args")
    assert not report.refused("args[10]") and not report.refused("arg")
    assert not report.refused("args[1].image.mask")
    with pytest.raises(TranslationError, match="no image"):
        report.raise_if_refused()


def test_after_so_many_problems_a_translation_ends_at_once() -> None:
    report = Report()
    with pytest.raises(TranslationError) as caught:
        for number in range(10 * MOST_PROBLEMS):
            report.invalid(f"args[{number}]", "is no unit")
    assert number == MOST_PROBLEMS
    assert len(caught.value.problems) == MOST_PROBLEMS + 1
    assert "more problems than these" in str(caught.value)


def test_warnings_have_a_bound_and_the_last_one_says_so() -> None:
    report = Report()
    for number in range(3 * MOST_WARNINGS):
        report.warn(f"args[{number}]", "is left out")
    report.warn("args[0]", "is left out")
    assert len(report.warnings) == MOST_WARNINGS + 1
    assert "more warnings than these" in report.warning_texts[-1]


@pytest.mark.parametrize(
    ("endpoint", "payload"),
    [
        ("/controlnet/detect", {"controlnet_input_images": [f"x{n}" for n in range(50_000)]}),
        ("/sdapi/v1/img2img", {"init_images": [f"x{n}" for n in range(50_000)]}),
        ("/controlnet/detect", {"controlnet_input_images": [PICTURE] * 6000}),
    ],
)
def test_many_pictures_take_time_as_they_are_many(endpoint: str, payload: dict[str, Any]) -> None:
    start = time.thread_time()
    with contextlib.suppress(TranslationError):
        translate({"controlnet_module": "canny", **payload}, endpoint)
    assert time.thread_time() - start < 3
