"""Compares what two versions of ComfyUI made of the same goldens, from two runs of `make parity`.

    python -m tests.comfyui.parity --comfyui OLD --out out/old --modes exact --sample 20
    python -m tests.comfyui.parity --comfyui NEW --out out/new --modes exact --sample 20
    python -m tests.comfyui.versions out/old out/new

Prints the table of docs/versions.md; exit 1 if a picture differs by more than 60 dB allow.
"""

from __future__ import annotations

import argparse
import base64
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from itertools import zip_longest
from pathlib import Path

import numpy as np
from PIL import Image

from tools.markdown import table

SAME_DB = 60.0
_OTHER_FOLDERS = ("core", "verdicts")


@dataclass(frozen=True)
class Pair:
    """One picture of both versions.

    Attributes:
        family, name: the case's, and the picture's number in its answer.
        psnr: decibels between the two; infinite where every pixel is equal, 0 where the other
            version has none, or one of another size.
    """

    family: str
    name: str
    psnr: float


def pairs(old: Path, new: Path) -> Iterator[Pair]:
    """Every picture of the first run's answers beside that of the second's."""
    for file in sorted(old.glob("*/*.json")):
        family = file.parent.name
        if family in _OTHER_FOLDERS:
            continue
        first, second = (pictures(root / family / file.name) for root in (old, new))
        for number, (one, other) in enumerate(zip_longest(first, second)):
            yield Pair(family, f"{file.stem}, picture {number}", likeness(one, other))


def pictures(answer: Path) -> list[bytes]:
    """The pictures of an answer as `make parity` keeps it; none where there is no answer."""
    if not answer.is_file():
        return []
    images = json.loads(answer.read_text("utf-8")).get("images") or ()
    return [base64.b64decode(str(text).rpartition(",")[2]) for text in images]


def likeness(one: bytes | None, other: bytes | None) -> float:
    """Peak signal-to-noise ratio of two picture files in decibels; 0 where one is missing."""
    if one is None or other is None:
        return 0.0
    with Image.open(BytesIO(one)) as first, Image.open(BytesIO(other)) as second:
        if first.size != second.size:
            return 0.0
        left, right = (np.asarray(image.convert("RGB"), np.float64) for image in (first, second))
    error = float(((left - right) ** 2).mean())
    return float("inf") if error == 0 else 10 * float(np.log10(255**2 / error))


def report(found: Sequence[Pair]) -> str:
    """The table: a row a family."""
    families = dict.fromkeys(pair.family for pair in found)
    rows = [_row(family, [p.psnr for p in found if p.family == family]) for family in families]
    rows.append(_row("**all**", [pair.psnr for pair in found]))
    return table(["family", "pictures", "equal in every pixel", "60 dB and more", "least"], rows)


def _row(name: str, ratios: Sequence[float]) -> list[str]:
    equal = sum(ratio == float("inf") for ratio in ratios)
    same = sum(ratio >= SAME_DB for ratio in ratios)
    least = min(ratios)
    shown = "equal" if least == float("inf") else f"{least:.1f} dB"
    return [name, str(len(ratios)), str(equal), str(same), shown]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser("versions", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("old", type=Path)
    parser.add_argument("new", type=Path)
    options = parser.parse_args(arguments)
    found = list(pairs(options.old, options.new))
    if not found:
        raise SystemExit(f"there are no pictures in {options.old}")
    print(report(found))
    differing = [pair for pair in found if pair.psnr < SAME_DB]
    for pair in differing:
        print(f"{pair.family}/{pair.name}: {pair.psnr:.1f} dB", file=sys.stderr)
    return int(bool(differing))


if __name__ == "__main__":
    sys.exit(main())
