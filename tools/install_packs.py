"""Fetch the node packs of custom_nodes.txt at their pinned commits.

Runs while the image is built. What they need of pip's packages is in docker/requirements.lock, and
tools/check_image.py sees that nothing is left out. Only the standard library.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

_COMMIT = re.compile(r"[0-9a-f]{40}")
_URL = re.compile(r"https://[\w.-]+/[\w.-]+/[\w.-]+")
_FOLDER = re.compile(r"[\w.-]+")


class PackFileError(ValueError):
    """A line of custom_nodes.txt that is not of its format."""


@dataclass(frozen=True)
class Pack:
    """One line of custom_nodes.txt."""

    url: str
    commit: str
    folder: str


def read(lines: Iterable[str]) -> list[Pack]:
    """The packs of custom_nodes.txt.

    Raises:
        PackFileError: a line is not ``GIT-URL COMMIT FOLDER``, or a folder stands twice.
    """
    packs: list[Pack] = []
    for number, line in enumerate(lines, 1):
        words = line.split("#", 1)[0].split()
        if not words:
            continue
        if len(words) != 3 or not all(
            pattern.fullmatch(word)
            for pattern, word in zip((_URL, _COMMIT, _FOLDER), words, strict=True)
        ):
            raise PackFileError(f"line {number}: not GIT-URL COMMIT FOLDER: {line.strip()}")
        pack = Pack(*words)
        if pack.folder in {other.folder for other in packs}:
            raise PackFileError(f"line {number}: {pack.folder} stands twice")
        packs.append(pack)
    return packs


def install(pack: Pack, into: Path) -> None:
    """Fetch a pack's commit, without git's own files."""
    folder = into / pack.folder
    for command in (
        ["git", "init", "--quiet", str(folder)],
        ["git", "-C", str(folder), "fetch", "--quiet", "--depth", "1", pack.url, pack.commit],
        ["git", "-C", str(folder), "checkout", "--quiet", "FETCH_HEAD"],
    ):
        subprocess.run(command, check=True)
    shutil.rmtree(folder / ".git")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path, help="custom_nodes.txt")
    parser.add_argument("--into", type=Path, required=True, help="ComfyUI's custom_nodes")
    arguments = parser.parse_args()
    for pack in read(arguments.file.read_text("utf-8").splitlines()):
        install(pack, arguments.into)


if __name__ == "__main__":
    main()
