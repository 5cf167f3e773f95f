"""Graphs for people to edit: prompts and steps as written, and nothing else changed."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import pytest

from tests.corpus import Case, cases
from tests.corpus.signatures import bundled, faults, unused, versions
from translator import Catalog, translate
from translator.comfy.editor import workflow
from translator.editable import editable

CATALOG = Catalog.bundled()
OWN = ("A1111TextEncode", "A1111Sampler", "A1111Sigmas")
WRITTEN = ("A1111Prompt", "A1111Schedule")
NOT_SAID = {
    "always-forge-couple": ["A1111TextEncode"] * 3,
    "always-forge-couple-mask": ["A1111TextEncode"] * 3,
    "always-regional-prompter-latent": ["A1111TextEncode"] * 3,
    "always-tiled-inversion": ["A1111Sigmas"],
    "always-tiled-regions": ["A1111TextEncode"] * 3,
    "img2img-alternative": ["A1111Sigmas"],
    "sampler-beyond-a1111": ["A1111Sigmas"] * 2,
}
"""Corpus requests with JSON left: prompts of regions, levels that are walked upwards, and those of
ComfyUI's own samplers."""


def kinds(graph: Any, wanted: tuple[str, ...]) -> list[str]:
    return [node["class_type"] for node in graph.values() if node["class_type"] in wanted]


def written(**payload: Any) -> dict[str, Any]:
    made = translate({"seed": 1, **payload})
    return editable(made.graph, made.plans, CATALOG)


def only(graph: Any, kind: str) -> list[dict[str, Any]]:
    return [node["inputs"] for node in graph.values() if node["class_type"] == kind]


@pytest.mark.parametrize("case", cases(), ids=lambda case: case.name)
def test_every_request_of_the_corpus_is_written(case: Case) -> None:
    made = case.translate()
    graph = editable(made.graph, made.plans, CATALOG)
    assert kinds(graph, OWN) == NOT_SAID.get(case.name, [])
    for version in versions():
        assert faults(graph, bundled(version)) == []
    assert unused(graph, bundled()) == unused(made.graph, bundled())
    ids = list(graph)
    for name, node in graph.items():
        sources = [v[0] for v in node["inputs"].values() if isinstance(v, list) and len(v) == 2]
        assert all(ids.index(source) < ids.index(name) for source in sources if source in graph)


@pytest.mark.parametrize("case", cases()[::10], ids=lambda case: case.name)
def test_core_graphs_have_no_such_nodes(case: Case) -> None:
    made = case.translate("core")
    assert editable(made.graph, made.plans, CATALOG) == made.graph


def test_prompts_stand_as_a1111_writes_them() -> None:
    graph = written(
        prompt="a (cat:1.2) [day:night:0.5] <lora:x:0.5> AND a dog :0.6",
        negative_prompt="blurry AND (bad:1.3)",
        sampler_name="Heun",
        steps=16,
    )
    positive, negative = only(graph, "A1111Prompt")
    assert (positive["kind"], positive["text"].split()) == (
        "prompt",
        ["a", "(cat:1.2)", "[day:night:0.5]", "AND", "a", "dog", ":0.6"],
    )
    assert (negative["kind"], negative["text"]) == ("negative prompt", "blurry AND (bad:1.3)")
    (schedule,) = [name for name, node in graph.items() if node["class_type"] == "A1111Schedule"]
    assert positive["calls"] == negative["calls"] == [schedule, 3]
    (guider,) = only(graph, "A1111Guider")
    assert guider["total_steps"] == [schedule, 2]


def test_steps_stand_as_the_page_has_them() -> None:
    graph = written(
        sampler_name="DPM++ 2M SDE Karras",
        steps=24,
        enable_hr=True,
        denoising_strength=0.4,
        hr_second_pass_steps=10,
        hr_sampler_name="DDIM",
        override_settings={"sigma_min": 0.1, "uni_pc_order": 2},
    )
    first, hires = only(graph, "A1111Schedule")
    assert (first["sampler"], first["scheduler"], first["steps"], first["start"]) == (
        "DPM++ 2M SDE",
        "Karras",
        24,
        "noise",
    )
    assert (hires["sampler"], hires["scheduler"], hires["steps"], hires["start"]) == (
        "DDIM",
        "Automatic",
        10,
        "hires fix",
    )
    assert hires["denoise"] == 0.4
    assert first["options"] == '{"sigma_min": 0.1, "uni_pc_order": 2}'


def test_an_empty_negative_prompt_of_sdxl_is_zeroed_only_while_it_is_empty() -> None:
    for text in ("", "blurry"):
        graph = written(
            prompt="a cat",
            negative_prompt=text,
            override_settings={"sd_model_checkpoint": "sd_xl_base_1.0"},
        )
        positive, negative = only(graph, "A1111Prompt")
        assert (positive["zero_empty"], negative["zero_empty"]) == (False, True)


def test_what_a_node_would_not_give_keeps_its_json() -> None:
    made = translate({"seed": 1, "prompt": "a [b:c:0.5]", "steps": 10})
    graph = {name: {**node, "inputs": dict(node["inputs"])} for name, node in made.graph.items()}
    for node in graph.values():
        if node["class_type"] == "A1111Sigmas":
            node["inputs"]["sigmas"] = node["inputs"]["sigmas"].replace("[14", "[15")
    changed = editable(graph, made.plans, CATALOG)
    assert kinds(changed, OWN) == ["A1111Sampler", "A1111Sigmas"]
    assert [item["calls"] for item in only(changed, "A1111Prompt")] == [10, 10]
    assert editable(made.graph, (), CATALOG) == made.graph


def test_an_older_pack_gets_what_it_has() -> None:
    made = translate({"seed": 1, "prompt": "a cat"})
    nodes = {name: node for name, node in CATALOG.nodes.items() if name not in WRITTEN}
    assert editable(made.graph, made.plans, replace(CATALOG, nodes=nodes)) == made.graph


def _seconds(generations: int) -> float:
    """Processor time of writing and laying out as many generations, none with another's steps."""
    lines = "\n".join(f'--prompt "a {n} [b:c:0.5]" --steps {n}' for n in range(1, generations + 1))
    made = translate(
        {
            "prompt": "a",
            "seed": 1,
            "steps": 10,
            "width": 64,
            "height": 64,
            "script_name": "prompts from file or textbox",
            "script_args": [True, False, "start", lines],
        }
    )
    start = time.thread_time()
    workflow(editable(made.graph, made.plans, CATALOG), CATALOG.nodes)
    return time.thread_time() - start


def test_time_grows_as_the_generations_do() -> None:
    """Six times the generations, whose steps grow as well: it was 57 times the time."""
    _seconds(10)
    assert _seconds(300) < 30 * _seconds(50)
