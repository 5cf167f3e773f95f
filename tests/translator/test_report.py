"""The report: warnings and problems, each once, with their place in the request."""

from __future__ import annotations

import pytest

from translator.report import Report, TranslationError, Warning


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
