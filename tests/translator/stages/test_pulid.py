"""ip-adapter_pulid: by the nodes of PuLID_ComfyUI where the pack is there, else refused."""

from __future__ import annotations

from typing import Any

import pytest

from tests.pulid import catalog
from tests.translator.control_requests import Outcome, context, mask, picture, translated, unit

FILE = "ip-adapter_pulid_sdxl_fp16.safetensors"
PATH = "alwayson_scripts.controlnet.args[0]"


def pulid(**fields: Any) -> dict[str, Any]:
    return unit(
        **{"module": "ip-adapter_pulid", "model": "ip-adapter_pulid_sdxl_fp16 [d86d05af]", **fields}
    )


def done(*units: dict[str, Any], **more: Any) -> Outcome:
    outcome = translated(units or [pulid()], context("SDXL"), catalog=catalog(FILE), **more)
    assert outcome.problems == []
    return outcome


def test_a_face_is_added_and_the_attention_is_made_a1111s() -> None:
    outcome = done(pulid(weight=0.8, guidance_end=0.5))
    node = outcome.node("ApplyPulid")
    assert (node["method"], node["weight"], node["start_at"]) == ("fidelity", 0.8, 0.0)
    assert 0 < node["end_at"] < 1
    assert outcome.node("PulidModelLoader") == {"pulid_file": FILE}
    strict = outcome.graph[node["face_analysis"][0]]
    assert strict["class_type"] == "A1111StrictFaceAnalysis"
    assert outcome.graph[node["image"][0]]["inputs"]["processor_res"] == 512
    own = outcome.node("A1111ControlNetAttention")
    assert outcome.graph[own["model"][0]]["class_type"] == "ApplyPulid"


def test_extremely_style_and_a_region() -> None:
    node = done(pulid(pulid_mode="Extremely style", effective_region_mask=mask())).node(
        "ApplyPulid"
    )
    assert node["method"] == "style"
    assert "attn_mask" in node


def test_several_pictures_are_the_mean_of_their_tokens() -> None:
    images = [{"image": picture(colour=(level, 0, 0))} for level in (10, 20, 30)]
    outcome = done(pulid(image=images, input_mode="merge"))
    assert len(outcome.nodes("ApplyPulid")) == 3
    assert [node["count"] for node in outcome.nodes("A1111AverageImagePrompts")] == [1, 2]


def test_the_answer_shows_the_aligned_face() -> None:
    outcome = done()
    shown = outcome.graph[outcome.maps[0].node]["inputs"]["images"][0]
    assert outcome.graph[shown]["class_type"] == "A1111ControlNetFacexlib"


def test_with_core_nodes_it_is_nearer_to_the_pack() -> None:
    outcome = done(options={"fidelity": "core"})
    assert not any(name.startswith("A1111") for name in outcome.classes())
    assert any("middle block" in text for text in outcome.report.warning_texts)
    assert outcome.maps[0].upload


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"model": "other"}, "no control model"),
        ({"advanced_weighting": [1.0] * 70}, "one weight for all layers"),
    ],
)
def test_what_cannot_be_done_is_refused(fields: dict[str, Any], said: str) -> None:
    outcome = translated([pulid(**fields)], context("SDXL"), catalog=catalog(FILE))
    (problem,) = outcome.problems
    assert said in problem


def test_sd15_and_a_comfyui_without_the_pack_are_refused() -> None:
    (problem,) = translated([pulid()], context("SD1"), catalog=catalog(FILE)).problems
    assert "pulid works with SDXL" in problem
    (problem,) = translated([pulid()], context("SDXL")).problems
    assert problem.startswith(f"{PATH}.module: ")
    for needed in ("PuLID_ComfyUI", "models/pulid", "EVA02_CLIP_L_336", "antelopev2"):
        assert needed in problem
