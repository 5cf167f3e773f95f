"""Control model names, matched as the extension matches them."""

from __future__ import annotations

import pytest

from tests.translator.control_requests import face_pair, unit
from translator.comfy.catalog import Catalog, ModelFacts
from translator.control import models
from translator.control.models import Kind, kind_of
from translator.control.units import parse_units
from translator.models import families
from translator.report import Report

FILES = (
    "control_v11p_sd15_canny.pth",
    "sub/control_v11p_sd15_openpose.safetensors",
    "control_v11p_sd15_canny_small.safetensors",
    "control_instant_id_sdxl.safetensors",
    "same.pth",
    "other/same.safetensors",
)


def catalog() -> Catalog:
    return Catalog(
        nodes={},
        folders={"controlnet": FILES, "clip_vision": ("clip_g.safetensors", "clip_h.pth")},
        facts={("controlnet", "other/same.safetensors"): ModelFacts(short_hash="abcd1234")},
    )


def resolve(name: str, have: Catalog | None = None) -> tuple[str | None, Report]:
    report = Report()
    found = models.resolve(name, "controlnet", have or catalog(), "model", report)
    return (found.name if found else None), report


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("control_v11p_sd15_canny", FILES[0]),
        ("control_v11p_sd15_canny [d14c016b]", FILES[0]),
        ("control_v11p_sd15_canny [00000000]", FILES[0]),
        ("CONTROL_V11P_SD15_CANNY", FILES[0]),
        ("control_v11p_sd15_canny.pth", FILES[0]),
        ("canny", FILES[0]),
        ("canny_small", FILES[2]),
        ("openpose", FILES[1]),
        ("control_instant_id_sdxl [c5c25a50]", FILES[3]),
        ("same", FILES[4]),
        ("same [abcd1234]", FILES[5]),
        ("same [00000000]", FILES[4]),
    ],
)
def test_names_find_their_file(name: str, found: str) -> None:
    assert resolve(name)[0] == found


def test_another_hash_than_the_files_is_another_model() -> None:
    have = Catalog(
        nodes={},
        folders={"controlnet": ("canny.pth",)},
        facts={("controlnet", "canny.pth"): ModelFacts(short_hash="abcd1234")},
    )
    assert resolve("canny [ABCD1234]", have)[0] == "canny.pth"
    found, report = resolve("canny [00000000]", have)
    assert found is None
    assert "hash 00000000, the file here has abcd1234" in str(report.problems[0])


def test_an_unknown_model_is_refused_with_the_near_one_named() -> None:
    found, report = resolve("control_v11p_sd15_cany")
    assert found is None
    (problem,) = report.problems
    assert problem.kind == "missing"
    assert 'did you mean "control_v11p_sd15_canny"?' in str(problem)
    assert "models/ControlNet" in str(problem)


def test_an_open_catalog_takes_any_name() -> None:
    found, report = resolve("my_control [12345678]", Catalog(nodes={}, open=True))
    assert found == "my_control.safetensors"
    assert resolve("my_control.pth", Catalog(nodes={}, open=True))[0] == "my_control.pth"
    assert len(report.warning_texts) == 1


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("control_v11p_sd15_canny", Kind.CONTROLNET),
        ("control-lora-canny-rank256", Kind.CONTROLNET),
        ("t2iadapter_canny_sd15v2", Kind.T2I_ADAPTER),
        ("t2i-adapter_diffusers_xl_canny [aef0]", Kind.T2I_ADAPTER),
        ("t2iadapter_style_sd14v1", Kind.STYLE_ADAPTER),
        ("ip-adapter_sd15", Kind.IP_ADAPTER),
        ("ip-adapter-faceid-plusv2_sd15", Kind.IP_ADAPTER),
        ("ip-adapter_instant_id_sdxl [eb2d3ec0]", Kind.INSTANT_ID_ADAPTER),
        ("control_instant_id_sdxl", Kind.INSTANT_ID),
        ("controlnet-union-sdxl-1.0", Kind.UNION),
        ("kohya_controllllite_xl_canny", Kind.LLLITE),
        ("v3_sd15_sparsectrl_rgb", Kind.SPARSECTRL),
    ],
)
def test_kinds_by_name(name: str, kind: Kind) -> None:
    assert kind_of(name) is kind


@pytest.mark.parametrize(
    ("name", "version"),
    [
        ("control_v11p_sd15_canny", "SD1"),
        ("t2iadapter_seg_sd14v1", "SD1"),
        ("control_v11p_sd21_canny", "SD2"),
        ("diffusers_xl_canny_mid", "SDXL"),
        ("control_canny", None),
    ],
)
def test_versions_by_name(name: str, version: str | None) -> None:
    assert families.control_version(name) == version


@pytest.mark.parametrize(
    ("raw", "hint"),
    [
        (lambda: face_pair(), "SDXL"),
        (lambda: [unit(module="revision_clipvision", model="None")], "SDXL"),
        (lambda: [unit()], "SD1"),
        (lambda: [unit(model="control_canny")], None),
        (lambda: [unit(), unit(model="diffusers_xl_canny")], None),
        (list, None),
    ],
)
def test_what_units_tell_of_the_checkpoint(raw, hint: str | None) -> None:
    assert models.architecture_hint(parse_units(raw(), 3, Report())) == hint


@pytest.mark.parametrize(
    ("vision", "found"), [("H", "clip_h.pth"), ("G", "clip_g.safetensors"), ("L", None)]
)
def test_clip_vision_models_by_name(vision: models.Vision, found: str | None) -> None:
    report = Report()
    file = models.vision_model(vision, catalog(), "module", report)
    assert (file.name if file else None) == found
    assert bool(report.problems) == (found is None)


def test_presets_of_ip_adapter_auto_go_by_exact_stem() -> None:
    known = models.preset_module("ip-adapter-plus_sd15 [deadbeef]")
    assert known is not None and known.label == "ip-adapter_clip_h"
    assert models.preset_module("my-ip-adapter") is None
