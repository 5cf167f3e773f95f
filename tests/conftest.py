"""What all tests share: hypothesis without deadlines, and each reason for skipping said once."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import settings

settings.register_profile("shared-machine", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("shared-machine")

_PREFIX = "Skipped: "


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """A line for each reason, with the number of tests it skipped."""
    reasons = Counter(
        report.longrepr[2].removeprefix(_PREFIX)
        for report in terminalreporter.stats.get("skipped", ())
        if isinstance(report.longrepr, tuple)
    )
    for reason, count in reasons.most_common():
        terminalreporter.write_line(f"{count} skipped: {reason}")
