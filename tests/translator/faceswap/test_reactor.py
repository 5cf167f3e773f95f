"""ReActor: what the 31 values become, and what is refused by name.

``object_info.json`` has three nodes of ComfyUI-ReActor 0.7.0-a2 (6ad6b35a) as a server lists them.
"""

from __future__ import annotations

import base64
import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from translator import Catalog, Options, Translation, TranslationError, translate
from translator.comfy.catalog import Catalog as NodeCatalog

BASE = {"prompt": "a cat", "seed": 1, "steps": 2, "width": 64, "height": 96}

TARGET, PERSON = "A1111FaceSwapResult", "ReActorFaceSwapOpt"


def _png(side: int, colour: str) -> str:
    buffer = io.BytesIO()
    Image.new("RGB", (side, side), colour).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode("ascii")


FACE, INIT = _png(32, "red"), _png(48, "blue")


def _catalog() -> Catalog:
    info = json.loads(Path(__file__).with_name("object_info.json").read_text("utf-8"))
    own = NodeCatalog.from_object_info(info).nodes
    bundled = Catalog.bundled()
    models = {"upscale_models": ("RealESRGAN_x4plus.pth",)}
    return replace(bundled, nodes={**bundled.nodes, **own}, folders=models)


def arguments(**changed: Any) -> list[Any]:
    """The 31 values as clients send them, some changed by position (``p4=...``)."""
    values: list[Any] = [FACE, True, "0", "0", None, "None", 1, True, "None", 1, 1, False, True, 1]
    values += [0, 0, False, 0.5, True, False, "CUDA", False, 0, "None", "", None, False, False]
    values += [0.5, 0, "tab_single"]
    assert len(values) == 31
    for name, value in changed.items():
        values[int(name[1:])] = value
    return values


def swapped(args: list[Any], endpoint: str = "txt2img", **fields: Any) -> Translation:
    options = fields.pop("options", Options())
    scripts = {"reactor": {"args": args}, **fields.pop("scripts", {})}
    payload = {**BASE, **fields, "alwayson_scripts": scripts}
    return translate(payload, f"/sdapi/v1/{endpoint}", catalog=_catalog(), options=options)


def nodes(found: Translation, class_type: str) -> list[dict[str, Any]]:
    return [node["inputs"] for node in found.graph.values() if node["class_type"] == class_type]


def inputs(found: Translation, link: list[Any]) -> dict[str, Any]:
    result: dict[str, Any] = found.graph[link[0]]["inputs"]
    return result


def kind(found: Translation, link: list[Any]) -> str:
    return str(found.graph[link[0]]["class_type"])


def test_faces_are_numbered_from_the_left_and_the_picture_is_uploaded() -> None:
    found = swapped(arguments(p2="1, 0", p3="0,x,2", p13=2, p14=2, p15=1))
    (swap,) = nodes(found, PERSON)
    options = inputs(found, swap["options"])
    assert options["input_faces_order"] == options["source_faces_order"] == "left-right"
    assert (options["source_faces_index"], options["input_faces_index"]) == ("1,0", "0,2")
    assert (options["detect_gender_source"], options["detect_gender_input"]) == ("male", "female")
    assert options["console_log_level"] == 2
    assert swap["swap_model"] == "inswapper_128.onnx"
    assert swap["face_restore_model"] == "none", "it restores face by face"
    assert inputs(found, swap["source_image"])["image"] == found.uploads[-1].name
    assert found.uploads[-1].data == FACE
    (result,) = nodes(found, TARGET)
    assert result["processed"] == result["swapped"]
    assert kind(found, result["image"]) == "VAEDecode"
    assert kind(found, result["swapped"]) == PERSON


def test_a_result_with_swapped_faces_is_restored_and_enlarged_in_the_order_asked_for() -> None:
    settings = {"p5": "CodeFormer", "p6": 0.5, "p17": 0.2, "p8": "Lanczos", "p9": 1.5}
    (result,) = nodes(found := swapped(arguments(**settings)), TARGET)
    scale = inputs(found, result["processed"])
    assert (scale["width"], scale["height"]) == (96, 144)
    blend = inputs(found, scale["image"])
    assert blend["blend_factor"] == 0.5
    assert inputs(found, blend["image2"])["codeformer_weight"] == 0.2
    (result,) = nodes(found := swapped(arguments(**settings, p7=False)), TARGET)
    assert kind(found, result["processed"]) == "ImageBlend"
    assert result["forced"] is False
    (result,) = nodes(swapped(arguments(p27=True)), TARGET)
    assert result["forced"] is True


def test_an_upscaler_by_1_is_blended_by_its_visibility() -> None:
    (result,) = nodes(found := swapped(arguments(p8="R-ESRGAN 4x+", p10=0.25)), TARGET)
    blend = inputs(found, result["processed"])
    assert blend["blend_factor"] == 0.25
    assert kind(found, blend["image1"]) == PERSON


def test_each_picture_of_a_batch_goes_its_own_way() -> None:
    found = swapped(arguments(), batch_size=2, n_iter=2)
    assert len(nodes(found, PERSON)) == len(found.outputs) == 4
    assert len(nodes(found, "ReActorOptions")) == 1


def test_swapped_pictures_follow_the_originals_where_these_are_kept() -> None:
    found = swapped(arguments(p16=True), batch_size=2)
    kinds = [kind(found, inputs(found, [output.node, 0])["images"]) for output in found.outputs]
    assert len(kinds) == 4
    assert kinds[2:] == [TARGET, TARGET]
    assert TARGET not in kinds[:2]
    assert len(found.info["infotexts"]) == 2, "A1111 writes none for them"
    assert found.answer.infotexts[2:] == [None, None]


def test_it_comes_behind_adetailer_and_before_the_colours() -> None:
    unit = {"ADetailer": {"args": [True, False, {"ad_model": "face_yolov8n.pt"}]}}
    (result,) = nodes(found := swapped(arguments(), scripts=unit), TARGET)
    assert kind(found, result["image"]) == "A1111DetailRegions"
    options = {"img2img_color_correction": True}
    found = swapped(arguments(), "img2img", init_images=[INIT], override_settings=options)
    (correction,) = nodes(found, "A1111ColorCorrection")
    assert kind(found, correction["image"]) == TARGET


def test_faces_of_init_images_are_swapped_before_they_are_encoded() -> None:
    changed = {"p11": True, "p12": False, "p8": "Lanczos", "p9": 2}
    found = swapped(arguments(**changed), "img2img", init_images=[INIT])
    (result,) = nodes(found, TARGET)
    assert kind(found, result["image"]) == "LoadImage"
    scale = inputs(found, result["processed"])
    assert (scale["width"], scale["height"]) == (96, 96)
    (encode,) = nodes(found, "A1111VAEEncode")
    resized = inputs(found, encode["pixels"])
    assert kind(found, resized["image"]) == TARGET
    assert {upload.data for upload in found.uploads} == {FACE, INIT}


def test_a_stored_face_takes_the_place_of_a_picture() -> None:
    found = swapped(arguments(p0=None, p22=1, p23="elena.safetensors"))
    (swap,) = nodes(found, PERSON)
    assert "source_image" not in swap
    assert inputs(found, swap["face_model"])["face_model"] == "elena.safetensors"
    assert found.uploads == ()


def test_24_values_do_and_less_are_a_warning() -> None:
    assert nodes(swapped(arguments()[:24]), PERSON)
    found = swapped(arguments()[:13])
    assert nodes(found, PERSON)
    assert any("less than 23 values" in warning.message for warning in found.warnings)


def test_no_infotext_tells_of_it() -> None:
    assert "reactor" not in json.dumps(swapped(arguments()).info).lower()


@pytest.mark.parametrize("args", [[], [FACE, False], arguments(p1=False), arguments(p12=False)])
def test_off_is_off(args: list[Any]) -> None:
    found = swapped(args)
    assert not nodes(found, PERSON)
    assert not any("reactor" in warning.path for warning in found.warnings)


@pytest.mark.parametrize(
    ("changed", "path", "words"),
    [
        ({"p0": None}, "[0]", "no picture"),
        ({"p0": "nothing"}, "[0]", "base64"),
        ({"p2": "0,1"}, "[2]", "2 source faces for 1"),
        ({"p4": "/models/inswapper_128.onnx"}, "[4]", "is a path"),
        ({"p4": "inswapper.onnx"}, "[4]", 'did you mean "inswapper_128.onnx"'),
        ({"p5": "Codeformer"}, "[5]", 'did you mean "CodeFormer"'),
        ({"p6": 2}, "[6]", "is not a number of 0 to 1"),
        ({"p8": "Lanzos"}, "[8]", 'did you mean "Lanczos"'),
        ({"p9": 9}, "[9]", "1 to 8"),
        ({"p14": 3}, "[14]", "1 (female)"),
        ({"p15": True}, "[15]", "1 (female)"),
        ({"p21": True}, "[21]", "mask correction"),
        ({"p22": 1}, "[23]", "none is named"),
        ({"p22": 1, "p23": "../x.safetensors"}, "[23]", "is a path"),
        ({"p22": 1, "p23": "elna.safetensors"}, "[23]", 'did you mean "elena.safetensors"'),
        ({"p22": 2, "p24": "/etc"}, "[22]", "folders of the server"),
        ({"p22": "picture"}, "[22]", "0 (image)"),
        ({"p28": 0.3}, "[28]", "0.5"),
        ({"p29": 2}, "[29]", "all faces"),
        ({"p30": "tab_multiple"}, "[25]", "send one"),
    ],
)
def test_refused_by_name(changed: dict[str, Any], path: str, words: str) -> None:
    with pytest.raises(TranslationError) as caught:
        swapped(arguments(**changed))
    (problem,) = caught.value.problems
    assert problem.path == f"alwayson_scripts.reactor.args{path}"
    assert words in problem.message


def test_without_the_pack_it_is_refused_with_what_to_install() -> None:
    payload = {**BASE, "alwayson_scripts": {"ReActor": {"args": arguments()}}}
    with pytest.raises(TranslationError) as caught:
        translate(payload)
    (problem,) = caught.value.problems
    assert problem.kind == "missing"
    assert "github.com/Gourieff/ComfyUI-ReActor" in problem.message
    assert "consent" in problem.message
    found = translate(payload, options=Options(unsupported="warn"))
    assert not nodes(found, TARGET)


def test_core_nodes_alone_do_not_do() -> None:
    with pytest.raises(TranslationError, match="needs our node pack"):
        swapped(arguments(), options=Options(fidelity="core"))


def test_results_are_not_enlarged_before_they_are_put_back() -> None:
    fields = {"init_images": [INIT], "mask": _png(48, "white")}
    with pytest.raises(TranslationError, match="put back into a picture"):
        swapped(arguments(p8="Lanczos", p9=2), "img2img", **fields)
    assert nodes(swapped(arguments(), "img2img", **fields), TARGET)
