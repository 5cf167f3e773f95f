"""Regional Prompter and Forge Couple: a prompt taken apart, and where each part counts."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.translator.scripts.test_img2img_scripts import nodes
from translator import Translation, TranslationError, translate

RP = "Regional Prompter"
COUPLE = "Forge Couple"


def regional(
    ratios: str = "1,1", submode: str = "Columns", base: str | None = None, **more: Any
) -> list[Any]:
    args = [True, False, "Matrix", submode, "Mask", "Prompt", ratios, base or "0.2"]
    args += [base is not None, more.get("common", False), False, more.get("mode", "Attention")]
    return args


def made(title: str, args: list[Any], prompt: str, **fields: Any) -> Translation:
    request = {"prompt": prompt, "seed": 1, "steps": 4, "width": 512, "height": 256}
    return translate({**request, "alwayson_scripts": {title: {"args": args}}, **fields})


def regions(answer: Translation) -> list[tuple[list[float], str]]:
    """Box and prompt of every region, of one pass."""
    (node,) = nodes(answer, "A1111AttentionCouple")
    links = [node["region"], *(node[f"region_{n}"] for n in range(1, 32) if f"region_{n}" in node)]
    texts = [json.loads(answer.graph[link[0]]["inputs"]["prompt"]) for link in links]
    said = ["".join(_words(text)).strip() for text in texts]
    return list(zip(json.loads(node["boxes"]), said, strict=True))


def _words(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [word for item in value.values() for word in _words(item)]
    if isinstance(value, list):
        return [word for item in value for word in _words(item)]
    return [value] if isinstance(value, str) else []


def test_columns_by_their_ratios() -> None:
    answer = made(RP, regional("1,3"), "a cat BREAK a dog")
    assert regions(answer) == [
        ([0, 0, 128, 256, 1.0], "a cat"),
        ([128, 0, 512, 256, 1.0], "a dog"),
    ]
    assert "RP Active: True" in answer.info["infotexts"][0]
    assert 'RP Ratios: "1,3"' in answer.info["infotexts"][0]


def test_rows_with_base_and_common_prompt() -> None:
    prompt = "best ADDCOMM a field ADDBASE sky ADDROW ground"
    answer = made(RP, regional(submode="Rows", base="0.25", common=True), prompt)
    assert regions(answer) == [
        ([0, 0, 512, 128, 0.75], "best ,  sky"),
        ([0, 0, 512, 128, 0.25], "best ,  a field"),
        ([0, 128, 512, 256, 0.75], "best ,  ground"),
        ([0, 128, 512, 256, 0.25], "best ,  a field"),
    ]


def test_a_prompt_that_is_not_divided_is_left_alone() -> None:
    answer = made(RP, regional(), "a cat")
    assert not nodes(answer, "A1111AttentionCouple")
    assert "RP Active" not in answer.info["infotexts"][0]


def couple(*more: Any, mode: str = "Basic") -> list[Any]:
    return [True, True, mode, *more]


def test_lines_side_by_side() -> None:
    answer = made(COUPLE, couple(), "{x:blue} cat\n{x} dog\nowl")
    assert regions(answer) == [
        ([0, 0, 171, 256, 1.25], "blue cat"),
        ([171, 0, 341, 256, 1.25], "blue dog"),
        ([341, 0, 512, 256, 1.25], "owl"),
    ]
    assert "forge_couple_mode: Basic" in answer.info["infotexts"][0]


def test_a_line_under_all_others() -> None:
    answer = made(COUPLE, couple("", "Vertical", "Last Line", 0.4), "up\ndown\nall")
    assert regions(answer) == [
        ([0, 0, 512, 256, 0.4], "all"),
        ([0, 0, 512, 128, 1.0], "up"),
        ([0, 128, 512, 256, 1.0], "down"),
    ]


def test_boxes_of_its_own_and_another_separator() -> None:
    boxes = [[0, 1, 0, 1, 0.5], [0.5, 1, 0, 0.5, 1]]
    answer = made(
        COUPLE, couple(" SEP ", "Horizontal", "None", 0.5, boxes, mode="Advanced"), "a SEP b"
    )
    assert regions(answer) == [([0, 0, 512, 256, 0.5], "a"), ([256, 0, 512, 128, 1.0], "b")]


def test_the_hires_pass_has_the_whole_prompt_where_compatibility_is_on() -> None:
    hires = {"enable_hr": True, "hr_upscaler": "Latent", "denoising_strength": 0.5}
    assert len(nodes(made(COUPLE, couple(), "a\nb", **hires), "A1111AttentionCouple")) == 1
    both = [True, False, "Basic"]
    assert len(nodes(made(COUPLE, both, "a\nb", **hires), "A1111AttentionCouple")) == 2


@pytest.mark.parametrize(
    ("title", "args", "prompt", "said"),
    [
        (RP, regional("1,1,1"), "a BREAK b", "2 regions, and 3 ratios"),
        (RP, regional("1,1;2,1"), "a BREAK b", "regions within regions"),
        (RP, regional(mode="Latent"), "a BREAK b", "Latent mode"),
        (RP, [True, False, "Mask"], "a BREAK b", "needs masks"),
        (RP, regional("9" * 400), "a BREAK b", "no list of ratios"),
        (COUPLE, couple(), "one line", "at least 2 are needed"),
        (COUPLE, couple(mode="Mask"), "a\nb", "needs masks"),
        (COUPLE, couple("", "Horizontal", "None", 0.5, [], mode="Advanced"), "a", "is needed"),
        (
            COUPLE,
            couple("", "Horizontal", "None", 0.5, [[0, 0.5, 0, 1, 1]], mode="Advanced"),
            "a",
            "leave a part of the picture",
        ),
        (COUPLE, couple(), "\n".join("x" * 40), "at most 32 are done"),
        (RP, regional(common=True), "x" * 9000 + "BREAK" * 9000, "more regions than the 32"),
        (COUPLE, couple(), "{a:" + "x" * 9000 + "}\n" + "{a}" * 9000, "more than 2000000"),
    ],
)
def test_what_cannot_be_done_is_refused(
    title: str, args: list[Any], prompt: str, said: str
) -> None:
    with pytest.raises(TranslationError) as error:
        made(title, args, prompt)
    assert said in str(error.value)
