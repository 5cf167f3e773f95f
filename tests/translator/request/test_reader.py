"""One reader for every object of a request, and what other names mean."""

from __future__ import annotations

from typing import Any

import pytest

from translator.report import Report
from translator.request.hints import field_hint, meaning
from translator.request.reader import Reader
from translator.schemas import read_schema
from translator.tables import read_table

READER = Reader("extras", "extra-single-image", "extras", without=("imageList",))


def read(payload: object) -> tuple[dict[str, Any], Report]:
    report = Report()
    return READER.read(payload, "", report).settled(), report


def test_fields_have_the_schemas_types_and_defaults() -> None:
    fields, report = read({"upscaling_resize": "3", "upscaling_crop": "no", "upscaler_1": 5})
    assert (fields["upscaling_resize"], fields["upscaling_crop"]) == (3.0, False)
    assert (fields["upscaler_1"], fields["resize_mode"]) == ("5", 0)
    assert "imageList" not in fields
    assert not report.problems and not report.warnings


def test_unknown_fields_nulls_and_wrong_values_are_told_by_path() -> None:
    fields, report = read({"upscale_by": 2, "resize_mode": None, "gfpgan_visibility": 3})
    assert fields["gfpgan_visibility"] == 0
    assert [warning.path for warning in report.warnings] == ["upscale_by", "resize_mode"]
    assert 'did you mean "upscaling_resize"?' in report.warning_texts[0]
    assert [problem.path for problem in report.problems] == ["gfpgan_visibility"]


@pytest.mark.parametrize("payload", [None, [], "text", 5])
def test_what_is_no_object_is_refused(payload: object) -> None:
    fields, report = read(payload)
    assert fields["upscaler_1"] == "None"
    assert "not an object with extra-single-image's fields" in str(report.problems[0])


def test_a_list_of_the_schema_is_not_shared() -> None:
    reader = Reader("extras", "extra-batch-images")
    first = reader.read({}, "", Report()).settled()
    first["imageList"].append("x")
    assert reader.read({}, "", Report()).settled()["imageList"] == []


@pytest.mark.parametrize(
    ("kind", "name", "meant"),
    [
        ("request", "batch_count", "n_iter"),
        ("request", "batchCount", "n_iter"),
        ("request", "Guidance Scale", "cfg_scale"),
        ("request", "hires_fix", "enable_hr"),
        ("request", "clip_skip", "override_settings.CLIP_stop_at_last_layers"),
        ("request", "ENSD", "override_settings.eta_noise_seed_delta"),
        ("request", "sd_model_checkpoint", "override_settings.sd_model_checkpoint"),
        ("request", "controlnet_module", "alwayson_scripts.controlnet.args"),
        ("unit", "preprocessor", "module"),
        ("option", "clip_skip", "CLIP_stop_at_last_layers"),
        ("option", "ENSD", "eta_noise_seed_delta"),
    ],
)
def test_other_names_are_understood(kind: str, name: str, meant: str) -> None:
    assert meaning(kind, name) == meant
    assert field_hint(kind, name, ()) == f', did you mean "{meant}"?'


def test_every_hint_names_a_field_or_option_that_is_there() -> None:
    options = read_table("options")["options"]
    known = {
        "request": {*read_schema("txt2img")["properties"], "alwayson_scripts.controlnet.args"},
        "unit": set(read_schema("controlnet_unit")["properties"]),
        "option": set(options),
        "extras": set(read_schema("extras")["properties"]),
    }
    known["request"] |= {f"override_settings.{key}" for key in options}
    known["request"] |= {"alwayson_scripts.ADetailer.args", "prompt: <lora:name:1>"}
    for kind, rows in read_table("hints").items():
        if kind != "note":
            assert set(rows) <= known[kind], f"{kind}: a hint names what is not there"
            others = [other for names in rows.values() for other in names]
            assert len(set(others)) == len(others), f"{kind}: a name stands twice"
            assert not set(others) & known[kind], f"{kind}: a name is a field itself"
