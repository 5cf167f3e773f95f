"""extra-single-image and extra-batch-images as graphs: sizes, canvases, blends, refusals."""

from __future__ import annotations

import base64
import io
from typing import Any

import pytest
from PIL import Image

from translator import EXTRA_BATCH, EXTRA_SINGLE, Catalog, TranslationError, translate
from translator.plan.starts import ImageUpscale
from translator.stages.extras import Enlargement

Graph = dict[str, dict[str, Any]]


def picture(width: int = 64, height: int = 48) -> str:
    out = io.BytesIO()
    Image.new("RGB", (width, height), (9, 90, 9)).save(out, "PNG")
    return base64.b64encode(out.getvalue()).decode()


def graph_of(size: tuple[int, int] = (64, 48), **fields: Any) -> Graph:
    return translate({"image": picture(*size), **fields}, EXTRA_SINGLE).graph


def nodes(graph: Graph, kind: str) -> list[dict[str, Any]]:
    return [node["inputs"] for node in graph.values() if node["class_type"] == kind]


def sizes(graph: Graph, kind: str) -> list[tuple[int, int]]:
    return [(inputs["width"], inputs["height"]) for inputs in nodes(graph, kind)]


def without(*classes: str) -> Catalog:
    bundled = Catalog.bundled()
    kept = {name: node for name, node in bundled.nodes.items() if name not in classes}
    return Catalog(kept, bundled.folders, bundled.open, bundled.facts)


@pytest.mark.parametrize(
    ("source", "factor", "by_factor", "size"),
    [
        ((64, 64), 2.0, (128, 128), (128, 128)),
        ((100, 60), 1.5, (150, 90), (144, 88)),
        ((33, 65), 4.0, (132, 260), (128, 256)),
        ((640, 480), 0.5, (320, 240), (320, 240)),
        ((100, 100), 1.0, (100, 100), (96, 96)),
    ],
)
def test_sides_are_multiplied_and_rounded_down_to_8(
    source: tuple[int, int], factor: float, by_factor: tuple[int, int], size: tuple[int, int]
) -> None:
    step = Enlargement(ImageUpscale("lanczos", None), source, factor, None)
    assert (step.by_factor, step.size) == (by_factor, size)


def test_without_an_upscaler_the_picture_stays() -> None:
    graph = graph_of(upscaler_2="no such upscaler", upscaling_resize=3)
    assert [node["class_type"] for node in graph.values()] == ["LoadImage", "SaveImage"]


def test_lanczos_comes_in_twice_where_the_size_is_no_multiple_of_8() -> None:
    graph = graph_of((100, 60), upscaler_1="Lanczos", upscaling_resize=1.5)
    assert sizes(graph, "A1111ImageScale") == [(150, 90), (144, 88)]


def test_nearest_grows_by_its_own_rule_and_ends_by_lanczos() -> None:
    graph = graph_of((100, 60), upscaler_1="Nearest", upscaling_resize=1.5)
    assert sizes(graph, "ImageScale") == [(150, 90)]
    assert nodes(graph, "ImageScale")[0]["upscale_method"] == "nearest-exact"
    assert sizes(graph, "A1111ImageScale") == [(144, 88)]


def test_a_model_runs_where_the_picture_grows_and_not_where_it_shrinks() -> None:
    grown = graph_of(upscaler_1="4x-UltraSharp", upscaling_resize=2)
    assert sizes(grown, "A1111UpscaleWithModel") == [(128, 96)]
    shrunk = graph_of((640, 480), upscaler_1="4x-UltraSharp", upscaling_resize=0.5)
    assert nodes(shrunk, "UpscaleModelLoader") == []
    assert sizes(shrunk, "A1111ImageScale") == [(320, 240)]


def test_a_model_runs_once_where_the_size_stays() -> None:
    translation = translate(
        {"image": picture(), "upscaler_1": "4x-UltraSharp", "upscaling_resize": 1}, EXTRA_SINGLE
    )
    assert len(nodes(translation.graph, "ImageUpscaleWithModel")) == 1
    assert sizes(translation.graph, "ImageScale") == [(64, 48)]
    assert any("by 1" in warning for warning in translation.warning_texts)


def test_the_canvas_cuts_what_stands_out_and_fills_what_is_missing() -> None:
    graph = graph_of(
        (64, 64),
        upscaler_1="Lanczos",
        resize_mode=1,
        upscaling_resize_w=100,
        upscaling_resize_h=50,
    )
    # 64x64 by 1.5625 is 100x100, rounded down to 96x96; the middle of 100x50 takes 96x50 of it
    crop, paste = nodes(graph, "ImageCrop")[0], nodes(graph, "ImageCompositeMasked")[0]
    assert {key: crop[key] for key in ("width", "height", "x", "y")} == {
        "width": 96,
        "height": 50,
        "x": 0,
        "y": 23,
    }
    assert (paste["x"], paste["y"]) == (2, 0)
    assert sizes(graph, "EmptyImage") == [(100, 50)]


def test_without_crop_mode_1_keeps_the_proportions() -> None:
    graph = graph_of(
        (64, 64),
        upscaler_1="Lanczos",
        resize_mode=1,
        upscaling_resize_w=96,
        upscaling_resize_h=64,
        upscaling_crop=False,
    )
    assert sizes(graph, "A1111ImageScale") == [(96, 96)]
    assert nodes(graph, "ImageCrop") == nodes(graph, "EmptyImage") == []


@pytest.mark.parametrize(("visibility", "blends"), [(0, []), (0.3, [0.3]), (1, [])])
def test_the_second_upscaler_covers_the_first_by_its_visibility(
    visibility: float, blends: list[float]
) -> None:
    graph = graph_of(
        upscaler_1="Lanczos",
        upscaler_2="4x-UltraSharp",
        extras_upscaler_2_visibility=visibility,
    )
    assert [inputs["blend_factor"] for inputs in nodes(graph, "ImageBlend")] == blends
    assert bool(nodes(graph, "A1111UpscaleWithModel")) == (visibility > 0)


def test_faces_are_restored_by_gfpgan_then_codeformer() -> None:
    translation = translate(
        {
            "image": picture(),
            "codeformer_visibility": 1,
            "codeformer_weight": 0.25,
            "gfpgan_visibility": 0.5,
        },
        EXTRA_SINGLE,
    )
    restored = nodes(translation.graph, "A1111FaceRestore")
    assert [item["model"] for item in restored] == ["GFPGAN", "CodeFormer"]
    assert restored[1]["codeformer_weight"] == 0.25
    assert [item["blend_factor"] for item in nodes(translation.graph, "ImageBlend")] == [0.5]
    assert translation.parameters["postprocessing"] == (
        "GFPGAN visibility: 0.5, CodeFormer visibility: 1.0, CodeFormer weight: 0.25"
    )


def test_faces_need_our_node_pack() -> None:
    payload = {"image": picture(), "gfpgan_visibility": 1}
    with pytest.raises(TranslationError, match=r"gfpgan_visibility: .*node pack"):
        translate(payload, EXTRA_SINGLE, without("A1111FaceRestore"))
    warned = translate(
        payload, EXTRA_SINGLE, without("A1111FaceRestore"), options={"unsupported": "warn"}
    )
    assert any("faces are left as they are" in warning for warning in warned.warning_texts)


def test_core_nodes_stand_in_for_our_pack_and_say_so() -> None:
    payload = {"image": picture(), "upscaler_1": "4x-UltraSharp", "upscaling_resize": 5}
    translation = translate(payload, EXTRA_SINGLE, without("A1111UpscaleWithModel"))
    assert len(nodes(translation.graph, "ImageUpscaleWithModel")) == 2
    assert sizes(translation.graph, "ImageScale") == [(320, 240)]
    assert any("core" in warning for warning in translation.warning_texts)


def test_equal_pictures_of_a_batch_are_uploaded_once() -> None:
    same, other = picture(), picture(32, 32)
    payload = {
        "imageList": [{"data": same}, {"data": other}, {"data": same, "name": "x"}],
        "upscaler_1": "Lanczos",
    }
    translation = translate(payload, EXTRA_BATCH)
    assert len(translation.uploads) == 2
    first, second, third = translation.outputs
    assert first.node == third.node != second.node


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"resize_mode": 2}, ["resize_mode", "2"]),
        ({"upscaling_resize_w": 0}, ["upscaling_resize_w"]),
        ({"codeformer_weight": -0.1}, ["codeformer_weight", "0..1"]),
        ({"upscaler_1": "lanczos"}, ["upscaler_1", 'did you mean "Lanczos"']),
        ({"upscaler_1": "Lanczos", "upscaler_2": "LDSR"}, ["upscaler_2", "LDSR"]),
        ({"upscaler_1": "Lanczos", "upscaling_resize": 0.1}, ["upscaling_resize", "multiple of 8"]),
        ({"image": "abc"}, ["image"]),
    ],
)
def test_a_bad_field_is_named(fields: dict[str, Any], words: list[str]) -> None:
    # The bundled catalog takes any model name, so a misspelt one is only found in a closed one.
    bundled = Catalog.bundled()
    catalog = Catalog(bundled.nodes, {"upscale_models": ("4x-UltraSharp.pth",)})
    with pytest.raises(TranslationError) as refused:
        translate({"image": picture(), **fields}, EXTRA_SINGLE, catalog)
    for word in words:
        assert word in str(refused.value)


def test_an_empty_batch_is_refused() -> None:
    with pytest.raises(TranslationError, match="imageList"):
        translate({"imageList": []}, EXTRA_BATCH)


def test_fields_that_do_not_belong_are_told() -> None:
    translation = translate({"image": picture(), "upscale_factor": 2}, EXTRA_SINGLE)
    (told,) = translation.warnings
    assert told.path == "upscale_factor"
    assert 'no such field, it is ignored, did you mean "upscaling_resize"?' in told.message
