"""What infotexts say of model files."""

from __future__ import annotations

from dataclasses import replace

import pytest

from translator import Catalog, ModelFacts, translate

SHA256 = "1e09ceb9e043" + "0" * 52


def test_hashes_of_the_embeddings_that_a_prompt_names() -> None:
    catalog = replace(
        Catalog.bundled(),
        open=False,
        folders={
            "checkpoints": ("v1-5-pruned-emaonly.safetensors",),
            "embeddings": ("emb.pt", "no.pt"),
        },
        facts={
            ("embeddings", "emb.pt"): ModelFacts(sha256=SHA256),
            ("embeddings", "no.pt"): ModelFacts(sha256="f" * 64),
        },
    )
    text = translate({"prompt": "a cat, EMB", "seed": 1}, catalog=catalog).info["infotexts"][0]
    assert 'TI hashes: "emb: 1e09ceb9e043"' in text
    assert "no:" not in text


@pytest.mark.parametrize(
    ("prompt", "told"),
    [
        ("a zeta, (style!:1.2)", '"zeta: 222222222222, style!: 111111111111"'),
        ("style!-2", '"style!-2: 333333333333"'),
        ("[zeta|style!]", '"zeta: 222222222222, style!: 111111111111"'),
        ("zeta BREAK style!", '"zeta: 222222222222, style!: 111111111111"'),
    ],
)
def test_embeddings_stand_in_the_order_of_the_text(prompt: str, told: str) -> None:
    names = ("break.pt", "style!.pt", "zeta.pt", "style!-2.pt")
    catalog = replace(
        Catalog.bundled(),
        open=False,
        folders={"checkpoints": ("v1-5-pruned-emaonly.safetensors",), "embeddings": names},
        facts={
            ("embeddings", name): ModelFacts(sha256=str(digit) * 64)
            for digit, name in enumerate(names)
        },
    )
    text = translate({"prompt": prompt, "seed": 1}, catalog=catalog).info["infotexts"][0]
    assert f"TI hashes: {told}," in text


HIRES = {"enable_hr": True, "denoising_strength": 0.5, "hr_upscaler": "Latent", "steps": 8}


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({}, False),
        ({"hr_second_pass_steps": 6}, True),  # the old rule lays it out for the first pass' steps
        ({"hr_second_pass_steps": 6, "override_settings": {}}, False),
        ({"hr_sampler_name": "DPM++ SDE", "override_settings": {}}, False),
        ({"hr_sampler_name": "DPM++ SDE"}, True),
    ],
)
def test_old_prompt_editing_of_the_hires_pass_is_told(
    fields: dict[str, object], told: bool
) -> None:
    old = {"override_settings": {"use_old_scheduling": True}}
    payload = {"prompt": "a cat", "seed": 1, "sampler_name": "Euler", **HIRES, **old, **fields}
    text = translate(payload).info["infotexts"][0]
    assert ("Old prompt editing timelines: True" in text) == told


@pytest.mark.parametrize(("sampler", "told"), [("Euler", True), ("DDIM", False), ("PLMS", False)])
def test_ngms_counts_the_timestep_where_a_sampler_has_timesteps(sampler: str, told: bool) -> None:
    payload = {"prompt": "a cat", "seed": 1, "steps": 9, "sampler_name": sampler}
    for given in ({"s_min_uncond": 2}, {"override_settings": {"s_min_uncond": 2}}):
        text = translate({**payload, **given}).info["infotexts"][0]
        assert ("NGMS: 2" in text) == told


def test_lora_that_only_the_hires_prompt_names_is_told_when_that_pass_begins() -> None:
    catalog = replace(
        Catalog.bundled(),
        open=False,
        folders={
            "checkpoints": ("v1-5-pruned-emaonly.safetensors",),
            "loras": ("one.safetensors", "two.safetensors"),
        },
        facts={
            ("loras", f"{name}.safetensors"): ModelFacts(addnet_hash=digit * 64)
            for name, digit in (("one", "1"), ("two", "2"))
        },
    )
    options = {"always_discard_next_to_last_sigma": True}
    payload = {"seed": 1, **HIRES, "hr_prompt": "b <lora:two:1>", "override_settings": options}
    for prompt, first, hashes in (
        ("a", False, f"two: {'2' * 12}"),
        ("a <lora:one:1>", True, f'"one: {"1" * 12}, two: {"2" * 12}"'),
    ):
        text = translate({**payload, "prompt": prompt}, catalog=catalog).info["infotexts"][0]
        assert f"Lora hashes: {hashes}".replace('"', "") in text.replace('"', "")
        assert (text.index("Lora hashes") < text.index("Discard penultimate")) == first


def test_no_face_restorer_is_told_by_its_name() -> None:
    options = {"face_restoration_model": "None"}
    payload = {"seed": 1, "restore_faces": True, "override_settings": options}
    result = translate(payload)
    assert "Face restoration: None" in result.info["infotexts"][0]
    assert result.info["face_restoration_model"] == "None"
    assert not any(node["class_type"] == "A1111FaceRestore" for node in result.graph.values())
