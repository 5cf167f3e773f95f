"""The always-on script Forge Couple: its arguments, and what they make of a pass.

Source: sd-forge-couple 7.0.7 ``scripts/forge_couple.py`` and ``lib_couple/mapping.py``, restated.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from translator import prompt as prompts
from translator.plan.regions import Box, CoupledRegion, CoupledRegions
from translator.plan.values import SamplingPass
from translator.prompt.error import LONGEST_SCHEDULE
from translator.request.images import ImageReader, ImageUpload
from translator.scope import Scope
from translator.scripts.arguments import Arguments, has_own_node
from translator.scripts.regions.ratios import MOST_REGIONS, RegionError

NODE = "A1111AttentionCouple"

_USUAL: Sequence[Any] = (
    *(False, True, "Basic", "", "Horizontal", "None", 0.5, [], "{ }", False, True, False),
)
"""The page's values."""

_MAPPING, _TILES = 7, 11
"""Positions of where lines count, and of the switch of its tile mode, which only img2img has."""

_MODES = ("Basic", "Advanced", "Mask")
_DIRECTIONS = ("Horizontal", "Vertical")
_NONE, _FIRST_LINE = "None", "First Line"
_BACKGROUNDS = (_NONE, _FIRST_LINE, "Last Line")
_BRACKETS: Mapping[str, str | None] = {"off": None, "{ }": "{}", "< >": "<>"}
"""Choice of what common prompts stand in -> the opening and the closing bracket, or None."""

_ALONE = 1.25
"""Weight of Basic's tiles where nothing lies under them."""

_LEAST_BACKGROUND = 0.1

Share = tuple[float, float, float, float]
"""Left, right, top and bottom, as shares of the picture."""


@dataclass(frozen=True)
class Mapped:
    """Where a line counts: a share of the picture, or a mask's picture; and its weight."""

    place: Share | ImageUpload
    weight: float


@dataclass(frozen=True)
class ForgeCouple:
    """What Forge Couple is asked for.

    Attributes:
        path: of its arguments.
        mode: one of `_MODES`.
        mapping: of Advanced and Mask, one a line.
        separator: what stands between lines.
        across: whether Basic's tiles lie side by side.
        background: the line that lies under all: one of `_BACKGROUNDS`.
        weight: of that line.
        brackets: what common prompts stand in, opening and closing, or None.
        keeps_definitions: whether a common prompt also stays where it is defined.
        skips_hires: whether the hires pass has the whole prompt.
        entries: its infotext.
    """

    path: str
    mode: str
    mapping: tuple[Mapped, ...]
    separator: str
    across: bool
    background: str
    weight: float
    brackets: str | None
    keeps_definitions: bool
    skips_hires: bool
    entries: Mapping[str, Any]

    def rewritten(self, prompt: str, negative: str) -> tuple[str, str] | None:
        """None: the prompts as a whole stay what they are."""
        del prompt, negative
        return None

    def regions(self, item: SamplingPass, size: tuple[int, int]) -> CoupledRegions | None:
        """The regions of a pass.

        Args:
            size: of the first pass, in pixels; the hires pass' masks have it too.

        Raises:
            RegionError: there are too few lines, or another number than there are places, or a
                part of the picture is in none.
        """
        if item.role == "hires" and self.skips_hires:
            return None
        text = prompts.split_networks(item.prompt.text)[0]
        if self.brackets:
            text = _with_common_prompts(text, self.brackets, self.keeps_definitions)
        lines = [line.strip() for line in text.split(self.separator)]
        if len(lines) > MOST_REGIONS:
            raise RegionError(f"it has {len(lines)} regions; at most {MOST_REGIONS} are done")
        found = CoupledRegions(tuple(self._regions(lines, size)), size)
        if _leaves_gaps(found):
            raise RegionError("the regions leave a part of the picture without a prompt")
        return found

    def _regions(self, lines: list[str], size: tuple[int, int]) -> Iterator[CoupledRegion]:
        """The regions in the lines' order."""
        has_background = self.mode != "Advanced" and self.background != _NONE
        places = self._places(len(lines) - has_background, size, alone=not has_background)
        if len(places) + has_background != len(lines):
            raise RegionError(f"it has {len(lines)} lines for {len(places)} places")
        if has_background:
            under: list[tuple[Box | ImageUpload | None, float]] = [(None, self.weight)]
            places = under + places if self.background == _FIRST_LINE else places + under
        for line, (place, weight) in zip(lines, places, strict=True):
            yield CoupledRegion(prompts.literal(line), place, weight)

    def _places(
        self, count: int, size: tuple[int, int], *, alone: bool
    ) -> list[tuple[Box | ImageUpload | None, float]]:
        if self.mode != "Basic":
            return [(_pixels(item.place, size), item.weight) for item in self.mapping]
        least = 2
        if count < least:
            raise RegionError(f"it has {count} lines for tiles; at least {least} are needed")
        weight = _ALONE if alone else 1.0
        return [(box, weight) for box in _tiles(count, size, across=self.across)]


def _tiles(count: int, size: tuple[int, int], *, across: bool) -> Iterator[Box]:
    """Basic's tiles: of one length, but for the last."""
    length = size[0] if across else size[1]
    step = (length - 1) // count + 1
    for number in range(count):
        start, end = min(number * step, length), min((number + 1) * step, length)
        yield (start, 0, end, size[1]) if across else (0, start, size[0], end)


def _pixels(place: Share | ImageUpload, size: tuple[int, int]) -> Box | ImageUpload:
    if isinstance(place, ImageUpload):
        return place
    left, right, top, bottom = place
    width, height = size
    return int(width * left), int(height * top), int(width * right), int(height * bottom)


def _leaves_gaps(found: CoupledRegions) -> bool:
    """Whether a part of the picture is in no region, as far as boxes tell."""
    counted = [region.place for region in found.regions if region.weight > 0]
    if any(place is None or isinstance(place, ImageUpload) for place in counted):
        return False
    boxes = [place for place in counted if isinstance(place, tuple)]
    across = sorted({edge for box in boxes for edge in box[::2]} | {0, found.size[0]})
    down = sorted({edge for box in boxes for edge in box[1::2]} | {0, found.size[1]})
    covered = [bytearray(len(across) - 1) for _ in down[1:]]  # cells between the edges, by lines
    for left, top, right, bottom in boxes:
        first, last = across.index(left), across.index(right)
        for line in covered[down.index(top) : down.index(bottom)]:
            line[first:last] = b"\1" * (last - first)
    return not all(map(all, covered))


def _with_common_prompts(text: str, brackets: str, keeps: bool) -> str:
    """``{name: words}`` defines, ``{name}`` puts in.

    Raises:
        RegionError: that makes more than `LONGEST_SCHEDULE` characters.
    """
    left, right = map(re.escape, brackets)
    inner = f"[^{left}{right}:]"
    known: dict[str, str] = {}

    def define(match: re.Match[str]) -> str:
        known[match[1].strip()] = match[2].strip()
        return match[2].strip() if keeps else ""

    text = re.sub(f"{left}({inner}+):([^{left}{right}]+?){right}", define, text)
    length = len(text)

    def put_in(match: re.Match[str]) -> str:
        nonlocal length
        words = known.get(match[1].strip(), match[0])
        length += len(words)
        if length > LONGEST_SCHEDULE:
            raise RegionError(
                f"its common prompts make more than {LONGEST_SCHEDULE} characters of it"
            )
        return words

    return re.sub(f"{left}({inner}+){right}", put_in, text)


# --- arguments -----------------------------------------------------------------------------------


def read_forge_couple(args: Sequence[Any], path: str, scope: Scope) -> ForgeCouple | None:
    """Forge Couple's arguments; None where it is off, or after a report."""
    given = Arguments(args, path, scope, _USUAL)
    if not given.switch(0) or not has_own_node(NODE, path, scope):
        return None
    given.warn_of_surplus()
    if given.values[1] in _MODES:
        given.refuse(1, "compatibility, true or false, stands here, and the mode behind it")
        return None
    mode, separator = given.choice(2, _MODES), given.text(3)
    direction = given.choice(4, _DIRECTIONS) if mode == "Basic" else ""
    background = _NONE if mode == "Advanced" else given.choice(5, _BACKGROUNDS)
    weight = 0.0 if background == _NONE else given.number(6, 0, 100)
    brackets = None if given.values[8] is None else _BRACKETS[given.choice(8, tuple(_BRACKETS))]
    if given.switch(_TILES):
        given.unsupported(
            _TILES,
            "its Tile Mode gives every tile of an upscaler another prompt, which is not done; "
            "send false",
            instead="regions act in every tile",
        )
    mapping = _mapping(mode, given, scope)
    if mapping is None or not given.sound:
        return None
    separator = separator.replace("\\n", "\n").replace("\\t", " ")
    separator = separator if separator.strip() else "\n"
    return ForgeCouple(
        path=path,
        mode=mode,
        mapping=mapping,
        separator=separator,
        across=direction == _DIRECTIONS[0],
        background=background,
        weight=max(_LEAST_BACKGROUND, weight),
        brackets=brackets,
        keeps_definitions=given.switch(10),
        skips_hires=given.switch(1),
        entries=_entries(given.values, separator),
    )


def _entries(given: Sequence[Any], separator: str) -> Mapping[str, Any]:
    """Its infotext."""
    mode = given[2]
    entries: dict[str, Any] = {
        "forge_couple": True,
        "forge_couple_compatibility": given[1],
        "forge_couple_mode": mode,
        "forge_couple_separator": separator.replace("\n", "\\n"),
    }
    if mode == "Basic":
        entries["forge_couple_direction"] = given[4]
    if mode == "Advanced":
        entries["forge_couple_mapping"] = json.dumps(given[7])
    else:
        entries["forge_couple_background"] = given[5]
        entries["forge_couple_background_weight"] = given[6]
    entries["forge_couple_common_parser"] = given[8]
    entries["forge_couple_def_in_prompt"] = given[10]
    return entries


def _mapping(mode: str, given: Arguments, scope: Scope) -> tuple[Mapped, ...] | None:
    """Where each line counts; None after a report."""
    if mode == "Basic":
        return ()
    rows, path = given.values[_MAPPING], given.path(_MAPPING)
    rows = rows if isinstance(rows, list) else []
    if mode == "Mask":
        images = ImageReader(scope.report)
        masks = [_mask(row, f"{path}[{n}]", images) for n, row in enumerate(rows[:MOST_REGIONS])]
        wanted = '{"mask": picture, "weight": number}'
    else:
        masks = [_box(row) for row in rows[:MOST_REGIONS]]
        wanted = "[x1, x2, y1, y2, weight], shares within 0..1"
    found = tuple(item for item in masks if item is not None)
    if rows and len(found) == len(rows):
        return found
    if not scope.report.refused(path):
        given.refuse(_MAPPING, f"a list of up to {MOST_REGIONS} {wanted} is needed")
    return None


def _mask(row: Any, path: str, images: ImageReader) -> Mapped | None:
    weight = _weight(row.get("weight", 1.0)) if isinstance(row, Mapping) else None
    if weight is None or not row.get("mask"):
        return None
    upload = images.read(row["mask"], f"{path}.mask")
    return None if upload is None else Mapped(upload, weight)


def _weight(value: Any) -> float | None:
    """A weight, which the extension also takes as a text."""
    try:
        weight = float(value)
    except (TypeError, ValueError):
        return None
    return weight if math.isfinite(weight) and weight >= 0 else None


def _box(row: Any) -> Mapped | None:
    numbers = row if isinstance(row, list) and len(row) == 5 else []
    if not numbers or not all(
        isinstance(number, int | float) and math.isfinite(number) for number in numbers
    ):
        return None
    left, right, top, bottom, weight = map(float, numbers)
    if not (0 <= left < right <= 1 and 0 <= top < bottom <= 1 and weight >= 0):
        return None
    return Mapped((left, right, top, bottom), weight)
