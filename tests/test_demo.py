"""The demo runs with the packages that `make demo` installs, and with no others."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tools.environment import ROOT, requirements

_RUN = """
import pathlib, sys
from tools import demo
demo.ROOT = demo.OUT = pathlib.Path(sys.argv[1])
sys.exit(demo.main())
"""


def installed_for(purpose: str) -> set[str]:
    """The names of the distributions that pip installs for a purpose."""
    found: set[str] = set()
    waiting = requirements(purpose)
    while waiting:
        requirement = Requirement(waiting.pop())
        wanted = requirement.marker is None or requirement.marker.evaluate({"extra": ""})
        if wanted and requirement.name not in found:
            found.add(requirement.name)
            waiting += distribution(requirement.name).requires or []
    return found


def link(names: set[str], folder: Path) -> None:
    """Fill an empty folder with links to what those distributions installed."""
    for name in names:
        owner = distribution(name)
        for top in {file.parts[0] for file in owner.files or ()} - {"..", "__pycache__"}:
            if not (folder / top).exists():
                (folder / top).symlink_to(Path(str(owner.locate_file(top))))


@pytest.mark.slow
def test_the_demo_needs_no_more_than_its_packages(tmp_path: Path) -> None:
    packages = tmp_path / "packages"
    packages.mkdir()
    link(installed_for("demo"), packages)
    assert not (packages / "pytest").exists()
    path = os.pathsep.join((str(ROOT), str(packages)))
    done = subprocess.run(
        [sys.executable, "-S", "-c", _RUN, str(tmp_path)],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr, done.stderr
    assert (tmp_path / "index.html").stat().st_size > 10_000
