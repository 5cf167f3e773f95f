"""translate() as a whole: what a request becomes, what is warned of, and what is refused."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from typing import Any

import pytest

from tests.corpus import picture
from translator import Catalog, ModelFacts, Options, Translation, TranslationError, translate

CANNY = {"image": picture("photo.jpg"), "module": "canny", "model": "control_v11p_sd15_canny"}
SD15 = {"sd_model_checkpoint": "v1-5-pruned-emaonly"}


def closed(**folders: tuple[str, ...]) -> Catalog:
    """The bundled nodes with closed lists of files."""
    return Catalog(nodes=Catalog.bundled().nodes, folders=folders)


def without(*classes: str) -> Catalog:
    """The bundled catalog without some nodes."""
    bundled = Catalog.bundled()
    kept = {name: node for name, node in bundled.nodes.items() if name not in classes}
    return replace(bundled, nodes=kept)


def nodes(translation: Translation, class_type: str) -> list[dict[str, Any]]:
    """The inputs of every node of a class."""
    found = translation.graph.values()
    return [node["inputs"] for node in found if node["class_type"] == class_type]


def node(translation: Translation, class_type: str) -> dict[str, Any]:
    (found,) = nodes(translation, class_type)
    return found


def control(*units: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {
        "prompt": "a",
        "seed": 1,
        **fields,
        "alwayson_scripts": {"controlnet": {"args": [*units]}},
    }


def refused(payload: Any, **arguments: Any) -> dict[str, str]:
    """Path -> message of every problem of a request that must be refused."""
    with pytest.raises(TranslationError) as caught:
        translate(payload, **arguments)
    return {problem.path: problem.message for problem in caught.value.problems}


# --- the seed request ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def seed(seed_payload: dict[str, Any]) -> Translation:
    return translate(seed_payload, options={"draw_seed": lambda: 123})


def test_seed_answers_result_face_and_keypoints(seed: Translation) -> None:
    result, face, keypoints = seed.outputs
    assert (result.kind, result.unit) == ("image", None)
    assert (face.kind, face.unit) == ("detected_map", 0)
    assert face.upload == seed.uploads[0].name
    assert (keypoints.kind, keypoints.unit) == ("detected_map", 1)
    assert keypoints.node


def test_seed_runs_two_passes_at_960x1280_and_1536x2048(seed: Translation) -> None:
    empty = node(seed, "EmptyLatentImage")
    assert (empty["width"], empty["height"], empty["batch_size"]) == (960, 1280, 1)
    upscaled = node(seed, "A1111UpscaleWithModel")
    assert (upscaled["width"], upscaled["height"]) == (1536, 2048)
    assert node(seed, "UpscaleModelLoader")["model_name"] == "RealESRGAN_x4plus.pth"
    maps = {(item["width"], item["height"]) for item in nodes(seed, "A1111ControlNetFit")}
    assert maps == {(960, 1280), (1536, 2048)}
    first, second = (json.loads(item["sigmas"]) for item in nodes(seed, "A1111Sigmas"))
    assert len(first) == len(second) == 16
    assert first[0] == pytest.approx(14.6146, abs=1e-4)
    assert second[0] == pytest.approx(0.0459, abs=1e-4)
    assert second[-2:] == [pytest.approx(0.0292, abs=1e-4), 0.0]


def test_seed_gives_each_unit_its_own_weight_and_no_noise(seed: Translation) -> None:
    face = node(seed, "InstantIDAttentionPatch")
    assert (face["weight"], face["noise"]) == (0.9, 0.0)
    keypoints = [node(seed, "ApplyInstantIDControlNet"), node(seed, "A1111InstantIDControlNet")]
    assert [item["strength"] for item in keypoints] == [1.0, 1.0]
    assert {item["processor_res"] for item in nodes(seed, "A1111ControlNetImage")} == {1024}


def test_seed_is_sdxl_so_clip_skip_is_only_written(seed: Translation) -> None:
    assert {item["clip_skip"] for item in nodes(seed, "A1111TextEncode")} == {1}
    assert seed.info["clip_skip"] == 2
    (text,) = seed.info["infotexts"]
    assert "Sampler: DPM++ SDE, Schedule type: Karras" in text
    assert "Clip skip: 2" in text
    assert 'ControlNet 0: "Module: instant_id_face_embedding' in text


def test_seed_loads_its_models_by_the_names_it_gives(seed: Translation) -> None:
    checkpoint = node(seed, "CheckpointLoaderSimple")["ckpt_name"]
    assert checkpoint == "dynavisionXLAllInOneStylized_release0557Bakedvae.safetensors"
    assert node(seed, "InstantIDModelLoader")["instantid_file"] == (
        "ip-adapter_instant_id_sdxl.safetensors"
    )
    assert node(seed, "ControlNetLoader")["control_net_name"] == (
        "control_instant_id_sdxl.safetensors"
    )


def test_seed_sends_its_picture_once(seed: Translation) -> None:
    """Both units hold the same picture."""
    (upload,) = seed.uploads
    assert base64.b64decode(upload.data)
    assert node(seed, "LoadImage")["image"] == upload.name


def test_seed_with_all_maps_answers_what_a1111_does(seed_payload: dict[str, Any]) -> None:
    outputs = translate(seed_payload, options={"detected_maps": "all"}).outputs
    assert [(item.kind, item.unit) for item in outputs] == [
        ("image", None),
        ("detected_map", 0),
        ("detected_map", 1),
        ("detected_map", 1),
    ]


# --- endpoints and defaults -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "endpoint", ["/sdapi/v1/txt2img", "sdapi/v1/txt2img", "/sdapi/v1/txt2img/"]
)
def test_endpoint_with_or_without_slashes(endpoint: str) -> None:
    assert translate({"prompt": "a", "seed": 1}, endpoint).graph


def test_unknown_endpoint_is_refused() -> None:
    problems = refused({}, endpoint="/sdapi/v1/train/embedding")
    assert list(problems) == ["api.endpoint"]


def test_empty_payload_has_a1111s_defaults() -> None:
    translation = translate({})
    assert json.loads(node(translation, "A1111Sigmas")["sigmas"])[-1] == 0.0
    assert node(translation, "A1111Guider")["total_steps"] == 50
    assert node(translation, "A1111Sampler")["sampler"] == "Euler"
    assert node(translation, "CheckpointLoaderSimple")["ckpt_name"] == (
        "v1-5-pruned-emaonly.safetensors"
    )


def test_a_drawn_seed_comes_from_the_callers_source() -> None:
    drawn = iter([77, 5])
    translation = translate({}, options={"draw_seed": lambda: next(drawn)})
    assert translation.info["seed"] == 77
    assert translation.info["subseed"] == 5
    assert not [text for text in translation.warning_texts if text.startswith("seed")]


def test_without_a_source_the_seed_is_0_and_told() -> None:
    translation = translate({})
    assert translation.info["seed"] == 0
    assert any(
        text.startswith("seed: -1 asks for a random seed") for text in translation.warning_texts
    )


def test_runpod_workers_defaults_switch_noise_off() -> None:
    translation = translate({"prompt": "a", "seed": 1}, options={"defaults": "runpod-worker-a1111"})
    sampler = node(translation, "A1111Sampler")
    assert (sampler["sampler"], sampler["eta"]) == ("Euler a", 0.0)
    assert node(translation, "A1111Guider")["total_steps"] == 20


@pytest.mark.parametrize(
    ("how", "class_type"),
    [
        ("save", "SaveImage"),
        ("preview", "PreviewImage"),
        ("websocket", "SaveImageWebsocket"),
    ],
)
def test_image_output(how: str, class_type: str) -> None:
    translation = translate({"seed": 1}, options={"image_output": how})
    assert translation.graph[translation.outputs[0].node]["class_type"] == class_type


def test_images_not_wished_for_are_not_listed() -> None:
    translation = translate({"seed": 1, "send_images": False})
    assert translation.outputs == ()
    assert translation.answer.infotexts == []
    assert translation.info["infotexts"]


# --- core mode ------------------------------------------------------------------------------------


def test_core_mode_warns_of_what_differs() -> None:
    translation = translate({"seed": 1}, options={"fidelity": "core"})
    assert nodes(translation, "KSampler")
    assert any(
        text.startswith("core nodes: noise is drawn on the CPU")
        for text in translation.warning_texts
    )


def test_without_the_node_pack_core_nodes_stand_in() -> None:
    ours = [name for name in Catalog.bundled().nodes if name.startswith("A1111")]
    translation = translate({"seed": 1}, catalog=without(*ours))
    assert nodes(translation, "KSampler")
    assert any("lacks our node pack" in text for text in translation.warning_texts)


def test_core_seed_is_the_one_torch_makes_of_it() -> None:
    translation = translate({"seed": -7}, options={"fidelity": "core"})
    assert node(translation, "KSampler")["seed"] == 2**64 - 7


@pytest.mark.parametrize(
    ("prompt", "cfg", "strengths"),
    [
        ("a AND b :0.5", 10.5, [1.0, 0.5]),
        ("a AND b :-0.5", 7.0, []),
        ("a :0.5", 3.5, []),
    ],
)
def test_core_and_takes_the_weighted_sum_into_cfg(
    prompt: str, cfg: float, strengths: list[float]
) -> None:
    translation = translate({"prompt": prompt, "seed": 1}, options={"fidelity": "core"})
    assert node(translation, "KSampler")["cfg"] == cfg
    found = [item["strength"] for item in nodes(translation, "ConditioningSetAreaStrength")]
    assert found == strengths


# --- problems: images -----------------------------------------------------------------------------

IMAGE = "alwayson_scripts.controlnet.args[0].image"


@pytest.mark.parametrize(
    ("image", "said"),
    [
        ("not base64!", "not base64"),
        ("aGVsbG8gd29ybGQ=", "not a readable image"),
        (picture("photo.jpg")[:-3], "not base64"),
    ],
)
def test_bad_images_are_refused_by_path(image: str, said: str) -> None:
    problems = refused(control({**CANNY, "image": image}))
    assert list(problems) == [IMAGE]
    assert said in problems[IMAGE]


def test_a_unit_without_image_is_refused_or_left_out() -> None:
    unit = {**CANNY, "image": None}
    assert list(refused(control(unit))) == [IMAGE]
    translation = translate(control(unit), options={"unsupported": "warn"})
    assert not nodes(translation, "ControlNetLoader")
    assert any(text.startswith(IMAGE) for text in translation.warning_texts)


# --- problems: names ------------------------------------------------------------------------------


def test_unknown_sampler_names_the_near_one() -> None:
    problems = refused({"sampler_name": "DPM+ 2M"})
    assert "DPM++ 2M" in problems["sampler_name"]


def test_unknown_sampler_with_warn_is_a1111s_first() -> None:
    translation = translate({"sampler_name": "nonsense"}, options={"unsupported": "warn"})
    assert node(translation, "A1111Sampler")["sampler"] == "DPM++ 2M"
    assert any("DPM++ 2M is used, as A1111 does" in text for text in translation.warning_texts)


def test_unknown_scheduler_with_warn_is_automatic() -> None:
    payload = {"sampler_name": "DPM++ 2M", "scheduler": "nonsense", "seed": 1}
    translation = translate(payload, options={"unsupported": "warn"})
    automatic = translate({"sampler_name": "DPM++ 2M", "seed": 1})
    assert translation.graph == automatic.graph


def test_unknown_hires_sampler_fails_as_in_a1111() -> None:
    payload = {"enable_hr": True, "denoising_strength": 0.5, "hr_sampler_name": "DPM++ SDE Karras"}
    assert list(refused(payload, options={"unsupported": "warn"})) == ["hr_sampler_name"]


def test_what_the_page_calls_the_same_is_left_out_in_the_api() -> None:
    payload = {
        "enable_hr": True,
        "denoising_strength": 0.5,
        "hr_sampler_name": "Use same sampler",
        "hr_scheduler": "Use same scheduler",
    }
    problems = refused(payload)
    assert "leave the field out" in problems["hr_sampler_name"]
    problems = refused({**payload, "hr_sampler_name": None})
    assert "leave the field out" in problems["hr_scheduler"]


def test_unknown_checkpoint_of_a_closed_catalog() -> None:
    catalog = closed(checkpoints=("deliberate_v2.safetensors", "v1-5-pruned-emaonly.safetensors"))
    payload = {"seed": 1, "override_settings": {"sd_model_checkpoint": "deliberate_v3"}}
    problems = refused(payload, catalog=catalog)
    path = "override_settings.sd_model_checkpoint"
    assert list(problems) == [path]
    assert 'did you mean "deliberate_v2"' in problems[path]
    translation = translate(payload, catalog=catalog, options={"unsupported": "warn"})
    used = node(translation, "CheckpointLoaderSimple")["ckpt_name"]
    assert used == "v1-5-pruned-emaonly.safetensors"


def test_unknown_lora_is_refused_or_left_out() -> None:
    catalog = closed(checkpoints=("v1-5-pruned-emaonly.safetensors",), loras=("known.safetensors",))
    payload = {"prompt": "a <lora:known:1> <lora:other:1>", "seed": 1}
    assert list(refused(payload, catalog=catalog)) == ["prompt"]
    translation = translate(payload, catalog=catalog, options={"unsupported": "warn"})
    assert node(translation, "LoraLoader")["lora_name"] == "known.safetensors"


def test_unknown_upscaler_and_control_model() -> None:
    catalog = closed(
        checkpoints=("v1-5-pruned-emaonly.safetensors",),
        upscale_models=("RealESRGAN_x4plus.pth",),
        controlnet=("control_v11p_sd15_openpose.safetensors",),
    )
    payload = control(CANNY, enable_hr=True, denoising_strength=0.4, hr_upscaler="R-ESRGAN 4x")
    problems = refused(payload, catalog=catalog)
    assert set(problems) == {"hr_upscaler", "alwayson_scripts.controlnet.args[0].model"}
    assert 'did you mean "R-ESRGAN 4x+"' in problems["hr_upscaler"]


def test_unknown_style_is_refused_or_left_out() -> None:
    payload = {"prompt": "a", "styles": ["Nowhere"], "seed": 1}
    assert list(refused(payload)) == ["styles[0]"]
    translation = translate(payload, options={"unsupported": "warn"})
    assert translation.info["prompt"] == "a"


def test_missing_pack_is_named_with_its_home() -> None:
    catalog = without("CannyEdgePreprocessor")
    problems = refused(control(CANNY), catalog=catalog)
    message = problems["alwayson_scripts.controlnet.args[0].module"]
    assert "CannyEdgePreprocessor" in message
    assert "comfyui_controlnet_aux (github.com/Fannovel16)" in message
    translation = translate(control(CANNY), catalog=catalog, options={"unsupported": "warn"})
    assert not nodes(translation, "ControlNetLoader")
    assert [item.kind for item in translation.outputs] == ["image"]


def test_missing_instantid_pack_is_named(seed_payload: dict[str, Any]) -> None:
    problems = refused(seed_payload, catalog=without("InstantIDAttentionPatch"))
    assert any("ComfyUI_InstantID (github.com/cubiq)" in text for text in problems.values())


# --- problems: values -----------------------------------------------------------------------------


def test_every_wrong_type_is_listed_with_its_path() -> None:
    payload = {
        "steps": "many",
        "width": [512],
        "cfg_scale": {},
        "styles": "Cinematic",
        "enable_hr": "maybe",
        "prompt": None,
        "override_settings": "none",
        "alwayson_scripts": {"controlnet": {"args": "canny"}},
    }
    assert set(refused(payload)) == {
        "steps",
        "width",
        "cfg_scale",
        "styles",
        "enable_hr",
        "prompt",
        "override_settings",
        "alwayson_scripts.controlnet.args",
    }


def test_every_wrong_unit_field_is_listed_with_its_path() -> None:
    problems = refused(control({**CANNY, "weight": 3, "resize_mode": "Fit"}, {**CANNY, "image": 5}))
    assert set(problems) == {
        "alwayson_scripts.controlnet.args[0].weight",
        "alwayson_scripts.controlnet.args[0].resize_mode",
        "alwayson_scripts.controlnet.args[1].image",
    }


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"steps": 0}, "steps"),
        ({"batch_size": 0}, "batch_size"),
        ({"width": 4}, "width"),
        ({"cfg_scale": float("nan")}, "cfg_scale"),
        ({"enable_hr": True}, "denoising_strength"),
        ({"enable_hr": True, "denoising_strength": 0.5, "hr_upscaler": ""}, "hr_upscaler"),
        ({"s_churn": -1}, "s_churn"),
        ({"subseed_strength": 3e9}, "subseed_strength"),
        ({"script_name": "No such script"}, "script_name"),
        ({"alwayson_scripts": {"nonsense": {"args": [True]}}}, "alwayson_scripts.nonsense"),
        ({"firstpass_image": "x"}, "firstpass_image"),
        ({"override_settings": {"no_such_option": 1}}, "override_settings.no_such_option"),
    ],
)
def test_values_that_cannot_be_honoured_are_refused_by_path(
    fields: dict[str, Any], path: str
) -> None:
    assert list(refused({"seed": 1, **fields})) == [path]


def test_numbers_out_of_a_nodes_range_with_warn_take_the_bound() -> None:
    payload = {"seed": 1, "cfg_scale": 150, "s_noise": 0.5}
    options = {"fidelity": "core", "unsupported": "warn"}
    assert list(refused(payload, options={"fidelity": "core"})) == ["cfg_scale"]
    translation = translate(payload, options=options)
    assert node(translation, "KSampler")["cfg"] == 100.0
    assert any(
        text.startswith("cfg_scale: 150.0 is not within 0.0..100.0")
        for text in translation.warning_texts
    )


def test_problems_of_all_stages_are_told_at_once() -> None:
    payload = control({**CANNY, "module": "no such module"}, sampler_name="x", styles=["y"])
    assert set(refused(payload)) == {
        "sampler_name",
        "styles[0]",
        "alwayson_scripts.controlnet.args[0].module",
    }


# --- options --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "path"),
    [
        ({"fidelity": "best"}, "options.fidelity"),
        ({"unsupported": "ignore"}, "options.unsupported"),
        ({"colour": "red"}, "options.colour"),
    ],
)
def test_wrong_options_are_refused(options: dict[str, Any], path: str) -> None:
    assert list(refused({}, options=options)) == [path]


def test_servers_settings_lie_under_the_requests_overrides() -> None:
    options = Options(a1111_options={"CLIP_stop_at_last_layers": 2, "randn_source": "CPU"})
    translation = translate(
        {"seed": 1, "override_settings": {"CLIP_stop_at_last_layers": 3}}, options=options
    )
    assert {item["clip_skip"] for item in nodes(translation, "A1111TextEncode")} == {3}
    assert node(translation, "A1111Noise")["source"] == "CPU"


def test_architecture_from_table_header_or_name() -> None:
    checkpoint = {"sd_model_checkpoint": "mystery"}
    payload = {"seed": 1, "override_settings": checkpoint}

    def zeroes(**arguments: Any) -> bool:
        """Whether the empty negative prompt is zeroed, as SDXL's is."""
        encoded = nodes(translate(payload, **arguments), "A1111TextEncode")
        return any(item["zero_empty"] for item in encoded)

    assert not zeroes()
    assert zeroes(options={"architectures": {"mystery": "SDXL"}})
    facts = {("checkpoints", "mystery.safetensors"): ModelFacts(architecture="SDXL")}
    assert zeroes(catalog=replace(Catalog.bundled(), facts=facts))


# --- sizes ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"firstphase_width": 512}, "firstphase_height"),
        ({"enable_hr": True, "hr_scale": 40}, "hr_scale"),
        ({"enable_hr": True, "hr_scale": 0.01}, "hr_scale"),
        ({"enable_hr": True, "hr_resize_x": 7}, "hr_resize_x"),
    ],
)
def test_sizes_that_no_picture_can_have_are_refused_beside_other_problems(
    fields: dict[str, Any], path: str
) -> None:
    payload = {"denoising_strength": 0.5, "sampler_name": "nonsense", **fields}
    assert set(refused(payload)) == {path, "sampler_name"}


def test_core_refiner_that_takes_over_at_once_paints_alone() -> None:
    payload = {"prompt": "a", "seed": 1, "refiner_checkpoint": "sd_xl_refiner_1.0"}
    translation = translate(payload, options={"fidelity": "core"})
    assert node(translation, "KSamplerAdvanced")["start_at_step"] == 0


# --- scripts --------------------------------------------------------------------------------------


def test_what_a_script_makes_of_a_request_is_held_to_the_same_bounds() -> None:
    text = "a\n--prompt b --steps 0 --width 5"
    payload = {"script_name": "Prompts from file or textbox", "script_args": [0, 0, "start", text]}
    problems = refused({**payload, "sampler_name": "nonsense"})
    assert set(problems) == {"script_args.steps", "script_args.width", "sampler_name"}


def test_a_list_in_place_of_a_scripts_choice_is_refused() -> None:
    payload = {"script_name": "Prompt matrix", "script_args": [False, False, [], "comma", 0]}
    assert list(refused(payload)) == ["script_args[2]"]


def test_infotext_beside_overrides_of_the_wrong_type_is_refused() -> None:
    payload = {"infotext": "a\nSteps: 3, Seed: 1, Size: 64x64", "override_settings": True}
    assert list(refused(payload)) == ["override_settings"]


PLOT = {
    "script_name": "X/Y/Z plot",
    "script_args": [4, "5,6", "", 0, "", "", 0, "", "", True, *[False] * 6, 0, False],
}


def test_pictures_that_no_grid_shows_are_not_painted() -> None:
    one = translate({"seed": 1, **PLOT})
    assert translate({"seed": 1, "n_iter": 3, **PLOT}).graph == one.graph


def test_a_plot_without_the_grid_node_has_nothing_to_answer() -> None:
    arguments = {"catalog": without("A1111ImageGrid"), "options": {"unsupported": "warn"}}
    assert list(refused({"seed": 1, **PLOT}, **arguments)) == ["script_name"]


def test_a_side_of_one_cell_is_cut_from_the_smallest_latent() -> None:
    made = translate({"width": 8, "height": 64, "steps": 2})
    empty, crop = node(made, "EmptyLatentImage"), node(made, "A1111LatentCrop")
    assert (empty["width"], empty["height"]) == (16, 64)
    assert (crop["left"], crop["top"], crop["right"], crop["bottom"]) == (0, 0, 1, 0)


@pytest.mark.parametrize(("scale", "cut"), [(1.5, False), (1.6, True)])
def test_core_cuts_an_enlarged_picture_to_whole_cells(scale: float, cut: bool) -> None:
    hires = {"enable_hr": True, "hr_upscaler": "Lanczos", "hr_scale": scale}
    payload = {"width": 64, "height": 64, "denoising_strength": 0.5, **hires}
    made = translate(payload, options={"fidelity": "core"})
    assert any("cut to multiples of 8" in text for text in made.warning_texts) is cut


@pytest.mark.parametrize(
    ("options", "padding"),
    [
        ({}, None),
        ({"pad_cond_uncond": True}, "empty"),
        ({"pad_cond_uncond": True, "pad_cond_uncond_v0": True}, "last"),
    ],
)
def test_prompts_are_padded_as_the_options_say(
    options: dict[str, Any], padding: str | None
) -> None:
    made = translate({"override_settings": options})
    guider = node(made, "A1111Guider")
    assert guider.get("padding") == padding
    assert ("empty_prompt" in guider) is (padding == "empty")
    assert not any("Pad conds" in text for text in made.warning_texts)


@pytest.mark.parametrize("option", ["pad_cond_uncond", "pad_cond_uncond_v0"])
@pytest.mark.parametrize(
    ("prompt", "padded", "judged"),
    [("cat", False, False), ("cat " * 80, True, False), ("abcdefgh " * 20, False, True)],
)
def test_padding_is_told_where_prompts_are_of_unequal_length(
    option: str, prompt: str, padded: bool, judged: bool
) -> None:
    made = translate({"prompt": prompt, "override_settings": {option: True}})
    key = "Pad conds v0" if option.endswith("v0") else "Pad conds"
    told = {
        name: value
        for name, value in made.info["extra_generation_params"].items()
        if name.startswith("Pad")
    }
    assert told == ({key: True} if padded else {})
    assert made.info["infotexts"][0].count(f"{key}: True") == padded
    assert any("is judged by their words" in text for text in made.warning_texts) is judged


def test_quantization_reaches_the_model() -> None:
    made = translate({"override_settings": {"enable_quantization": True}})
    assert node(made, "A1111ModelSampling")["quantize"] is True
    assert "quantize" not in node(translate({}), "A1111ModelSampling")
