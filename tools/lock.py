"""Resolve the image's packages into docker/requirements.lock, or check that they still resolve.

python -m tools.lock            resolve anew; pins that still fit stay as they are
python -m tools.lock --upgrade  take the newest of everything
python -m tools.lock --check    exit 1 if the lock is out of date or a pin cannot be had any more

Needs uv (in the dev extra) and the package index; takes about 20 seconds.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]
LOCK = ROOT / "docker" / "requirements.lock"
PYTHON = "3.11"
PLATFORM = "x86_64-manylinux_2_36"
"""The base image: Python 3.11 on Debian bookworm, whose glibc is 2.36."""

SOURCES = ("docker/requirements.in", "pyproject.toml")
EXTRAS = ("runpod", "s3", "server")
"""The extras of pyproject.toml that the image has."""

_HEADER = "# Written by `make lock` from docker/requirements.in and pyproject.toml; do not edit.\n"


def uv() -> str:
    """The uv beside this interpreter, or the one on the PATH."""
    beside = Path(sys.executable).with_name("uv")
    return str(beside) if beside.exists() else shutil.which("uv") or "uv"


def resolve(out: Path, *, upgrade: bool = False) -> None:
    """Write the resolution into `out`; pins that `out` holds are kept where they fit.

    Raises:
        subprocess.CalledProcessError: there is no resolution; uv has said why.
    """
    command = [uv(), "pip", "compile", *SOURCES, "--quiet", "--no-header", "--generate-hashes"]
    command += ["--override", "docker/overrides.txt", "--output-file", str(out)]
    command += ["--python-version", PYTHON, "--python-platform", PLATFORM, "--no-annotate"]
    command += [word for extra in EXTRAS for word in ("--extra", extra)]
    command += ["--upgrade"] if upgrade else []
    subprocess.run(command, cwd=ROOT, check=True)


def without_comments(text: str) -> list[str]:
    """The lines of a lock that pin something."""
    return [line for line in text.splitlines() if line.strip() and not line.startswith("#")]


def is_current() -> bool:
    """Whether resolving from the lock's own pins gives the lock again, hash for hash."""
    with tempfile.TemporaryDirectory() as folder:
        again = Path(folder) / LOCK.name
        shutil.copy(LOCK, again)
        resolve(again)
        return without_comments(again.read_text("utf-8")) == without_comments(
            LOCK.read_text("utf-8")
        )


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--upgrade", action="store_true")
    options = parser.parse_args(arguments)
    try:
        if options.check:
            if not is_current():
                print("docker/requirements.lock is out of date: run `make lock`", file=sys.stderr)
                return 1
            print("docker/requirements.lock: every pin resolves")
            return 0
        resolve(LOCK, upgrade=options.upgrade)
    except subprocess.CalledProcessError as error:
        return error.returncode
    text = LOCK.read_text("utf-8")
    LOCK.write_text(_HEADER + text.removeprefix(_HEADER), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
