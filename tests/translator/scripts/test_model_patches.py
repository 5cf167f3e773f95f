"""Always-on scripts that change the model, from their arguments to nodes."""

from __future__ import annotations

import json
from typing import Any

import pytest

from translator import Catalog, Options, Translation, TranslationError, translate
from translator.comfy.catalog import InputSignature, NodeSignature

BASE = {"prompt": "a red cat", "seed": 1, "steps": 4, "width": 64, "height": 64}
HIRES = {"enable_hr": True, "denoising_strength": 0.5, "hr_upscaler": "Latent"}
FORGE_FREE_U = "FreeU Integrated (SD 1.x, SD 2.x, SDXL)"
FORGE_SAG = "SelfAttentionGuidance Integrated (SD 1.x, SD 2.x, SDXL)"


def translated(title: str, args: list[Any], catalog: Catalog | None = None, **more: Any) -> Any:
    payload = {**BASE, **more, "alwayson_scripts": {title: {"args": args}}}
    return translate(payload, catalog=catalog, options=Options())


def inputs(translation: Translation, class_type: str) -> list[dict[str, Any]]:
    """The numbers of all nodes of a class."""
    return [
        {name: value for name, value in node["inputs"].items() if not isinstance(value, list)}
        for node in translation.graph.values()
        if node["class_type"] == class_type
    ]


def free_u(stages: list[list[float]], **changed: Any) -> dict[str, Any]:
    """A1111FreeU's inputs; what a stage does not have changes nothing."""
    usual = [1.0, 1.0, 0.0, 0.5, 0.0, 1.0]
    whole = [[*stage, *usual[len(stage) :]] for stage in stages]
    return {
        "version": "1",
        "stages": json.dumps(whole, separators=(",", ":")),
        "range": "[0.0,1.0]",
        "smoothness": 0.0,
        "counter": "calls",
        "steps": 4,
        "first_call": 0,
        **changed,
    }


@pytest.mark.parametrize(
    ("title", "args", "class_type", "expected"),
    [
        (
            "HyperTile Integrated",
            [True, 128, 3, 1, True],
            "HyperTile",
            {"tile_size": 128, "swap_size": 3, "max_depth": 1, "scale_depth": True},
        ),
        (
            FORGE_FREE_U,
            [True],
            "FreeU_V2",
            {"b1": 1.01, "b2": 1.02, "s1": 0.99, "s2": 0.95},
        ),
        (
            FORGE_FREE_U,
            [True, 1.3, 1.4, 0.9, 0.2, 0, 1],
            "FreeU_V2",
            {"b1": 1.3, "b2": 1.4, "s1": 0.9, "s2": 0.2},
        ),
        (
            FORGE_FREE_U,
            [True, 1.3, 1.4, 0.9, 0.2, 0.25, 0.75],
            "A1111FreeU",
            free_u([[1.3, 0.9], [1.4, 0.2]], version="2", range="[0.25,0.75]", counter="steps"),
        ),
        (
            "FreeU",
            [
                {
                    "version": "2",
                    "stop_ratio": 3,
                    "transition_smoothness": 0.5,
                    "stage_infos": [{"backbone_factor": 1.5, "skip_cutoff": 0.3}, {}, 1.1],
                }
            ],
            "A1111FreeU",
            free_u(
                [[1.5, 1.0, 0.0, 0.5, 0.3, 1.0], [], [1.1]],
                version="2",
                range="[0.0,3]",
                smoothness=0.5,
            ),
        ),
        (
            "FreeU",
            [True, 0, 1, 0.5, "Version 1", 1.2, 0.9, 0, 0.5, 0, 1, 1.4, 0.2],
            "A1111FreeU",
            free_u([[1.2, 0.9], [1.4, 0.2], []], smoothness=0.5),
        ),
        (FORGE_SAG, [True], "SelfAttentionGuidance", {"scale": 0.5, "blur_sigma": 2.0}),
        (
            "Self Attention Guidance",
            [True, 0.6],
            "SelfAttentionGuidance",
            {"scale": 0.6, "blur_sigma": 2.0},
        ),
        (
            "PerturbedAttentionGuidance Integrated",
            [True, 2],
            "PerturbedAttentionGuidance",
            {"scale": 2.0},
        ),
        (
            "PerturbedAttentionGuidance Integrated",
            [True, 2, 10, 0.2, 0.8],
            "A1111PerturbedAttention",
            {"scale": 2.0, "attenuation": 10.0, "start": 0.2, "end": 0.8, "steps": 4},
        ),
        (
            "Kohya HRFix Integrated",
            [True, 4, 1.5, 0.1, 0.4, False, "area", "bilinear"],
            "PatchModelAddDownscale",
            {
                "block_number": 4,
                "downscale_factor": 1.5,
                "start_percent": 0.1,
                "end_percent": 0.4,
                "downscale_after_skip": False,
                "downscale_method": "area",
                "upscale_method": "bilinear",
            },
        ),
    ],
)
def test_a_script_becomes_its_node(
    title: str, args: list[Any], class_type: str, expected: dict[str, Any]
) -> None:
    assert inputs(translated(title, args), class_type) == [expected]


def test_the_number_2_is_no_version_of_free_u() -> None:
    """The extension looks it up among texts, and takes what it does not find for 1."""
    (found,) = inputs(translated("FreeU", [{"version": 2}]), "A1111FreeU")
    assert found["version"] == "1"


def test_what_is_off_is_no_node() -> None:
    assert translated(FORGE_FREE_U, [False, 1.3]).graph == translate(BASE).graph


def test_both_passes_are_changed() -> None:
    found = translated(FORGE_FREE_U, [True], hr_checkpoint_name="other.safetensors", **HIRES)
    assert len(inputs(found, "FreeU_V2")) == 2


def test_adetailers_passes_are_not() -> None:
    scripts = {
        FORGE_FREE_U: {"args": [True]},
        "ADetailer": {"args": [True, False, {"ad_model": "face_yolov8n.pt"}]},
    }
    found = translate({**BASE, "alwayson_scripts": scripts})
    (patch,) = [key for key, node in found.graph.items() if node["class_type"] == "FreeU_V2"]
    guided = [node for node in found.graph.values() if node["class_type"] == "A1111ModelSampling"]
    assert sorted(node["inputs"]["model"][0] == patch for node in guided) == [False, True]


@pytest.mark.parametrize(
    ("title", "args", "told"),
    [
        (FORGE_SAG, [True, 0.5, 2, 0.7], "threshold"),
        ("FreeU", [{"enable": True}], "changes anything"),
        ("FreeU", [{"stop_ratio": 1}], "1 is a step"),
        ("FreeU", [{"version": 2}], '2 is taken for "1"'),
        ("FreeU", [{"version": "3"}], '"3" is taken for "1"'),
        ("FreeU", [{"stage_infos": [{}, {}, {}, {"skip_factor": 0.5}]}], "reads 3 stages"),
    ],
)
def test_what_a_node_does_otherwise_is_a_warning(title: str, args: list[Any], told: str) -> None:
    assert any(told in warning for warning in translated(title, args).warning_texts)


def test_free_u_goes_on_counting_in_the_hires_pass() -> None:
    """The extension's counter begins anew with a batch only."""
    args = [{"stage_infos": [{"skip_factor": 0.5}]}]
    for sampler, calls in (("Euler", 4), ("Heun", 7)):
        found = inputs(translated("FreeU", args, sampler_name=sampler, **HIRES), "A1111FreeU")
        assert [item["first_call"] for item in found] == [0, calls]


def test_their_infotexts() -> None:
    said = translated("FreeU", [{"stage_infos": [{}, {"skip_factor": 0.5}, {}]}]).info["infotexts"]
    assert 'FreeU Stages: "[{}, {\\"skip_factor\\": 0.5}]"' in said[0]
    assert 'FreeU Schedule: "0.0, 1.0, 0.0", FreeU Version: 1' in said[0]
    said = translated(FORGE_FREE_U, [True, 1.1, 1.2, 0.9, 0.8, 0.1, 0.9]).info["infotexts"]
    assert "freeu_enabled: True, freeu_b1: 1.1" in said[0] and "freeu_start: 0.1" in said[0]


@pytest.mark.parametrize(
    ("title", "args", "said"),
    [
        (
            "PerturbedAttentionGuidance Integrated",
            [True, 2.5],
            "pagi_enabled: True, pagi_scale: 2.5, pagi_attenuation: 0.0, pagi_start_step: 0.0",
        ),
        (FORGE_SAG, [True, 0.5, 2], "sag_enabled: True, sag_scale: 0.5, sag_blur_sigma: 2"),
        ("Self Attention Guidance", [True, 1], "SAG Guidance Scale: 1, SAG Mask Threshold: 1.0"),
        (
            "Kohya HRFix Integrated",
            [True, 4, 1.5],
            "kohya_hrfix_enabled: True, kohya_hrfix_block_number: 4, "
            "kohya_hrfix_downscale_factor: 1.5, kohya_hrfix_start_percent: 0.0",
        ),
        ("CFG Rescale Extension", [0.7], "CFG Rescale: 0.7"),
        (
            "HyperTile Integrated",
            [True, 128],
            "hypertile_enabled: True, hypertile_tile_size: 128, hypertile_swap_size: 2, "
            "hypertile_max_depth: 0, hypertile_scale_depth: False",
        ),
        (
            "MultiDiffusion Integrated",
            [True, "MultiDiffusion", 512, 512],
            "multidiffusion_enabled: True, multidiffusion_method: MultiDiffusion, "
            "multidiffusion_tile_width: 512, multidiffusion_tile_height: 512, "
            "multidiffusion_tile_overlap: 64, multidiffusion_tile_batch_size: 4",
        ),
    ],
)
def test_an_infotext_has_the_arguments_as_they_were_sent(
    title: str, args: list[Any], said: str
) -> None:
    assert said in translated(title, args).info["infotexts"][0]


@pytest.mark.parametrize(
    ("title", "args", "kind", "told"),
    [
        (FORGE_FREE_U, [True, 1, 1, 1, 1, 0.2, 1], "FreeU_V2", "every step"),
        ("FreeU", [{"stage_infos": [{"backbone_offset": 0.3}]}], "FreeU", "half of the channels"),
        (
            "PerturbedAttentionGuidance Integrated",
            [True, 3, 0.1],
            "PerturbedAttentionGuidance",
            "weaken",
        ),
    ],
)
def test_without_our_pack_core_nodes_act_in_all_steps(
    title: str, args: list[Any], kind: str, told: str
) -> None:
    payload = {**BASE, "alwayson_scripts": {title: {"args": args}}}
    found = translate(payload, options={"fidelity": "core"})
    assert len(inputs(found, kind)) == 1
    assert any(told in warning for warning in found.warning_texts)


@pytest.mark.parametrize(
    ("title", "args", "path"),
    [
        (FORGE_FREE_U, [True, 11], "args[1]"),
        (FORGE_FREE_U, [True, "much"], "args[1]"),
        (FORGE_FREE_U, [True, True], "args[1]"),
        ("FreeU", [True, 0, 1], "args"),
        ("FreeU", [{"stage_infos": ["x"]}], "args[0].stage_infos"),
        ("FreeU", [{"stage_infos": [{"skip_facto": 1}]}], "stage_infos[0].skip_facto"),
        ("FreeU", [{"stages": []}], "args[0].stages"),
        ("FreeU", [{"stage_infos": [{"skip_factor": "x"}]}], "stage_infos[0].skip_factor"),
        ("Kohya HRFix Integrated", [True, 3, 2, 0, 1, True, "best"], "args[6]"),
        ("Dynamic Thresholding (CFG Scale Fix)", [True], "args"),
    ],
)
def test_what_cannot_be_done_is_refused_by_its_place(
    title: str, args: list[Any], path: str
) -> None:
    with pytest.raises(TranslationError) as caught:
        translated(title, args)
    assert caught.value.problems[0].path.endswith(path)


def thresholding_catalog() -> Catalog:
    bundled = Catalog.bundled()
    kinds = {
        "model": InputSignature("MODEL", True),
        "mimic_mode": InputSignature("COMBO", True, ("Constant", "Linear Down")),
        "cfg_mode": InputSignature("COMBO", True, ("Constant",)),
        "separate_feature_channels": InputSignature("COMBO", True, ("enable", "disable")),
        "scaling_startpoint": InputSignature("COMBO", True, ("MEAN", "ZERO")),
        "variability_measure": InputSignature("COMBO", True, ("AD", "STD")),
    }
    numbers = (
        "mimic_scale",
        "threshold_percentile",
        "mimic_scale_min",
        "cfg_scale_min",
        "sched_val",
        "interpolate_phi",
    )
    kinds |= {name: InputSignature("FLOAT", True) for name in numbers}
    node = NodeSignature("DynamicThresholdingFull", "custom_nodes.x", kinds, ("MODEL",))
    return Catalog(nodes={**bundled.nodes, node.name: node}, open=True)


def test_forges_dynamic_thresholding_has_shares_and_words() -> None:
    args = [True, 5, 0.9, "Linear Down"]
    title = "DynamicThresholding (CFG-Fix) Integrated"
    found = translated(title, args, catalog=thresholding_catalog())
    (node,) = inputs(found, "DynamicThresholdingFull")
    assert (node["mimic_scale"], node["threshold_percentile"]) == (5.0, 0.9)
    assert (node["mimic_mode"], node["variability_measure"]) == ("Linear Down", "AD")
    said = found.info["infotexts"][0]
    assert "dynthres_enabled: True, dynthres_mimic_scale: 5" in said
    assert "dynthres_threshold_percentile: 0.9, dynthres_mimic_mode: Linear Down" in said


def test_the_extensions_own_has_percents_and_a_switch() -> None:
    """A1111's page of sd-dynamic-thresholding: 90..100 percent, and channels on or off."""
    title = "Dynamic Thresholding (CFG Scale Fix)"
    catalog = thresholding_catalog()
    (usual,) = inputs(translated(title, [True], catalog=catalog), "DynamicThresholdingFull")
    assert (usual["threshold_percentile"], usual["sched_val"]) == (1.0, 4.0)
    args = [True, 5, 99.5, "Linear Down", 2, "Constant", 0, 4, False, "ZERO", "STD", 0.5]
    found = translated(title, args, catalog=catalog)
    (node,) = inputs(found, "DynamicThresholdingFull")
    assert node["threshold_percentile"] == pytest.approx(0.995)
    assert (node["separate_feature_channels"], node["scaling_startpoint"]) == ("disable", "ZERO")
    assert (
        "Dynamic thresholding enabled: True, Mimic scale: 5, Separate Feature Channels: False, "
        "Scaling Startpoint: ZERO, Variability Measure: STD, Interpolate Phi: 0.5, "
        "Threshold percentile: 99.5, Mimic mode: Linear Down, Mimic scale minimum: 2, Version"
    ) in found.info["infotexts"][0]


def test_rescaled_guidance() -> None:
    answer = translated("CFG Rescale Extension", [0.7])
    assert inputs(answer, "RescaleCFG") == [{"multiplier": 0.7}]
    assert not inputs(translated("CFG Rescale Extension", [0.0]), "RescaleCFG")
    with pytest.raises(TranslationError, match="its colour fix is not done"):
        translated("CFG Rescale Extension", [0.7, True])
