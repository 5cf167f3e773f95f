"""ADetailer's plan, as the graph spells it."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from PIL import Image

from tests.translator.control_requests import picture
from translator import Catalog, Options, Translation, TranslationError, translate
from translator.comfy.catalog import ModelFacts

BASE = {"prompt": "a red cat # tail", "negative_prompt": "blurry", "seed": 1000, "steps": 6}
BASE |= {"width": 128, "height": 128, "sampler_name": "Euler a"}
HAND = {"ad_model": "hand_yolov8n.pt"}
UNIT = {"image": picture(), "module": "canny", "model": "control_v11p_sd15_canny"}


def translated(*units: Mapping[str, Any], options: Options | None = None, **fields: Any) -> Any:
    script = {"ADetailer": {"args": [True, False, *units]}}
    payload = {**BASE, **fields, "alwayson_scripts": {**fields.get("scripts", {}), **script}}
    payload.pop("scripts", None)
    return translate(payload, options=options or Options())


def nodes(translation: Translation, class_type: str) -> list[dict[str, Any]]:
    return [
        node["inputs"] for node in translation.graph.values() if node["class_type"] == class_type
    ]


def node(translation: Translation, link: list[Any]) -> dict[str, Any]:
    found: dict[str, Any] = translation.graph[link[0]]["inputs"]
    return found


def text(translation: Translation, guider: list[Any], which: str = "positive") -> str:
    prompt = json.loads(node(translation, node(translation, guider)[which])["prompt"])
    return str(prompt["parts"][0]["schedule"][0][1][0][0])


def test_a_unit_inherits_the_requests_pass() -> None:
    found = translated(HAND)
    (detail,) = nodes(found, "A1111DetailRegions")
    (detect,) = nodes(found, "A1111DetectRegions")
    assert detect["detector"] == "hand_yolov8n.pt"
    assert (detail["width"], detail["height"], detail["padding"]) == (128, 128, 32)
    assert json.loads(node(found, detail["noise"])["seeds"]) == [1000]
    assert len(json.loads(node(found, detail["sigmas"])["sigmas"])) == 4
    assert text(found, detail["guider"]) == "a red cat"
    assert detail["posterior_seed"] == 1000


def test_comments_stay_in_a_units_own_prompt() -> None:
    found = translated({**HAND, "ad_prompt": "a dog # tail"})
    (detail,) = nodes(found, "A1111DetailRegions")
    assert text(found, detail["guider"]) == "a dog # tail"


def test_the_size_is_the_first_pass_size_with_hires_fix_too() -> None:
    hires = {"enable_hr": True, "hr_scale": 2, "denoising_strength": 0.5, "hr_upscaler": "Latent"}
    (detail,) = nodes(translated(HAND, **hires), "A1111DetailRegions")
    assert (detail["width"], detail["height"]) == (128, 128)


def test_each_picture_goes_its_own_way() -> None:
    found = translated(HAND, batch_size=2, n_iter=2)
    details = nodes(found, "A1111DetailRegions")
    seeds = [json.loads(node(found, item["noise"])["seeds"]) for item in details]
    assert seeds == [[1000], [1001], [1002], [1003]]
    assert details[0]["posterior_seed"] == 1001
    assert details[1]["posterior_seed"][1] == 1
    assert details[2]["posterior_seed"] == 1003
    assert [output.index for output in found.outputs] == [0, 0, 0, 0]


def test_units_run_one_after_the_other() -> None:
    found = translated(HAND, {"ad_model": "face_yolov8n.pt"})
    first, second = nodes(found, "A1111DetailRegions")
    detects = nodes(found, "A1111DetectRegions")
    assert node(found, second["image"]) == first
    assert node(found, detects[1]["image"]) == first
    assert second["posterior_seed"][1] == 1


@pytest.mark.parametrize(
    ("sampler", "scheduler", "expected"),
    [
        ("DPM++ 2M Karras", "Use same scheduler", "DPM++ 2M"),
        ("Use same sampler", "Karras", "Euler a"),
        ("nonsense", "Use same scheduler", "DPM++ 2M"),
    ],
)
def test_a_units_own_sampler(sampler: str, scheduler: str, expected: str) -> None:
    unit = {**HAND, "ad_use_sampler": True, "ad_sampler": sampler, "ad_scheduler": scheduler}
    found = translated(unit, options=Options(unsupported="warn"))
    (detail,) = nodes(found, "A1111DetailRegions")
    assert node(found, detail["sampler"])["sampler"] == expected
    assert any("nonsense" in item for item in found.warning_texts) == (sampler == "nonsense")


def test_a_scheduler_beside_a_sampler_that_names_one_is_told() -> None:
    unit = {**HAND, "ad_use_sampler": True, "ad_sampler": "DPM++ 2M Karras"}
    for scheduler, told in (
        ("Exponential", True),
        ("Karras", False),
        ("Use same scheduler", False),
    ):
        texts = translated({**unit, "ad_scheduler": scheduler}).warning_texts
        assert any("names a scheduler itself" in text for text in texts) is told


def test_the_requests_own_prompt_is_told_of_once() -> None:
    found = translated(HAND, {**HAND, "ad_prompt": "b {c|d}"}, prompt="a {b|c}")
    drawn = [item.path for item in found.warnings if "nothing is drawn" in item.message]
    assert drawn == ["prompt", "alwayson_scripts.ADetailer.args[3].ad_prompt"]


@pytest.mark.parametrize(
    ("scripts", "options", "told"),
    [
        ({"Regional Prompter": {"args": [True]}}, {}, "Regional Prompter goes on"),
        ({"ControlNet": {"args": [UNIT]}}, {"ad_only_selected_scripts": False}, "ControlNet's"),
        ({"ControlNet": {"args": [UNIT]}}, {}, ""),
        (
            {"MultiDiffusion Integrated": {"args": [True]}},
            {"ad_only_selected_scripts": False},
            "Tiled Diffusion",
        ),
    ],
)
def test_scripts_that_would_act_inside_are_told_of(
    scripts: dict[str, Any], options: dict[str, Any], told: str
) -> None:
    found = translate(
        {
            "prompt": "a BREAK b",
            "seed": 1,
            "override_settings": options,
            "alwayson_scripts": {**scripts, "ADetailer": {"args": [True, False, HAND]}},
        }
    )
    named = [text for text in found.warning_texts if " region" in text]
    assert bool(named) is bool(told) and all(told in text for text in named)


def test_what_a_switch_is_off_for_does_not_count() -> None:
    unit = {**HAND, "ad_steps": 50, "ad_cfg_scale": 1.0, "ad_inpaint_width": 64, "ad_sampler": "x"}
    assert translated(unit).graph == translated(HAND).graph


def test_the_requests_noise_numbers_do_not_act_inside() -> None:
    found = translated(HAND, eta=0.5)
    (detail,) = nodes(found, "A1111DetailRegions")
    assert node(found, detail["sampler"])["eta"] == 1.0


def test_a_controlnet_inside_is_made_for_every_region() -> None:
    unit = {**HAND, "ad_controlnet_model": "control_v11f1e_sd15_tile", "ad_controlnet_weight": 0.6}
    found = translated(unit)
    (detail,) = nodes(found, "A1111DetailEachRegion")
    (picture,) = nodes(found, "A1111RegionPicture")
    (applied,) = nodes(found, "ControlNetApplyAdvanced")
    assert applied["strength"] == 0.6
    assert node(found, picture["image"]) == node(found, detail["image"])
    assert not nodes(found, "LoadImage")
    assert found.uploads == ()


def test_a_model_whose_name_tells_no_module_is_refused() -> None:
    unit = {**HAND, "ad_controlnet_model": "control_v11p_sd15_canny"}
    with pytest.raises(TranslationError) as caught:
        translated(unit)
    assert [problem.path for problem in caught.value.problems] == [
        "alwayson_scripts.ADetailer.args[2].ad_controlnet_module"
    ]


def live_catalog(*detectors: str) -> Catalog:
    folders = {"checkpoints": ("a.safetensors",), "adetailer": detectors}
    return Catalog(nodes=Catalog.bundled().nodes, folders=folders)


def test_an_unknown_detector_is_named_with_its_place() -> None:
    script = {"ADetailer": {"args": [True, False, {"ad_model": "face_yolov8m.pt"}]}}
    payload = {**BASE, "alwayson_scripts": script}
    with pytest.raises(TranslationError) as caught:
        translate(payload, catalog=live_catalog("face_yolov8n.pt"))
    (problem,) = caught.value.problems
    assert problem.path.endswith("args[2].ad_model")
    assert "models/adetailer" in problem.message
    assert "face_yolov8n.pt" in problem.message


def test_after_an_unknown_detector_nothing_more_is_done_as_in_a1111() -> None:
    units = [{"ad_model": name} for name in ("face_yolov8n.pt", "nope.pt", "hand_yolov8n.pt")]
    payload = {**BASE, "alwayson_scripts": {"ADetailer": {"args": [True, False, *units]}}}
    found = translate(
        payload,
        catalog=live_catalog("face_yolov8n.pt", "hand_yolov8n.pt"),
        options=Options(unsupported="warn", default_checkpoint="a.safetensors"),
    )
    assert [item["detector"] for item in nodes(found, "A1111DetectRegions")] == ["face_yolov8n.pt"]
    assert "ADetailer model 2nd: nope.pt" in found.info["infotexts"][0]


def test_core_nodes_alone_have_no_detector() -> None:
    with pytest.raises(TranslationError, match="node pack"):
        translated(HAND, options=Options(fidelity="core"))


def picture(width: int, height: int, level: int | None = None) -> str:
    """A picture of one colour, or of one grey level."""
    buffer = io.BytesIO()
    colour = "#806040" if level is None else (level, level, level)
    Image.new("RGB", (width, height), colour).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode("ascii")


def from_image(*args: Any, **fields: Any) -> Translation:
    script = {"ADetailer": {"args": list(args)}}
    payload = {**BASE, "init_images": [picture(96, 80)], **fields, "alwayson_scripts": script}
    return translate(payload, endpoint="/sdapi/v1/img2img")


def test_img2img_is_detailed_before_it_is_put_back() -> None:
    mask = {"mask": picture(96, 80), "inpaint_full_res": True, "batch_size": 2}
    found = from_image(True, False, HAND, **mask)
    (overlay,) = nodes(found, "A1111Overlay")
    details = nodes(found, "A1111DetailRegions")
    joined = node(found, overlay["image"])
    assert [node(found, joined[name]) for name in ("image1", "image2")] == details
    assert all("inside" not in item for item in nodes(found, "A1111DetectRegions"))


def test_regions_have_to_touch_the_mask_of_a_whole_picture() -> None:
    mask = {"mask": picture(96, 80), "inpaint_full_res": False, "inpainting_mask_invert": 1}
    found = from_image(True, False, HAND, **mask)
    (detect,) = nodes(found, "A1111DetectRegions")
    inside = node(found, detect["inside"])
    assert (inside["invert"], inside["blur_x"], inside["blur_y"]) == (True, 0, 0)
    resized = node(found, inside["image"])
    assert (resized["width"], resized["height"]) == (128, 128)


def test_skip_img2img_works_on_the_init_image() -> None:
    found = from_image(
        True, True, {**HAND, "ad_use_sampler": True, "ad_sampler": "Use same sampler"}
    )
    (detail,) = nodes(found, "A1111DetailRegions")
    assert "image" in node(found, detail["image"])
    assert not nodes(found, "SamplerCustomAdvanced")
    assert (detail["width"], detail["height"]) == (128, 128)
    assert node(found, detail["sampler"])["sampler"] == "Euler"
    assert len(json.loads(node(found, detail["sigmas"])["sigmas"])) == 4
    info = found.info
    assert (info["steps"], info["sampler_name"], info["width"]) == (1, "Euler", 128)
    assert "ADetailer model: hand_yolov8n.pt" in info["infotexts"][0]


def test_skip_img2img_without_its_own_sampler_keeps_the_requests() -> None:
    found = from_image(True, True, HAND, width=64, batch_size=2)
    details = nodes(found, "A1111DetailRegions")
    assert [node(found, item["sampler"])["sampler"] for item in details] == ["Euler a"] * 2
    assert [item["width"] for item in details] == [64, 64]
    assert details[0]["image"] == details[1]["image"]


def test_skip_img2img_has_the_scripts_that_act_inside() -> None:
    options = {"hypertile_enable_unet": True}
    for skips in (False, True):
        found = from_image(True, skips, HAND, override_settings=options)
        (detail,) = nodes(found, "A1111DetailRegions")
        model = node(found, node(found, detail["guider"])["model"])
        assert "tile_size" in node(found, model["model"]), "HyperTile"


def test_skip_img2img_beside_a_mask_turns_adetailer_off() -> None:
    found = from_image(True, True, HAND, mask=picture(96, 80))
    assert not nodes(found, "A1111DetailRegions")
    assert "ADetailer" not in found.info["infotexts"][0]
    assert found.info["steps"] == 6


@pytest.mark.parametrize(
    ("colour", "inverts", "is_on"), [(0, 0, False), (255, 1, False), (255, 0, True), (9, 1, True)]
)
def test_a_mask_without_a_pixel_turns_adetailer_off(colour: int, inverts: int, is_on: bool) -> None:
    mask = {"mask": picture(96, 80, colour), "inpainting_mask_invert": inverts}
    found = from_image(True, False, HAND, **mask)
    assert bool(nodes(found, "A1111DetailRegions")) == is_on
    assert ("ADetailer" in found.info["infotexts"][0]) == is_on
    told = [warning for warning in found.warnings if "ADetailer is off" in warning.message]
    assert len(told) == (not is_on)


def test_soft_inpainting_acts_inside_with_and_without_a_mask_of_the_request() -> None:
    soft = {"Soft Inpainting": {"args": [True, 1, 0.25, 4, 0, 0.5, 2]}}
    script = {"ADetailer": {"args": [True, False, HAND]}}
    payload = {**BASE, "init_images": [picture(96, 80)], "alwayson_scripts": {**script, **soft}}
    found = translate(payload, endpoint="/sdapi/v1/img2img")
    (detail,) = nodes(found, "A1111DetailRegions")
    assert json.loads(detail["soft_inpainting"]) == {
        "preservation": 0.25,
        "mask_influence": 0,
        "threshold": 0.5,
        "contrast": 2,
    }
    extra = json.loads(node(found, detail["sampler"])["extra"])
    assert extra["soft_inpainting"] == [1, 0.25, 4]
    assert "soft_inpainting" not in nodes(translated(HAND), "A1111DetailRegions")[0]


def drawn(
    *units: Mapping[str, Any], own_config: bool, node: str = "A1111DetailRegions", **fields: Any
) -> list[str]:
    """What each tab's encoding (or that of another node) is drawn after."""
    found = with_checkpoints(*units, own_config=own_config, **fields)
    return [item.get("drawn", "") for item in nodes(found, node)]


def with_checkpoints(*units: Mapping[str, Any], own_config: bool, **fields: Any) -> Any:
    """A request where there are three checkpoints, a.* the usual one."""
    facts = {
        ("checkpoints", name): ModelFacts(architecture=architecture, has_config=own_config)
        for name, architecture in (("a.safetensors", "SD1"), ("b.safetensors", "SD1"))
    }
    facts["checkpoints", "xl.safetensors"] = ModelFacts(architecture="SDXL")
    names = tuple(name for _, name in facts)
    catalog = replace(Catalog.bundled(), folders={"checkpoints": names}, facts=facts)
    script = {"ADetailer": {"args": [True, False, *units]}}
    payload = {**BASE, "alwayson_scripts": script, **fields}
    return translate(payload, catalog=catalog, options=Options(default_checkpoint="a.safetensors"))


CLIP_L = "[[1,49408,768],[1,77,768]]"
OTHER = {**HAND, "ad_use_checkpoint": True, "ad_checkpoint": "b.safetensors"}
XL = {**HAND, "ad_use_checkpoint": True, "ad_checkpoint": "xl.safetensors"}


def test_a_checkpoint_of_another_configuration_is_built_anew_which_draws() -> None:
    assert drawn(HAND, own_config=True) == [""]
    assert drawn(OTHER, OTHER, HAND, own_config=True) == [CLIP_L, "", CLIP_L]
    assert drawn(OTHER, own_config=True, batch_size=2) == [CLIP_L, ""]
    assert drawn(OTHER, HAND, own_config=True, batch_size=2) == [CLIP_L] * 4
    assert drawn(OTHER, HAND, own_config=False) == ["", ""]
    assert drawn(XL, HAND, own_config=False) == ["", CLIP_L], "what SDXL draws is not known"
    hires = {"enable_hr": True, "hr_checkpoint_name": "b", "hr_upscaler": "Latent"}
    assert drawn(HAND, own_config=True, **hires, denoising_strength=0.5) == [CLIP_L]
    refiner = {"refiner_checkpoint": "b", "refiner_switch_at": 0.5}
    twice = f"{CLIP_L[:-1]},{CLIP_L[1:]}"
    assert drawn(HAND, HAND, own_config=True, **refiner) == [twice, ""], "the refiner, then a.*"


def test_a_hires_checkpoint_of_another_configuration_draws_before_its_encoding() -> None:
    hires = {
        "node": "A1111VAEEncode",
        "enable_hr": True,
        "hr_upscaler": "Lanczos",
        "denoising_strength": 0.5,
    }
    other = {**hires, "hr_checkpoint_name": "b"}
    assert drawn(own_config=True, **other) == [CLIP_L]
    assert drawn(own_config=False, **other) == [""]
    assert drawn(own_config=True, **hires) == [""]
    first = {"hires_fix_refiner_pass": "first pass"}
    refiner = {"refiner_checkpoint": "b", "refiner_switch_at": 0.5, "override_settings": first}
    twice = f"{CLIP_L[:-1]},{CLIP_L[1:]}"
    assert drawn(own_config=True, **hires, **refiner) == [twice], "the refiner, then a.*"


def test_a_refiner_that_is_built_anew_goes_without_lora() -> None:
    refiner = {"refiner_checkpoint": "b", "refiner_switch_at": 0.5}
    fields = {**refiner, "prompt": "a <lora:detail:0.5>"}
    same = nodes(with_checkpoints(own_config=False, **fields), "LoraLoader")
    assert len({item["model"][0] for item in same}) == 2
    assert len(nodes(with_checkpoints(own_config=True, **fields), "LoraLoader")) == 1


def test_an_upscaler_is_built_anew_before_the_encoding() -> None:
    hires = {"enable_hr": True, "denoising_strength": 0.5, "hr_upscaler": "R-ESRGAN 4x+"}
    for upscaler, built in (("R-ESRGAN 4x+", True), ("Lanczos", False)):
        found = translated(HAND, **{**hires, "hr_upscaler": upscaler})
        (encode,) = nodes(found, "A1111VAEEncode")
        assert ("upscale_model" in encode) == ("upscaled_from" in encode) == built


def test_other_scripts_act_inside_where_the_options_let_them() -> None:
    patch = {"FreeU Integrated (SD 1.x, SD 2.x, SDXL)": {"args": [True, 1.1, 1.2, 0.9, 0.8]}}
    commented = {**HAND, "ad_prompt": "a dog # tail"}

    def inside(**options: Any) -> tuple[bool, bool]:
        found = translated(commented, scripts=patch, override_settings=options)
        (detail,) = nodes(found, "A1111DetailRegions")
        link, classes = node(found, detail["guider"]).get("model"), []
        while link:
            classes.append(found.graph[link[0]]["class_type"])
            link = node(found, link).get("model")
        freeu = any(name.startswith("FreeU") for name in classes)
        prompts = [item["prompt"] for item in nodes(found, "A1111TextEncode")]
        return freeu, not any("# tail" in prompt for prompt in prompts)

    assert inside() == (False, False)
    assert inside(ad_only_selected_scripts=False) == (True, True)
    assert inside(ad_script_names="x, comments") == (False, True)
    assert inside(ad_script_names="forge_freeu") == (True, False)


@pytest.mark.parametrize(
    "options", [{"ad_script_names": "tilediffusion"}, {"ad_only_selected_scripts": False}]
)
def test_tiled_diffusion_that_the_options_let_in_is_told_of(options: dict[str, Any]) -> None:
    tiled = {"Tiled Diffusion": {"args": [True, "MultiDiffusion", False, True, 64, 64, 16, 16]}}
    size = {"width": 512, "height": 512}
    found = translated(HAND, scripts=tiled, override_settings=options, **size)
    assert any("not regions as well" in warning for warning in found.warning_texts)
    usual = translated(HAND, scripts=tiled, **size)
    assert not any("not regions as well" in warning for warning in usual.warning_texts)


def test_templates_in_its_own_prompts_are_not_drawn() -> None:
    drawing = {"Dynamic Prompts v2.17.1": {"args": [True]}}
    unit = {**HAND, "ad_prompt": "a {red|blue} cat"}
    with pytest.raises(TranslationError, match=r"args\[2\].ad_prompt: Dynamic Prompts does not"):
        translated(unit, scripts=drawing)
    found = translated(unit)
    assert text(found, nodes(found, "A1111DetailRegions")[0]["guider"]) == "a {red|blue} cat"
    translated(HAND, scripts=drawing)


def test_strict_sizes_are_for_sdxl_only() -> None:
    facts = {("checkpoints", "xl.safetensors"): ModelFacts(architecture="SDXL")}
    names = ("a.safetensors", "xl.safetensors")
    catalog = replace(Catalog.bundled(), folders={"checkpoints": names}, facts=facts)

    def match(checkpoint: str, option: str) -> str:
        script = {"ADetailer": {"args": [True, False, HAND]}}
        settings = {"sd_model_checkpoint": checkpoint, "ad_match_inpaint_bbox_size": option}
        payload = {**BASE, "alwayson_scripts": script, "override_settings": settings}
        found = translate(payload, catalog=catalog)
        return str(nodes(found, "A1111DetailRegions")[0]["match_size"])

    strict = "Strict (SDXL only)"
    assert [match("a", strict), match("xl", strict), match("a", "Free")] == ["Off", strict, "Free"]


def test_limits_count_a_region_for_every_picture() -> None:
    work = translated(HAND, batch_size=2, n_iter=2).work
    assert [(item.role, item.runs, item.steps) for item in work.passes] == [
        ("first", 2, 6),
        ("detail", 4, 3),
    ]


def test_more_prompts_than_the_nodes_take_are_refused_or_share_the_last() -> None:
    """Region 0 is prompt 0, region 34 the last; a skipped region counts to none."""
    many = {**HAND, "ad_prompt": "[SEP]".join([*map(str, range(33)), "[SKIP]", "too many"])}
    with pytest.raises(TranslationError, match="34 different prompts for regions; 33 are made"):
        translated(many)
    lenient = translated(many, options=Options(unsupported="warn"))
    (inputs,) = nodes(lenient, "A1111DetailRegions")
    assert text(lenient, inputs["guider_32"]) == "32"
    assert json.loads(inputs["prompts"]) == [*range(33), None, 32]


def test_the_requests_prompt_put_in_too_often_is_refused() -> None:
    unit = {**HAND, "ad_prompt": "[PROMPT]" * 3000}
    with pytest.raises(TranslationError, match=r"args\[2\]\.ad_prompt: .*2000000 characters"):
        translated(unit, prompt="x" * 1000)


def test_with_warn_a_unit_whose_steps_fail_in_a1111_ends_the_units() -> None:
    """A1111 prints the error, and answers the pictures as they were by then."""
    failing = {**HAND, "ad_use_sampler": True, "ad_sampler": "DPM++ 2M SDE"}
    failing |= {"ad_denoising_strength": 0.1}
    path = "alwayson_scripts.ADetailer.args[3].ad_denoising_strength"
    with pytest.raises(TranslationError) as caught:
        translated(HAND, failing)
    assert [problem.path for problem in caught.value.problems] == [path]
    found = translated(HAND, failing, HAND, options=Options(unsupported="warn"))
    assert len(nodes(found, "A1111DetailRegions")) == 1
    (message,) = (item.message for item in found.warnings if item.path == path)
    assert message.endswith("this unit and those after it are left out")


def test_steps_of_a_unit_that_skips_every_region_do_not_fail() -> None:
    skipping = {**HAND, "ad_use_sampler": True, "ad_sampler": "DPM++ 2M SDE", "ad_prompt": "[SKIP]"}
    found = translated({**skipping, "ad_denoising_strength": 0.1}, HAND)
    assert len(nodes(found, "A1111DetailRegions")) == 1
