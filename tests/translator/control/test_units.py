"""Units of ControlNet in every dialect."""

from __future__ import annotations

from typing import Any

import pytest

from tests.translator.control_requests import face_pair, mask, picture, unit
from translator.control.units import POSITIONAL, ControlUnit, parse_units
from translator.report import Report


def parse(*raw: Any, count: int = 3) -> tuple[tuple[ControlUnit, ...], Report]:
    report = Report()
    return parse_units(list(raw), count, report), report


def parse_one(**fields: Any) -> ControlUnit:
    units, report = parse(unit(**fields))
    assert [str(problem) for problem in report.problems] == []
    (only,) = units
    return only


def problems_of(**fields: Any) -> list[str]:
    units, report = parse(unit(**fields))
    assert units == ()
    return [str(problem) for problem in report.problems]


def test_defaults() -> None:
    parsed = parse_one()
    assert (parsed.weight, parsed.resize_mode, parsed.control_mode) == (
        1.0,
        "Crop and Resize",
        "Balanced",
    )
    assert (parsed.processor_res, parsed.threshold_a, parsed.threshold_b) == (512, 100, 200)
    assert (parsed.guidance_start, parsed.guidance_end) == (0.0, 1.0)
    assert parsed.save_detected_map and not parsed.pixel_perfect


def test_the_three_dialects_say_the_same() -> None:
    current = unit(enabled=True, low_vram=False, guidance_end=0.8, resize_mode="Crop and Resize")
    older = unit(lowvram=False, guidance=0.8, resize_mode=1, control_mode=0)
    older["input_image"] = older.pop("image")
    forge = unit(guidance_end=0.8, control_mode="Balanced", hr_option="Both")
    parsed = [parse(raw)[0] for raw in (current, older, forge)]
    assert parsed[0] == parsed[1] == parsed[2]


def test_a_unit_as_a_list_reads_by_position() -> None:
    named = unit(weight=0.4, resize_mode="Just Resize", guidance_end=0.9, control_mode=2)
    values = {"enabled": True, "low_vram": False, "processor_res": 640, **named}
    listed = [values.get(name) for name in POSITIONAL]
    assert parse(listed)[0] == parse({**values})[0]


@pytest.mark.parametrize("enabled", [False, "false", 0, "off"])
def test_a_disabled_unit_is_not_read_any_further(enabled: Any) -> None:
    units, report = parse(unit(enabled=enabled, weight="heavy", module="no such"))
    assert (units, report.problems, report.warning_texts) == ((), (), [])


def test_null_is_no_unit_and_null_fields_take_their_defaults() -> None:
    units, report = parse(None, unit(weight=None, resize_mode=None, mask=None))
    assert report.problems == ()
    assert [item.index for item in units] == [1]
    assert units[0].weight == 1.0


def test_a_unit_of_nothing_is_left_out_and_told() -> None:
    units, report = parse({"module": "None", "model": "None"}, {})
    assert units == ()
    assert [text.split(":")[0] for text in report.warning_texts] == [
        "alwayson_scripts.controlnet.args[0]",
        "alwayson_scripts.controlnet.args[1]",
    ]


@pytest.mark.parametrize("raw", ["canny", True, 3, [1] * 40])
def test_what_is_no_unit_is_refused(raw: Any) -> None:
    units, report = parse(raw)
    assert units == ()
    assert report.problems[0].path == "alwayson_scripts.controlnet.args[0]"


def test_args_that_are_no_list_are_refused() -> None:
    report = Report()
    assert parse_units({"0": unit()}, 3, report) == ()
    assert report.problems[0].path == "alwayson_scripts.controlnet.args"


def test_units_past_the_configured_number_are_left_out_and_told() -> None:
    units, report = parse(*[unit()] * 3, unit(), unit(enabled=False), None, count=3)
    assert len(units) == 3
    assert [text for text in report.warning_texts if "unit_count" in text] == [
        "alwayson_scripts.controlnet.args[3]: left out, as A1111 does: option "
        "control_net_unit_count reads the first 3 units only"
    ]


def test_many_values_past_the_configured_number_are_told_in_one_warning() -> None:
    _, report = parse(*[False] * 3, "canny", 1.0, "Crop and Resize", 64, count=3)
    assert report.warning_texts == [
        "alwayson_scripts.controlnet.args: 4 more values are left out, as A1111 does: option "
        "control_net_unit_count reads the first 3 units only"
    ]


def test_more_units_are_read_where_the_option_says_so() -> None:
    assert len(parse(*[unit()] * 5, count=10)[0]) == 5


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("weight", 5, "5.0 is not within 0..2"),
        ("weight", "heavy", '"heavy" is not a number'),
        ("guidance_start", -0.1, "is not within 0..1"),
        ("guidance_end", 1.5, "is not within 0..1"),
        ("resize_mode", "Stretch", "is not one of"),
        ("resize_mode", 7, "is not one of"),
        ("resize_mode", "9" * 5000, "is not one of"),
        ("control_mode", "Strong", "is not one of"),
        ("hr_option", "Never", "is not one of"),
        ("union_control_type", "Sound", "is not one of"),
        ("pixel_perfect", "perhaps", "is not true or false"),
        ("processor_res", "wide", "is not a whole number"),
        ("advanced_weighting", [1, "x"], "is not a number"),
        ("weight", float("nan"), "is not a finite number"),
    ],
)
def test_a_wrong_value_is_refused_with_its_path(field: str, value: Any, said: str) -> None:
    problems = problems_of(**{field: value})
    assert problems[0].startswith(f"alwayson_scripts.controlnet.args[0].{field}")
    assert said in problems[0]


def test_start_after_end_is_refused() -> None:
    (problem,) = problems_of(guidance_start=0.6, guidance_end=0.5)
    assert problem == (
        "alwayson_scripts.controlnet.args[0].guidance_start: 0.6 is after guidance_end, "
        "which is 0.5"
    )


@pytest.mark.parametrize(
    ("sent", "read"),
    [
        (0, "Just Resize"),
        (2, "Resize and Fill"),
        (3, "Just Resize"),
        ("1", "Crop and Resize"),
        ("just resize", "Just Resize"),
        ("Scale to Fit (Inner Fit)", "Crop and Resize"),
        ("Envelope (Outer Fit)", "Resize and Fill"),
    ],
)
def test_resize_modes_by_name_number_and_old_name(sent: Any, read: str) -> None:
    assert parse_one(resize_mode=sent).resize_mode == read


@pytest.mark.parametrize(
    ("sent", "read"),
    [(1, "My prompt is more important"), ("ControlNet is more important",) * 2, (0, "Balanced")],
)
def test_control_modes_by_name_and_number(sent: Any, read: str) -> None:
    assert parse_one(control_mode=sent).control_mode == read


def test_numbers_as_text_are_taken() -> None:
    parsed = parse_one(weight="0.5", processor_res="768", pixel_perfect="true")
    assert (parsed.weight, parsed.processor_res, parsed.pixel_perfect) == (0.5, 768, True)


@pytest.mark.parametrize(
    ("module", "found", "written"),
    [
        ("canny", "canny", "canny"),
        ("depth_midas", "depth", "depth_midas"),
        ("InsightFace (InstantID)", "instant_id_face_embedding", "instant_id_face_embedding"),
        ("softedge_hed", "hed", "softedge_hed"),
        ("CANNY", "canny", "canny"),
        ("normalbae", "normal_bae", "normal_bae"),
    ],
)
def test_modules_by_name_label_and_forges_name(module: str, found: str, written: str) -> None:
    parsed = parse_one(module=module)
    assert (parsed.module.name, parsed.module_name) == (found, written)


def test_an_unknown_module_is_refused_with_the_near_one_named() -> None:
    (problem,) = problems_of(module="cany")
    assert problem == (
        'alwayson_scripts.controlnet.args[0].module: no module "cany", did you mean "canny"?'
    )


def test_an_alias_beside_its_field_is_ignored_and_told_where_they_differ() -> None:
    same, quiet = parse(unit(guidance=1, guidance_end=1))
    other, told = parse(unit(guidance=0.2, guidance_end=0.9))
    assert same[0].guidance_end == 1.0
    assert quiet.warning_texts == []
    assert other[0].guidance_end == 0.9
    assert told.warning_texts == [
        "alwayson_scripts.controlnet.args[0].guidance: ignored, guidance_end is given as well"
    ]


def test_an_unknown_field_is_told_with_the_near_one_named() -> None:
    _, report = parse(unit(wieght=0.5))
    (told,) = report.warnings
    assert told.path == "alwayson_scripts.controlnet.args[0].wieght"
    assert "no such field" in told.message and 'did you mean "weight"?' in told.message


def test_fields_of_the_user_interface_are_quiet_unless_they_were_set() -> None:
    _, report = parse(unit(is_ui=False, output_dir="", loopback=True, guess_mode=False))
    assert report.warning_texts == ["alwayson_scripts.controlnet.args[0].loopback: has no effect"]
    _, report = parse(unit(guessmode=True))
    assert 'control_mode "ControlNet is more important"' in report.warning_texts[0]


def test_thresholds_out_of_bounds_take_the_modules_default() -> None:
    parsed = parse_one(threshold_a=300, threshold_b=-1, processor_res=20)
    assert (parsed.threshold_a, parsed.threshold_b, parsed.processor_res) == (100, 200, 512)


def test_hidden_sliders_settle_at_a_half() -> None:
    (embedding, _), _ = parse(*face_pair(threshold_a=75, threshold_b=75))
    assert (embedding.threshold_a, embedding.threshold_b) == (0.5, 0.5)


@pytest.mark.parametrize(
    ("shape", "masks"),
    [
        (lambda: {"image": picture()}, [False]),
        (lambda: {"image": {"image": picture(), "mask": mask()}}, [True]),
        (lambda: {"image": [picture(), mask()]}, [True]),
        (lambda: {"image": picture(), "mask_image": mask()}, [True]),
        (lambda: {"image": [{"image": picture()}, {"image": picture(), "mask": mask()}]}, None),
    ],
)
def test_the_shapes_of_an_image(shape, masks: list[bool] | None) -> None:
    parsed = parse_one(module="ip-adapter_clip_h", model="ip-adapter_sd15", **shape())
    assert [item.mask is not None for item in parsed.images] == (masks or [False, True])


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"image": "not*base64"}, "image"),
        ({"image": {"mask": "x"}}, "image"),
        ({"image": {"image": "*"}}, "image.image"),
        ({"image": [{"image": "*"}]}, "image[0].image"),
        ({"image": []}, "image"),
        ({"image": ["a", "b", "c"]}, "image"),
        ({"mask": "*"}, "mask"),
        ({"effective_region_mask": "*"}, "effective_region_mask"),
    ],
)
def test_a_bad_image_is_refused_where_it_stands(fields: dict[str, Any], path: str) -> None:
    assert problems_of(**fields)[0].startswith(f"alwayson_scripts.controlnet.args[0].{path}: ")


def test_a_mask_of_another_size_is_refused() -> None:
    (problem,) = problems_of(mask=mask(10, 10))
    assert "the mask is 10x10, its image 300x400" in problem


def test_an_empty_text_is_no_image() -> None:
    assert parse_one(image="", mask="").images == ()


def test_merge_makes_a_unit_of_each_image() -> None:
    images = [{"image": picture()}, {"image": picture(colour=(1, 2, 3))}]
    units, report = parse(unit(image=images, input_mode="merge", weight=1.0))
    assert report.problems == ()
    assert [(item.index, item.weight, len(item.images)) for item in units] == [
        (0, 0.5, 1),
        (0, 0.5, 1),
    ]


def test_infotext_is_a1111s() -> None:
    (embedding, keypoints), _ = parse(
        *face_pair(weight=0.9, processor_res=1024, threshold_a=75, threshold_b=75, guidance=1)
    )
    assert embedding.infotext == (
        "Module: instant_id_face_embedding, Model: ip-adapter_instant_id_sdxl [eb2d3ec0], "
        "Weight: 0.9, Resize Mode: Crop and Resize, Processor Res: 1024, Threshold A: 0.5, "
        "Threshold B: 0.5, Guidance Start: 0.0, Guidance End: 1.0, Pixel Perfect: False, "
        "Control Mode: Balanced"
    )
    assert keypoints.infotext.startswith("Module: instant_id_face_keypoints, Model: control_")


def test_infotext_is_empty_where_a_value_would_break_it() -> None:
    assert parse_one(model="a, b").infotext == ""
