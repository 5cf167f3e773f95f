"""POST /sdapi/v1/interrogate: which node tells the picture, and what becomes of its words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from devserver.signatures import read_specs
from tests.captioning import BLIP, BLIP_LOADER, FLORENCE, WD14, documents, florence_loader
from tests.corpus import picture
from translator import INTERROGATE, Catalog, Translation, TranslationError, translate
from translator.endpoints.interrogate import caption
from translator.request.a1111_options import A1111Options

PACKS: Mapping[str, Mapping[str, Any]] = {
    "wd14": {"WD14Tagger|pysssss": WD14},
    "blip": {"BLIP Analyze Image": BLIP, "BLIP Model Loader": BLIP_LOADER},
    "florence": {
        "Florence2Run": FLORENCE,
        "Florence2ModelLoader": florence_loader("Florence-2-base"),
    },
    "florence without weights": {
        "Florence2Run": FLORENCE,
        "Florence2ModelLoader": florence_loader(),
    },
}


def catalog(*packs: str) -> Catalog:
    """A ComfyUI with some of the packs."""
    nodes = {name: node for pack in packs for name, node in PACKS[pack].items()}
    specs = read_specs(documents(nodes))
    info = {name: spec.describe(lambda folder: ()) for name, spec in specs.items()}
    return Catalog.from_object_info(info)


def translated(model: str, *packs: str, options: dict[str, Any] | None = None) -> Translation:
    payload = {"image": picture("photo.jpg"), "model": model}
    return translate(payload, INTERROGATE, catalog(*packs), options=options or {})


def test_a_tagger_answers_for_deepdanbooru() -> None:
    result = translated("deepdanbooru", "wd14", "blip")
    (output,) = result.outputs
    node = result.graph[output.node or ""]
    assert (output.kind, output.told_as) == ("text", "tags")
    assert node["class_type"] == "WD14Tagger|pysssss"
    assert node["inputs"]["threshold"] == 0.5
    assert node["inputs"]["model"] == "wd-v1-4-moat-tagger-v2"
    assert node["inputs"]["replace_underscore"] is False
    assert "not DeepDanbooru's" in result.warning_texts[0]
    assert len(result.uploads) == 1


def test_blip_answers_for_clip_by_a1111s_options() -> None:
    options = {"a1111_options": {"interrogate_clip_num_beams": 4}}
    result = translated("clip", "florence", "blip", options=options)
    (output,) = result.outputs
    shown = result.graph[output.node or ""]
    assert (shown["class_type"], output.told_as) == ("PreviewAny", "text")
    described = result.graph[shown["inputs"]["source"][0]]
    assert described["class_type"] == "BLIP Analyze Image"
    limits = [described["inputs"][name] for name in ("num_beams", "min_length", "max_length")]
    assert limits == [4, 24, 48]
    loader = result.graph[described["inputs"]["blip_model"][0]]
    assert loader["inputs"]["blip_model"] == "Salesforce/blip-image-captioning-base"


def test_florence_answers_where_it_has_weights() -> None:
    result = translated("clip", "florence")
    (output,) = result.outputs
    node, place = result.graph[output.node or ""]["inputs"]["source"]
    assert (result.graph[node]["class_type"], place) == ("Florence2Run", 2)
    assert result.graph[node]["inputs"]["task"] == "caption"


@pytest.mark.parametrize("packs", [(), ("florence without weights",), ("wd14",)])
@pytest.mark.parametrize("unsupported", ["error", "warn"])
def test_without_a_node_it_says_what_to_install(packs: tuple[str, ...], unsupported: str) -> None:
    with pytest.raises(TranslationError) as error:
        translated("clip", *packs, options={"unsupported": unsupported})
    assert "was-node-suite-comfyui (MIT; weights Salesforce/blip" in str(error.value)
    (problem,) = error.value.problems
    assert problem.kind == "missing"


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        ({"image": None}, "Image not found"),
        ({"image": "no picture"}, "is not base64"),
        ({"image": ""}, "it is empty"),
        ({"image": "AAAA", "model": "blip"}, "Model not found"),
        ({"image": "AAAA", "model": 3.5}, "Model not found"),
    ],
)
def test_what_a1111_refuses(payload: dict[str, Any], message: str) -> None:
    with pytest.raises(TranslationError, match=message):
        translate(payload, INTERROGATE, catalog("wd14", "blip"))


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, r"1girl, long hair, saber \(fate\)"),
        ({"deepbooru_sort_alpha": False}, r"saber \(fate\), 1girl, long hair"),
        ({"deepbooru_use_spaces": False}, r"1girl, long_hair, saber_\(fate\)"),
        ({"deepbooru_escape": False}, "1girl, long hair, saber (fate)"),
        ({"deepbooru_filter_tags": "long hair, 1girl"}, r"saber \(fate\)"),
    ],
)
def test_tags_are_written_as_a1111_writes_them(options: dict[str, Any], expected: str) -> None:
    told = r"rating:safe, saber_\(fate\), 1girl, long_hair"
    assert caption("deepdanbooru", told, A1111Options.with_defaults(**options)) == expected


def test_words_stay_words() -> None:
    told = " a cat (grey), on_a mat\n"
    assert caption("clip", told, A1111Options.with_defaults()) == "a cat (grey), on_a mat"
