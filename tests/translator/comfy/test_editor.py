"""Workflows for ComfyUI's editor: every value, every link, boxes that do not overlap."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import pytest

from tests.corpus import Case, cases
from translator import Catalog
from translator.comfy.editor import Box, layout, workflow
from translator.comfy.groups import groups

NODES = Catalog.bundled().nodes


def made(case: Case, fidelity: str = "exact") -> tuple[Any, dict[str, Any]]:
    graph = case.translate(fidelity).graph
    return graph, workflow(graph, NODES)


def api_format(document: dict[str, Any]) -> dict[str, Any]:
    """The graph that the editor would submit, read back from its own format."""
    links = {link[0]: link for link in document["links"]}
    graph: dict[str, Any] = {}
    for node in document["nodes"]:
        signature = NODES[node["type"]]
        values = iter(node["widgets_values"])
        inputs: dict[str, Any] = {}
        for name, item in signature.inputs.items():
            if item.type in ("INT", "FLOAT", "STRING", "BOOLEAN", "COMBO"):
                inputs[name] = next(values)
                if item.type == "INT" and name in ("seed", "noise_seed"):
                    assert next(values) == "fixed"
        uploads = [item for item in signature.inputs.values() if item.folder == "input"]
        assert list(values) == ["image"] * len(uploads)
        for slot, socket in enumerate(node["inputs"]):
            if socket["link"] is not None:
                _, source, output, target, target_slot, kind = links[socket["link"]]
                assert (target, target_slot) == (node["id"], slot)
                assert socket["type"] in (kind, "*") or kind == "*" or "," in socket["type"]
                inputs[socket["name"]] = [str(source), output]
        graph[str(node["id"])] = {"class_type": node["type"], "inputs": inputs}
    return graph


@pytest.mark.parametrize("fidelity", ("exact", "core"))
@pytest.mark.parametrize("case", cases(), ids=lambda case: case.name)
def test_the_editor_would_submit_the_same_graph(case: Case, fidelity: str) -> None:
    graph, document = made(case, fidelity)
    back = api_format(document)
    assert list(back) == list(graph)
    for node, wanted in graph.items():
        found = back[node]
        assert found["class_type"] == wanted["class_type"]
        more = {name: found["inputs"][name] for name in found["inputs"].keys() - wanted["inputs"]}
        for name, value in wanted["inputs"].items():
            assert found["inputs"][name] == value, (node, name)
        for name, value in more.items():
            item = NODES[wanted["class_type"]].inputs[name]
            assert not item.required, name
            assert value == item.default or item.default is None, name


def overlap(one: Box, other: Box) -> bool:
    return (
        one.x < other.x + other.width
        and other.x < one.x + one.width
        and one.y < other.y + other.height
        and other.y < one.y + one.height
    )


@pytest.mark.parametrize("case", cases(), ids=lambda case: case.name)
def test_nothing_overlaps(case: Case) -> None:
    graph = case.translate().graph
    placed = layout(graph, NODES)
    for one, other in combinations(placed.nodes.values(), 2):
        assert not overlap(one, other)
    for first, second in combinations(placed.group_boxes, 2):
        assert not overlap(first, second)
    for group, box in zip(placed.groups, placed.group_boxes, strict=True):
        for node in group.nodes:
            inner = placed.nodes[node]
            assert box.x <= inner.x and inner.x + inner.width <= box.x + box.width
            assert box.y <= inner.y and inner.y + inner.height <= box.y + box.height


def test_groups_and_titles_are_in_words() -> None:
    case = next(item for item in cases() if item.name == "controlnet-canny-hires-esrgan")
    _, document = made(case)
    assert [group["title"] for group in document["groups"]] == [
        "Models",
        "Prompts",
        "ControlNet unit 0",
        "First pass",
        "Hires pass",
        "Output",
    ]
    titles = {node["title"] for node in document["nodes"]}
    assert {"Prompt", "Negative prompt", "Hires: RealESRGAN_x4plus", "First: sigmas"} <= titles
    _, core = made(case, "core")
    titles = {node["title"] for node in core["nodes"]}
    assert {"Prompt", "Negative prompt", "First: sample, 20 steps"} <= titles


def test_an_empty_graph_has_no_groups() -> None:
    assert groups({}, NODES) == ()
    assert workflow({}, NODES)["nodes"] == []
