"""The axes of X/Y/Z plot: what each changes in a request, and how its values are read.

Source: A1111 v1.10.1 ``scripts/xyz_grid.py``.
"""

from __future__ import annotations

import csv
import io
import itertools
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from translator.request.schema import Tab
from translator.schedules.samplers import samplers
from translator.scripts.expansion import (
    MAX_CHARACTERS,
    MAX_GENERATIONS,
    RANDOM_SEEDS,
    ScriptContext,
)

Kind = Literal["int", "float", "text", "permutations"]

_SURELY_TOO_MANY_WORDS = 20
"""Words whose permutations are beyond every bound; more are not counted."""

_SHOWN = 40
"""Characters of a wrong value that a message shows."""

_LEAST_SIGMA = 1e-6
"""Stands for 0 as upper sigma of churn, which a request takes for infinity; this axis does not."""


class AxisError(ValueError):
    """An axis value with which A1111 fails."""


@dataclass(frozen=True)
class Cell:
    """The request of one cell while axes change it.

    Attributes:
        fields: of the request, ``override_settings`` among them; both are changed in place.
        context: of the script.
        path: JSON path of the axis values, for messages.
    """

    fields: dict[str, Any]
    context: ScriptContext
    path: str

    @property
    def overrides(self) -> dict[str, Any]:
        overrides: dict[str, Any] = self.fields["override_settings"]
        return overrides


Apply = Callable[[Cell, Any, Sequence[Any]], None]
"""(cell, value, all values of the axis)."""


@dataclass(frozen=True)
class Axis:
    """A row of A1111's table of axes.

    Attributes:
        label: its name.
        kind: what its values are.
        apply: changes a cell's request.
        cost: how slow a change is; slow axes are walked in outer loops.
        choices: whether the values come as a list unless csv_mode is on.
        bare: whether the legend shows the value without the label.
        tab: the only endpoint that has it, or None.
    """

    label: str
    kind: Kind
    apply: Apply
    cost: float = 0.0
    choices: bool = False
    bare: bool = False
    tab: Tab | None = None

    def caption(self, value: Any) -> str:
        """The legend of one value."""
        if self.label == NOTHING:
            return ""
        if self.kind == "permutations":
            return ", ".join(value)
        if self.label in _MODEL_AXES:
            return re.split(r"[\\/]", str(value))[-1]
        shown = round(value, 8) if isinstance(value, float) else value
        return str(shown) if self.bare else f"{self.label}: {shown}"

    def values(self, text: str, chosen: Sequence[str] | None) -> list[Any]:
        """The values of the axis.

        Args:
            text: comma-separated values; whole and fractional numbers may be ranges: ``1-5``,
                ``1-5 (+2)``, ``1-5 [3]``.
            chosen: the list that stands for `text`, where it counts.

        Raises:
            AxisError: a value is not of the axis' kind, or there are too many.
        """
        if self.label == NOTHING:
            return [0]
        texts = list(chosen) if chosen is not None else read_csv(text)
        _check_count(len(texts))
        if self.kind == "permutations":
            _check_count(math.factorial(min(len(texts), _SURELY_TOO_MANY_WORDS)))
            return list(itertools.permutations(texts))
        if self.kind == "text":
            return texts
        expand = _int_range if self.kind == "int" else _float_range
        ranges = [expand(item) for item in texts if item]  # a trailing comma, as A1111 skips it
        _check_count(sum(map(len, ranges)))
        return [number for item in ranges for number in item]


NOTHING = "Nothing"
SEED_AXES = ("Seed", "Var. seed")
_MODEL_AXES = ("Checkpoint name", "Refiner checkpoint")


def axes(tab: Tab) -> list[Axis]:
    """The axes of an endpoint, in the order by which script_args number them."""
    return [axis for axis in _AXES if axis.tab in (None, tab)]


def fixed_seeds(axis: Axis, values: Sequence[Any], context: ScriptContext) -> list[Any]:
    """The values of an axis, its random seeds drawn."""
    if axis.label not in SEED_AXES:
        return list(values)
    return [context.draw_seed() if value in RANDOM_SEEDS else value for value in values]


def _check_count(count: int) -> None:
    """Refuse more values than a request may have generations."""
    if count > MAX_GENERATIONS:
        raise AxisError(f"more than {MAX_GENERATIONS} values")


def read_csv(text: str) -> list[str]:
    """Comma-separated values, quotes as in CSV, blanks around them cut off.

    Raises:
        AxisError: not CSV, or a value of more than 131,072 characters.
    """
    try:
        return [item.strip() for row in csv.reader(io.StringIO(text)) for item in row]
    except csv.Error as error:
        raise AxisError(f"the values cannot be read ({error})") from None


def write_csv(values: Sequence[str]) -> str:
    """The values as one line of CSV."""
    line = io.StringIO()
    csv.writer(line).writerow(values)
    return line.getvalue().strip()


_INT = r"[+-]?\d+"
_FLOAT = r"[+-]?\d+(?:\.\d*)?"


def _pattern(number: str, count: str) -> re.Pattern[str]:
    ends = rf"\s*({number})\s*-\s*({number})"
    step = rf"\(([+-]{number.removeprefix('[+-]?')})\s*\)"
    return re.compile(rf"{ends}(?:\s*{step}|\s*\[({count})\s*\])?\s*")


_INT_RANGE = _pattern(_INT, r"\d+")
_FLOAT_RANGE = _pattern(_FLOAT, r"\d+")


def _int_range(text: str) -> Sequence[int]:
    found = _INT_RANGE.fullmatch(text)
    if not found:
        return [_number(int, text)]
    first, last, step_text, count = found.groups()
    start, end = _number(int, first), _number(int, last)
    if count:
        return [int(value) for value in _spread(start, end, _number(int, count))]
    step = _step(int, step_text)
    _check_count((end - start) // step)
    return range(start, end + 1, step)


def _float_range(text: str) -> Sequence[float]:
    found = _FLOAT_RANGE.fullmatch(text)
    if not found:
        return [_number(float, text)]
    first, last, step_text, count = found.groups()
    start, end = _number(float, first), _number(float, last)
    if count:
        return _spread(start, end, _number(int, count))
    step = _step(float, step_text)
    steps = (end + step - start) / step
    _check_count(MAX_GENERATIONS + 1 if math.isinf(steps) else math.ceil(steps))
    return [start + i * ((start + step) - start) for i in range(math.ceil(steps))]


def _step(kind: Callable[[str], Any], text: str | None) -> Any:
    step = _number(kind, text or "1")
    if step == 0:
        raise AxisError("a step of 0 never ends")
    return step


def _spread(start: float, end: float, count: int) -> list[float]:
    """``count`` even numbers from start to end, both included."""
    _check_count(count)
    if count < 2:
        return [float(start)] * count
    step = (end - start) / (count - 1)
    return [start + i * step for i in range(count - 1)] + [float(end)]


def _number(kind: Callable[[str], Any], text: str) -> Any:
    """A value read; one beyond what a float holds is none."""
    try:
        number = kind(text)
        if math.isfinite(number):
            return number
    except (ValueError, OverflowError):
        pass
    wanted = "a whole number" if kind is int else "a number"
    raise AxisError(f'"{text[:_SHOWN]}" is not {wanted}')


def _field(name: str) -> Apply:
    def apply(cell: Cell, value: Any, values: Sequence[Any]) -> None:
        cell.fields[name] = value

    return apply


def _override(key: str) -> Apply:
    def apply(cell: Cell, value: Any, values: Sequence[Any]) -> None:
        cell.overrides[key] = value

    return apply


def _switch(key: str) -> Apply:
    def apply(cell: Cell, value: Any, values: Sequence[Any]) -> None:
        cell.overrides[key] = value.lower() == "true"

    return apply


def _nothing(cell: Cell, value: Any, values: Sequence[Any]) -> None:
    """Leaves the request as it is."""


def _replace_in_prompt(cell: Cell, value: str, values: Sequence[str]) -> None:
    """Prompt S/R: the first value of the axis is replaced by this one."""
    sought, fields = values[0], cell.fields
    if sought not in fields["prompt"] and sought not in fields["negative_prompt"]:
        raise AxisError(f'Prompt S/R did not find "{sought}" in prompt or negative prompt')
    for name in ("prompt", "negative_prompt"):
        growth = fields[name].count(sought) * (len(value) - len(sought))
        if len(fields[name]) + growth > MAX_CHARACTERS:
            raise AxisError(f"Prompt S/R makes more than {MAX_CHARACTERS} characters")
        fields[name] = fields[name].replace(sought, value)


def _order_in_prompt(cell: Cell, value: Sequence[str], values: Sequence[Any]) -> None:
    """Prompt order: the words trade places, so that they follow each other in this order."""
    rest = cell.fields["prompt"]
    rebuilt = ""
    for found, wanted in zip(sorted(value, key=rest.find), value, strict=True):
        before, _, rest = _cut(rest, found)
        rebuilt += before + wanted
    cell.fields["prompt"] = rebuilt + rest


def _cut(text: str, word: str) -> tuple[str, str, str]:
    """A text before and after a word; a word that is not there raises."""
    if word not in text:
        raise AxisError(f'Prompt order did not find "{word}" in the prompt')
    return text.partition(word)


def _sampler(name: str) -> Apply:
    def apply(cell: Cell, value: str, values: Sequence[str]) -> None:
        known = {alias.lower() for row in samplers() for alias in (row.name, *row.aliases)}
        if value.lower() not in known:
            raise AxisError(f"Unknown sampler: {value}")
        cell.fields[name] = value

    return apply


def _checkpoint(cell: Cell, value: str, values: Sequence[str]) -> None:
    found = cell.context.checkpoint(value, cell.path)
    if found is not None:
        cell.overrides["sd_model_checkpoint"] = found


def _vae(cell: Cell, value: str, values: Sequence[str]) -> None:
    special = {"auto": "Automatic", "automatic": "Automatic", "none": "None"}
    cell.overrides["sd_vae"] = special.get(value.strip().lower(), value.strip())


def _styles(cell: Cell, value: str, values: Sequence[str]) -> None:
    cell.fields["styles"] = [*(cell.fields["styles"] or []), *value.split(",")]


def _upper_sigma(cell: Cell, value: float, values: Sequence[float]) -> None:
    cell.fields["s_tmax"] = value or _LEAST_SIGMA


def _unipc_order(cell: Cell, value: int, values: Sequence[int]) -> None:
    cell.overrides["uni_pc_order"] = min(value, cell.fields["steps"] - 1)


def _face_restore(cell: Cell, value: str, values: Sequence[str]) -> None:
    """A restorer's name only switches restoration on; which one it is, an option says."""
    on = ("codeformer", "gfpgan", "true", "yes", "y", "1")
    cell.fields["restore_faces"] = value.lower() in on


def _initial_noise(cell: Cell, value: float, values: Sequence[float]) -> None:
    if cell.context.tab == "img2img":
        cell.fields["initial_noise_multiplier"] = value
    else:
        cell.context.report.warn(
            cell.path, "Initial noise multiplier is without effect in txt2img, as in A1111"
        )


def _size(cell: Cell, value: str, values: Sequence[str]) -> None:
    found = re.fullmatch(r"\s*(\d+)\s*x\s*(\d+)\s*", value)
    if not found:
        raise AxisError(f'"{value}" is not a size such as 512x768')
    cell.fields["width"], cell.fields["height"] = (_number(int, side) for side in found.groups())


_AXES = (
    Axis(NOTHING, "text", _nothing),
    Axis("Seed", "int", _field("seed")),
    Axis("Var. seed", "int", _field("subseed")),
    Axis("Var. strength", "float", _field("subseed_strength")),
    Axis("Steps", "int", _field("steps")),
    Axis("Hires steps", "int", _field("hr_second_pass_steps"), tab="txt2img"),
    Axis("CFG Scale", "float", _field("cfg_scale")),
    Axis("Image CFG Scale", "float", _field("image_cfg_scale"), tab="img2img"),
    Axis("Prompt S/R", "text", _replace_in_prompt, bare=True),
    Axis("Prompt order", "permutations", _order_in_prompt),
    Axis("Sampler", "text", _sampler("sampler_name"), choices=True, bare=True),
    Axis("Hires sampler", "text", _sampler("hr_sampler_name"), choices=True, tab="txt2img"),
    Axis("Checkpoint name", "text", _checkpoint, cost=1.0, choices=True),
    Axis("Negative Guidance minimum sigma", "float", _field("s_min_uncond")),
    Axis("Sigma Churn", "float", _field("s_churn")),
    Axis("Sigma min", "float", _field("s_tmin")),
    Axis("Sigma max", "float", _upper_sigma),
    Axis("Sigma noise", "float", _field("s_noise")),
    Axis("Schedule type", "text", _field("scheduler"), choices=True),
    Axis("Schedule min sigma", "float", _override("sigma_min")),
    Axis("Schedule max sigma", "float", _override("sigma_max")),
    Axis("Schedule rho", "float", _override("rho")),
    Axis("Beta schedule alpha", "float", _override("beta_dist_alpha")),
    Axis("Beta schedule beta", "float", _override("beta_dist_beta")),
    Axis("Eta", "float", _field("eta")),
    Axis("Clip skip", "int", _override("CLIP_stop_at_last_layers")),
    Axis("Denoising", "float", _field("denoising_strength")),
    Axis("Initial noise multiplier", "float", _initial_noise),
    Axis("Extra noise", "float", _override("img2img_extra_noise")),
    Axis("Hires upscaler", "text", _field("hr_upscaler"), choices=True, tab="txt2img"),
    Axis("Cond. Image Mask Weight", "float", _override("inpainting_mask_weight"), tab="img2img"),
    Axis("VAE", "text", _vae, cost=0.7, choices=True),
    Axis("Styles", "text", _styles, choices=True),
    Axis("UniPC Order", "int", _unipc_order, cost=0.5),
    Axis("Face restore", "text", _face_restore, bare=True),
    Axis("Token merging ratio", "float", _override("token_merging_ratio")),
    Axis("Token merging ratio high-res", "float", _override("token_merging_ratio_hr")),
    Axis(
        "Always discard next-to-last sigma",
        "text",
        _switch("always_discard_next_to_last_sigma"),
        choices=True,
    ),
    Axis("SGM noise multiplier", "text", _switch("sgm_noise_multiplier"), choices=True),
    Axis("Refiner checkpoint", "text", _field("refiner_checkpoint"), cost=1.0, choices=True),
    Axis("Refiner switch at", "float", _field("refiner_switch_at")),
    Axis("RNG source", "text", _override("randn_source"), choices=True),
    Axis("FP8 mode", "text", _override("fp8_storage"), cost=0.9, choices=True),
    Axis("Size", "text", _size),
)
"""A1111's axes in its order; those of one endpoint only are skipped when the others are counted."""
