"""Near names for messages."""

from __future__ import annotations

from translator.suggest import did_you_mean, nearest


def test_the_nearest_name_is_suggested_whatever_the_case() -> None:
    known = ("DPM++ 2M", "DPM++ 2M SDE", "Euler a")
    assert did_you_mean("eular A", known) == ', did you mean "Euler a"?'
    assert nearest("dpm++ 2m", known, count=3) == ("DPM++ 2M",)
    assert nearest("DPM++ 2M SD", known, count=3) == ("DPM++ 2M SDE", "DPM++ 2M")


def test_a_name_unlike_all_has_no_suggestion() -> None:
    assert did_you_mean("Lanczos", ("Euler a",)) == ""
    assert did_you_mean("x", ()) == ""
