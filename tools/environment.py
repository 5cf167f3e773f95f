"""Set up `.venv` for one purpose, and say meanwhile what is done and how long it took.

python tools/environment.py demo     what `make demo` needs: a handful of packages
python tools/environment.py develop  what tests, linters and type checks need

Only the standard library: it runs before anything is installed. The packages are those of
pyproject.toml; a purpose that is installed already costs nothing.
"""

from __future__ import annotations

import argparse
import hashlib
import re
import subprocess
import sys
import time
import tomllib
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]
VENV = ROOT / ".venv"
EXTRAS = {"demo": ("devserver",), "develop": ("devserver", "dev")}
"""Purpose -> the extras of pyproject.toml that it takes beside the project's own dependencies."""

TORCH = ("torch==2.13.0", "torchsde==0.2.6")
"""What the tests of the node pack's maths need; they are skipped where it cannot be had."""

_SHOWN = re.compile(r" *(Collecting|Downloading|Installing collected)")
_NAME = re.compile(r"[A-Za-z0-9._-]+")


def requirements(purpose: str) -> list[str]:
    """The requirements of a purpose, as pyproject.toml words them, each once and sorted."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    wanted = set(project["dependencies"])
    for extra in EXTRAS[purpose]:
        wanted.update(project["optional-dependencies"][extra])
    return sorted(wanted, key=str.lower)


def names(wanted: Sequence[str]) -> str:
    """The packages' names alone, for a reader."""
    return ", ".join(_NAME.match(text)[0] for text in wanted)  # type: ignore[index]


def stamp(purpose: str) -> Path:
    """The file that says that a purpose is installed as pyproject.toml has it now."""
    digest = hashlib.sha256("\n".join(requirements(purpose)).encode()).hexdigest()[:12]
    return VENV / f".{purpose}-{digest}"


def python() -> Path:
    """The interpreter of the environment."""
    return VENV / "bin" / "python"


def create() -> None:
    """Make the environment if there is none."""
    if python().exists():
        return
    with Step(f"a Python {sys.version_info.major}.{sys.version_info.minor} environment in .venv"):
        subprocess.run([sys.executable, "-m", "venv", str(VENV)], check=True)


def install(wanted: Sequence[str]) -> int:
    """Install with pip, a line for each package it fetches; pip's exit status."""
    command = [str(python()), "-m", "pip", "install", "--disable-pip-version-check"]
    command += ["--progress-bar", "off", *wanted]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as pip:
        assert pip.stdout is not None
        for line in pip.stdout:
            if _SHOWN.match(line):
                print(f"    {line.strip()[:100]}", flush=True)
    return pip.returncode


class Step:
    """Prints what begins, and at its end the seconds it took."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._begun = 0.0

    def __enter__(self) -> None:
        self._begun = time.monotonic()
        print(f"setup: {self._what} ...", flush=True)

    def __exit__(self, *_: object) -> None:
        print(f"setup: done in {time.monotonic() - self._begun:.0f} s", flush=True)


def prepare(purpose: str) -> int:
    """Install what a purpose takes, unless its stamp says that it is there; the exit status."""
    if stamp(purpose).exists():
        return 0
    create()
    wanted = requirements(purpose)
    with Step(f"{len(wanted)} packages: {names(wanted)}"):
        status = install(wanted)
    if status == 0:
        stamp(purpose).touch()
    return status


def has_torch() -> bool:
    """Whether the environment can import torch and torchsde."""
    command = [str(python()), "-c", "import torch, torchsde"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def prepare_torch() -> None:
    """Install torch for the node pack's tests; without it they are skipped, and this says so."""
    refused = VENV / ".no-torch"
    if refused.exists() or has_torch():
        return
    with Step("torch, for the tests of the node pack (a large download; TORCH=no leaves it out)"):
        failed = install(TORCH) != 0
    if failed:
        refused.touch()
        print("setup: no torch: the tests of the node pack will be skipped", flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("purpose", choices=EXTRAS)
    parser.add_argument("--torch", choices=("yes", "no"), default="no")
    options = parser.parse_args(arguments)
    status = prepare(options.purpose)
    if status == 0 and options.torch == "yes":
        prepare_torch()
    return status


if __name__ == "__main__":
    sys.exit(main())
