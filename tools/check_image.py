"""Hold the installed packages against the requirements files of ComfyUI and its packs.

python check_image.py --overrides overrides.txt REQUIREMENTS.txt ...

Runs while the image is built, by the image's own interpreter: exit 1 and a line for each
requirement that is neither met nor left out on purpose (docker/overrides.txt), so that a version of
ComfyUI with a new need cannot be pinned without it.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Collection, Iterable, Iterator, Sequence
from importlib import metadata
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

_NEVER = "never"


def requirements(text: str) -> Iterator[Requirement]:
    """The requirements of a file; options such as ``--index-url`` are none.

    Raises:
        InvalidRequirement: a line is neither.
    """
    for line in text.splitlines():
        wanted = line.partition(" #")[0].strip()
        if wanted and not wanted.startswith(("#", "-")):
            yield Requirement(wanted)


def left_out(overrides: str) -> set[str]:
    """The packages that overrides.txt leaves out on purpose."""
    return {
        canonicalize_name(item.name)
        for item in requirements(overrides)
        if item.marker is not None and _NEVER in str(item.marker)
    }


def unmet(wanted: Iterable[Requirement], without: Collection[str]) -> Iterator[str]:
    """What is wrong with the installed packages, a line each."""
    for item in wanted:
        name = canonicalize_name(item.name)
        if name in without or (item.marker is not None and not item.marker.evaluate()):
            continue
        try:
            version = metadata.version(name)
        except metadata.PackageNotFoundError:
            yield f"{item}: not installed"
            continue
        if not item.specifier.contains(version, prereleases=True):
            yield f"{item}: {version} is installed"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--overrides", type=Path, required=True)
    options = parser.parse_args(arguments)
    without = left_out(options.overrides.read_text("utf-8"))
    faults = 0
    for file in options.files:
        try:
            found = list(unmet(requirements(file.read_text("utf-8")), without))
        except InvalidRequirement as error:
            found = [str(error)]
        for line in found:
            print(f"{file}: {line}", file=sys.stderr)
        faults += len(found)
    print(f"{len(options.files)} requirements files: {faults or 'no'} faults")
    return int(faults > 0)


if __name__ == "__main__":
    sys.exit(main())
