"""Wildcards of Dynamic Prompts from the operator's folder."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from worker.wildcards import read_wildcards


def test_files_of_every_kind_are_read(tmp_path: Path) -> None:
    (tmp_path / "color.txt").write_text("red\n# a comment\n\n blue \n")
    (tmp_path / "animals").mkdir()
    (tmp_path / "animals" / "cat.txt").write_text("tabby\n")
    (tmp_path / "more.yaml").write_text("clothes:\n  hat: [cap, 3::beret]\n")
    (tmp_path / "shapes.json").write_text(json.dumps({"round": ["ball", {"text": "disc"}]}))
    (tmp_path / "broken.yaml").write_text("a: [")
    (tmp_path / "picture.png").write_bytes(b"\x89PNG")
    assert read_wildcards(tmp_path) == {
        "color": ("red", "blue"),
        "animals/cat": ("tabby",),
        "clothes/hat": ("cap", ("beret", 3.0)),
        "round": ("ball", "disc"),
    }


def test_a_folder_that_is_not_there_is_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert read_wildcards(None) == {} and not caplog.records
    assert read_wildcards(tmp_path / "none") == {}
    assert "no folder of wildcards" in caplog.text
