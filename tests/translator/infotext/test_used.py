"""What is used otherwise than sent never stands in an infotext as sent."""

from __future__ import annotations

from typing import Any

import pytest

from translator import Catalog, Options, Translation, TranslationError, translate

SEED = 4321


def lenient(fidelity: str = "exact", catalog: Catalog | None = None, **payload: Any) -> Translation:
    drawn = iter((SEED, 99))
    options = Options(
        unsupported="warn",
        fidelity=fidelity,  # type: ignore[arg-type]
        draw_seed=lambda: next(drawn),
    )
    return translate({"prompt": "a cat", "steps": 4, **payload}, catalog=catalog, options=options)


@pytest.mark.parametrize(
    ("payload", "printed"),
    [
        ({"cfg_scale": 1e6}, "CFG scale: 100000.0"),
        ({"cfg_scale": -1e6}, "CFG scale: -100000.0"),
        ({"sampler_name": "Euler a", "eta": 5000}, "Eta: 100.0"),
        ({"subseed_strength": 500, "subseed": 2}, "Variation seed strength: 100.0"),
        ({"s_min_uncond": 1e6}, "NGMS: 100000.0"),
        ({"override_settings": {"skip_early_cond": 200}}, "Skip Early CFG: 100.0"),
        (
            {"override_settings": {"token_merging_ratio": 3}},
            "Token merging ratio: 1.0",
        ),
    ],
)
def test_a_number_out_of_a_nodes_range_is_printed_as_used(
    payload: dict[str, Any], printed: str
) -> None:
    with pytest.raises(TranslationError):
        translate({"prompt": "a cat", "steps": 4, **payload})
    made = lenient(**payload)
    assert any("is used" in text for text in made.warning_texts)
    (text,) = made.info["infotexts"]
    assert f", {printed}," in text
    assert made.info["seed"] == SEED
    noises = [node for node in made.graph.values() if node["class_type"] == "A1111Noise"]
    assert [node["inputs"]["seeds"] for node in noises] == [f"[{SEED}]"]


def test_the_members_of_info_have_it_too_and_the_echo_is_the_request() -> None:
    made = lenient(cfg_scale=1e6)
    assert made.info["cfg_scale"] == 100000.0
    assert made.parameters["cfg_scale"] == 1e6


def test_an_option_of_the_server_is_printed_as_used() -> None:
    options = Options(unsupported="warn", a1111_options={"skip_early_cond": 200})
    made = translate({"prompt": "a cat", "seed": 1}, options=options)
    assert "Skip Early CFG: 100.0" in made.info["infotexts"][0]


def test_the_upscaler_that_stands_in_is_printed() -> None:
    bundled = Catalog.bundled()
    here = Catalog(nodes=bundled.nodes, folders={"checkpoints": ("v1.safetensors",)})
    hires = {"enable_hr": True, "denoising_strength": 0.5, "hr_upscaler": "R-ESRGAN 4x+"}
    made = lenient(catalog=here, **hires)
    assert any("Lanczos enlarges the picture" in text for text in made.warning_texts)
    assert "Hires upscaler: Lanczos," in made.info["infotexts"][0]


def test_a_restorer_that_was_left_out_is_not_printed() -> None:
    assert "Face restoration: CodeFormer" in lenient(restore_faces=True).info["infotexts"][0]
    core = lenient("core", restore_faces=True)
    assert any("faces are left as they are" in text for text in core.warning_texts)
    assert "Face restoration" not in core.info["infotexts"][0]


def xyz(axis: int, values: str) -> dict[str, Any]:
    args = [axis, values, [], 0, "", [], 0, "", [], True, True, False, False]
    return {
        "script_name": "x/y/z plot",
        "script_args": [*args, False, False, False, 0, False],
        "seed": 5,
    }


CFG_AXIS = 6


def test_a_number_of_an_axis_is_refused_at_script_args() -> None:
    payload = {"prompt": "a cat", "steps": 4, **xyz(CFG_AXIS, "7, 1000000")}
    with pytest.raises(TranslationError) as refused:
        translate(payload)
    (problem,) = refused.value.problems
    assert problem.path == "script_args[1]"
    assert problem.message.startswith("cfg_scale: 1000000.0 is not within")


def test_only_the_cell_of_an_axis_has_the_bound() -> None:
    texts = lenient(**xyz(CFG_AXIS, "7, 1000000")).info["infotexts"]
    assert ["CFG scale: 7.0" in text for text in texts[-2:]] == [True, False]
    assert "CFG scale: 100000.0" in texts[-1]


def test_a_number_of_a_line_is_refused_at_script_args() -> None:
    payload = {
        "prompt": "a cat",
        "script_name": "prompts from file or textbox",
        "script_args": [False, False, "start", "a dog --cfg_scale 7\n--prompt x --cfg_scale 1e6"],
    }
    with pytest.raises(TranslationError) as refused:
        translate({"seed": 1, "steps": 4, **payload})
    (problem,) = refused.value.problems
    assert (problem.path, problem.message[:10]) == ("script_args[3]", "cfg_scale:")


def test_what_a_planner_says_of_an_axis_is_said_at_script_args() -> None:
    payload = {"prompt": "a cat", "sampler_name": "UniPC", **xyz(4, "20, 2")}
    with pytest.raises(TranslationError) as refused:
        translate(payload)
    (problem,) = refused.value.problems
    assert (problem.path, problem.message[:6]) == ("script_args[1]", "steps:")


def test_a_number_of_a_detailer_unit_is_its_own_not_the_requests() -> None:
    unit = {
        "ad_model": "face_yolov8n.pt",
        "ad_use_cfg_scale": True,
        "ad_cfg_scale": 1e6,
        "ad_mask_blur": 1000000,
    }
    scripts = {"alwayson_scripts": {"ADetailer": {"args": [unit]}}}
    with pytest.raises(TranslationError) as refused:
        translate({"prompt": "a cat", "seed": 1, "steps": 4, **scripts})
    path = "alwayson_scripts.ADetailer.args[0]"
    paths = {problem.path for problem in refused.value.problems}
    assert paths == {f"{path}.ad_cfg_scale", f"{path}.ad_mask_blur"}
    made = lenient(seed=1, cfg_scale=6, **scripts)
    assert "CFG scale: 6.0," in made.info["infotexts"][0]
