"""The extension's own routes: lists from the table and the catalog, and detect."""

from __future__ import annotations

from typing import Any

import pytest

from tests.translator.control_requests import mask, picture
from translator import Output
from translator.comfy.catalog import Catalog, ModelFacts
from translator.endpoints.detect import translate_detect
from translator.lists import controlnet as endpoints
from translator.options import Options
from translator.report import Report, TranslationError
from translator.result import Translation

TAGS = [
    "All",
    "Canny",
    "Depth",
    "IP-Adapter",
    "Inpaint",
    "Instant-ID",
    "InstructP2P",
    "Lineart",
    "MLSD",
    "NormalMap",
    "OpenPose",
    "Recolor",
    "Reference",
    "Revision",
    "Scribble",
    "Segmentation",
    "Shuffle",
    "SoftEdge",
    "SparseCtrl",
    "T2I-Adapter",
    "Tile",
]


def catalog() -> Catalog:
    shared = ("ip-adapter_sd15.safetensors", "control_sd15_canny.pth")
    return Catalog(
        nodes=Catalog.bundled().nodes,
        folders={
            "controlnet": ("sub/control_v11p_sd15_canny.pth", "b_union.safetensors", *shared),
            "ipadapter": shared,
            "instantid": shared,
        },
        facts={
            ("controlnet", "sub/control_v11p_sd15_canny.pth"): ModelFacts(short_hash="d14c016b")
        },
    )


def test_version_and_settings() -> None:
    assert endpoints.version() == {"version": 3}
    assert endpoints.settings(5) == {"control_net_unit_count": 5}


def test_models_of_all_folders_once_by_name_with_their_hash() -> None:
    assert endpoints.model_list(catalog()) == {
        "model_list": [
            "b_union",
            "control_sd15_canny",
            "control_v11p_sd15_canny [d14c016b]",
            "ip-adapter_sd15",
        ]
    }


def test_an_open_catalog_lists_no_model() -> None:
    assert endpoints.model_list(Catalog.bundled()) == {"model_list": []}


def test_modules_with_their_visible_sliders() -> None:
    answer = endpoints.module_list()
    assert len(answer["module_list"]) == 72
    assert answer["module_list"][:3] == ["none", "ip-adapter-auto", "tile_resample"]
    assert answer["module_detail"]["canny"] == {
        "model_free": False,
        "sliders": [
            {"name": "Resolution", "value": 512, "min": 64, "max": 2048, "step": 8},
            {"name": "Low Threshold", "value": 100, "min": 1, "max": 255, "step": 1},
            {"name": "High Threshold", "value": 200, "min": 1, "max": 255, "step": 1},
        ],
    }
    assert answer["module_detail"]["invert"] == {"model_free": False, "sliders": []}
    assert answer["module_detail"]["reference_only"]["model_free"] is True


def test_modules_by_label() -> None:
    answer = endpoints.module_list(alias_names=True)
    assert "depth_midas" in answer["module_list"]
    assert "depth" not in answer["module_list"]
    assert set(answer["module_list"]) == set(answer["module_detail"])


def test_control_types() -> None:
    types = endpoints.control_types(catalog())["control_types"]
    assert list(types) == TAGS
    assert types["All"]["default_option"] == "none"
    assert types["All"]["model_list"][0] == "None"
    assert types["Canny"] == {
        "module_list": ["none", "canny", "invert (from white bg & black line)"],
        "model_list": [
            "None",
            "b_union",
            "control_sd15_canny",
            "control_v11p_sd15_canny [d14c016b]",
        ],
        "default_option": "canny",
        "default_model": "control_v11p_sd15_canny [d14c016b]",
    }
    assert types["IP-Adapter"]["model_list"] == ["None", "ip-adapter_sd15"]
    assert types["IP-Adapter"]["default_option"] == "ip-adapter-auto"
    assert types["Recolor"]["default_model"] == "None"


def detect(**fields: Any) -> Translation:
    payload = {"controlnet_module": "canny", "controlnet_input_images": [picture()], **fields}
    return translate_detect(payload, Catalog.bundled(), Options(), Report())


def refusal(**fields: Any) -> str:
    with pytest.raises(TranslationError) as refused:
        detect(**fields)
    return str(refused.value)


def classes(translation: Translation) -> list[str]:
    return [node["class_type"] for node in translation.graph.values()]


def test_detect_runs_the_preprocessor_alone() -> None:
    translation = detect(controlnet_processor_res=768, controlnet_threshold_a=50)
    assert classes(translation) == ["LoadImage", "CannyEdgePreprocessor", "SaveImage"]
    inputs = translation.graph["2"]["inputs"]
    assert (inputs["resolution"], inputs["low_threshold"], inputs["high_threshold"]) == (
        768,
        50,
        200,
    )
    assert translation.outputs == (Output("detected_map", "3"),)
    assert translation.info == {"info": "Success"}
    assert len(translation.uploads) == 1


def test_detect_answers_each_image() -> None:
    pictures = [picture(), picture(colour=(1, 2, 3))]
    assert len(detect(controlnet_input_images=pictures).outputs) == 2


def test_detect_tells_where_poses_are() -> None:
    translation = detect(controlnet_module="dw_openpose_full")
    (output,) = translation.outputs
    assert translation.graph[output.poses]["class_type"] == "DWPreprocessor"


def test_detect_shows_an_inpaint_mask_and_needs_one() -> None:
    shown = detect(controlnet_module="inpaint", controlnet_masks=[mask()])
    assert "JoinImageWithAlpha" in classes(shown)
    assert "requires `controlnet_masks` param" in refusal(controlnet_module="inpaint")


def test_detect_passes_an_image_through() -> None:
    assert classes(detect(controlnet_module="none")) == ["LoadImage", "SaveImage"]


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"controlnet_module": "cany"}, 'Module not available, did you mean "canny"?'),
        ({"controlnet_module": "revision_clipvision"}, "Module not supported"),
        ({"controlnet_module": "ip-adapter-auto"}, "Module not supported"),
        ({"controlnet_input_images": []}, "controlnet_input_images: No image selected"),
        ({"controlnet_input_images": ["*"]}, "controlnet_input_images[0]: is not base64"),
        ({"controlnet_input_images": "x"}, "controlnet_input_images: "),
        ({"controlnet_processor_res": "wide"}, "controlnet_processor_res: "),
    ],
)
def test_detect_refuses(fields: dict[str, Any], said: str) -> None:
    assert said in refusal(**fields)


@pytest.mark.parametrize(
    ("module", "found"),
    [
        ("ip-adapter_clip_h", "A1111ClipTensor"),
        ("ip-adapter_clip_sdxl", "A1111ClipTensor"),
        ("ip-adapter_face_id", "A1111FaceTensor"),
        ("instant_id_face_embedding", "A1111FaceTensor"),
    ],
)
def test_detect_answers_a_tensor_as_text(module: str, found: str) -> None:
    translation = detect(controlnet_module=module)
    (output,) = translation.outputs
    assert (output.kind, output.told_as) == ("text", "text")
    shown = translation.graph[output.node]["inputs"]["source"]
    assert translation.graph[shown[0]]["class_type"] == found


def test_detect_hides_from_clip_what_a_mask_covers() -> None:
    translation = detect(controlnet_module="ip-adapter_clip_h", controlnet_masks=[mask()])
    assert "A1111ControlNetClipImage" in classes(translation)
    (shown,) = (
        node["inputs"]
        for node in translation.graph.values()
        if node["class_type"] == "A1111ControlNetClipImage"
    )
    assert "mask" in shown


def test_detect_tells_of_what_it_ignores() -> None:
    translation = detect(controlnet_masks=[mask()], controlnet_pres=512)
    assert any("takes no mask" in text for text in translation.warning_texts)
    assert any(
        text.startswith("controlnet_pres: this endpoint has no such field")
        for text in translation.warning_texts
    )


def test_detect_takes_an_object() -> None:
    with pytest.raises(TranslationError):
        translate_detect([], Catalog.bundled(), Options(), Report())
