"""Infotext and info, against what a real A1111 answered."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest

from tests.translator.golden_info import LEFT_SET, facts_of, goldens
from translator.infotext.text import (
    GenerationFacts,
    ModelName,
    RefinerFacts,
    create_info,
    create_infotext,
    embedding_hashes,
    quote,
)

PLAIN = [case for case, row in goldens().items() if not row["payload"].get("script_name")]


@pytest.mark.parametrize("case", PLAIN)
def test_golden_info_is_rebuilt_from_the_payload(case: str) -> None:
    golden = goldens()[case]
    info = golden["info"]
    facts = facts_of(
        golden["payload"], seed=info["seed"], subseed=info["subseed"], server=LEFT_SET.get(case)
    )
    count = len(facts.seeds)
    infotexts = [create_infotext(facts, index) for index in range(count)]
    started = datetime.strptime(info["job_timestamp"], "%Y%m%d%H%M%S")
    assert infotexts == info["infotexts"]
    rebuilt = create_info(facts, infotexts, now=started)
    assert rebuilt == info
    assert list(rebuilt) == list(info)
    assert list(rebuilt["extra_generation_params"]) == list(info["extra_generation_params"])


def facts(**payload: Any) -> GenerationFacts:
    return facts_of({"prompt": "cat", "steps": 10, **payload}, seed=1, subseed=2)


def keys(text: str) -> list[str]:
    """The keys of a text's last line."""
    return [entry.split(":")[0] for entry in text.split("\n")[-1].split(", ")]


def test_semantics_example_of_inpainting() -> None:
    """Example 3 of the facts: only masked, padding 32, LoRA, second image, variation seed."""
    made = replace(
        facts(
            prompt="portrait <lora:detail:0.8>",
            steps=30,
            sampler_name="DPM++ 2M",
            cfg_scale=6.5,
            width=768,
            height=768,
            seed=10,
            subseed=50,
            subseed_strength=0.2,
            batch_size=2,
            denoising_strength=0.6,
        ),
        checkpoint=ModelName("deliberate_v2", "9aba26abdf"),
        vae=ModelName("vae-ft-mse-840000-ema-pruned.safetensors", "735e4c3a44"),
        lora_hashes={"detail": "7c6bad76eb54"},
        from_image=True,
        image_parameters={
            "Mask blur": 4,
            "Inpaint area": "Only masked",
            "Masked area padding": 32,
        },
    )
    assert create_infotext(made, 1) == (
        "portrait <lora:detail:0.8>\n"
        "Steps: 30, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 6.5, Seed: 10, "
        "Size: 768x768, Model hash: 9aba26abdf, Model: deliberate_v2, VAE hash: 735e4c3a44, "
        "VAE: vae-ft-mse-840000-ema-pruned.safetensors, Variation seed: 51, "
        "Variation seed strength: 0.2, Denoising strength: 0.6, Mask blur: 4, "
        "Inpaint area: Only masked, Masked area padding: 32, "
        'Lora hashes: "detail: 7c6bad76eb54", Version: v1.10.1'
    )


def test_controlnet_entries_stand_before_hires_and_after_it_with_a_refiner_field() -> None:
    hires = {"enable_hr": True, "denoising_strength": 0.5, "hr_upscaler": "Latent"}
    units = {"ControlNet 0": "Module: canny, Model: x [1]"}
    plain = replace(facts(**hires), controlnet=units)
    assert list(plain.extra)[:2] == ["ControlNet 0", "Denoising strength"]
    assert 'ControlNet 0: "Module: canny, Model: x [1]"' in create_infotext(plain, 0)
    later = list(replace(plain, refiner_requested=True).extra)
    assert later.index("ControlNet 0") == later.index("Hires upscaler") + 1


def test_hires_prompts_are_written_where_they_differ_and_null_in_info() -> None:
    made = facts(enable_hr=True, denoising_strength=0.5, batch_size=2)
    assert made.hires is not None
    other = replace(made, hires=replace(made.hires, prompts=("cat", "a, dog")))
    assert "Hires prompt" not in create_infotext(other, 0)
    assert 'Hires prompt: "a, dog"' in create_infotext(other, 1)
    assert create_info(other, [])["extra_generation_params"]["Hires prompt"] is None


def test_the_refiner_is_written_once_it_has_taken_over() -> None:
    made = replace(facts(), refiner=RefinerFacts(ModelName("xl", "0123456789"), 0.8))
    assert "Refiner" not in made.extra
    ran = replace(made, first=replace(made.first, refiner_call=7))
    assert dict(ran.extra) == {"Refiner": "xl [0123456789]", "Refiner switch at": 0.8}
    by_steps = {"refiner_switch_by_sample_steps": True}
    assert "Refiner switch by sampling steps" in facts(override_settings=by_steps).extra


def test_what_is_written_follows_the_order_of_the_model_calls() -> None:
    made = replace(
        facts(s_min_uncond=100.0, steps=10),
        refiner=RefinerFacts(ModelName("xl"), 0.8),
    )
    late = replace(made, first=replace(made.first, refiner_call=7))
    assert list(late.extra) == ["NGMS", "Refiner", "Refiner switch at"]
    early = replace(made, first=replace(made.first, refiner_call=0))
    assert list(early.extra) == ["Refiner", "Refiner switch at", "NGMS"]


def test_the_negative_prompt_is_skipped_only_on_odd_calls_below_the_sigma() -> None:
    sigmas = facts(steps=4).first.schedule.sigmas
    last = sigmas[3]
    assert "NGMS" in facts(steps=4, s_min_uncond=last * 1.01).extra
    assert "NGMS" not in facts(steps=4, s_min_uncond=last * 0.99).extra
    third = facts(steps=3).first.schedule.sigmas[2]
    assert "NGMS" not in facts(steps=3, s_min_uncond=third * 1.01).extra
    everywhere = {"s_min_uncond_all": True}
    assert facts(steps=3, s_min_uncond=third * 1.01, override_settings=everywhere).extra == {
        "NGMS": third * 1.01,
        "NGMS all steps": True,
    }


def test_a_share_of_early_calls_without_negative_prompt() -> None:
    made = facts(s_min_uncond=100.0, override_settings={"skip_early_cond": 0.2})
    assert list(made.extra) == ["Skip Early CFG", "NGMS"]
    whole = facts(s_min_uncond=100.0, override_settings={"skip_early_cond": 1.0})
    assert list(whole.extra) == ["Skip Early CFG"]


@pytest.mark.parametrize(
    ("payload", "printed"),
    [
        ({"sampler_name": "Euler a"}, True),
        ({"sampler_name": "Euler a", "eta": 0}, False),
        ({"sampler_name": "Euler"}, False),
        ({"sampler_name": "DDIM", "eta": 1.0}, False),
    ],
)
def test_the_seed_delta_is_printed_where_a1111_prints_it(
    payload: dict[str, Any], printed: bool
) -> None:
    made = facts(**payload, override_settings={"eta_noise_seed_delta": 31337})
    assert ("ENSD" in keys(create_infotext(made, 0))) == printed


def test_churn_is_printed_only_where_an_option_replaced_it() -> None:
    options = {"s_churn": 3.0, "s_tmax": 0, "s_noise": 1.01}
    assert facts(sampler_name="Euler", s_churn=3.0).extra == {}
    made = facts(sampler_name="Euler", override_settings=options)
    assert made.extra == {"Sigma churn": 3.0, "Sigma noise": 1.01}
    assert facts(sampler_name="DPM++ 2M", scheduler="Normal", override_settings=options).extra == {
        "Schedule type": "Normal"
    }


def test_embeddings_of_a_later_call_stand_first() -> None:
    assert embedding_hashes(({"a": "1"}, {}, {"b": "2", "c:,": "3"})) == "b: 2, c: 3, a: 1"
    assert embedding_hashes(({}, {})) == ""


def test_old_emphasis_writes_neither_embeddings_nor_emphasis() -> None:
    options: dict[str, Any] = {"emphasis": "Ignore"}
    assert list(facts(prompt="(synthemb)", override_settings=options).extra) == [
        "TI hashes",
        "Emphasis",
    ]
    options["use_old_emphasis_implementation"] = True
    assert not facts(prompt="(synthemb)", override_settings=options).extra


def test_options_leave_keys_out() -> None:
    everything = create_infotext(replace(facts(), vae=ModelName("v.pt", "0")), 0)
    assert {"Model hash", "Model", "VAE hash", "VAE", "Version"} <= set(keys(everything))
    off = {f"add_{what}_to_info": False for what in ("model_name", "model_hash")}
    off |= {"add_vae_name_to_info": False, "add_vae_hash_to_info": False}
    off["add_version_to_infotext"] = False
    bare = replace(facts(override_settings=off), vae=ModelName("v.pt", "0"))
    assert not {"Model hash", "Model", "VAE hash", "VAE", "Version"} & set(
        keys(create_infotext(bare, 0))
    )
    assert create_info(bare, [])["sd_vae_name"] == "v.pt"


def test_token_merging_falls_back_in_the_hires_pass() -> None:
    hires = {"enable_hr": True, "denoising_strength": 0.5}
    one = {"token_merging_ratio": 0.4}
    text = create_infotext(facts(**hires, override_settings=one), 0)
    assert "Token merging ratio: 0.4, Token merging ratio hr: 0.4" in text
    assert "hr" not in create_infotext(facts(override_settings=one), 0)


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("plain", "plain"),
        ("a, b", '"a, b"'),
        ("a: ü", '"a: ü"'),
        ('say "x"\n', '"say \\"x\\"\\n"'),
        (7.0, 7.0),
    ],
)
def test_quoting(value: Any, written: Any) -> None:
    assert quote(value) == written


def test_a_prompt_that_is_empty_leaves_no_line() -> None:
    assert create_infotext(facts(prompt=""), 0).startswith("Steps: 10, ")
    assert create_infotext(facts(prompt="", negative_prompt="x"), 0).startswith("Negative prompt")


def test_a_face_restorer_and_tiling() -> None:
    made = facts(restore_faces=True, tiling=True)
    text = create_infotext(made, 0)
    assert "Seed: 1, Face restoration: CodeFormer, Size: 512x512" in text
    assert "Tiling: True" in text
    assert create_info(made, [])["face_restoration_model"] == "CodeFormer"


def test_models_whose_files_could_not_be_read_have_no_hash() -> None:
    text = create_infotext(replace(facts(), checkpoint=ModelName("x")), 0)
    assert "Size: 512x512, Model: x, " in text
    assert ModelName("x").title == "x"
