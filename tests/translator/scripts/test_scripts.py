"""Scripts: one request as several generations, and what is answered of them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import pytest

from tests.translator.golden_info import facts_of, goldens
from translator.comfy.catalog import Catalog
from translator.plan.answer import DetectedMaps, Grid
from translator.plan.pictures import Picture
from translator.report import Report
from translator.request.a1111_options import resolve_a1111_options
from translator.request.images import ImageReader
from translator.schemas import read_schema
from translator.scripts import (
    Expansion,
    ScriptContext,
    batch_grid,
    expand,
)
from translator.scripts.axes import axes
from translator.scripts.matrix import combinations

PROPERTIES = read_schema("txt2img")["properties"]


def complete(payload: dict[str, Any]) -> dict[str, Any]:
    """A request with A1111's defaults for what the payload does not say."""
    return {name: payload.get(name, item["default"]) for name, item in PROPERTIES.items()}


def context(report: Report | None = None, tab: str = "txt2img", **overrides: Any) -> ScriptContext:
    report = report or Report()
    drawn = iter(range(9000, 9100))
    return ScriptContext(
        tab=tab,  # type: ignore[arg-type]
        a1111_options=resolve_a1111_options({}, overrides, report),
        server_options=resolve_a1111_options({}, None, report),
        report=report,
        draw_seed=lambda: next(drawn),
        checkpoint=lambda name, path: f"{name}.safetensors",
        catalog=Catalog.bundled(),
        images=ImageReader(report),
        exact=True,
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
    images = [output for output in expansion.outputs if not isinstance(output, DetectedMaps)]
    assert len(images) == golden["n_images"]
    assert expansion.image_texts(facts)[0] is None


def test_golden_matrix_answers_grid_and_cells() -> None:
    payload = goldens()["scripts/prompt_matrix"]["payload"]
    expansion = expand(complete(payload), context())
    assert expansion is not None
    grid, *images, maps = expansion.outputs
    assert isinstance(grid, Grid)
    assert maps == DetectedMaps(0)
    assert (grid.rows, json.loads(grid.legend)["prompt_matrix"]) == (2, ["night", "snow"])
    assert images == [Picture(number, 0) for number in range(4)] == list(grid.cells)


# --- X/Y/Z plot ---------------------------------------------------------------------------------


def test_axes_are_numbered_as_in_a1111() -> None:
    labels = [axis.label for axis in axes("txt2img")]
    known = {0: "Nothing", 4: "Steps", 10: "Hires sampler", 23: "Eta", 28: "Hires upscaler"}
    known |= {31: "UniPC Order", 37: "Refiner checkpoint", 41: "Size"}
    assert {number: labels[number] for number in known} == known
    assert len(labels) == 42
    of_images = [axis.label for axis in axes("img2img")]
    assert of_images[5:7] == ["CFG Scale", "Image CFG Scale"]
    assert of_images[of_images.index("VAE") - 1] == "Cond. Image Mask Weight"
    assert len(of_images) == 41


@pytest.mark.parametrize(
    ("use", "field", "values"),
    [
        ("Steps: 3, 5", "steps", [3, 5]),
        ("Steps: 1-4", "steps", [1, 2, 3, 4]),
        ("Steps: 1-10(+4)", "steps", [1, 5, 9]),
        ("Steps: 10-4 (-3)", "steps", [10, 7]),
        ("Steps: 1-10 [4], 20", "steps", [1, 4, 7, 10, 20]),
        ("CFG Scale: 5-7", "cfg_scale", [5.0, 6.0, 7.0]),
        ("CFG Scale: 1-2(+0.5)", "cfg_scale", [1.0, 1.5, 2.0]),
        ("CFG Scale: 1-2 [5]", "cfg_scale", [1.0, 1.25, 1.5, 1.75, 2.0]),
        ("Seed: -1, 7", "seed", [9001, 7]),
        ("Size: 512x768,64 x 80", "width", [512, 64]),
        ("Sigma max: 0,2", "s_tmax", [1e-6, 2.0]),
        ("Face restore: GFPGAN,no", "restore_faces", [True, False]),
        ('Prompt S/R: cat,dog,"a, b"', "prompt", ["a cat", "a dog", "a a, b"]),
        ("Prompt order: a,cat", "prompt", ["a cat", "cat a"]),
        ('Styles: "one,two",three', "styles", [["one", "two"], ["three"]]),
        ("Sampler: DPM++ 2M,k_euler", "sampler_name", ["DPM++ 2M", "k_euler"]),
        ("Refiner switch at: .5,8e-1", "refiner_switch_at", [0.5, 0.8]),
    ],
)
def test_axis_values(use: str, field: str, values: list[Any]) -> None:
    expansion = plot(x=use, prompt="a cat", subseed=0)
    assert [variant[field] for variant in expansion.variants] == values


@pytest.mark.parametrize(
    ("use", "key", "values"),
    [
        ("Clip skip: 1-3", "CLIP_stop_at_last_layers", [1, 2, 3]),
        ("Schedule rho: 5,7", "rho", [5.0, 7.0]),
        ("VAE: auto,none,x.safetensors", "sd_vae", ["Automatic", "None", "x.safetensors"]),
        ("SGM noise multiplier: True,false", "sgm_noise_multiplier", [True, False]),
        ("Checkpoint name: a,b", "sd_model_checkpoint", ["a.safetensors", "b.safetensors"]),
        ("UniPC Order: 2,9", "uni_pc_order", [2, 4]),
    ],
)
def test_axes_of_options(use: str, key: str, values: list[Any]) -> None:
    expansion = plot(x=use, steps=5, override_settings={"randn_source": "CPU"})
    overrides = [variant["override_settings"] for variant in expansion.variants]
    assert [given[key] for given in overrides] == values
    assert all(given["randn_source"] == "CPU" for given in overrides)


def test_cells_run_x_fastest_and_are_laid_out_so() -> None:
    expansion = plot(x="Steps: 1,2,3", y="Seed: 5,6", lone=True, legend=True, margin=4)
    assert [(v["steps"], v["seed"]) for v in expansion.variants] == [
        *((1, 5), (2, 5), (3, 5)),
        *((1, 6), (2, 6), (3, 6)),
    ]
    whole, *cells = expansion.outputs
    assert cells == [Picture(number, 0) for number in range(6)]
    (plane,) = whole.cells
    assert (whole.rows, plane.rows, plane.cells) == (1, 2, tuple(cells))
    drawn = json.loads(plane.legend)
    assert drawn["columns"] == [["Steps: 1"], ["Steps: 2"], ["Steps: 3"]]
    assert (drawn["rows"], drawn["margin"]) == ([["Seed: 5"], ["Seed: 6"]], 4)
    assert json.loads(whole.legend)["columns"] == [[""]]


def test_a_slow_axis_runs_in_the_outer_loop_and_the_layout_stays() -> None:
    expansion = plot(x="Checkpoint name: a,b", y="Steps: 1,2", lone=True)
    ran = [
        (v["override_settings"]["sd_model_checkpoint"][0], v["steps"]) for v in expansion.variants
    ]
    assert ran == [("a", 1), ("a", 2), ("b", 1), ("b", 2)]
    assert [picture.variant for picture in expansion.outputs[1:]] == [0, 2, 1, 3]


def test_z_makes_a_grid_of_grids() -> None:
    expansion = plot(x="Steps: 1,2", z="Seed: 5,6,7", sub=True, legend=True)
    whole, *sub_grids = expansion.outputs
    assert whole.cells == tuple(sub_grids)
    assert [len(grid.cells) for grid in sub_grids] == [2, 2, 2]
    assert json.loads(whole.legend)["columns"] == [["Seed: 5"], ["Seed: 6"], ["Seed: 7"]]


def test_seeds_vary_with_the_cell_where_asked() -> None:
    expansion = plot(x="Steps: 1,2", y="CFG Scale: 5,6", vary_x=True, vary_y=True, seed=100)
    assert [v["seed"] for v in expansion.variants] == [100, 101, 102, 103]
    expansion = plot(x="Steps: 1,2", y="CFG Scale: 5,6", vary_y=True, seed=100)
    assert [v["seed"] for v in expansion.variants] == [100, 100, 101, 101]


def test_random_seeds_are_drawn_once_unless_kept() -> None:
    fixed = plot(x="Steps: 1,2")
    assert {(v["seed"], v["subseed"]) for v in fixed.variants} == {(9000, 9001)}
    kept = plot(x="Steps: 1,2", no_fixed=True)
    assert {(v["seed"], v["subseed"]) for v in kept.variants} == {(-1, -1)}


def test_axes_with_choices_read_the_list_unless_told_otherwise() -> None:
    args = xyz_args(x=17, x_values="Karras", x_list=["Karras", "Beta, x"], lone=True)
    expansion = expanded("X/Y/Z plot", args)
    assert [variant["scheduler"] for variant in expansion.variants] == ["Karras", "Beta, x"]
    facts = [facts_of(complete({"steps": 3}), seed=1, subseed=2) for _ in expansion.variants]
    assert 'X Values: "Karras,\\"Beta, x\\""' in expansion.info(facts)["infotexts"][0]


def test_a_batch_in_a_cell_shows_its_first_image_or_its_grid() -> None:
    cell = plot(x="Steps: 1", lone=True, batch_size=4).outputs[1]
    assert cell == Picture(0, 0)
    grid = plot(x="Steps: 1", lone=True, batch_size=4, save_images=True).outputs[1]
    assert isinstance(grid, Grid) and (grid.rows, len(grid.cells)) == (2, 4)


def test_infotexts_of_grids_name_the_axes_and_cells_inherit_entries() -> None:
    expansion = plot(x="Sampler: DPM++ 2M,Euler", z="Var. seed: -1,3", sub=True, steps=4, seed=1)
    facts = [facts_of(dict(variant), seed=0, subseed=0) for variant in expansion.variants]
    info = expansion.info(facts)
    whole, first, second, *cells = info["infotexts"]
    axes_said = 'Script: X/Y/Z plot, X Type: Sampler, X Values: "DPM++ 2M,Euler"'
    assert f'{axes_said}, Z Type: Var. seed, Z Values: "-1,3"' in whole
    assert 'Fixed Z Values: "9001, 3"' in whole
    assert axes_said in first and "Z Type" not in first + second
    assert "Sampler: Euler, Schedule type: Karras" in cells[1]
    assert info["extra_generation_params"]["Schedule type"] == "Karras"
    assert len(cells) == 4 and info["all_seeds"] == [1] * 6


def test_a_grids_infotext_has_no_overrides_but_the_noise_source() -> None:
    overrides = {"randn_source": "CPU", "eta_noise_seed_delta": 31337}
    number = [axis.label for axis in axes("txt2img")].index("Clip skip")
    request = complete(
        {
            "script_name": "X/Y/Z plot",
            "script_args": xyz_args(x=number, x_values="2"),
            "seed": 1,
            "sampler_name": "Euler a",
            "override_settings": overrides,
        }
    )
    expansion = expand(request, context(**overrides))
    assert expansion is not None
    facts = [facts_of(dict(variant), seed=0, subseed=0) for variant in expansion.variants]
    grid, cell = expansion.info(facts)["infotexts"]
    assert "Clip skip: 2, ENSD: 31337, RNG: CPU" in cell
    assert "Clip skip" not in grid.split("Script")[0] and "ENSD" not in grid
    assert "RNG: CPU" in grid


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"x": 4, "x_values": "3,many"}, 'script_args[1]: Steps: "many" is not a whole number'),
        ({"x": 4, "x_values": ""}, "script_args[1]: Steps: the text holds no value"),
        ({"x": 4, "x_values": 3}, "script_args[1]: Steps takes its values as one text"),
        (
            {"y": "Steps"},
            'script_args[3]: "Steps" is not the number of an axis, 0 to 41, Steps is 4',
        ),
        ({"z": 60}, "script_args[6]: axis 60 is one that an extension adds"),
        ({"x": 9, "x_list": None}, "script_args[2]: Sampler takes a list of texts here"),
        ({"x": 9, "x_list": ["DPM++ 2M Karras"]}, "script_args[2]: Unknown sampler"),
        ({"x": 7, "x_values": "fox,dog"}, "script_args[1]: Prompt S/R did not find"),
        ({"x": 8, "x_values": "fox,dog"}, "script_args[1]: Prompt order did not find"),
        ({"x": 41, "x_values": "big"}, 'script_args[1]: "big" is not a size'),
        ({"x": 1, "x_values": "1-1900"}, "script_args: the grid would have"),
        ({"margin": "wide"}, "script_args[16]: the margin between"),
        ({"margin": 10**6}, "script_args[16]: the margin between"),
        ({"margin": -2}, "script_args[16]: the margin between"),
    ],
)
def test_plots_that_a1111_fails_on_are_refused(given: dict[str, Any], said: str) -> None:
    assert said in refused("X/Y/Z plot", xyz_args(**given), prompt="a cat")


# --- Prompt matrix ------------------------------------------------------------------------------


def test_combinations_count_in_binary() -> None:
    parts = ["a cat", " night,", "snow"]
    assert combinations(parts, ", ", at_start=False) == [
        *("a cat", "a cat, night", "a cat, snow", "a cat, night, snow"),
    ]
    assert combinations(parts, " ", at_start=True)[3] == "night snow a cat"


def test_a_matrix_of_the_negative_prompt_with_seeds_of_their_own() -> None:
    expansion = expanded(
        "prompt MATRIX",
        [False, True, "negative", "comma", 5],
        prompt="a|b",
        negative_prompt="x|y",
        seed=5,
        subseed=8,
        batch_size=2,
        n_iter=3,
    )
    seen = [
        (v["prompt"], v["negative_prompt"], v["seed"], v["subseed"]) for v in expansion.variants
    ]
    assert seen == [("a|b", "x", 5, 8), ("a|b", "x, y", 6, 9)]
    assert all((v["batch_size"], v["n_iter"]) == (1, 1) for v in expansion.variants)
    grid = expansion.outputs[0]
    assert isinstance(grid, Grid) and (grid.rows, json.loads(grid.legend)["margin"]) == (1, 5)
    facts = [facts_of(dict(variant), seed=0, subseed=0) for variant in expansion.variants]
    assert expansion.info(facts)["batch_size"] == 2


def test_a_batch_of_different_networks_is_told_of() -> None:
    ctx = context()
    request = {
        "script_name": "Prompt matrix",
        "script_args": [False, False, "positive", "comma", 0],
    }
    expand(complete({**request, "prompt": "a|<lora:x:1>", "batch_size": 2}), ctx)
    assert "extra networks" in ctx.report.warning_texts[0]


@pytest.mark.parametrize("args", [[0, 0, "both", "comma", 0], [0, 0, "positive", ";", 0]])
def test_unknown_choices_of_a_matrix_are_refused(args: list[Any]) -> None:
    assert "is one of" in refused("Prompt matrix", args, prompt="a|b")


# --- Prompts from file or textbox ---------------------------------------------------------------


def lines(
    text: str, *, iterate: bool = False, same: bool = False, at: str = "end", **fields: Any
) -> Any:
    return expanded("Prompts from file or textbox", [iterate, same, at, text], **fields)


def test_each_line_is_a_generation_joined_with_the_requests_prompt() -> None:
    expansion = lines(" a cat \n\n a dog", prompt="photo", seed=3)
    assert [v["prompt"] for v in expansion.variants] == ["photo a cat", "photo a dog"]
    assert lines("a cat", at="start", prompt="photo").variants[0]["prompt"] == "a cat photo"
    assert lines("a cat").variants[0]["prompt"] == "a cat"


def test_seeds_of_lines() -> None:
    assert [v["seed"] for v in lines("a\nb", seed=3).variants] == [3, 3]
    assert [v["seed"] for v in lines("a\nb").variants] == [-1, -1]
    assert [v["seed"] for v in lines("a\nb", same=True).variants] == [9000, 9000]
    iterated = lines("a\nb\n--seed 1 --prompt c\nd", iterate=True, seed=3, batch_size=2)
    assert [v["seed"] for v in iterated.variants] == [3, 5, 1, 9]
    assert iterated.seed == 11


def test_options_of_a_line() -> None:
    text = '--prompt a big "red cat" --negative_prompt dull --steps 7 --cfg_scale 3 --tiling true'
    line = f"{text} --sampler_name K_EULER_A --width 64"
    variant = lines(line, negative_prompt="bad").variants[0]
    assert (variant["prompt"], variant["negative_prompt"]) == ("a big red cat", "bad dull")
    assert (variant["steps"], variant["cfg_scale"], variant["tiling"]) == (7, 3.0, True)
    assert (variant["sampler_name"], variant["width"]) == ("Euler a", 64)


def test_a_lines_checkpoint_stays_for_the_next_lines() -> None:
    expansion = lines("a\n--sd_model x --prompt b\nc")
    named = [v["override_settings"].get("sd_model_checkpoint") for v in expansion.variants]
    assert named == [None, "x.safetensors", "x.safetensors"]


@pytest.mark.parametrize("line", ["a -- b", "--nope 1", "--steps", "--steps many", '--prompt "a'])
def test_a_line_that_is_no_options_is_a_prompt(line: str) -> None:
    ctx = context()
    request = {"script_name": "Prompts from file or textbox", "script_args": [0, 0, "end", line]}
    expansion = expand(complete(request), ctx)
    assert expansion is not None and expansion.variants[0]["prompt"] == line
    assert "taken for a prompt" in ctx.report.warning_texts[0]


def test_all_images_of_all_lines_are_answered_and_told_of() -> None:
    expansion = lines("a\n--prompt b --n_iter 2", seed=3, prompt="", negative_prompt="n", steps=4)
    assert [o for o in expansion.outputs if isinstance(o, Picture)] == [
        *(Picture(0, 0), Picture(1, 0), Picture(1, 1)),
    ]
    facts = [facts_of(dict(variant), seed=0, subseed=50) for variant in expansion.variants]
    info = expansion.info(facts)
    assert info["all_prompts"] == ["a", "b", "b"]
    assert ["Seed: 3" in text for text in info["infotexts"]] == [True, True, False]
    assert (info["seed"], info["all_seeds"], info["subseed"]) == (3, [3], -1)
    assert (info["sd_model_name"], info["restore_faces"]) == (None, None)


# --- Which scripts there are --------------------------------------------------------------------


@pytest.mark.parametrize("name", ["X/Y plot", "SD upscale", "Custom code"])
def test_unknown_scripts_are_refused_as_by_a1111(name: str) -> None:
    assert f"Script '{name}' not found" in refused(name, [])


def test_a_script_of_the_other_tab_is_told() -> None:
    assert "it is none of txt2img's" in refused("Ultimate SD upscale", [])


def test_missing_arguments_are_named() -> None:
    assert "missing: variations_delimiter, margin_size" in refused(
        "Prompt matrix", [False, False, "positive"], prompt="a|b"
    )


def test_no_script() -> None:
    assert expand(complete({"script_name": ""}), context()) is None


# --- Grids of plain requests --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("overrides", "count", "rows"),
    [
        ({}, 4, 2),
        ({}, 6, 2),
        ({}, 7, 3),
        ({"n_rows": 3}, 4, 3),
        ({"n_rows": 9}, 4, 4),
        ({"n_rows": 0}, 6, 2),
        ({"grid_prevent_empty_spots": True}, 7, 1),
    ],
)
def test_rows_of_a_plain_grid(overrides: dict[str, Any], count: int, rows: int) -> None:
    size = 2 if count % 2 == 0 else 1
    request = complete({"batch_size": size, "n_iter": count // size, "save_images": True})
    grid = batch_grid(request, context(**overrides).a1111_options)
    assert grid is not None and (grid.rows, grid.infotext_of) == (rows, 0)
    assert grid.cells == tuple(Picture(0, index) for index in range(count))


def test_when_a_plain_request_has_a_grid() -> None:
    settings = context().a1111_options
    two = {"batch_size": 2, "save_images": True}
    assert batch_grid(complete({"batch_size": 2}), settings) is None
    assert batch_grid(complete({"save_images": True}), settings) is None
    assert batch_grid(complete(two), context(return_grid=False).a1111_options) is None
    single = context(grid_only_if_multiple=False).a1111_options
    assert batch_grid(complete({"save_images": True}), single) is not None


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"x": 1, "x_values": "1-1000000000"}, "Seed: more than 2000 values"),
        ({"x": 1, "x_values": "1-5 [1000000000]"}, "Seed: more than 2000 values"),
        ({"x": 3, "x_values": "0-1 (+0.000000001)"}, "Var. strength: more than 2000 values"),
        ({"x": 3, "x_values": f"0-1 (+0.{'0' * 400}1)"}, "a step of 0 never ends"),
        ({"x": 3, "x_values": f"0-{'9' * 400}"}, "is not a number"),
        ({"x": 1, "x_values": "9" * 5000}, "is not a whole number"),
        ({"x": 1, "x_values": ",".join(["1"] * 3000)}, "Seed: more than 2000 values"),
        ({"x": 8, "x_values": ",".join("abcdefghijklm")}, "Prompt order: more than 2000"),
        ({"x": 7, "x_values": "," + "a" * 100_000}, "Prompt S/R makes more than"),
        ({"x": 7, "x_values": "a" * 200_000}, "the values cannot be read"),
        (
            {"x": 1, "x_values": "1-100", "y": 4, "y_values": "1-100"},
            "there would be 10000 generations; at most 2000",
        ),
    ],
)
def test_plots_are_counted_before_they_are_expanded(given: dict[str, Any], said: str) -> None:
    assert said in refused("X/Y/Z plot", xyz_args(**given), prompt="a cat" * 20)


@pytest.mark.parametrize("bars", [22, 30, 100_000])
def test_matrices_are_counted_before_they_are_expanded(bars: int) -> None:
    args = [False, False, "positive", "comma", 0]
    said = refused("prompt matrix", args, prompt="a" + "|b" * bars)
    assert "generations; at most 2000" in said


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a\n" * 1_000_000, "generations; at most 2000"),
        ("a" * 6_000_000, "more than 5000000 characters"),
        ("--prompt a --batch_size 1000000000", "more than 10000 images"),
    ],
)
def test_lines_are_counted_before_they_are_expanded(text: str, said: str) -> None:
    args = [False, False, "start", text]
    assert said in refused("prompts from file or textbox", args, prompt="a")


def test_much_text_in_many_generations_is_refused() -> None:
    args = [False, False, "start", "b\n" * 1000]
    assert "too much text" in refused("prompts from file or textbox", args, prompt="a" * 6000)
