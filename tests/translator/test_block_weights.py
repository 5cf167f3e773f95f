"""LoRA tags of extensions: block weights, windows of steps, strengths of the hires pass."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from translator import Translation, TranslationError, translate
from translator.prompt import PromptError, parse
from translator.prompt.block_weights import (
    BLOCKS,
    SPELLINGS,
    BlockWeights,
    Element,
    Presets,
    read_elements,
    read_ratios,
)
from translator.prompt.lora_extensions import weighted
from translator.prompt.networks import Lora
from translator.prompt.step_weights import Curve, Window, read_strength


def read(tags: str, presets: Presets | None = None) -> list[Lora]:
    """The LoRAs of a prompt as LoRA Block Weight changes them."""
    prompt = parse(tags, 20)
    draw = random.Random(1)
    return list(weighted(prompt.networks, prompt.loras, presets or Presets(), draw))


def blocks(tags: str, presets: Presets | None = None) -> dict[str, float]:
    """The factors of the first LoRA that are not 0, by block."""
    found = read(tags, presets)[0].blocks
    assert found is not None
    return {name: ratio for name, ratio in zip(BLOCKS, found.ratios, strict=True) if ratio}


MIDD = ("BASE", "IN05", "IN07", "IN08", "M00", "OUT03", "OUT04", "OUT05", "OUT06")


@pytest.mark.parametrize(
    ("tag", "expected"),
    [
        ("<lora:x:0.7:lbw=MIDD>", dict.fromkeys(MIDD, 1.0)),
        ("<lora:x:1:w=0,0,0,0,0,0,0.5,0,0,0,0,0,0,0,0,0,0>", {"IN08": 0.5}),
        ("<lora:x:1:lbw=0,1,0,0,0,2,0,0,0,0,0,3>", {"IN04": 1.0, "M00": 2.0, "OUT05": 3.0}),
        ("<lora:x:1:lbw=" + ",".join(["0"] * 19 + ["1"]) + ">", {"OUT08": 1.0}),
        ("<lora:x:1:lbw=" + ",".join(["0"] * 25 + ["-1"]) + ">", {"OUT11": -1.0}),
        ("<lora:x:1:lbw=" + ",".join(["0"] * 13 + ["1"] + ["0"] * 47) + ">", {"M00": 1.0}),
        ("<lora:x:1:lbw=X,0,0,0,0,X+0.5,0,0,0,0,0,X-0.5:x=0.7>", None),
    ],
)
def test_factors_of_each_spelling(tag: str, expected: dict[str, float] | None) -> None:
    if expected is None:
        assert blocks(tag) == pytest.approx({"BASE": 0.7, "M00": 1.2, "OUT05": 0.2})
    else:
        assert blocks(tag) == expected


def test_spellings_name_blocks_in_order() -> None:
    for names in SPELLINGS.values():
        assert [name for name in BLOCKS if name in names] == list(names)


def test_presets_of_the_request_take_the_place_of_the_extensions_own() -> None:
    presets = Presets(read_ratios("# no: 1,2\nMINE : 1,0,0,0,0,0,0,0,0,0,0,0\nodd:1,2"), {})
    assert blocks("<lora:x:1:lbw=MINE>", presets) == {"BASE": 1.0}
    with pytest.raises(PromptError, match="lbw=MIDD is no preset"):
        read("<lora:x:1:lbw=MIDD>", presets)


def test_elements_go_before_blocks() -> None:
    presets = Presets(elements=read_elements("A:IN01-IN02:attn1 ff:0.5,NOT BASE:proj:0\n\nB:::1"))
    found = read("<lora:x:1:lbwe=A>", presets)[0].blocks
    assert found == BlockWeights(
        (1.0,) * 26,
        (
            Element(("IN01", "IN02"), False, ("attn1", "ff"), False, 0.5),
            Element(("BASE",), True, ("proj",), False, 0.0),
        ),
    )


def test_all_ones_change_nothing() -> None:
    tag = "<lora:x:0.5:lbw=" + ",".join("1" * 26) + ">"
    assert read(tag) == [Lora("x", 0.5, 0.5)]


def test_one_strength_is_meant_for_both_where_a_tag_of_the_kind_has_blocks() -> None:
    """A1111 leaves te at 1 beside unet=; the extension then sets both."""
    assert read("<lora:x:unet=0.5>")[0].text_encoder == 1.0
    with_blocks = read("<lora:x:unet=0.5:lbw=MIDD><lora:y:te=0.3><lyco:z:unet=0.2>")
    assert [(lora.text_encoder, lora.unet) for lora in with_blocks] == [
        (0.5, 0.5),
        (0.3, 0.3),
        (1.0, 0.2),
    ]


def test_of_tags_with_one_name_the_first_counts() -> None:
    first, second = read("<lora:x:0.5:lbw=MIDD><lora:x:0.9>")
    assert first == second and first.unet == 0.5


@pytest.mark.parametrize(
    "tag",
    [
        "<lora:x:1:lbw=1,2,3>",
        "<lora:x:1:lbw=a,0,0,0,0,0,0,0,0,0,0,0>",
        "<lora:x:1:lbw=inf,0,0,0,0,0,0,0,0,0,0,0>",
        "<lora:x:1:lbwe=NONE>",
        "<lora:x:1:start=soon>",
        "<lora:x:1:step=1-2-3>",
        "<lora:x:1:stop=" + "9" * 5000 + ">",
        "<lora:x:0@0,1@1:stop=3>",
    ],
)
def test_what_cannot_be_read_is_an_error(tag: str) -> None:
    with pytest.raises(PromptError):
        read(tag)


@pytest.mark.parametrize(
    ("window", "acts"),
    [
        (Window(None, None), [0, 1, 2, 3, 4, 5]),
        (Window(3, None), [2, 3, 4, 5]),
        (Window(1, None), [0, 1, 2, 3, 4, 5]),
        (Window(None, 3), [0, 1]),
        (Window(None, 1), []),
        (Window(2, 4), [1, 2]),
        (Window(4, 4), []),
        (Window(4, 2), [3, 4, 5]),
    ],
)
def test_windows_count_as_a1111s_counter_does(window: Window, acts: list[int]) -> None:
    assert [step for step in range(6) if window.at(step, 6)] == acts


@pytest.mark.parametrize(
    ("text", "steps", "expected"),
    [
        ("0@0,1@1", 6, [0, 0.25, 0.5, 0.75, 1, 1]),
        ("1@0;0.5@3~9", 6, [1, 1, 1, 1, 1, 1]),
        ("1@2,0@4", 6, [1, 1, 1, 0.5, 0, 0]),
        ("0.5,1@1", 6, None),
    ],
)
def test_curves_are_straight_between_points(
    text: str, steps: int, expected: list[float] | None
) -> None:
    curve = read_strength(text)
    if expected is None:
        assert curve == 0.5
    elif "3~9" in text:
        assert curve == Curve((0.0, 1.0), (1.0, 0.5))
    else:
        assert isinstance(curve, Curve)
        assert [curve.at(step, steps) for step in range(steps)] == pytest.approx(expected)


def translated(prompt: str, **fields: Any) -> Translation:
    request = {"prompt": prompt, "steps": 6, "seed": 1, "sampler_name": "Euler", **fields}
    return translate(request)


def inputs(translation: Translation, node: str) -> list[dict[str, Any]]:
    """What the nodes of a class are given."""
    return [item["inputs"] for item in translation.graph.values() if item["class_type"] == node]


def test_a_window_becomes_a_hook_and_the_text_encoder_keeps_the_lora() -> None:
    made = translated("a <lora:x:0.7:start=3>")
    (loader,) = inputs(made, "LoraLoader")
    assert (loader["strength_model"], loader["strength_clip"]) == (0.0, 0.7)
    (hook,) = inputs(made, "CreateHookLoraModelOnly")
    assert hook["strength_model"] == 0.7
    frames = inputs(made, "CreateHookKeyframe")
    assert [frame["strength_mult"] for frame in frames] == [0.0, 1.0]
    percent = made.plans[0].first.schedule.percent_before_step(3)
    assert frames[1]["start_percent"] == pytest.approx(percent, abs=0.02)
    assert "LoRA Block Weight" in str(made.warnings)


def test_a_window_of_all_steps_is_the_plain_lora() -> None:
    for tag in ("<lora:x:0.7:start=1>", "<lora:x:0.7:stop=60>"):
        made = translated(f"a {tag}")
        assert not inputs(made, "CreateHookLoraModelOnly")
        assert inputs(made, "LoraLoader")[0]["strength_model"] == 0.7


def test_blocks_and_window_together() -> None:
    made = translated("a <lora:x:0.7:lbw=OUTALL:stop=3>")
    (loader,), (hook,) = inputs(made, "A1111LoraBlocks"), inputs(made, "A1111LoraBlocksHook")
    assert loader["strength_model"] == 0.0 and loader["weights"] == hook["weights"]
    assert len(json.loads(hook["weights"])["ratios"]) == 26


def test_strengths_of_the_hires_pass() -> None:
    made = translated(
        "a <lora:x:0.7:hrte=0.1:hr=0.2>",
        enable_hr=True,
        denoising_strength=0.5,
        hr_upscaler="Latent",
    )
    strengths = [
        (loader["strength_model"], loader["strength_clip"]) for loader in inputs(made, "LoraLoader")
    ]
    assert strengths == [(0.7, 0.7), (0.2, 0.1)]


def test_an_unknown_preset_is_refused_with_those_there_are() -> None:
    with pytest.raises(TranslationError, match=r"prompt: lbw=NOPE is no preset .*MIDD.*script"):
        translated("a <lora:x:1:lbw=NOPE>")


def test_the_script_switched_off_uses_the_lora_whole_and_says_so() -> None:
    off = {"LoRA Block Weight": {"args": ["", False]}}
    made = translated("a <lora:x:0.7:lbw=MIDD>", alwayson_scripts=off)
    assert inputs(made, "LoraLoader")[0]["strength_model"] == 0.7
    assert "lbw is read by extensions" in str(made.warnings)


def test_the_scripts_own_presets() -> None:
    script = {"LoRA Block Weight": {"args": ["MINE:0,1,0,0,0,0,0,0,0,0,0,0", True]}}
    made = translated("a <lora:x:0.7:lbw=MINE>", alwayson_scripts=script)
    (loader,) = inputs(made, "A1111LoraBlocks")
    assert sum(json.loads(loader["weights"])["ratios"]) == 1.0
    assert "LoRA Block Weight" not in str(made.warnings)


def test_without_our_pack_factors_are_refused() -> None:
    with pytest.raises(TranslationError, match="factors of blocks need our node pack"):
        translate({"prompt": "<lora:x:1:lbw=MIDD>"}, options={"fidelity": "core"})


def test_many_curves_are_refused_by_counting() -> None:
    prompt = "a " + " ".join(f"<lora:x{n}:0@0,1@1>" for n in range(60))
    with pytest.raises(TranslationError, match="too many changes"):
        translated(prompt, steps=100)


def test_many_elements_are_refused_by_counting() -> None:
    presets = "A:" + ",".join(["IN00-OUT11:attn:1"] * 1000)
    args = ["", True, *[None] * 13, presets]
    prompt = " ".join(f"<lora:x{n}:1:lbwe=A>" for n in range(1000))
    with pytest.raises(TranslationError, match=r"elements .* are 1000000 together"):
        translated(prompt, alwayson_scripts={"LoRA Block Weight": {"args": args}})
