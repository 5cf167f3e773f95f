"""Units spelled in nodes: what acts, in which pass, with which map and weight."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from tests.translator.control_requests import (
    SEEDS,
    context,
    face_pair,
    mask,
    picture,
    sampling,
    translated,
    unit,
)
from translator import translate
from translator.comfy.catalog import Catalog
from translator.control.context import ControlContext, InpaintArea, PassContext
from translator.control.planner import UNION_NODE_TYPES
from translator.control.sizes import Size
from translator.control.units import UNION_TYPES
from translator.request.a1111_options import A1111Options
from translator.request.images import ImageReader
from translator.result import Output

PATH = "alwayson_scripts.controlnet.args[0]"


def without_pack(pack: str) -> Catalog:
    bundled = Catalog.bundled()
    nodes = {name: node for name, node in bundled.nodes.items() if pack not in node.pack}
    return Catalog(nodes=nodes, open=True)


class TestControlNet:
    def test_a_balanced_unit_is_cores_own_node(self) -> None:
        outcome = translated([unit(weight=0.7)])
        node = outcome.node("ControlNetApplyAdvanced")
        assert (node["strength"], node["start_percent"], node["end_percent"]) == (0.7, 0.0, 1.0)
        assert outcome.node("ControlNetLoader") == {
            "control_net_name": "control_v11p_sd15_canny.safetensors"
        }

    def test_a_range_becomes_percents_of_the_pass(self) -> None:
        outcome = translated(
            [unit(module="hed", guidance_start=0.2, guidance_end=0.8)], context(hires=True)
        )
        first, second = outcome.nodes("ControlNetApplyAdvanced")
        assert 0 < first["start_percent"] < first["end_percent"] < 1
        assert (first["start_percent"], first["end_percent"]) != (
            second["start_percent"],
            second["end_percent"],
        )

    def test_a_range_without_a_step_leaves_the_pass_alone_and_is_told(self) -> None:
        outcome = translated([unit(guidance_start=0.98)])
        assert outcome.nodes("ControlNetApplyAdvanced") == []
        assert any("holds no step of pass 1" in text for text in outcome.report.warning_texts)
        assert len(outcome.maps) == 1

    @pytest.mark.parametrize("architecture", ["SD1", "SDXL"])
    def test_my_prompt_is_more_important(self, architecture: str) -> None:
        outcome = translated(
            [unit(model="canny", weight=0.8, control_mode=1)], context(architecture)
        )
        node = outcome.node("ACN_AdvancedControlNetApply_v2")
        weights = outcome.node("ACN_ScaledSoftControlNetWeights")
        scale = 0.825**3 if architecture == "SDXL" else 1.0
        assert node["strength"] == pytest.approx(0.8 * scale)
        assert weights == {"base_multiplier": 0.825, "uncond_multiplier": 1.0}

    def test_controlnet_is_more_important(self) -> None:
        outcome = translated([unit(control_mode=2)])
        assert outcome.node("ACN_ScaledSoftControlNetWeights")["uncond_multiplier"] == 0.0

    @pytest.mark.parametrize(("module", "soft"), [("canny", 1), ("mlsd", 1), ("hed", 0)])
    def test_canny_and_mlsd_are_soft_in_the_hires_pass(self, module: str, soft: int) -> None:
        outcome = translated([unit(module=module)], context(hires=True))
        assert len(outcome.nodes("ACN_ScaledSoftControlNetWeights")) == soft
        assert len(outcome.nodes("ControlNetApplyAdvanced")) == 2 - soft

    def test_shuffle_models_leave_the_negative_prompt_alone(self) -> None:
        outcome = translated([unit(module="shuffle", model="control_v11e_sd15_shuffle")])
        _, positive, negative = outcome.guided[0]
        bare = translated([]).guided[0]
        assert positive != bare[1]
        assert negative == bare[2]

    def test_weights_per_block(self) -> None:
        given = [round(0.05 * i, 2) for i in range(1, 14)]
        outcome = translated([unit(advanced_weighting=given)])
        weights = outcome.node("ACN_CustomControlNetWeightsSD15")
        assert [weights[f"output_{i}"] for i in range(12)] == given[:12]
        assert weights["middle_0"] == given[12]
        assert outcome.node("ACN_AdvancedControlNetApply_v2")["strength"] == 1.0

    def test_weights_per_block_of_sdxl_end_with_the_middle(self) -> None:
        outcome = translated(
            [unit(model="canny", advanced_weighting=[0.1] * 9 + [0.9])], context("SDXL")
        )
        weights = outcome.node("ACN_CustomControlNetWeightsSD15")
        assert [weights[f"output_{i}"] for i in range(12)] == [0.1] * 9 + [0.0] * 3
        assert weights["middle_0"] == 0.9

    @pytest.mark.parametrize(
        ("fields", "said"),
        [
            ({"advanced_weighting": [11] * 13}, "from 0 to 10"),
            (
                {
                    "module": "ip-adapter_clip_h",
                    "model": "ip-adapter_sd15",
                    "advanced_weighting": [1] * 13,
                },
                "16 are needed",
            ),
        ],
    )
    def test_wrong_weights_per_block_are_refused(self, fields: dict[str, Any], said: str) -> None:
        (problem,) = translated([unit(**fields)]).problems
        assert problem.startswith(f"{PATH}.advanced_weighting: ") and said in problem

    @pytest.mark.parametrize(
        ("weights", "outputs", "middle", "said"),
        [
            ([0.5] * 2, [0.5] * 2 + [0.0] * 10, 0.0, "2 numbers of 13"),
            ([], [0.0] * 12, 0.0, "0 numbers of 13"),
            ([0.5] * 15, [0.5] * 12, 0.5, "of which 13 are read"),
        ],
    )
    def test_blocks_without_a_weight_are_left_out(
        self, weights: list[float], outputs: list[float], middle: float, said: str
    ) -> None:
        outcome = translated([unit(advanced_weighting=weights)])
        node = outcome.node("ACN_CustomControlNetWeightsSD15")
        assert [node[f"output_{i}"] for i in range(12)] == outputs
        assert node["middle_0"] == middle
        assert any(said in text for text in outcome.report.warning_texts)

    def test_a_weight_for_each_layer_of_instantids_face(self) -> None:
        face, keypoints = face_pair()
        weights = [0.0, 0.5] + [1.0] * 9
        pair = [{**face, "advanced_weighting": weights, "weight": 0.3}, keypoints]
        outcome = translated(pair, context("SDXL"))
        assert outcome.node("A1111LayerWeights")["weights"] == json.dumps(
            weights, separators=(",", ":")
        )
        assert outcome.node("InstantIDAttentionPatch")["weight"] == 1.0
        core = translated(pair, context("SDXL"), options={"fidelity": "core"})
        assert "A1111LayerWeights" in core.problems[0]

    def test_a_region_multiplies_the_residuals(self) -> None:
        outcome = translated([unit(effective_region_mask=mask())])
        node = outcome.node("A1111ControlNetRegion")
        assert outcome.graph[node["mask"][0]]["class_type"] == "LoadImageMask"
        assert node["weights"] == "[]"
        assert "strength" in outcome.node("ControlNetApplyAdvanced")

    def test_a_region_carries_the_weights_of_the_residuals(self) -> None:
        prompt = "My prompt is more important"
        outcome = translated([unit(effective_region_mask=mask(), control_mode=prompt)])
        weights = json.loads(outcome.node("A1111ControlNetRegion")["weights"])
        assert weights == pytest.approx([0.825**place for place in range(12, -1, -1)])
        outcome = translated(
            [
                unit(
                    model="controlnet-canny-sdxl", effective_region_mask=mask(), control_mode=prompt
                )
            ],
            context("SDXL"),
        )
        weights = json.loads(outcome.node("A1111ControlNetRegion")["weights"])
        strength = outcome.node("ControlNetApplyAdvanced")["strength"]
        expected = [0.825**place for place in range(12, 2, -1)]
        assert [strength * item for item in weights] == pytest.approx(expected)

    def test_a_region_of_a_unit_that_steers_the_prompt_only(self) -> None:
        control = "ControlNet is more important"
        outcome = translated([unit(effective_region_mask=mask(), control_mode=control)])
        (_, positive, negative), (_, bare, bare_negative) = (
            outcome.guided[0],
            translated([]).guided[0],
        )
        assert negative == bare_negative and positive != bare

    @pytest.mark.parametrize("name", UNION_TYPES)
    def test_union_types(self, name: str) -> None:
        outcome = translated(
            [unit(model="controlnet-union-sdxl", union_control_type=name)], context("SDXL")
        )
        found = [node["type"] for node in outcome.nodes("SetUnionControlNetType")]
        assert found == ([UNION_NODE_TYPES[name]] if name != "Unknown" else [])

    def test_a_task_is_set_where_only_the_weights_can_tell_a_union_model(self) -> None:
        outcome = translated([unit(union_control_type="Depth")])
        assert outcome.node("SetUnionControlNetType")["type"] == "depth"
        adapter = unit(model="t2iadapter_canny_sd15v2", union_control_type="Depth")
        assert translated([adapter]).nodes("SetUnionControlNetType") == []

    @pytest.mark.parametrize(
        ("model", "architecture", "pools"),
        [
            ("control_v11e_sd15_shuffle", "SD1", None),
            ("shuffle_v2_sd15", "SD1", True),
            ("control_v11p_sd15_canny", "SD1", None),
            ("mine_xl_shuffle", "SDXL", False),
            ("shuffle_xl_mine", "SDXL", None),
            ("t2iadapter_shuffle_sd15", "SD1", None),
        ],
    )
    def test_a_shuffle_model_pools_as_the_extension_says(
        self, model: str, architecture: str, pools: bool | None
    ) -> None:
        outcome = translated([unit(module="none", model=model)], context(architecture))
        found = [node["pools"] for node in outcome.nodes("A1111PooledControlNet")]
        assert found == ([] if pools is None else [pools])
        negative = outcome.guided[0][2]
        is_one_sided = "shuffle" in model and architecture == "SD1" and "t2i" not in model
        assert (negative == translated([], context(architecture)).guided[0][2]) is is_one_sided
        core = translated(
            [unit(module="none", model=model)], context(architecture), options={"fidelity": "core"}
        )
        said = any("shuffle model" in text for text in core.report.warning_texts)
        assert said is (pools is not None)

    def test_t2i_adapters_have_their_own_soft_weights(self) -> None:
        outcome = translated([unit(model="t2iadapter_canny_sd15v2", weight=0.6, control_mode=1)])
        weights = outcome.node("ACN_CustomT2IAdapterWeights")
        assert [weights[f"input_{i}"] for i in range(4)] == [0.25, 0.62, 0.825, 1.0]
        assert outcome.node("ACN_AdvancedControlNetApply_v2")["strength"] == 0.6

    def test_sdxls_middle_block_takes_a_t2i_adapters_last_feature(self) -> None:
        """The node counts from the encoder's end; see tests/node_pack/test_comfy_control.py."""
        adapter = {"model": "t2i-adapter_diffusers_xl_canny"}
        soft = translated([unit(control_mode=1, **adapter)], context("SDXL"))
        weights = soft.node("ACN_CustomT2IAdapterWeights")
        assert [weights[f"input_{i}"] for i in range(4)] == [0.25, 0.25, 0.62, 0.825]
        assert soft.nodes("ACN_ExtrasMiddleMult") == []
        own = translated([unit(advanced_weighting=[1, 0.5, 0.4, 0.3], **adapter)], context("SDXL"))
        weights = own.node("ACN_CustomT2IAdapterWeights")
        assert [weights[f"input_{i}"] for i in range(4)] == [1, 1, 0.5, 0.4]
        assert own.node("ACN_ExtrasMiddleMult")["middle_mult"] == 0.3

    def test_t2i_adapters_take_four_weights_or_five(self) -> None:
        adapter = {"model": "t2iadapter_canny_sd15v2"}
        four = translated([unit(advanced_weighting=[0.1, 0.2, 0.3, 0.4], **adapter)])
        five = translated([unit(advanced_weighting=[0.1, 0.2, 0.3, 0.4, 9], **adapter)])
        assert four.node("ACN_CustomT2IAdapterWeights")["input_3"] == 0.4
        assert four.graph == five.graph
        three = translated([unit(advanced_weighting=[1] * 3, **adapter)])
        assert three.node("ACN_CustomT2IAdapterWeights")["input_3"] == 0.0

    def test_lllite_models_are_loaded_by_advanced_controlnet_and_patch_the_model(self) -> None:
        lllite = unit(model="kohya_controllllite_xl_canny", weight=0.4)
        outcome = translated([lllite, {**lllite, "module": "hed"}], context("SDXL"))
        first, second = outcome.nodes("A1111ControlLLLite")
        assert (first["strength"], first["start_percent"], first["end_percent"]) == (0.4, 0.0, 1.0)
        assert first["control_net"] == second["control_net"]
        assert first["image"] != second["image"]
        assert outcome.graph[second["model"][0]]["class_type"] == "A1111ControlLLLite"
        assert outcome.guided[0][1:] == translated([], context("SDXL")).guided[0][1:]

    @pytest.mark.parametrize("hr_option", [0, 1, 2])
    def test_lllite_acts_in_the_first_pass_only_and_heeds_neither_mode_nor_hr_option(
        self, hr_option: int
    ) -> None:
        lllite = {"model": "kohya_controllllite_xl_canny", "weight": 0.5}
        outcome = translated(
            [unit(**lllite, control_mode=1, hr_option=hr_option)], context("SDXL", hires=True)
        )
        assert [node["strength"] for node in outcome.nodes("A1111ControlLLLite")] == [0.5]
        assert [item.window is None for item in outcome.plan.units[0].passes] == [False, True]
        assert outcome.nodes("ACN_ScaledSoftControlNetWeights") == []

    def test_a_t2i_adapter_gives_the_first_passs_features_in_the_hires_pass_too(self) -> None:
        adapter = unit(module="hed", model="t2iadapter_canny_sd14v1")
        outcome = translated([adapter], context(hires=True))
        first, second = outcome.nodes("ControlNetApplyAdvanced")
        kept = outcome.graph[second["control_net"][0]]["inputs"]
        assert kept["image"] == first["image"] != second["image"]
        assert outcome.graph[first["control_net"][0]]["class_type"] == "ControlNetLoader"

    def test_a_t2i_adapter_of_the_hires_pass_alone_keeps_its_own(self) -> None:
        adapter = unit(module="hed", model="t2iadapter_canny_sd14v1", hr_option="High res only")
        assert translated([adapter], context(hires=True)).nodes("A1111AdapterFeatures") == []

    def test_units_with_one_t2i_adapter_show_the_picture_of_the_first_to_act(self) -> None:
        late = unit(module="hed", model="t2iadapter_canny_sd14v1", guidance_start=0.5)
        soon = unit(module="canny", model="t2iadapter_canny_sd14v1")
        other = unit(module="pidinet", model="t2iadapter_sketch_sd14v1")
        outcome = translated([late, soon, other])
        hed, canny, sketch = outcome.nodes("ControlNetApplyAdvanced")
        (shared,) = outcome.nodes("A1111AdapterFeatures")
        assert shared["image"] == canny["image"]
        assert outcome.graph[hed["control_net"][0]]["inputs"] == shared
        for own in (canny, sketch):
            assert outcome.graph[own["control_net"][0]]["class_type"] == "ControlNetLoader"

    def test_a_t2i_adapters_features_are_stretched_where_sides_are_no_multiples_of_64(self) -> None:
        around = ControlContext("SD1", (PassContext(512, 520, sampling()),))
        adapter = unit(module="hed", model="t2iadapter_canny_sd14v1")
        (node,) = translated([adapter], around).nodes("A1111AdapterFeatures")
        assert "image" not in node
        core = translated([adapter], around, options={"fidelity": "core"})
        assert core.nodes("A1111AdapterFeatures") == []
        assert any("T2I-Adapter" in text for text in core.report.warning_texts)

    def test_style_adapters_with_one_model_share_the_first_picture(self) -> None:
        style = unit(module="clip_vision", model="t2iadapter_style_sd14v1")
        outcome = translated([style, {**style, "image": picture(224, 224)}])
        assert len(outcome.nodes("CLIPVisionEncode")) == 1
        assert len(outcome.nodes("StyleModelApply")) == 4

    def test_several_units_chain_and_share_their_image(self) -> None:
        outcome = translated([unit(), unit(module="none", weight=0.5), unit(module="hed")])
        assert len(outcome.nodes("ControlNetApplyAdvanced")) == 3
        assert len(outcome.nodes("LoadImage")) == 1
        assert len(outcome.plan.uploads) == 1


class TestPasses:
    @pytest.mark.parametrize(
        ("option", "passes"),
        [("Both", [True, True]), ("Low res only", [True, False]), ("High res only", [False, True])],
    )
    def test_hr_option(self, option: str, passes: list[bool]) -> None:
        outcome = translated([unit(module="hed", hr_option=option)], context(hires=True))
        bare = translated([], context(hires=True)).guided
        changed = [a != b for a, b in zip(outcome.guided, bare, strict=True)]
        assert changed == passes

    def test_hr_option_is_no_matter_without_hires_or_to_image_prompts(self) -> None:
        alone = translated([unit(hr_option="High res only")])
        assert len(alone.nodes("ControlNetApplyAdvanced")) == 1
        prompt = unit(
            module="ip-adapter_clip_h", model="ip-adapter_sd15", hr_option="High res only"
        )
        assert len(translated([prompt], context(hires=True)).nodes("IPAdapterAdvanced")) == 1

    def test_each_pass_has_a_map_of_its_own_size(self) -> None:
        outcome = translated([unit()], context(hires=True))
        sizes = [(node["width"], node["height"]) for node in outcome.nodes("A1111ControlNetFit")]
        assert sizes == [(512, 768), (768, 1152)]

    def test_a_pass_that_samples_nothing_takes_no_unit(self) -> None:
        passes = (PassContext(512, 512, sampling()), PassContext(1024, 1024, None))
        outcome = translated([unit()], ControlContext("SD1", passes))
        assert len(outcome.nodes("ControlNetApplyAdvanced")) == 1
        assert outcome.nodes("A1111ControlNetFit")[-1]["width"] == 1024

    def test_hires_of_the_same_height_counts_as_hires_throughout(self) -> None:
        passes = (PassContext(512, 512, sampling()), PassContext(768, 512, sampling()))
        outcome = translated([unit(hr_option="Low res only")], ControlContext("SD1", passes))
        assert outcome.nodes("ControlNetApplyAdvanced") == []


class TestImages:
    def test_transparency_is_laid_on_white(self) -> None:
        veiled = [unit(image=picture(mode="RGBA", colour=(1, 2, 3, 4)))]
        exact = translated(veiled)
        loaded = exact.node("A1111ControlNetOnWhite")
        assert exact.graph[loaded["transparency"][0]]["class_type"] == "LoadImage"
        outcome = translated(veiled, options={"fidelity": "core"})
        node = outcome.node("ImageCompositeMasked")
        white = outcome.graph[node["source"][0]]["inputs"]
        assert (white["color"], white["width"], white["height"]) == (0xFFFFFF, 300, 400)

    def test_a_drawn_mask_may_stand_for_the_image(self) -> None:
        outcome = translated([unit(mask=mask())])
        assert len(outcome.nodes("A1111ControlNetInput")) == 1
        ignored = A1111Options.with_defaults(controlnet_ignore_noninpaint_mask=True)
        outcome = translated([unit(mask=mask())], a1111_options=ignored)
        assert outcome.nodes("A1111ControlNetInput") == []

    @pytest.mark.parametrize(
        "fields",
        [
            {"module": "canny", "resize_mode": "Resize and Fill"},
            {"module": "canny", "pixel_perfect": True},
            {"module": "none"},
        ],
    )
    def test_a_strip_that_would_be_scaled_beyond_all_memory_is_refused(
        self, fields: dict[str, Any]
    ) -> None:
        (problem,) = translated([unit(image=picture(9000, 1), **fields)]).problems
        assert ".image: the picture is too narrow" in problem

    def test_a_strip_that_a_network_would_see_enlarged_is_refused(self) -> None:
        sent = {"image": picture(9000, 1), "mask": mask(9000, 1)}
        strip = {**sent, "resize_mode": "Just Resize"}
        (problem,) = translated([unit(module="inpaint_only+lama", **strip)]).problems
        assert "2304000x256" in problem
        assert translated([unit(module="inpaint_only", **strip)]).problems == []
        filled = {**sent, "resize_mode": "Resize and Fill"}  # enlarged before the network sees it
        assert translated([unit(module="inpaint_only+lama", **filled)]).problems == []

    def test_more_images_than_a_node_averages_are_refused_in_time(self) -> None:
        many = [{"image": picture()}] * 20_000
        fields = {"module": "ip-adapter_clip_sd15", "model": "ip-adapter_sd15"}
        start = time.thread_time()
        (problem,) = translated([unit(image=many, **fields)]).problems
        assert "20000 images, of which 1000" in problem
        assert time.thread_time() - start < 3

    def test_a_strip_that_is_only_fitted_is_taken(self) -> None:
        strip = unit(image=picture(9000, 1), module="none", resize_mode="Resize and Fill")
        assert translated([strip]).problems == []

    def test_without_an_image_txt2img_refuses(self) -> None:
        (problem,) = translated([unit(image=None)]).problems
        assert problem.startswith(f"{PATH}.image: the unit has no image;")

    def test_without_an_image_img2img_gives_its_own(self) -> None:
        outcome_report = translated([]).report
        upload = ImageReader(outcome_report).read(picture(64, 64), "init_images[0]")
        assert upload is not None
        around = context(init_image=upload, init_resize_mode=2)
        outcome = translated([unit(image=None)], around)
        assert outcome.problems == []
        assert outcome.node("LoadImage")["image"] == upload.name
        assert outcome.nodes("A1111ControlNetFit")[0]["resize_mode"] == "Resize and Fill"

    def test_several_images_are_for_image_prompts_only(self) -> None:
        images = [{"image": picture()}, {"image": picture(colour=(1, 2, 3))}]
        (problem,) = translated([unit(image=images)]).problems
        assert problem.startswith(f'{PATH}.image: module "canny" takes one image, not several;')
        prompt = unit(image=images, module="ip-adapter_clip_h", model="ip-adapter_sd15")
        core = translated([prompt], options={"fidelity": "core"})
        assert len(core.nodes("ImageBatch")) == 1
        assert any("the mean of the pictures" in text for text in core.report.warning_texts)
        exact = translated([prompt])
        assert exact.nodes("ImageBatch") == []
        assert len(exact.nodes("IPAdapterAdvanced")) == 2
        assert exact.node("A1111AverageImagePrompts")["count"] == 1

    @pytest.mark.parametrize(
        ("mode", "scaled", "last"),
        [
            ("Just Resize", (512, 768), "ImageScale"),
            ("Crop and Resize", (576, 768), "ImageCrop"),
            ("Resize and Fill", (512, 683), "ImageCompositeMasked"),
        ],
    )
    def test_core_nodes_fit_a_map(self, mode: str, scaled: tuple[int, int], last: str) -> None:
        outcome = translated([unit(module="none", resize_mode=mode)], options={"fidelity": "core"})
        node = outcome.node("ImageScale")
        assert (node["width"], node["height"]) == scaled
        image = outcome.node("ControlNetApplyAdvanced")["image"][0]
        assert outcome.graph[image]["class_type"] == last
        assert any("scaled by core nodes" in text for text in outcome.report.warning_texts)


class TestInstantId:
    def test_the_seeds_pair(self) -> None:
        outcome = translated(face_pair(weight=0.9, processor_res=1024), context("SDXL", hires=True))
        assert outcome.problems == []
        patch = outcome.node("InstantIDAttentionPatch")
        assert (patch["weight"], patch["noise"]) == (0.9, 0.0)
        assert (patch["start_at"], patch["end_at"]) == (0.0, 1.0)
        first = outcome.node("ApplyInstantIDControlNet")
        hires = outcome.node("A1111InstantIDControlNet")
        assert first["face_embeds"] == hires["face_embeds"]
        assert hires["positive_only"] is True
        assert not {"ApplyInstantID", "ApplyInstantIDAdvanced"} & outcome.classes()
        assert outcome.node("InstantIDModelLoader")["instantid_file"].startswith("ip-adapter_")

    def test_several_pictures_of_a_face_are_averaged_as_tokens(self) -> None:
        face, keypoints = face_pair()
        colours = ((9, 9, 9), (1, 2, 3), (4, 5, 6))
        face["image"] = [{"image": picture(colour=colour)} for colour in colours]
        outcome = translated([face, keypoints], context("SDXL"))
        assert outcome.problems == []
        assert len(outcome.nodes("InstantIDAttentionPatch")) == 3
        first, second = outcome.nodes("A1111AverageImagePrompts")
        assert (first["count"], second["count"]) == (1, 2)
        (last,) = (name for name, node in outcome.graph.items() if node["inputs"].get("count") == 2)
        assert outcome.node("ApplyInstantIDControlNet")["face_embeds"] == [last, 1]
        assert len(outcome.nodes("A1111ControlNetAttention")) == 2

    def test_keypoints_are_drawn_at_the_processor_resolution_then_cropped_and_fitted(self) -> None:
        outcome = translated(face_pair(processor_res=1024), context("SDXL"))
        prepared = outcome.node("A1111ControlNetImage")
        assert (prepared["processor_res"], prepared["pad"]) == (1024, True)
        crop = outcome.node("ImageCrop")
        assert (crop["width"], crop["height"]) == (1024, 1365)

    def test_weight_and_range_of_both_parts_are_apart(self) -> None:
        embedding, keypoints = face_pair()
        embedding.update(weight=0.4, guidance_end=0.5)
        keypoints.update(weight=0.9, guidance_start=0.5)
        outcome = translated([embedding, keypoints], context("SDXL"))
        patch = outcome.node("InstantIDAttentionPatch")
        applied = outcome.node("ApplyInstantIDControlNet")
        assert (patch["weight"], applied["strength"]) == (0.4, 0.9)
        assert patch["start_at"] == 0.0 and 0 < patch["end_at"] < 1
        assert applied["end_at"] == 1.0 and 0 < applied["start_at"] < 1

    def test_the_tokens_do_not_depend_on_the_embeddings_range(self) -> None:
        embedding, keypoints = face_pair()
        embedding["guidance_start"] = 0.98
        outcome = translated([embedding, keypoints], context("SDXL"))
        patch_id = outcome.node("ApplyInstantIDControlNet")["face_embeds"][0]
        assert outcome.graph[patch_id]["class_type"] == "InstantIDAttentionPatch"
        assert outcome.guided[0][0] == translated([], context("SDXL")).guided[0][0]

    @pytest.mark.parametrize(("mode", "uncond"), [(1, 1.0), (2, 0.0)])
    def test_soft_modes_ride_on_the_loader(self, mode: int, uncond: float) -> None:
        outcome = translated(face_pair(control_mode=mode, weight=0.8), context("SDXL"))
        loader = outcome.node("ACN_ControlNetLoaderAdvanced")
        assert outcome.graph[loader["_tk_opt"][0]]["class_type"] == "TimestepKeyframe"
        assert outcome.node("ACN_ScaledSoftControlNetWeights")["uncond_multiplier"] == uncond
        strength = outcome.node("ApplyInstantIDControlNet")["strength"]
        assert strength == pytest.approx(0.8 * 0.825**3)

    def test_two_pairs_keep_their_faces_apart(self) -> None:
        other = face_pair(picture(colour=(9, 9, 9)), weight=0.5)
        outcome = translated([*face_pair(), *other], context("SDXL"), count=4)
        first, second = outcome.nodes("InstantIDAttentionPatch")
        owner = outcome.node("A1111ControlNetAttention")
        assert outcome.graph[second["model"][0]]["class_type"] == "A1111ControlNetAttention"
        assert outcome.graph[owner["model"][0]]["inputs"] == first
        assert json.loads(owner["owner"])[4] == 0.5
        applied = outcome.nodes("A1111InstantIDControlNet")
        assert len({tuple(node["face_embeds"]) for node in applied}) == 2
        assert len(outcome.maps) == 4

    def test_beside_another_controlnet_the_face_is_bound_to_its_own(self) -> None:
        outcome = translated([*face_pair(), unit(model="canny")], context("SDXL"))
        assert len(outcome.nodes("A1111InstantIDControlNet")) == 1
        core = translated(
            [*face_pair(), unit(model="canny")], context("SDXL"), options={"fidelity": "core"}
        )
        assert len(core.nodes("ApplyInstantIDControlNet")) == 1
        assert any("reads the last InstantID unit's face" in t for t in core.report.warning_texts)

    def test_keypoints_without_the_face_before_them_are_refused(self) -> None:
        (problem,) = translated(face_pair()[1:], context("SDXL")).problems
        assert problem.startswith(f"{PATH}.model: ")
        assert "right before it" in problem

    def test_keypoints_go_with_the_face_that_is_left_out(self) -> None:
        embedding, keypoints = face_pair()
        embedding["image"] = None
        outcome = translated(
            [embedding, keypoints], context("SDXL"), options={"unsupported": "warn"}
        )
        assert outcome.problems == []
        assert outcome.plan.units == ()
        texts = outcome.report.warning_texts
        assert any("without any unit" in text for text in texts)
        assert any(text.startswith("alwayson_scripts.controlnet.args[1]") for text in texts)

    def test_the_wrong_checkpoint_is_refused(self) -> None:
        problems = translated(face_pair(), context("SD1")).problems
        assert '"ip-adapter_instant_id_sdxl [eb2d3ec0]" is made for SDXL' in problems[0]

    @pytest.mark.parametrize(("provider", "used"), [(None, "CUDA"), ("CPU", "CPU")])
    def test_the_provider_of_face_analysis(self, provider: str | None, used: str) -> None:
        outcome = translated(face_pair(), context("SDXL", face_provider=provider))
        assert outcome.node("InstantIDFaceAnalysis") == {"provider": used}

    def test_a_region_masks_the_attention_and_the_residuals(self) -> None:
        outcome = translated(face_pair(effective_region_mask=mask()), context("SDXL"))
        assert "mask" in outcome.node("InstantIDAttentionPatch")
        assert "mask" not in outcome.node("ApplyInstantIDControlNet")
        assert "mask" in outcome.node("A1111ControlNetRegion")


class TestImagePrompts:
    def test_an_ip_adapter(self) -> None:
        outcome = translated(
            [unit(module="ip-adapter_clip_h", model="ip-adapter_sd15", weight=0.6)]
        )
        node = outcome.node("IPAdapterAdvanced")
        assert (node["weight"], node["weight_type"], node["combine_embeds"]) == (
            0.6,
            "linear",
            "average",
        )
        squashed = outcome.graph[node["image"][0]]
        assert squashed["class_type"] == "A1111ControlNetClipImage"
        assert "mask" not in squashed["inputs"]
        assert outcome.node("A1111ControlNetAttention")["owner"] == "sampling"

    def test_a_mask_hides_pixels_from_clip(self) -> None:
        outcome = translated(
            [unit(module="ip-adapter_clip_h", model="ip-adapter_sd15", mask=mask())]
        )
        assert "mask" in outcome.node("A1111ControlNetClipImage")

    def test_without_our_nodes_core_squashes_and_hides(self) -> None:
        outcome = translated(
            [unit(module="ip-adapter_clip_h", model="ip-adapter_sd15", mask=mask())],
            options={"fidelity": "core"},
        )
        node = outcome.node("ImageCompositeMasked")
        assert outcome.graph[node["source"][0]]["inputs"]["color"] == 0x7B7568
        assert outcome.graph[node["destination"][0]]["inputs"]["upscale_method"] == "area"

    def test_img2img_that_makes_only_the_mask_anew_crops_what_clip_sees(self) -> None:
        drawn = ImageReader(translated([]).report).read(mask(), "mask")
        assert drawn is not None
        area = InpaintArea(drawn, False, (4, 4), True, 8, Size(512, 768))
        fields = {"module": "ip-adapter_clip_h", "model": "ip-adapter_sd15"}
        one = translated([unit(**fields)], context(inpaint_area=area))
        shown = one.node("A1111ControlNetClipImage")["image"]
        assert one.graph[shown[0]]["class_type"] == "A1111ControlNetCrop"
        two = unit(**{**fields, "image": [{"image": picture()}, {"image": picture(90, 70)}]})
        assert translated([two], context(inpaint_area=area)).nodes("A1111ControlNetCrop") == []

    @pytest.mark.parametrize(
        ("module", "model", "says"),
        [
            ("ip-adapter_clip_h", "ip-adapter-faceid_sd15", "reads a face"),
            ("ip-adapter_face_id", "ip-adapter_sd15", "reads a picture by CLIP"),
            ("ip-adapter_face_id", "ip-adapter-faceid-plus_sd15", "ip-adapter_face_id_plus"),
            ("ip-adapter_face_id_plus", "ip-adapter-faceid_sd15", "goes with ip-adapter_face_id"),
            ("ip-adapter_clip_g", "ip-adapter_sd15", "ip-adapter_clip_sd15"),
        ],
    )
    def test_a_model_that_cannot_read_what_the_module_makes_is_refused(
        self, module: str, model: str, says: str
    ) -> None:
        (problem,) = translated([unit(module=module, model=model)]).problems
        assert problem.startswith(f"{PATH}.module: ") and says in problem

    @pytest.mark.parametrize("fields", [{}, {"mask": mask()}], ids=["bare", "masked"])
    def test_what_clip_saw_is_answered_with_its_mask(self, fields: dict[str, Any]) -> None:
        prompt = unit(module="ip-adapter_clip_h", model="ip-adapter_sd15", **fields)
        outcome = translated([prompt])
        (shown,) = outcome.maps
        joined = outcome.graph[outcome.graph[shown.node]["inputs"]["images"][0]]
        assert joined["class_type"] == "JoinImageWithAlpha"
        alpha = outcome.graph[joined["inputs"]["alpha"][0]]["class_type"]
        assert alpha == ("MaskComposite" if fields else "SolidMask")
        core = translated([prompt], options={"fidelity": "core"})
        assert core.maps[0].upload is not None

    def test_a_face_is_answered_as_it_was_sent_unless_it_was_changed(self) -> None:
        def shown(**fields: Any) -> Any:
            return translated(face_pair(**fields), context("SDXL")).maps[0]

        assert shown().upload is not None
        assert shown(image=picture(mode="RGBA", colour=(9, 9, 9, 128))).upload is None
        assert shown(mask=mask()).upload is None, "the mask may be a drawing"

    def test_no_weight_in_any_layer_is_written_as_such(self) -> None:
        none = unit(
            module="ip-adapter_clip_h", model="ip-adapter_sd15", advanced_weighting=[0.0] * 16
        )
        assert translated([none]).node("IPAdapterMS")["layer_weights"] == "0:0"

    @pytest.mark.parametrize(("version", "shortcut"), [("plus", False), ("plusv2", True)])
    def test_face_id_plus_shows_clip_the_whole_picture(self, version: str, shortcut: bool) -> None:
        model = f"ip-adapter-faceid-{version}_sd15"
        outcome = translated([unit(module="ip-adapter_face_id_plus", model=model)])
        tokens = outcome.node("A1111FaceTokens")
        assert tokens.get("shortcut", False) is shortcut
        assert outcome.graph[tokens["model"][0]]["class_type"] == "IPAdapterFaceID"
        seen = outcome.graph[tokens["clip_vision_output"][0]]["inputs"]["image"]
        assert outcome.graph[seen[0]]["class_type"] == "A1111ControlNetClipImage"
        plain = translated([unit(module="ip-adapter_face_id", model="ip-adapter-faceid_sd15")])
        assert "clip_vision_output" not in plain.node("A1111FaceTokens")

    def test_face_id_looks_for_the_face_in_the_whole_picture(self) -> None:
        outcome = translated(
            [unit(module="ip-adapter_face_id_plus", model="ip-adapter-faceid-plusv2_sd15")]
        )
        node = outcome.node("IPAdapterFaceID")
        assert outcome.graph[node["image"][0]]["class_type"] == "LoadImage"
        assert outcome.node("IPAdapterInsightFaceLoader")["model_name"] == "buffalo_l"

    def test_auto_takes_the_module_of_the_model(self) -> None:
        outcome = translated(
            [unit(module="ip-adapter-auto", model="ip-adapter_sdxl")], context("SDXL")
        )
        assert outcome.plan.units[0].module.label == "ip-adapter_clip_g"
        assert outcome.units[0].infotext.startswith("Module: ip-adapter-auto, ")
        (problem,) = translated([unit(module="ip-adapter-auto", model="mine")]).problems
        assert 'ip-adapter-auto knows no module for "mine"' in problem

    def test_weights_per_layer(self) -> None:
        weights = [0.0, 0.5] + [1.0] * 14
        outcome = translated(
            [unit(module="ip-adapter_clip_h", model="ip-adapter_sd15", advanced_weighting=weights)]
        )
        node = outcome.node("IPAdapterMS")
        assert node["layer_weights"].startswith("1:0.5, 2:1.0")
        assert node["weight"] == 1.0

    def test_a_map_module_with_an_image_prompt_model_is_refused(self) -> None:
        (problem,) = translated([unit(model="ip-adapter_sd15")]).problems
        assert problem.startswith(f"{PATH}.module: ")


class TestOtherModules:
    def test_inpaint_feeds_minus_one_under_the_mask(self) -> None:
        outcome = translated([unit(module="inpaint", mask=mask())])
        fitted = outcome.node("A1111ControlNetFit")
        assert "mask" in fitted
        hint = outcome.node("ControlNetApplyAdvanced")["image"][0]
        assert outcome.graph[hint]["class_type"] == "InpaintPreprocessor"
        shown = outcome.graph[outcome.maps[0].node]["inputs"]["images"][0]
        assert outcome.graph[shown]["class_type"] == "JoinImageWithAlpha"

    def test_inpaint_only_holds_the_source_at_every_call_and_in_the_result(self) -> None:
        outcome = translated(
            [unit(module="inpaint_only", mask=mask(), weight=1.4, guidance_end=0.1)],
            context(hires=True),
            a1111_options=A1111Options.with_defaults(control_net_inpaint_blur_sigma=11),
        )
        guards = outcome.nodes("A1111ControlNetInpaintOnly")
        assert [node["weight"] for node in guards] == [1.0, 1.0]
        paste = outcome.node("A1111ControlNetPaste")
        assert paste["blur"] == 11
        assert outcome.graph[paste["source"][0]]["inputs"]["width"] == 768

    def test_lama_fills_in_before_all_else(self) -> None:
        outcome = translated(
            [unit(module="inpaint_only+lama", mask=mask(), guidance_end=0.1)], context(hires=True)
        )
        fill = outcome.node("A1111ControlNetLama")
        assert (fill["model_name"], fill["whole_levels"]) == ("ControlNetLama.pth", True)
        fits = outcome.nodes("A1111ControlNetFit")
        assert [node["width"] for node in fits] == [512, 768]
        assert all(outcome.graph[node["image"][0]]["inputs"] == fill for node in fits)
        assert len(outcome.nodes("A1111ControlNetInpaintOnly")) == 2
        paste = outcome.node("A1111ControlNetPaste")
        assert outcome.graph[paste["source"][0]]["inputs"]["width"] == 768
        shown = outcome.graph[outcome.maps[0].node]["inputs"]["images"][0]
        assert outcome.graph[shown]["class_type"] == "JoinImageWithAlpha"

    def test_lama_fills_in_what_resize_and_fill_adds(self) -> None:
        outcome = translated(
            [unit(module="inpaint_only+lama", mask=mask(), resize_mode="Resize and Fill")],
            context(hires=True),
        )
        fill = outcome.node("A1111ControlNetLama")
        enlarged = outcome.graph[fill["image"][0]]
        assert enlarged["class_type"] == "A1111ControlNetFit"
        assert enlarged["inputs"]["width"] == 768
        assert fill["image"][0] == fill["mask"][0]
        assert fill["whole_levels"] is False

    def test_lama_beside_img2imgs_mask_stays_what_it_is(self) -> None:
        reader = ImageReader(translated([]).report)
        image, drawn = reader.read(picture(), "a"), reader.read(mask(), "b")
        assert image is not None and drawn is not None
        area = InpaintArea(drawn, False, (4, 4), False, 0, Size(512, 512))
        around = context(init_image=image, inpaint_area=area)
        outcome = translated([unit(module="inpaint_only+lama", image=None)], around)
        assert len(outcome.nodes("A1111ControlNetInpaintOnly")) == 1
        assert outcome.plan.units[0].takes_area

    def test_what_lama_made_is_encoded_before_the_first_noise_is_drawn(self) -> None:
        plain = translated([unit(module="inpaint_only", mask=mask())], context(hires=True))
        filled = translated([unit(module="inpaint_only+lama", mask=mask())], context(hires=True))
        assert [item.drawn for item in plain.plan.passes] == [4 * 64 * 96, 4 * 96 * 144]
        assert [item.drawn for item in filled.plan.passes] == [0, 4 * 96 * 144]

    def test_lamas_file_is_looked_up_and_named_where_it_is_not_there(self) -> None:
        asked = unit(module="inpaint_only+lama", mask=mask())
        models = {
            "checkpoints": ("model.safetensors",),
            "controlnet": ("control_v11p_sd15_canny.pth",),
        }
        have = Catalog(
            Catalog.bundled().nodes, {**models, "inpaint": ("fooocus.pth", "Big-LaMa.pt")}
        )
        found = translated([asked], catalog=have)
        assert found.node("A1111ControlNetLama")["model_name"] == "Big-LaMa.pt"
        (problem,) = translated([asked], catalog=Catalog(have.nodes, models)).problems
        assert problem.startswith(f"{PATH}.module: ")
        assert "ControlNetLama.pth" in problem and "models/inpaint" in problem
        (problem,) = translated([asked], options={"fidelity": "core"}).problems
        assert "A1111ControlNetLama" in problem

    def test_inpaint_only_beside_img2imgs_mask_is_plain_inpaint(self) -> None:
        report = translated([]).report
        reader = ImageReader(report)
        image, drawn = reader.read(picture(), "a"), reader.read(mask(), "b")
        assert image is not None and drawn is not None
        area = InpaintArea(drawn, False, (4, 4), False, 0, Size(512, 512))
        around = context(init_image=image, inpaint_area=area)
        outcome = translated([unit(module="inpaint_only", image=None)], around)
        assert outcome.nodes("A1111ControlNetInpaintOnly") == []
        assert any("inpaint_global_harmonious" in text for text in outcome.report.warning_texts)

    def test_inpaint_only_with_a_picture_of_its_own_stands_back_too(self) -> None:
        drawn = ImageReader(translated([]).report).read(mask(), "b")
        assert drawn is not None
        area = InpaintArea(drawn, False, (4, 4), False, 0, Size(512, 512))
        outcome = translated([unit(module="inpaint_only", mask=mask())], context(inpaint_area=area))
        assert outcome.nodes("A1111ControlNetInpaintOnly") == []
        assert outcome.plan.units[0].takes_area is False, "its own mask counts"

    def test_a_mask_without_an_image_is_refused(self) -> None:
        image = ImageReader(translated([]).report).read(picture(), "a")
        (problem,) = translated([unit(image=None, mask=mask())], context(init_image=image)).problems
        assert "mask but no image" in problem

    def test_img2imgs_picture_is_answered_without_transparency(self) -> None:
        image = ImageReader(translated([]).report).read(picture(), "a")
        prompt = unit(module="ip-adapter_clip_h", model="ip-adapter_sd15", image=None)
        (shown,) = translated([prompt], context(init_image=image)).maps
        assert shown.upload is not None

    def test_only_masked_cuts_the_images_of_all_units_but_reference(self) -> None:
        reader = ImageReader(translated([]).report)
        image, drawn = reader.read(picture(), "a"), reader.read(mask(), "b")
        assert image is not None and drawn is not None
        area = InpaintArea(drawn, True, (4, 2), True, 8, Size(320, 256))
        around = context(init_image=image, init_resize_mode=1, inpaint_area=area)
        cut = translated([unit(image=None)], around).node("A1111ControlNetCrop")
        assert (cut["width"], cut["height"], cut["padding"]) == (320, 256, 8)
        assert cut["resize_mode"] == "Crop and Resize"
        own = translated([unit()], around)
        assert len(own.nodes("A1111ControlNetCrop")) == 1
        assert own.node("A1111InpaintMask")["invert"] is True
        whole = translated([unit(inpaint_crop_input_image=False)], around)
        assert whole.nodes("A1111ControlNetCrop") == []
        reference = translated([unit(module="reference_only", model="None")], around)
        assert reference.nodes("A1111ControlNetCrop") == []

    def test_color_fix_doubles_its_radius_in_the_hires_pass(self) -> None:
        outcome = translated(
            [unit(module="tile_colorfix+sharp", threshold_a=6, threshold_b=1.5)],
            context(hires=True),
        )
        nodes = outcome.nodes("A1111ControlNetColorFix")
        assert [(node["radius"], node["sharpness"]) for node in nodes] == [(6, 1.5), (12, 0.0)]
        plain = translated([unit(module="tile_colorfix")])
        assert plain.node("A1111ControlNetColorFix")["sharpness"] == 0.0

    @pytest.mark.parametrize("channel", ["luminance", "intensity"])
    def test_recolor_puts_the_map_into_the_result(self, channel: str) -> None:
        outcome = translated([unit(module=f"recolor_{channel}")], context(hires=True))
        node = outcome.node("A1111ControlNetRecolor")
        assert node["channel"] == channel
        assert outcome.graph[node["control_map"][0]]["inputs"]["width"] == 768

    @pytest.mark.parametrize(("mode", "fidelities"), [(0, [0.3, 0.0]), (1, [0.0]), (2, [1.0])])
    def test_reference_fidelity_follows_mode_and_pass(
        self, mode: int, fidelities: list[float]
    ) -> None:
        outcome = translated(
            [unit(module="reference_only", model="None", threshold_a=0.3, control_mode=mode)],
            context(hires=True),
        )
        nodes = outcome.nodes("A1111ControlNetReference")
        both = fidelities * (3 - len(fidelities))
        assert [node["style_fidelity"] for node in nodes] == both
        assert {node["module"] for node in nodes} == {"reference_only"}
        assert [node["tells_negative"] for node in nodes] == [True, False]

    def test_reference_noise_comes_from_the_images_seed_after_the_encoder_drew(self) -> None:
        units = [
            unit(module="tile_colorfix"),
            unit(module="reference_adain", model="None"),
            unit(module="reference_only", model="None", image=picture(colour=(1, 2, 3))),
        ]
        nodes = translated(units).nodes("A1111ControlNetReference")
        assert {node["seed"] for node in nodes} == {SEEDS.batch}
        assert {node["drawn"] for node in nodes} == {2 * 4 * (512 // 8) * (768 // 8)}

    def test_sdxls_reference_fidelity_is_cubed_by_us_and_by_advanced_controlnet(self) -> None:
        units = [unit(module="reference_only", model="None", threshold_a=0.5)]
        exact = translated(units, context("SDXL")).node("A1111ControlNetReference")
        assert exact["style_fidelity"] == 0.125
        core = translated(units, context("SDXL"), options={"fidelity": "core"})
        assert core.node("ACN_ReferenceControlNet")["style_fidelity"] == 0.5

    def test_revision_replaces_the_pooled_text_within_its_range(self) -> None:
        units = [
            unit(module="revision_clipvision", model="None", weight=0.5, guidance_end=0.5),
            unit(module="revision_clipvision", model="None", image=picture(colour=(1, 2, 3))),
        ]
        outcome = translated(units, context("SDXL"))
        positives = [n for n in outcome.nodes("A1111Revision") if "clip_vision_output" in n]
        assert [node["add"] for node in positives] == [False, True]
        assert [node["strength"] for node in positives] == [0.5, 1.0]
        assert len(outcome.nodes("ConditioningSetTimestepRange")) == 4

    @pytest.mark.parametrize(
        ("module", "empty", "zero"),
        [
            ("revision_ignore_prompt", False, True),
            ("revision_clipvision", True, True),
            ("revision_clipvision", False, False),
        ],
    )
    def test_revision_zeroes_the_text_when_told_or_when_there_is_none(
        self, module: str, empty: bool, zero: bool
    ) -> None:
        outcome = translated(
            [unit(module=module, model="None")], context("SDXL", empty_prompts=empty)
        )
        assert {node["zero_text"] for node in outcome.nodes("A1111Revision")} == {zero}

    def test_revision_needs_sdxl(self) -> None:
        (problem,) = translated([unit(module="revision_clipvision", model="None")]).problems
        assert "revision works with SDXL" in problem

    def test_style_is_added_to_the_prompt_and_nothing_to_the_negative_but_in_hires(self) -> None:
        outcome = translated(
            [unit(module="t2ia_style_clipvision", model="t2iadapter_style_sd14v1", weight=0.7)],
            context(hires=True),
        )
        added = [
            outcome.graph[text.node]["inputs"]["strength"]
            for guided in outcome.guided
            for text in guided[1:]
        ]
        assert added == [0.7, 0.0, 0.7, 0.7]


class TestDetectedMaps:
    def test_one_a_unit_at_the_results_size_faces_as_sent(self) -> None:
        outcome = translated([*face_pair(), unit(model="canny")], context("SDXL", hires=True))
        face, keypoints, canny = outcome.maps
        assert face == Output("detected_map", upload=outcome.plan.uploads[0].name, unit=0)
        assert [entry.unit for entry in outcome.maps] == [0, 1, 2]
        for entry in (keypoints, canny):
            fitted = outcome.graph[entry.node]["inputs"]["images"][0]
            assert outcome.graph[fitted]["inputs"]["width"] == 768

    def test_all_gives_the_hires_map_then_the_first_pass_map(self) -> None:
        outcome = translated([unit()], context("SD1", hires=True), options={"detected_maps": "all"})
        fitted = [outcome.graph[entry.node]["inputs"]["images"][0] for entry in outcome.maps]
        assert [outcome.graph[node]["inputs"]["width"] for node in fitted] == [768, 512]

    @pytest.mark.parametrize(
        ("fields", "settings"),
        [({"save_detected_map": False}, {}), ({}, {"control_net_no_detectmap": True})],
    )
    def test_none_where_they_are_switched_off(
        self, fields: dict[str, Any], settings: dict[str, Any]
    ) -> None:
        a1111_options = A1111Options.with_defaults(**settings)
        assert translated([unit(**fields)], a1111_options=a1111_options).maps == []

    def test_infotext_counts_the_enabled_units(self) -> None:
        outcome = translated([unit(enabled=False), unit(), unit(module="hed")])
        assert list(outcome.plan.infotext_entries) == ["ControlNet 0", "ControlNet 1"]
        assert [plan.unit.index for plan in outcome.plan.units] == [1, 2]


class TestRefusals:
    @pytest.mark.parametrize(
        ("pack", "raw", "node"),
        [
            ("controlnet_aux", lambda: [unit()], "CannyEdgePreprocessor"),
            ("InstantID", face_pair, "InstantIDModelLoader"),
            ("Advanced-ControlNet", lambda: [unit(control_mode=1)], "ACN_AdvancedControlNetApply"),
            (
                "IPAdapter",
                lambda: [unit(module="ip-adapter_clip_h", model="ip-adapter_sd15")],
                "IPAdapterModelLoader",
            ),
        ],
    )
    def test_a_missing_pack_is_named_with_what_to_install(self, pack, raw, node) -> None:
        around = context("SDXL" if pack == "InstantID" else "SD1")
        problem = translated(raw(), around, catalog=without_pack(pack)).report.problems[0]
        assert problem.kind == "missing"
        assert problem.path == f"{PATH}.module"
        assert node in problem.message and pack in problem.message

    def test_a_missing_model_is_named(self) -> None:
        folders = {"controlnet": (), "checkpoints": ("model.safetensors",)}
        have = Catalog(nodes=Catalog.bundled().nodes, folders=folders)
        (problem,) = translated([unit()], catalog=have).problems
        assert problem.startswith(f'{PATH}.model: no control model "control_v11p_sd15_canny"')

    @pytest.mark.parametrize(
        ("fields", "path"),
        [
            ({"model": "None"}, "model"),
            ({"model": "diffusers_xl_canny"}, "model"),
            ({"model": "v3_sd15_sparsectrl_rgb"}, "model"),
            ({"model": "t2iadapter_style_sd14v1"}, "module"),
            ({"ipadapter_input": ["AAAA"]}, "ipadapter_input"),
            ({"module": "reference_only", "effective_region_mask": None}, None),
        ],
    )
    def test_what_does_not_go_together(self, fields: dict[str, Any], path: str | None) -> None:
        problems = translated([unit(**fields)]).problems
        if path is None:
            assert problems == []
        else:
            assert problems[0].startswith(f"{PATH}.{path}: ")

    def test_a_region_is_refused_where_the_whole_picture_is_meant(self) -> None:
        (problem,) = translated(
            [unit(module="reference_only", effective_region_mask=mask())]
        ).problems
        assert problem.startswith(f"{PATH}.effective_region_mask: ")

    def test_warn_leaves_the_unit_out_and_keeps_the_others(self) -> None:
        pulid = unit(module="ip-adapter_pulid", model="ip-adapter_pulid_sdxl_fp16")
        sdxl = unit(model="diffusers_xl_canny")
        outcome = translated([pulid, sdxl], context("SDXL"), options={"unsupported": "warn"})
        assert outcome.problems == []
        assert [plan.unit.index for plan in outcome.plan.units] == [1]
        assert any(
            text.startswith(f"{PATH}.module: ") and text.endswith("; the unit is left out")
            for text in outcome.report.warning_texts
        )
        assert [entry.unit for entry in outcome.maps] == [1]

    def test_warn_leaves_out_every_unit_where_the_extension_fails_on_one(self) -> None:
        outcome = translated([unit(), unit(model="None")], options={"unsupported": "warn"})
        assert outcome.problems == [] and outcome.plan.units == ()
        assert list(outcome.plan.infotext_entries) == ["ControlNet 0", "ControlNet 1"]
        assert outcome.maps == []
        told = {text.partition(":")[0] for text in outcome.report.warning_texts}
        assert {PATH, f"{PATH[:-3]}[1].model"} <= told

    def test_a_region_of_one_channel_is_heeded_or_with_warn_left_to_a1111s_way(self) -> None:
        grey = [unit(effective_region_mask=picture(mode="L", colour=255))]
        outcome = translated(grey)
        assert "mask" in outcome.node("A1111ControlNetRegion")
        assert any("one channel" in text for text in outcome.report.warning_texts)
        assert translated(grey, options={"unsupported": "warn"}).plan.units == ()
        colours = [unit(effective_region_mask=picture(mode="RGB", colour=(255, 255, 255)))]
        assert len(translated(colours, options={"unsupported": "warn"}).plan.units) == 1

    def test_an_image_that_cannot_be_read_is_refused_or_with_warn_takes_all_units(self) -> None:
        units = [unit(image="broken"), unit()]
        assert any("image" in problem for problem in translated(units).problems)
        outcome = translated(units, options={"unsupported": "warn"})
        assert outcome.problems == [] and outcome.plan.units == ()
        assert len(outcome.plan.infotext_entries) == 2
        assert any(text.startswith(f"{PATH}.image") for text in outcome.report.warning_texts)

    def test_units_may_be_named_only(self) -> None:
        outcome = translated([unit()], options={"control_units": False})
        assert outcome.plan.units == () and "ControlNet 0" in outcome.plan.infotext_entries

    def test_an_invalid_field_is_refused_even_with_warn(self) -> None:
        outcome = translated([unit(weight=5)], options={"unsupported": "warn"})
        assert outcome.problems != []


@pytest.mark.parametrize("subseed_strength", [0, 0.5])
def test_only_the_first_batch_draws_what_reference_units_encode(subseed_strength: float) -> None:
    """With a variation all batches have one seed: it does not tell them apart."""
    unit_ = {"module": "reference_only", "model": "None", "image": picture()}
    payload = {
        "prompt": "a cat",
        "seed": 1,
        "subseed": 5,
        "subseed_strength": subseed_strength,
        "steps": 4,
        "width": 64,
        "height": 64,
        "n_iter": 2,
        "alwayson_scripts": {"controlnet": {"args": [unit_]}},
    }
    graph = translate(payload).graph.values()
    drawn = [
        node["inputs"]["drawn"]
        for node in graph
        if node["class_type"] == "A1111ControlNetReference"
    ]
    assert drawn == [4 * 8 * 8, 0]
