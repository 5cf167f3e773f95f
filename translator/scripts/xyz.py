"""The script "X/Y/Z plot": one generation per combination of three axes' values, in grids.

Source: A1111 v1.10.1 ``scripts/xyz_grid.py``.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from translator.infotext.text import GenerationFacts, create_info, create_infotext
from translator.plan.answer import Grid
from translator.plan.pictures import Picture
from translator.report import show
from translator.request.a1111_options import A1111Options
from translator.scripts.axes import (
    NOTHING,
    SEED_AXES,
    Axis,
    AxisError,
    Cell,
    axes,
    fixed_seeds,
    write_csv,
)
from translator.scripts.expansion import (
    RANDOM_SEEDS,
    Expansion,
    Fields,
    ScriptContext,
    batch_grid,
    fix_seeds,
    legend,
    margin,
    prompt_length,
    settled_sampler,
    share_parameters,
    within_bounds,
)
from translator.suggest import did_you_mean

TITLE = "X/Y/Z plot"

ARGUMENTS = (
    *("x_type", "x_values", "x_values_dropdown"),
    *("y_type", "y_values", "y_values_dropdown"),
    *("z_type", "z_values", "z_values_dropdown"),
    "draw_legend",
    "include_lone_images",
    "include_sub_grids",
    "no_fixed_seeds",
    "vary_seeds_x",
    "vary_seeds_y",
    "vary_seeds_z",
    "margin_size",
    "csv_mode",
)

_PIXELS_PER_MEGAPIXEL = 1_000_000


@dataclass(frozen=True)
class AxisUse:
    """An axis as a request uses it.

    Attributes:
        name: ``X``, ``Y`` or ``Z``.
        axis: which.
        text: its values as infotexts print them.
        values: its values as they are used.
        seeds_fixed: whether random seeds among them were drawn beforehand.
        path: JSON path of the values.
    """

    name: str
    axis: Axis
    text: str
    values: tuple[Any, ...]
    seeds_fixed: bool
    path: str

    @property
    def captions(self) -> list[list[str]]:
        """The legend of each value: lines."""
        return [[self.axis.caption(value)] for value in self.values]

    @property
    def parameters(self) -> dict[str, str]:
        """What a grid's infotext says of it."""
        if self.axis.label == NOTHING:
            return {}
        said = {f"{self.name} Type": self.axis.label, f"{self.name} Values": self.text}
        if self.axis.label in SEED_AXES and self.seeds_fixed:
            said[f"Fixed {self.name} Values"] = ", ".join(map(str, self.values))
        return said


@dataclass(frozen=True)
class XyzExpansion(Expansion):
    """The cells of an X/Y/Z plot.

    Attributes:
        uses: the three axes.
        cells: the variant of each cell; x runs fastest, then y, then z.
        include_sub_grids: whether the grid of each z value is answered too.
        paths: see `set_by`.
        server_options: the options without the request's overrides.
    """

    uses: tuple[AxisUse, AxisUse, AxisUse]
    cells: tuple[int, ...]
    include_sub_grids: bool
    paths: tuple[Mapping[str, str], ...]
    server_options: A1111Options

    @property
    def set_by(self) -> tuple[Mapping[str, str], ...]:
        """The fields that axes set, and where their values stand."""
        return self.paths

    def info(self, facts: Sequence[GenerationFacts], now: datetime | None = None) -> dict[str, Any]:
        """The first cell's ``info`` with the cells' prompts and seeds, and the grids' texts first.

        All cells' infotexts are listed, whether or not the cells are answered.
        """
        shared = share_parameters(facts)
        firsts = [self.cells[start] for start in self._sub_grid_starts()]
        listed = [*(firsts if self.include_sub_grids else ()), *self.cells]
        prompts = [self.variants[variant]["prompt"] for variant in listed]
        info = create_info(shared[0], self._infotexts(shared), index_of_first_image=1, now=now)
        last = create_info(shared[-1], ())
        return {
            **info,
            "prompt": prompts[0],
            "all_prompts": prompts,
            "all_seeds": [shared[variant].seeds[0] for variant in listed],
            "extra_generation_params": last["extra_generation_params"],
        }

    def _sub_grid_starts(self) -> range:
        size = len(self.uses[0].values) * len(self.uses[1].values)
        return range(0, len(self.cells), size)

    def _infotexts(self, facts: Sequence[GenerationFacts]) -> list[str]:
        """The whole grid's, those of the answered sub-grids, then one per cell.

        A1111 puts a grid's text together when it has taken the overrides back. The noise source
        stays: clients send what their A1111 is set to anyway.
        """
        settled = replace(self.server_options, randn_source=self.a1111_options.randn_source)
        x, y, z = (use.parameters for use in self.uses)
        plane = {"Script": TITLE, **x, **y}
        texts = [create_infotext(facts[self.cells[0]], 0, {**plane, **z}, settled)]
        if self.include_sub_grids:
            for start in self._sub_grid_starts():
                texts.append(create_infotext(facts[self.cells[start]], 0, plane, settled))
        return texts + [create_infotext(facts[variant], 0) for variant in self.cells]


def expand_xyz(fields: Fields, args: Sequence[Any], context: ScriptContext) -> XyzExpansion | None:
    """The generations of an X/Y/Z plot, or None after a report.

    Args:
        fields: the request.
        args: script_args, as many as `ARGUMENTS`.
    """
    given = dict(zip(ARGUMENTS, args, strict=True))
    path = f"script_args[{ARGUMENTS.index('margin_size')}]"
    given["margin_size"] = margin(given["margin_size"], path, context.report)
    base = settled_sampler(fields)
    base["seed"] = -1 if base["seed"] in RANDOM_SEEDS else base["seed"]
    if not given["no_fixed_seeds"]:
        base = fix_seeds(base, context.draw_seed)
    if not context.a1111_options.return_grid:
        base["batch_size"] = 1
    uses = [_axis_use(name, given, context) for name in "xyz"]
    if not all(uses):
        return None
    x, y, z = (use for use in uses if use)
    if not _fits(base, (x, y, z), context):
        return None
    return _expansion(base, (x, y, z), given, context)


def _axis_use(name: str, given: dict[str, Any], context: ScriptContext) -> AxisUse | None:
    position = ARGUMENTS.index(f"{name}_type")
    axis = _axis(given[f"{name}_type"], f"script_args[{position}]", context)
    if axis is None:
        return None
    from_list = axis.choices and not given["csv_mode"]
    path = f"script_args[{position + (2 if from_list else 1)}]"
    chosen, text = given[f"{name}_values_dropdown"], given[f"{name}_values"]
    if from_list:
        if not isinstance(chosen, list) or not all(isinstance(item, str) for item in chosen):
            context.report.invalid(path, f"{axis.label} takes a list of texts here", chosen)
            return None
        text = write_csv(chosen)
    elif not isinstance(text, str):
        context.report.invalid(path, f"{axis.label} takes its values as one text", text)
        return None
    try:
        values = axis.values(text, chosen if from_list else None)
    except AxisError as error:
        context.report.invalid(path, f"{axis.label}: {error}", text)
        return None
    if not values:
        where = "the list" if from_list else "the text"
        context.report.invalid(path, f"{axis.label}: {where} holds no value")
        return None
    fixed = not given["no_fixed_seeds"]
    values = fixed_seeds(axis, values, context) if fixed else values
    return AxisUse(name.upper(), axis, text, tuple(values), fixed, path)


def _axis(number: Any, path: str, context: ScriptContext) -> Axis | None:
    """The axis of a number; a number past A1111's own belongs to an extension."""
    known = axes(context.tab)
    labels = [axis.label for axis in known]
    if isinstance(number, int) and not isinstance(number, bool) and 0 <= number < len(known):
        return known[number]
    if isinstance(number, int) and number >= len(known):
        context.report.unsupported(
            path,
            f"axis {number} is one that an extension adds; there are 0 to {len(known) - 1}",
            instead="the axis is left out",
            value=number,
        )
        return known[0]
    hint = did_you_mean(number, labels) if isinstance(number, str) else ""
    if number in labels:
        hint = f", {number} is {labels.index(number)}"
    context.report.invalid(
        path, f"{show(number)} is not the number of an axis, 0 to {len(known) - 1}{hint}", number
    )
    return None


def _fits(fields: Fields, uses: Sequence[AxisUse], context: ScriptContext) -> bool:
    """The bounds of scripts, and A1111's own of the grid's size, option img_max_size_mp."""
    count = math.prod(len(use.values) for use in uses)
    if not within_bounds(count, prompt_length(fields), "script_args", context.report):
        return False
    size: int = round(count * fields["width"] * fields["height"] / _PIXELS_PER_MEGAPIXEL)
    limit = context.a1111_options.img_max_size_mp
    if size >= limit:
        context.report.invalid(
            "script_args", f"the grid would have {size} megapixels; the limit is {limit}"
        )
    return size < limit


def _expansion(
    base: dict[str, Any],
    uses: tuple[AxisUse, AxisUse, AxisUse],
    given: dict[str, Any],
    context: ScriptContext,
) -> XyzExpansion | None:
    variants: list[Fields] = []
    paths: list[Mapping[str, str]] = []
    number = {}
    for place in _running_order(uses):
        variant = _variant(base, uses, place, given, context)
        if variant is None:
            return None
        number[place] = len(variants)
        variants.append(variant[0])
        paths.append(variant[1])
    x, y, z = (range(len(use.values)) for use in uses)
    cells = tuple(number[ix, iy, iz] for iz in z for iy in y for ix in x)
    shown = [_cell_output(variants, cell, context) for cell in cells]
    plane = len(x) * len(y)
    across, down, deep = (use.captions for use in uses)
    sub_grids = [
        _grid(shown[start : start + plane], across, down, given, context)
        for start in range(0, len(cells), plane)
    ]
    whole = _grid(sub_grids, deep, [[""]], {**given, "margin_size": 0}, context)
    return XyzExpansion(
        fields=base,
        a1111_options=context.a1111_options,
        variants=tuple(variants),
        outputs=(
            whole,
            *(sub_grids if given["include_sub_grids"] else ()),
            *(shown if given["include_lone_images"] else ()),
        ),
        uses=uses,
        cells=cells,
        include_sub_grids=bool(given["include_sub_grids"]),
        paths=tuple(paths),
        server_options=context.server_options,
    )


def _running_order(uses: Sequence[AxisUse]) -> Iterator[tuple[int, int, int]]:
    """The cells (ix, iy, iz) in the order A1111 makes them: a slow axis in the outer loop.

    Without an axis that is slower than both others z is the outermost and x the innermost.
    """
    cost = [use.axis.cost for use in uses]
    outer = next((i for i in range(3) if all(cost[i] > cost[k] for k in range(3) if k != i)), None)
    if outer is None:
        nesting = [2, 1, 0]
    else:
        first, second = (k for k in range(3) if k != outer)
        nesting = [outer, first, second] if cost[first] > cost[second] else [outer, second, first]
    for place in itertools.product(*(range(len(uses[k].values)) for k in nesting)):
        ordered = dict(zip(nesting, place, strict=True))
        yield ordered[0], ordered[1], ordered[2]


def _variant(
    base: dict[str, Any],
    uses: Sequence[AxisUse],
    place: tuple[int, int, int],
    given: dict[str, Any],
    context: ScriptContext,
) -> tuple[Fields, Mapping[str, str]] | None:
    """The request of one cell, and which axis set what of it; None after a report."""
    fields = {**base, "override_settings": dict(base["override_settings"] or {})}
    paths: dict[str, str] = {}
    for use, index in zip(uses, place, strict=True):
        before = _flat(fields)
        try:
            use.axis.apply(Cell(fields, context, use.path), use.values[index], use.values)
        except AxisError as error:
            context.report.invalid(use.path, str(error), use.text)
            return None
        changed = (name for name, value in _flat(fields).items() if before.get(name) is not value)
        paths |= dict.fromkeys(changed, use.path)
    stride = 1
    for use, index, name in zip(uses, place, "xyz", strict=True):
        if given[f"vary_seeds_{name}"]:
            fields["seed"] += index * stride
            stride *= len(use.values)
    return fields, paths


def _flat(fields: Fields) -> dict[str, Any]:
    """A request's fields and overrides by JSON path."""
    overrides = {f"override_settings.{key}": v for key, v in fields["override_settings"].items()}
    return {**fields, **overrides}


def _cell_output(
    variants: Sequence[Fields], variant: int, context: ScriptContext
) -> Picture | Grid:
    """What a cell shows: the first thing that its generation would answer."""
    grid = batch_grid(variants[variant], context.a1111_options, variant)
    return grid or Picture(variant, 0)


def _grid(
    cells: Sequence[Picture | Grid],
    columns: list[list[str]],
    rows: list[list[str]],
    given: dict[str, Any],
    context: ScriptContext,
) -> Grid:
    a1111_options = context.a1111_options
    drawn = legend(a1111_options, columns=columns, rows=rows, margin=given["margin_size"])
    return Grid(
        cells=tuple(cells),
        rows=len(rows),
        legend=drawn if given["draw_legend"] else "",
        background=a1111_options.grid_background_color,
    )
