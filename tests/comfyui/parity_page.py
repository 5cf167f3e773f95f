"""The pictures of a parity run, to look at: golden, ours, and their difference, worst first."""

from __future__ import annotations

import html
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tests.comfyui.goldens import Golden, Verdict, pictures_of

AMPLIFIED = 20
"""Times by which a difference is shown; 13 levels are white."""

_KINDS = ("other", "near", "exact", "refused")
_STYLE = """
:root { color-scheme: light dark; font: 16px/1.4 system-ui, sans-serif; }
body { max-width: 1300px; margin: 1rem auto; padding: 0 1rem; }
article { border-top: 1px solid #8886; padding: .6rem 0; }
h2 { font-size: 1rem; margin: 0; }
.row { display: grid; grid-template-columns: repeat(3, minmax(0, 1fr)); gap: .5rem; }
figure { margin: .3rem 0; } img { max-width: 100%; image-rendering: pixelated; }
figcaption, p { font-size: .85rem; margin: .2rem 0; overflow-wrap: anywhere; }
.other h2 { color: light-dark(#b3181b, #ff9a94); } .near h2 { color: light-dark(#7a4b00, #f3c063); }
"""


@dataclass(frozen=True)
class Shown:
    """A case of one mode: golden, answer as it was kept, verdict, and why it cannot be exact."""

    golden: Golden
    answer: Mapping[str, Any]
    verdict: Verdict
    why: str


def write_page(folder: Path, mode: str, cases: Iterable[Shown]) -> Path:
    """Write ``MODE.html`` and its pictures below a folder.

    Args:
        mode: ``exact`` or ``core``.
    """
    ordered = sorted(cases, key=_badness)
    articles = [_article(folder, mode, case) for case in ordered]
    counts = {kind: sum(case.verdict.kind == kind for case in ordered) for kind in _KINDS}
    told = ", ".join(f"{count} {kind}" for kind, count in counts.items() if count)
    title = f"Parity with A1111, {mode}"
    file = folder / f"{mode}.html"
    file.write_text(
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{_STYLE}</style><h1>{title}</h1><p>{told}; worst first. Differences are "
        f"{AMPLIFIED} times as strong as they are.</p>{''.join(articles)}</html>",
        "utf-8",
    )
    return file


def difference(golden: np.ndarray[Any, Any], ours: np.ndarray[Any, Any]) -> Image.Image:
    """How far two pictures of one size are apart, channel by channel, amplified."""
    apart = np.abs(golden[..., :3] - ours[..., :3]) * AMPLIFIED
    return Image.fromarray(np.clip(apart, 0, 255).astype(np.uint8))


def _badness(case: Shown) -> tuple[int, float, str]:
    psnr = case.verdict.psnr
    rank = _KINDS.index(case.verdict.kind)
    return rank, -1.0 if psnr is None else psnr, case.golden.id


def _article(folder: Path, mode: str, case: Shown) -> str:
    verdict = case.verdict
    figure = "" if verdict.psnr is None else f", {verdict.psnr:.1f} dB, {verdict.max_difference}"
    notes = [*verdict.differences, case.why, *case.answer.get("warnings", ())]
    said = "".join(f"<p>{html.escape(str(note))}</p>" for note in notes if note)
    rows = "".join(_rows(folder, mode, case))
    head = html.escape(f"{case.golden.id}: {verdict.kind}{figure}")
    asked = html.escape(json.dumps(_short(case.golden.payload), ensure_ascii=False))
    return (
        f'<article class="{verdict.kind}"><h2>{head}</h2>{said}'
        f"<details><summary>request</summary><p>{asked}</p></details>{rows}</article>"
    )


def _rows(folder: Path, mode: str, case: Shown) -> Iterable[str]:
    ours = pictures_of(case.answer)
    for number in range(max(len(ours), len(case.golden.images))):
        pair = [item[number] if number < len(item) else None for item in (case.golden.images, ours)]
        shown: list[tuple[str, Image.Image | None]] = [
            (name, None if item is None else Image.fromarray(item.astype(np.uint8)))
            for name, item in zip(("A1111", "ours"), pair, strict=True)
        ]
        one, other = pair
        same_size = one is not None and other is not None and one.shape == other.shape
        shown.append(
            ("difference", difference(one, other) if same_size else None)  # type: ignore[arg-type]
        )
        figures = [_figure(folder, f"{mode}/{case.golden.id}", number, *item) for item in shown]
        yield f'<div class="row">{"".join(figures)}</div>'


def _figure(folder: Path, place: str, number: int, name: str, image: Image.Image | None) -> str:
    if image is None:
        return f"<figure><figcaption>{name}: none</figcaption></figure>"
    file = folder / "pictures" / place / f"{number}-{name}.png"
    file.parent.mkdir(parents=True, exist_ok=True)
    image.save(file)
    source = file.relative_to(folder).as_posix()
    return (
        f'<figure><img loading="lazy" src="{html.escape(source)}" alt="{name}">'
        f"<figcaption>{name}</figcaption></figure>"
    )


def _short(value: Any) -> Any:
    """A payload without its pictures."""
    if isinstance(value, Mapping):
        return {name: _short(item) for name, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_short(item) for item in value]
    return f"({len(value)} characters)" if isinstance(value, str) and len(value) > 1000 else value
