"""Scripts: one request as several generations, and what is answered of them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import pytest

from tests.translator.golden_info import facts_of, goldens
from translator import schema
from translator.errors import Report
from translator.scripts import (
    Expansion,
    Grid,
    Picture,
    ScriptContext,
    batch_grid,
    check_always_on,
    expand,
)
from translator.scripts.axes import AxisError, axes
from translator.scripts.matrix import combinations
from translator.settings import resolve_settings

PROPERTIES = schema.load("txt2img")["properties"]


def complete(payload: dict[str, Any]) -> dict[str, Any]:
    """A request with A1111's defaults for what the payload does not say."""
    return {name: payload.get(name, item["default"]) for name, item in PROPERTIES.items()}


def context(report: Report | None = None, tab: str = "txt2img", **overrides: Any) -> ScriptContext:
    report = report or Report()
    drawn = iter(range(9000, 9100))
    return ScriptContext(
        tab=tab,  # type: ignore[arg-type]
        settings=resolve_settings({}, overrides, report),
        server_settings=resolve_settings({}, None, report),
        report=report,
        draw_seed=lambda: next(drawn),
        checkpoint=lambda name, path: f"{name}.safetensors",
    )


def expanded(script: str, args: Sequence[Any], **fields: Any) -> Expansion:
    request = complete({"script_name": script, "script_args": list(args), **fields})
    ctx = context()
    expansion = expand(request, ctx)
    ctx.report.raise_if_refused()
    assert expansion is not None
    return expansion


def refused(script: str, args: Sequence[Any], **fields: Any) -> str:
    """What the report says of a request that no script takes."""
    report = Report()
    request = complete({"script_name": script, "script_args": list(args), **fields})
    expand(request, context(report))
    assert report.problems
    return "\n".join(map(str, report.problems))


def xyz_args(**given: Any) -> list[Any]:
    args = [0, "", [], 0, "", [], 0, "", [], False, False, False, False, False, False, False, 0]
    names = ("x", "x_values", "x_list", "y", "y_values", "y_list", "z", "z_values", "z_list")
    names += ("legend", "lone", "sub", "no_fixed", "vary_x", "vary_y", "vary_z", "margin", "csv")
    values = dict(zip(names, [*args, False], strict=True)) | given
    return list(values.values())


def plot(x: str | None = None, y: str | None = None, z: str | None = None, **given: Any) -> Any:
    """The expansion of an X/Y/Z plot whose axes are given as "label: values"."""
    fields = {name: given.pop(name) for name in list(given) if name in PROPERTIES}
    labels = [axis.label for axis in axes("txt2img")]
    for name, use in (("x", x), ("y", y), ("z", z)):
        if use:
            label, values = use.split(": ", 1)
            given |= {name: labels.index(label), f"{name}_values": values}
    return expanded("X/Y/Z plot", xyz_args(**{"csv": True, **given}), **fields)


@pytest.mark.parametrize("case", ["scripts/xyz", "scripts/prompt_matrix"])
def test_golden_info_of_scripts(case: str) -> None:
    golden = goldens()[case]
    payload, info = golden["payload"], golden["info"]
    ctx = context(**payload["override_settings"])
    expansion = expand(complete(payload | {"subseed": info["subseed"]}), ctx)
    assert expansion is not None
    facts = [facts_of(dict(variant), seed=0, subseed=0) for variant in expansion.variants]
    started = datetime.strptime(info["job_timestamp"], "%Y%m%d%H%M%S")
    assert expansion.info(facts, now=started) == info
    assert len(expansion.outputs) == golden["n_images"]
    assert expansion.image_texts(facts)[0] is None


def test_golden_matrix_answers_grid_and_cells() -> None:
    payload = goldens()["scripts/prompt_matrix"]["payload"]
    expansion = expand(complete(payload), context())
    assert expansion is not None
    grid, *images = expansion.outputs
    assert isinstance(grid, Grid)
    assert (grid.rows, json.loads(grid.legend)["prompt_matrix"]) == (2, ["night", "snow"])
    assert images == [Picture(number, 0) for number in range(4)] == list(grid.cells)
