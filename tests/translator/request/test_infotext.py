"""An infotext read back: as A1111 parses it, and into a request."""

from __future__ import annotations

from typing import Any

import pytest

from tests.translator.golden_info import LEFT_SET, facts_of, goldens
from translator.infotext.text import create_infotext
from translator.report import Report
from translator.request.a1111_options import resolve_a1111_options
from translator.request.infotext import apply_infotext, parse_infotext

NOT_IN_A_TEXT = {
    "misc/opt_beta": "A1111 reads them back from keys that it does not write",
    "misc/ckpt_override": "option disable_weights_auto_swap",
    "misc/ckpt_hash_override": "option disable_weights_auto_swap",
    "misc/smin_uncond": "an override that A1111 reads too early",
    "misc/smin_uncond_all": "an override that A1111 reads too early",
    "misc/disable_networks": "a field that no text holds",
    "misc/lora_hash_off": "an option that no text holds",
    "seeds/resize_up": "A1111 swaps width and height of the seed resize",
    "seeds/resize_sub": "A1111 swaps width and height of the seed resize",
    "clip/comments_off": "an option that no text holds",
}
"""Goldens whose text does not hold all that made it, and what is missing."""

RESTORED = [
    case
    for case, row in goldens().items()
    if case not in NOT_IN_A_TEXT and not row["payload"].get("script_name")
]


def parse(text: str, **server: Any) -> dict[str, Any]:
    return parse_infotext(text, resolve_a1111_options(server, None, Report()))


def apply(text: str, tab: Any = "txt2img", server: Any = None, **payload: Any) -> dict[str, Any]:
    report = Report()
    filled = apply_infotext({"infotext": text, **payload}, server or {}, report, tab)
    report.raise_if_refused()
    return filled


@pytest.mark.parametrize("case", RESTORED)
def test_a_golden_text_restores_the_request_that_writes_it(case: str) -> None:
    info = goldens()[case]["info"]
    text = info["infotexts"][0]
    facts = facts_of(apply(text), seed=0, subseed=info["subseed"])
    assert create_infotext(facts, 0) == text


@pytest.mark.parametrize("case", sorted(NOT_IN_A_TEXT))
def test_goldens_left_out_are_not_restored(case: str) -> None:
    info = goldens()[case]["info"]
    text = info["infotexts"][0]
    facts = facts_of(apply(text), seed=0, subseed=info["subseed"])
    assert create_infotext(facts, 0) != text


def test_what_a_text_does_not_say_has_a1111s_defaults() -> None:
    parsed = parse("cat\nSteps: 5, Sampler: Euler, CFG scale: 4.5, Size: 72x64")
    assert parsed["Prompt"] == "cat"
    assert (parsed["Size-1"], parsed["Size-2"]) == ("72", "64")
    assert parsed["Clip skip"] == "1"
    assert parsed["Schedule type"] == "Automatic"
    assert parsed["Hires sampler"] == "Use same sampler"
    assert "Emphasis" not in parsed


def test_fewer_than_three_parameters_are_prompt() -> None:
    parsed = parse("a cat\nSteps: 5, Seed: 3")
    assert parsed["Prompt"] == "a cat\nSteps: 5, Seed: 3"
    assert "Seed" not in parsed


def test_prompts_of_several_lines() -> None:
    parsed = parse("a\n\nb\nNegative prompt: c\nd\nSteps: 5, Seed: 3, Size: 64x64")
    assert (parsed["Prompt"], parsed["Negative prompt"]) == ("a\n\nb", "c\nd")


def test_quoted_values_are_json() -> None:
    parsed = parse('x\nSteps: 5, Seed: 3, Hires prompt: "a, \\"b\\": c\\nd", Version: v1.10.1')
    assert parsed["Hires prompt"] == 'a, "b": c\nd'
    assert parsed["Version"] == "v1.10.1"


def test_weights_in_a_prompt_mean_original_emphasis() -> None:
    end = "\nSteps: 5, Seed: 3, Size: 64x64"
    assert parse(f"a (red) cat{end}")["Emphasis"] == "Original"
    assert parse(rf"a \(red\) cat{end}").get("Emphasis") is None
    assert apply(f"a (red) cat{end}", server={"emphasis": "Ignore"})["override_settings"] == {
        "emphasis": "Original"
    }


@pytest.mark.parametrize(
    ("version", "restored"),
    [
        ("v1.5.2", {"Old prompt editing timelines", "Downcast alphas_cumprod", "Pad conds v0"}),
        ("v1.6.0-2-g4afaaf8a", {"Downcast alphas_cumprod"}),
        ("v1.7.0-225-gabcdef0", set()),
        ("v1.7.0-224-gabcdef0", {"Downcast alphas_cumprod"}),
        ("v1.8.0-RC", set()),
        ("f0.0.17v1.8.0rc-latest-276-g29be1da7", set()),
        ("", set()),
    ],
)
def test_old_versions_bring_back_their_behaviour(version: str, restored: set[str]) -> None:
    keys = {"Old prompt editing timelines", "Downcast alphas_cumprod", "Pad conds v0"}
    text = f"a [b]\nSteps: 5, Sampler: DDIM, Seed: 3, Version: {version}"
    assert {key for key in keys if parse(text).get(key)} == restored
    assert not any(parse(text, auto_backcompat=False).get(key) for key in keys)


def test_a_refiner_of_before_1_8_switched_by_steps() -> None:
    text = "a\nSteps: 5, Sampler: Euler, Refiner: x [1], Version: v1.7.0-300-g0"
    assert parse(text)["Refiner switch by sampling steps"] is True


def test_sizes_of_the_first_hires_fix() -> None:
    start = "a\nSteps: 5, Seed: 3, Size: 1024x768, Denoising strength: 0.7, First pass size: "
    explicit = apply(start + "512x384")
    assert [explicit[name] for name in ("width", "height", "hr_resize_x", "hr_resize_y")] == [
        *(512, 384),
        *(1024, 768),
    ]
    derived = apply(start + "0x0")
    assert (derived["width"], derived["height"]) == (640, 448)


def test_what_the_request_says_wins_even_as_null() -> None:
    text = "a\nSteps: 5, Sampler: Euler, Seed: 3, Clip skip: 2"
    filled = apply(text, seed=None, steps=9, override_settings={"CLIP_stop_at_last_layers": 4})
    assert (filled["seed"], filled["steps"], filled["prompt"]) == (None, 9, "a")
    assert filled["override_settings"] == {"CLIP_stop_at_last_layers": 4}


def test_options_that_the_server_already_has_are_not_overridden() -> None:
    text = "a\nSteps: 5, Sampler: Euler, Seed: 3, Clip skip: 2"
    assert apply(text)["override_settings"] == {"CLIP_stop_at_last_layers": 2}
    server = {"CLIP_stop_at_last_layers": 2}
    assert apply(text, server=server)["override_settings"] == {}


def test_the_checkpoint_is_taken_only_where_the_server_allows_it() -> None:
    text = "a\nSteps: 5, Sampler: Euler, Seed: 3, Model hash: 6ce0161689"
    assert "sd_model_checkpoint" not in apply(text)["override_settings"]
    allowed = apply(text, server={"disable_weights_auto_swap": False})
    assert allowed["override_settings"]["sd_model_checkpoint"] == "6ce0161689"


def test_keys_that_are_not_pasted() -> None:
    text = "a\nSteps: 5, Sampler: Euler, Seed: 3"
    assert "seed" not in apply(text, server={"infotext_skip_pasting": ["Seed"]})


def test_img2img_takes_only_what_a1111_opens_to_the_api() -> None:
    text = "cat\nSteps: 5, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 4.5, Seed: 77"
    filled = apply(f"{text}, Size: 72x64, Clip skip: 2", tab="img2img")
    assert (filled["steps"], filled["sampler_name"], filled["seed"]) == (5, "DPM++ 2M", 77)
    assert not {"prompt", "cfg_scale", "width"} & set(filled)
    assert filled["override_settings"] == {"CLIP_stop_at_last_layers": 2}


def test_a_value_that_cannot_be_cast_is_refused() -> None:
    report = Report()
    apply_infotext({"infotext": "a\nSteps: many, Sampler: Euler, Seed: 3"}, {}, report)
    assert str(report.problems[0]).startswith("infotext: ")


@pytest.mark.parametrize(
    ("entries", "told"),
    [("", True), (", Hires upscale: 2", False), (", Hires resize: 64x64", False)],
)
def test_a_strength_alone_turns_on_hires_fix_and_that_is_told(entries: str, told: bool) -> None:
    text = f"x\nSteps: 4, Sampler: Euler, Seed: 1, Denoising strength: 0.6{entries}"
    report = Report()
    assert apply_infotext({"infotext": text}, {}, report)["enable_hr"]
    assert ("enable_hr false" in "".join(report.warning_texts)) is told


SOFT = "x\nSteps: 4, Seed: 1, Soft inpainting enabled: True, Soft inpainting mask influence: 0.5"


@pytest.mark.parametrize(
    ("tab", "entry", "told"),
    [
        ("txt2img", "Size: 512*768", True),
        ("txt2img", "Size: 512x768", False),
        ("txt2img", "Seed resize from: 512", True),
        ("txt2img", "First pass size: 512 x 512", True),
        ("img2img", "First pass size: 512x512", False),
    ],
)
def test_what_is_no_size_is_told(tab: Any, entry: str, told: bool) -> None:
    report = Report()
    text = f"a\nSteps: 20, Sampler: Euler, {entry}"
    apply_infotext({"infotext": text}, {}, report, tab)
    assert any("a size is written as" in str(item) for item in report.warnings) is told


def test_soft_inpainting_is_read_back_for_img2img() -> None:
    found = apply(SOFT, "img2img")["alwayson_scripts"]
    assert found == {"soft inpainting": {"args": [True, 1.0, 0.5, 4.0, 0.5, 0.5, 2.0]}}
    sent = {"Soft Inpainting": {"args": [False, 3]}, "ControlNet": {"args": []}}
    found = apply(SOFT, "img2img", alwayson_scripts=sent)["alwayson_scripts"]
    assert found["Soft Inpainting"] == {"args": [False, 3, 0.5, 4.0, 0.5, 0.5, 2.0]}
    assert "ControlNet" in found
    assert "alwayson_scripts" not in apply(SOFT)


def test_without_an_infotext_the_payload_stays() -> None:
    assert apply_infotext({"infotext": "", "steps": 3}, {}, Report()) == {
        "infotext": "",
        "steps": 3,
    }


def test_options_left_set_on_the_server_are_written_too() -> None:
    assert set(LEFT_SET) <= set(goldens())
