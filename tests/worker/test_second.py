"""What a second request executes stands in docs/performance.md as it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench import second

DOCS = Path(__file__).parents[2] / "docs" / "performance.md"


@pytest.mark.slow
def test_the_documented_table_is_what_is_executed() -> None:
    documented = [line for line in DOCS.read_text("utf-8").splitlines() if line.startswith("| ")]
    assert [row for row in second.rows() if row not in [*documented, "|---|---|---|---|"]] == []
