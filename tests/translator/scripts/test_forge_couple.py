"""Forge Couple: a prompt taken apart, and where each line counts."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.translator.scripts.test_img2img_scripts import nodes
from tests.translator.scripts.test_img2img_scripts import sent as png
from translator import Translation, TranslationError, translate

COUPLE = "Forge Couple"


def made(args: list[Any], prompt: str, endpoint: str = "txt2img", **fields: Any) -> Translation:
    request = {"prompt": prompt, "seed": 1, "steps": 4, "width": 512, "height": 256}
    scripts = {COUPLE: {"args": args}}
    return translate({**request, "alwayson_scripts": scripts, **fields}, f"sdapi/v1/{endpoint}")


def regions(answer: Translation) -> list[tuple[list[float], str]]:
    """Box and prompt of every region, of one pass."""
    (node,) = nodes(answer, "A1111AttentionCouple")
    links = [node["region"], *(node[f"region_{n}"] for n in range(1, 32) if f"region_{n}" in node)]
    texts = [json.loads(answer.graph[link[0]]["inputs"]["prompt"]) for link in links]
    said = [written(text).strip() for text in texts]
    return list(zip(json.loads(node["boxes"]), said, strict=True))


def written(value: Any) -> str:
    """The words of a node's prompt."""
    if isinstance(value, dict):
        return "".join(map(written, value.values()))
    if isinstance(value, list):
        return "".join(map(written, value))
    return value if isinstance(value, str) else ""


def couple(*more: Any, mode: str = "Basic") -> list[Any]:
    return [True, True, mode, *more]


def test_lines_side_by_side_in_tiles_of_one_length() -> None:
    answer = made(couple(), "{x:blue} cat\n{x} dog\nowl")
    assert regions(answer) == [
        ([0, 0, 171, 256, 1.25], "blue cat"),
        ([171, 0, 342, 256, 1.25], "blue dog"),
        ([342, 0, 512, 256, 1.25], "owl"),
    ]
    assert "forge_couple_mode: Basic" in answer.info["infotexts"][0]
    assert not [item for item in answer.warnings if "Couple" in item.path]


def test_a_line_under_all_others() -> None:
    answer = made(couple("", "Vertical", "Last Line", 0.4), "up\ndown\nall")
    assert regions(answer) == [
        ([0, 0, 512, 128, 1.0], "up"),
        ([0, 128, 512, 256, 1.0], "down"),
        ([0, 0, 512, 256, 0.4], "all"),
    ]


@pytest.mark.parametrize(("weight", "used"), [(0.0, 0.1), (2, 2.0)])
def test_the_weight_of_the_background_has_a_lower_bound(weight: float, used: float) -> None:
    answer = made(couple("", "Horizontal", "First Line", weight), "all\nleft\nright")
    assert regions(answer)[0][0][4] == used
    assert f"forge_couple_background_weight: {weight}" in answer.info["infotexts"][0]


def test_boxes_of_its_own_and_another_separator() -> None:
    boxes = [[0, 1, 0, 1, 0.5], [0.501, 0.999, 0, 0.5, 1]]
    answer = made(couple(" SEP ", "Horizontal", "None", 0.5, boxes, mode="Advanced"), "a SEP b")
    assert regions(answer) == [([0, 0, 512, 256, 0.5], "a"), ([256, 0, 511, 128, 1.0], "b")]
    assert "forge_couple_background" not in answer.info["infotexts"][0]


def test_masks_with_weights_over_a_background() -> None:
    masks = [{"mask": png(8, 8), "weight": 1}, {"mask": png(9, 9), "weight": "0.5"}]
    args = couple("", "Horizontal", "First Line", 0.3, masks, mode="Mask")
    answer = made(args, "all\nleft\nright")
    assert regions(answer) == [
        ([0, 0, 512, 256, 0.3], "all"),
        ([0, 0, 512, 256, 1.0], "left"),
        ([0, 0, 512, 256, 0.5], "right"),
    ]
    (node,) = nodes(answer, "A1111AttentionCouple")
    pictures = [answer.graph[node[f"mask_{n}"][0]]["inputs"]["image"] for n in (1, 2)]
    assert pictures == [upload.name for upload in answer.uploads] and "mask_0" not in node
    assert "forge_couple_background: First Line" in answer.info["infotexts"][0]


def test_edits_and_and_are_words_of_a_line() -> None:
    assert [text for _, text in regions(made(couple(), "[a:b:0.5]\nc AND d"))] == [
        "a:b:0.5",
        "c AND d",
    ]


def test_networks_are_taken_out_of_the_lines() -> None:
    answer = made(couple(), "a <lora:x:0.5>\nb", override_settings={})
    assert [text for _, text in regions(answer)] == ["a", "b"]
    assert len(nodes(answer, "LoraLoader")) == 1


def test_the_hires_pass_has_the_whole_prompt_where_compatibility_is_on() -> None:
    hires = {"enable_hr": True, "hr_upscaler": "Latent", "denoising_strength": 0.5}
    assert len(nodes(made(couple(), "a\nb", **hires), "A1111AttentionCouple")) == 1
    both = nodes(made([True, False, "Basic"], "a\nb", **hires), "A1111AttentionCouple")
    assert both[0]["boxes"] == both[-1]["boxes"], "masks have the first pass' size"


@pytest.mark.parametrize(
    ("nulls", "full"),
    [
        (["", "Horizontal", "None", None, None], ["", "Horizontal", "None", 0.5]),
        (["", "Vertical", "First Line", 0.5, None, None], ["", "Vertical", "First Line", 0.5]),
    ],
)
def test_null_stands_where_nothing_reads(nulls: list[Any], full: list[Any]) -> None:
    assert regions(made(couple(*nulls), "a\nb\nc")) == regions(made(couple(*full), "a\nb\nc"))


def test_boxes_need_neither_a_direction_nor_a_background() -> None:
    boxes = [[0, 0.5, 0, 1, 1.25], [0.5, 1, 0, 1, 1.25]]
    advanced = made(couple("", None, None, None, boxes, mode="Advanced"), "a\nb")
    assert regions(advanced) == regions(made(couple(), "a\nb"))


@pytest.mark.parametrize(
    ("args", "prompt", "said"),
    [
        ([True, "Basic", "", "Horizontal", "None", 0.5, []], "a\nb", "compatibility, true or"),
        (couple("", None), "a\nb", "is not one of Horizontal, Vertical"),
        (couple(), "one line", "at least 2 are needed"),
        (couple("", "Horizontal", "First Line"), "all\nleft", "at least 2 are needed"),
        (couple("", "Diagonal"), "a\nb", "is not one of Horizontal, Vertical"),
        (couple("", "Vertical", "First Line", -1), "a\nb\nc", "within 0..100"),
        (couple(mode="Nope"), "a\nb", "is not one of Basic, Advanced, Mask"),
        (couple(mode="Mask"), "a\nb", '{"mask": picture, "weight": number}'),
        (
            couple("", "Horizontal", "None", 0.5, [{"mask": "x.png"}], mode="Mask"),
            "a",
            "base64",
        ),
        (
            couple("", "Horizontal", "None", 0.5, [{"mask": png(8, 8)}], mode="Mask"),
            "a\nb",
            "2 lines for 1 places",
        ),
        (couple("", "Horizontal", "None", 0.5, [], mode="Advanced"), "a", "is needed"),
        (
            couple("", "Horizontal", "None", 0.5, [[0, 0.5, 0, 1, 1]], mode="Advanced"),
            "a",
            "leave a part of the picture",
        ),
        (couple(), "\n".join("x" * 40), "at most 32 are done"),
        (couple(), "{a:" + "x" * 9000 + "}\n" + "{a}" * 9000, "more than 2000000"),
    ],
)
def test_what_cannot_be_done_is_refused(args: list[Any], prompt: str, said: str) -> None:
    with pytest.raises(TranslationError) as error:
        made(args, prompt)
    assert said in str(error.value)


def test_prompts_of_tiles_are_refused() -> None:
    args = [*couple("", "Horizontal", "None", 0.5, [], "{ }", False, True), True, 2, 2, 0.7, ""]
    with pytest.raises(TranslationError, match="Tile Mode"):
        made(args, "a\nb", init_images=[png(64, 64)], endpoint="img2img")
