"""The module table: complete, consistent with the node signatures, and every row translated."""

from __future__ import annotations

from typing import Any

import pytest

from tests.translator.control_requests import Outcome, context, mask, picture, translated, unit
from translator.comfy.catalog import Catalog
from translator.control import modules
from translator.control.modules import Module, Slider

TABLE = modules.table()
TRANSLATED = [name for name, row in TABLE.items() if row.role != "pulid"]
"""Modules for which the packs of custom_nodes.txt are enough."""

PLACEHOLDERS = {
    "$image",
    "$source",
    "$mask",
    "$weights",
    "$processor_res",
    "$threshold_a",
    "$threshold_b",
    "$short_side",
    "$tile_width",
    "$tile_height",
    "$scaled_width",
    "$scaled_height",
    "$seed",
}

MODEL_OF_ROLE = {
    "instant_id_embedding": "ip-adapter_instant_id_sdxl",
    "instant_id_keypoints": "diffusers_xl_canny",
    "ip_adapter": "ip-adapter_sd15",
    "ip_adapter_auto": "ip-adapter-plus_sd15",
    "face_id": "ip-adapter-faceid-plusv2_sd15",
    "style": "t2iadapter_style_sd14v1",
    "pulid": "ip-adapter_pulid_sdxl_fp16",
}

MODEL_OF_MODULE = {
    "ip-adapter_clip_sdxl": "ip-adapter_sd15_vit-G",
    "ip-adapter_face_id": "ip-adapter-faceid_sd15",
}
"""Where one model does not go with every module of a role."""

SDXL_ROLES = ("revision", "instant_id_embedding", "instant_id_keypoints", "pulid")


def request_of(module: Module, **fields: Any) -> dict[str, Any]:
    return unit(
        module=module.name,
        model=MODEL_OF_MODULE.get(module.name)
        or MODEL_OF_ROLE.get(module.role, "control_v11_sd15"),
        mask=mask() if module.uses_mask else None,
        **fields,
    )


def outcome_of(name: str, *, hires: bool = True, **fields: Any) -> Outcome:
    module = TABLE[name]
    around = context("SDXL" if module.role in SDXL_ROLES else "SD1", hires=hires)
    return translated([request_of(module, **fields)], around)


def test_the_table_holds_every_module() -> None:
    assert len(TABLE) == 72
    assert next(iter(TABLE)) == "none"


def test_no_two_modules_answer_to_one_name() -> None:
    names = [name.lower() for row in TABLE.values() for name in row.names if name != "None"]
    names += TABLE
    doubled = {name for name in names if names.count(name) > 1}
    assert doubled == set()
    assert all(modules.find(name) is row for row in TABLE.values() for name in row.names)


@pytest.mark.parametrize("name", TABLE)
def test_a_row_is_consistent(name: str) -> None:
    row = TABLE[name]
    assert modules.find(row.label) is row
    assert (row.status == "exact") or row.why
    assert (row.status == "near") == (row.differs is not None)
    for slider in (row.resolution, row.threshold_a, row.threshold_b):
        assert slider is None or slider.low <= slider.high


@pytest.mark.parametrize("name", TABLE)
def test_recipes_fit_the_signatures(name: str) -> None:
    nodes = Catalog.bundled().nodes
    row = TABLE[name]
    for recipe in [*row.nodes, *row.own_nodes]:
        signature = nodes[recipe.class_type]
        required = {key for key, item in signature.inputs.items() if item.required}
        assert required <= set(recipe.inputs) <= set(signature.inputs)
        texts = {value for value in recipe.inputs.values() if str(value).startswith("$")}
        assert texts <= PLACEHOLDERS


@pytest.mark.parametrize("name", TRANSLATED)
def test_every_module_gives_a_graph(name: str) -> None:
    outcome = outcome_of(name)
    assert outcome.problems == []
    assert len(outcome.plan.units) == 1
    bare = translated([], context("SDXL")).guided[0]
    assert any(guided != bare for guided in outcome.guided)
    assert len(outcome.maps) == 1
    near = [text for text in outcome.report.warning_texts if "near, not equal" in text]
    row = TABLE[name]
    said = row.status == "near" and not row.exact_at
    assert bool(near) == (said and (not row.near_with or name == "ip-adapter-auto"))


@pytest.mark.parametrize(
    ("name", "fields", "is_near"),
    [
        ("softedge_anyline", {"threshold_a": 2}, False),
        ("softedge_anyline", {"threshold_a": 2.9}, False),
        ("softedge_anyline", {"threshold_a": 3}, True),
        ("anime_face_segment", {"processor_res": 512}, False),
        ("anime_face_segment", {"processor_res": 520}, True),
    ],
)
def test_a_near_module_is_exact_at_some_values(
    name: str, fields: dict[str, Any], is_near: bool
) -> None:
    warnings = translated([request_of(TABLE[name], **fields)], context("SD1")).report.warning_texts
    assert any(f'"{name}" is near' in text for text in warnings) is is_near


@pytest.mark.parametrize(
    ("model", "is_near"),
    [
        ("ip-adapter_sd15", False),
        ("ip-adapter-plus_sd15", True),
        ("ip-adapter-full-face_sd15", True),
        ("ip-adapter_plus_composition_sd15", True),
    ],
)
def test_an_image_prompt_is_near_with_the_models_that_read_more(model: str, is_near: bool) -> None:
    prompt = unit(module="ip-adapter_clip_h", model=model)
    warnings = translated([prompt]).report.warning_texts
    assert any("is near" in text for text in warnings) is is_near


@pytest.mark.parametrize("name", TRANSLATED)
def test_without_our_nodes_a_module_is_done_or_refused(name: str) -> None:
    row = TABLE[name]
    around = context("SDXL" if row.role in SDXL_ROLES else "SD1")
    outcome = translated([request_of(row)], around, options={"fidelity": "core"})
    assert bool(outcome.plan.units) != bool(outcome.problems)
    if outcome.plan.units:
        assert not any(text.startswith("A1111") for text in outcome.classes())
        assert not row.without_own_node or any(
            row.without_own_node in text for text in outcome.report.warning_texts
        )


def test_a_slider_settles_what_is_out_of_its_range() -> None:
    slider = Slider("x", 1, 255, 100, 1)
    assert [slider.settled(value) for value in (0, 1, 255, 256, -1)] == [100, 1, 255, 100, 100]


@pytest.mark.parametrize(
    ("name", "fields", "class_type", "inputs"),
    [
        (
            "canny",
            {"processor_res": 768, "threshold_a": 50, "threshold_b": 150},
            "CannyEdgePreprocessor",
            {"resolution": 768, "low_threshold": 50, "high_threshold": 150},
        ),
        (
            "mlsd",
            {"threshold_a": 0.2, "threshold_b": 3.5},
            "M-LSDPreprocessor",
            {"resolution": 512, "score_threshold": 0.2, "dist_threshold": 3.5},
        ),
        ("depth_leres++", {}, "LeReS-DepthMapPreprocessor", {"boost": "enable", "rm_nearest": 0.0}),
        (
            "openpose_faceonly",
            {},
            "OpenposePreprocessor",
            {"detect_hand": "disable", "detect_body": "disable", "detect_face": "enable"},
        ),
        ("hed_safe", {}, "HEDPreprocessor", {"safe": "enable"}),
        ("lineart_coarse", {}, "LineArtPreprocessor", {"coarse": "enable"}),
        ("normal_map", {}, "MiDaS-NormalMapPreprocessor", {"bg_threshold": 0.4}),
        ("softedge_anyline", {}, "AnyLineArtPreprocessor_aux", {"resolution": 1280}),
        (
            "oneformer_ade20k",
            {"processor_res": 640},
            "A1111ControlNetOneFormer",
            {"model_name": "shi-labs/oneformer_ade20k_swin_large", "resolution": 640},
        ),
        ("facexlib", {}, "A1111ControlNetFacexlib", {"resolution": 512}),
        (
            "scribble_xdog",
            {"threshold_a": 32.7},
            "Scribble_XDoG_Preprocessor",
            {"threshold": 32},
        ),
        (
            "threshold",
            {"threshold_a": 90},
            "A1111ControlNetPreprocessor",
            {"module": "threshold", "resolution": 512, "threshold_a": 90.0},
        ),
        (
            "shuffle",
            {"processor_res": 768},
            "A1111ControlNetPreprocessor",
            {"module": "shuffle", "resolution": 512, "seed": 14},
        ),
        (
            "mediapipe_face",
            {"threshold_b": 0.05},
            "MediaPipe-FaceMeshPreprocessor",
            {"min_confidence": 0.1},
        ),
    ],
)
def test_sliders_reach_the_node(
    name: str, fields: dict[str, Any], class_type: str, inputs: dict[str, Any]
) -> None:
    around = context("SD1", seed=7)
    outcome = translated([request_of(TABLE[name], **fields)], around)
    node = outcome.node(class_type)
    assert {key: node[key] for key in inputs} == inputs


def test_a_clamped_slider_is_told() -> None:
    outcome = outcome_of("mediapipe_face", threshold_b=0.05)
    assert (
        "alwayson_scripts.controlnet.args[0]: 0.05 becomes 0.1, the nearest that the node takes"
        in (outcome.report.warning_texts)
    )


def test_none_and_invert_work_at_the_images_own_size() -> None:
    assert outcome_of("none").plan.units[0].recipe == ()
    inverted = outcome_of("invert")
    assert inverted.classes() >= {"A1111ControlNetPreprocessor", "A1111ControlNetFit"}
    assert inverted.plan.units[0].map_size == inverted.plan.units[0].source_size


def test_pixel_perfect_takes_the_first_pass_size() -> None:
    small = picture(100, 200)
    outcome = translated(
        [unit(image=small, pixel_perfect=True, processor_res=64)], context(hires=True)
    )
    assert outcome.node("CannyEdgePreprocessor")["resolution"] == 512
