"""Whom a refusal of units blames."""

from __future__ import annotations

from dataclasses import replace

from tests.translator.control_requests import face_pair
from tests.translator.refusals import problems, with_units, without
from translator import translate


def test_a_keypoints_unit_is_not_blamed_for_the_fault_of_its_face() -> None:
    face, keypoints = face_pair()
    payload = with_units({**face, "image": "%%%"}, keypoints)
    told = problems({**payload, "override_settings": {"sd_model_checkpoint": "an_xl_model"}})
    assert [text.split(":")[0] for text in told] == ["alwayson_scripts.controlnet.args[0].image"]


def test_a_missing_pack_is_named_before_the_model_that_only_it_lists() -> None:
    catalog = without("InstantIDModelLoader", "InstantIDAttentionPatch")
    closed = replace(catalog, open=False, folders={"checkpoints": ("x.safetensors",)})
    told = problems(with_units(*face_pair()), closed)
    assert "install ComfyUI_InstantID" in told[0]
    assert "InstantIDModelLoader" in told[0]


def test_keys_beside_a_scripts_args_are_told() -> None:
    scripts = {"controlnet": {"args": [], "enabled": True}}
    warnings = translate({"seed": 1, "alwayson_scripts": scripts}).warning_texts
    assert any(text.startswith("alwayson_scripts.controlnet.enabled: ") for text in warnings)
