"""Prompts by region: the always-on scripts Regional Prompter and Forge Couple.

Sources: sd-webui-regional-prompter ``scripts/rp.py`` and ``regions.py``, sd-forge-couple 7.0
``scripts/forge_couple.py`` and ``lib_couple/mapping.py``, restated. Both let each region's prompt
act in cross-attention where its mask says.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Literal

from translator import prompt as prompts
from translator.plan.values import CoupledRegion, Plan, SamplingPass
from translator.prompt import PromptError
from translator.prompt.error import LONGEST_SCHEDULE
from translator.report import show
from translator.scope import Scope

NODE = "A1111AttentionCouple"
MOST_REGIONS = 32

Box = tuple[float, float, float, float]
"""Left, top, right and bottom, as shares of the picture."""

_ALL: Box = (0.0, 0.0, 1.0, 1.0)

_RP_KEYS = ("ADDCOMM", "ADDROW", "ADDCOL", "ADDBASE")
_RP_USUAL: Sequence[Any] = (
    *(False, False, "Matrix", "Columns", "Mask", "Prompt", "1,1", "0.2", False, False, False),
    *("Attention", [], "0", "0", "0.4", None, "0", "0", False),
)
_COUPLE_USUAL: Sequence[Any] = (
    False,
    True,
    "Basic",
    "",
    "Horizontal",
    "None",
    0.5,
    [],
    "{ }",
    False,
    True,
)

_FIRST_LINE, _LAST_LINE = "First Line", "Last Line"
_ALONE = 1.25
"""Weight of Forge Couple's tiles where nothing lies under them."""


class CoupleError(ValueError):
    """A prompt that the script cannot take apart."""


@dataclass(frozen=True)
class Region:
    """A prompt and where it counts: its box, and its weight beside the others'."""

    text: str
    box: Box
    weight: float


@dataclass(frozen=True)
class RegionalPrompter:
    """What Regional Prompter's Matrix is asked for.

    Attributes:
        path: of its arguments.
        across: whether regions lie side by side.
        ratios: of the regions.
        base: the base prompt's share of each region; empty without one.
        common: whether the first part stands before all others.
        entries: its infotext.
    """

    path: str
    across: bool
    ratios: tuple[float, ...]
    base: tuple[float, ...]
    common: bool
    entries: Mapping[str, Any]
    skips_hires: Literal[False] = False

    def regions(self, text: str) -> list[Region]:
        """The regions of a prompt; none where it is not divided.

        Raises:
            CoupleError: it has another number of parts than there are regions.
        """
        common = self.common or "ADDCOMM" in text
        based = bool(self.base) or "ADDBASE" in text
        for key in _RP_KEYS:
            text = text.replace(key, "BREAK")
        parts = text.split("BREAK", MOST_REGIONS + 2)
        if len(parts) == 1:
            return []
        if len(parts) > MOST_REGIONS + 2:
            raise CoupleError(f"it has more regions than the {MOST_REGIONS} that are done")
        if common:
            parts = [f"{parts[0]}, {part}" for part in parts[1:]]
        base = parts.pop(0) if based and parts else None
        if len(parts) != len(self.ratios):
            raise CoupleError(
                f"it has {len(parts)} regions, and {len(self.ratios)} ratios divide the picture"
            )
        shares = self.base or (0.2,)
        shares = shares * len(parts) if len(shares) == 1 else shares
        boxes = list(_divided(self.ratios, self.across))
        if base is None:
            return [Region(part, box, 1.0) for part, box in zip(parts, boxes, strict=True)]
        if len(shares) != len(parts):
            raise CoupleError(f"{len(shares)} base ratios are for {len(parts)} regions")
        placed = zip(parts, boxes, shares, strict=True)
        pairs = [
            (Region(part, box, 1 - share), Region(base, box, share)) for part, box, share in placed
        ]
        return [region for pair in pairs for region in pair if region.weight > 0]


@dataclass(frozen=True)
class ForgeCouple:
    """What Forge Couple is asked for.

    Attributes:
        path: of its arguments.
        mapping: of Advanced: box and weight of each line; None is Basic.
        separator: what stands between lines.
        across: whether Basic's tiles lie side by side.
        background: the line that lies under all: ``None``, ``First Line`` or ``Last Line``.
        weight: of that line.
        brackets: what common prompts stand in, or None.
        keeps_definitions: whether a common prompt also stays where it is defined.
        entries: its infotext.
        skips_hires: whether the hires pass has the whole prompt.
    """

    path: str
    mapping: tuple[tuple[Box, float], ...] | None
    separator: str
    across: bool
    background: str
    weight: float
    brackets: str | None
    keeps_definitions: bool
    entries: Mapping[str, Any]
    skips_hires: bool

    def regions(self, text: str) -> list[Region]:
        """The regions of a prompt.

        Raises:
            CoupleError: it has too few lines, or another number than there are boxes.
        """
        if self.brackets:
            text = _with_common_prompts(text, self.brackets, self.keeps_definitions)
        lines = [line.strip() for line in text.split(self.separator)]
        if self.mapping is not None:
            if len(lines) != len(self.mapping):
                raise CoupleError(f"it has {len(lines)} lines for {len(self.mapping)} boxes")
            pairs = zip(lines, self.mapping, strict=True)
            return [Region(line, box, weight) for line, (box, weight) in pairs]
        least = 2 if self.background == "None" else 3
        if len(lines) < least:
            raise CoupleError(f"it has {len(lines)} lines; at least {least} are needed")
        under: list[Region] = []
        if self.background == _FIRST_LINE:
            under = [Region(lines.pop(0), _ALL, self.weight)]
        elif self.background == _LAST_LINE:
            under = [Region(lines.pop(), _ALL, self.weight)]
        weight = 1.0 if under else _ALONE
        boxes = _divided((1.0,) * len(lines), self.across)
        return [
            *under,
            *(Region(line, box, weight) for line, box in zip(lines, boxes, strict=True)),
        ]


CoupleScript = RegionalPrompter | ForgeCouple


def coupled(plan: Plan, script: CoupleScript | None, scope: Scope) -> Plan:
    """A plan whose passes have a prompt for each region."""
    if script is None:
        return plan
    passes = tuple(_coupled(item, script, scope) for item in plan.passes)
    return replace(plan, passes=passes)


def _coupled(item: SamplingPass, script: CoupleScript, scope: Scope) -> SamplingPass:
    if item.role == "hires" and script.skips_hires:
        return item
    field, calls = "prompt", item.sampler.sampler.total_steps(item.steps)
    try:
        regions = script.regions(item.prompt.positive.text)
        if len(regions) > MOST_REGIONS:
            raise CoupleError(f"it has {len(regions)} regions; at most {MOST_REGIONS} are done")
        found = tuple(
            CoupledRegion(prompts.parse(region.text, calls), region.box, region.weight)
            for region in regions
        )
    except (CoupleError, PromptError) as error:
        scope.report.invalid(field, f"as prompts of regions: {error}")
        return item
    if found and _leaves_gaps(regions):
        scope.report.invalid(
            script.path, "the regions leave a part of the picture without a prompt"
        )
        return item
    return replace(item, couple=found)


def _leaves_gaps(regions: Sequence[Region]) -> bool:
    """Whether a part of the picture is in no region."""
    across = sorted({edge for region in regions for edge in region.box[::2]} | {0.0, 1.0})
    down = sorted({edge for region in regions for edge in region.box[1::2]} | {0.0, 1.0})
    middles = [
        ((left + right) / 2, (top + bottom) / 2)
        for left, right in pairwise(across)
        for top, bottom in pairwise(down)
    ]
    return not all(
        any(
            region.weight > 0
            and region.box[0] < x < region.box[2]
            and region.box[1] < y < region.box[3]
            for region in regions
        )
        for x, y in middles
    )


def _divided(ratios: Sequence[float], across: bool) -> Iterator[Box]:
    """The picture divided along one of its sides."""
    total, start = sum(ratios), 0.0
    for index, ratio in enumerate(ratios):
        end = 1.0 if index == len(ratios) - 1 else start + ratio / total
        yield (start, 0.0, end, 1.0) if across else (0.0, start, 1.0, end)
        start = end


def _with_common_prompts(text: str, brackets: str, keeps: bool) -> str:
    """``{name: words}`` defines, ``{name}`` puts in.

    Raises:
        CoupleError: that makes more than `LONGEST_SCHEDULE` characters.
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
            raise CoupleError(
                f"its common prompts make more than {LONGEST_SCHEDULE} characters of it"
            )
        return words

    return re.sub(f"{left}({inner}+){right}", put_in, text)


# --- arguments -----------------------------------------------------------------------------------


def read_regional_prompter(args: Sequence[Any], path: str, scope: Scope) -> RegionalPrompter | None:
    """Regional Prompter's arguments; None where it is off, or after a report."""
    given = [*args, *_RP_USUAL[len(args) :]][: len(_RP_USUAL)]
    if not given[0] or not _has_node(path, scope):
        return None
    tab, submode, calculation = given[2], given[3], given[11]
    refused = [
        (2, tab in ("Matrix", "Nope"), f"its mode {show(tab)} needs masks or attention maps"),
        (11, calculation == "Attention", "its Latent mode joins latents, which no node does"),
        (19, not given[19], "Flip: send the parts of the prompt in the other order"),
        (10, not given[10], "its common negative prompt: write it into the negative prompt"),
    ]
    if not _all_fine(refused, path, scope):
        return None
    ratios = _ratios(given[6], f"{path}[6]", scope)
    base = _ratios(given[7], f"{path}[7]", scope) if given[8] else ()
    if ratios is None or base is None:
        return None
    if submode not in ("Columns", "Rows", "Horizontal", "Vertical"):
        scope.report.invalid(f"{path}[3]", f"{show(submode)} is not Columns or Rows", submode)
        return None
    names = (
        *("RP Divide mode", "RP Matrix submode", "RP Mask submode", "RP Prompt submode"),
        *("RP Ratios", "RP Base Ratios", "RP Use Base", "RP Use Common", "RP Use Ncommon"),
        "RP Calc Mode",
    )
    entries = {"RP Active": True, **dict(zip(names, given[2:12], strict=True))}
    _warn_near(path, scope)
    across = submode in ("Columns", "Horizontal")
    return RegionalPrompter(path, across, ratios, base, bool(given[9]), entries)


def read_forge_couple(args: Sequence[Any], path: str, scope: Scope) -> ForgeCouple | None:
    """Forge Couple's arguments; None where it is off, or after a report."""
    given = [*args, *_COUPLE_USUAL[len(args) :]]
    if not given[0] or not _has_node(path, scope):
        return None
    mode, separator, direction, background = given[2:6]
    weight, common = given[6], given[8]
    refused = [
        (2, mode in ("Basic", "Advanced"), f"its mode {show(mode)} needs masks"),
        (3, isinstance(separator, str), "the separator is a text"),
        (4, direction in ("Horizontal", "Vertical"), "it is Horizontal or Vertical"),
        (5, background in ("None", _FIRST_LINE, _LAST_LINE), "it is None, First or Last Line"),
        (6, isinstance(weight, int | float) and 0 <= weight <= 1, "a number within 0..1"),
        (8, common in ("off", "{ }", "< >"), "it is off, { } or < >"),
    ]
    if not _all_fine(refused, path, scope):
        return None
    mapping = _mapping(given[7], f"{path}[7]", scope) if mode == "Advanced" else None
    if mode == "Advanced" and mapping is None:
        return None
    divider = separator.replace("\\n", "\n").replace("\\t", " ")
    divider = divider if divider.strip() else "\n"
    entries: dict[str, Any] = {
        "forge_couple": True,
        "forge_couple_compatibility": bool(given[1]),
        "forge_couple_mode": mode,
        "forge_couple_separator": divider.replace("\n", "\\n"),
    }
    if mode == "Basic":
        entries["forge_couple_direction"] = direction
        entries["forge_couple_background"] = background
        entries["forge_couple_background_weight"] = weight
    else:
        entries["forge_couple_mapping"] = json.dumps(given[7])
    entries["forge_couple_common_parser"] = common
    entries["forge_couple_def_in_prompt"] = bool(given[10])
    _warn_near(path, scope)
    return ForgeCouple(
        path=path,
        mapping=mapping,
        separator=divider,
        across=direction == "Horizontal",
        background=background,
        weight=max(0.1, float(weight)),
        brackets=None if common == "off" else common.replace(" ", ""),
        keeps_definitions=bool(given[10]),
        entries=entries,
        skips_hires=bool(given[1]),
    )


def _has_node(path: str, scope: Scope) -> bool:
    if scope.options.fidelity != "core" and scope.catalog.has(NODE):
        return True
    scope.report.unsupported(path, "it needs our node pack", instead="it is left out")
    return False


def _warn_near(path: str, scope: Scope) -> None:
    scope.report.warn(
        path, "prompts by region act by masks in cross-attention: near the extension's, not equal"
    )


def _all_fine(checks: Sequence[tuple[int, bool, str]], path: str, scope: Scope) -> bool:
    """Whether nothing is refused; a report of each that is."""
    for position, fine, why in checks:
        if not fine:
            scope.report.unsupported(
                f"{path}[{position}]", f"it cannot be done: {why}", instead="it is left out"
            )
    return all(fine for _, fine, _ in checks)


def _ratios(value: Any, path: str, scope: Scope) -> tuple[float, ...] | None:
    """Numbers between commas; None after a report."""
    try:
        numbers = tuple(float(part) for part in str(value).split(",", MOST_REGIONS + 1))
    except ValueError:
        numbers = ()
    if (
        numbers
        and all(math.isfinite(number) and number >= 0 for number in numbers)
        and sum(numbers)
    ):
        return numbers
    scope.report.unsupported(
        path,
        f"{show(value)} is no list of ratios such as 1,2,1; regions within regions (;) are not "
        "divided",
        instead="it is left out",
        value=value,
    )
    return None


def _mapping(value: Any, path: str, scope: Scope) -> tuple[tuple[Box, float], ...] | None:
    """Forge Couple's [x1, x2, y1, y2, weight] of each line; None after a report."""
    rows = value if isinstance(value, list) and value else []
    found = [_row(row) for row in rows[:MOST_REGIONS]]
    placed = tuple(row for row in found if row is not None)
    if rows and len(placed) == len(rows):
        return placed
    scope.report.invalid(
        path,
        f"a list of up to {MOST_REGIONS} [x1, x2, y1, y2, weight] is needed, shares within 0..1",
    )
    return None


def _row(row: Any) -> tuple[Box, float] | None:
    numbers = row if isinstance(row, list) and len(row) == 5 else []
    if not numbers or not all(
        isinstance(number, int | float) and math.isfinite(number) for number in numbers
    ):
        return None
    left, right, top, bottom, weight = map(float, numbers)
    if not (0 <= left < right <= 1 and 0 <= top < bottom <= 1 and weight >= 0):
        return None
    return (left, top, right, bottom), weight
