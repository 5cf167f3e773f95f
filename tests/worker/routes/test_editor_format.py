"""Workflows of ComfyUI's editor become the graphs that they stand for."""

from __future__ import annotations

from typing import Any

import pytest

from tests.corpus import Case, cases
from translator import Catalog
from translator.comfy.editor import workflow
from worker.errors import RequestError
from worker.routes.editor_format import to_graph

CATALOG = Catalog.bundled()


def edited(**changes: Any) -> dict[str, Any]:
    """Two nodes and a link, as the editor saves them."""
    nodes = [
        {"id": 1, "type": "LoadImage", "widgets_values": ["a.png", "image"],
         "outputs": [{"type": "IMAGE"}, {"type": "MASK"}]},
        {"id": 2, "type": "SaveImage", "widgets_values": ["x"],
         "inputs": [{"name": "images", "type": "IMAGE", "link": 7}]},
        {"id": 3, "type": "Note", "widgets_values": ["read me"]},
    ]  # fmt: skip
    return {"nodes": nodes, "links": [[7, 1, 0, 2, 0, "IMAGE"]], **changes}


def inputs(graph: dict[str, Any]) -> dict[str, Any]:
    return {name: (node["class_type"], node["inputs"]) for name, node in graph.items()}


def test_widgets_and_links_stand_under_their_names() -> None:
    assert inputs(to_graph(edited(), CATALOG)) == {
        "1": ("LoadImage", {"image": "a.png"}),
        "2": ("SaveImage", {"filename_prefix": "x", "images": ["1", 0]}),
    }


def test_reroutes_and_bypassed_nodes_pass_on_and_muted_ones_do_not() -> None:
    between = {"id": 5, "type": "Reroute", "inputs": [{"name": "", "type": "*", "link": 7}]}
    links = [[7, 1, 0, 5, 0, "IMAGE"], [8, 5, 0, 2, 0, "IMAGE"]]
    base = edited()
    base["nodes"][1]["inputs"][0]["link"] = 8
    rerouted = {"nodes": [*base["nodes"], between], "links": links}
    assert to_graph(rerouted, CATALOG)["2"]["inputs"]["images"] == ["1", 0]
    inverted = {
        "id": 5, "type": "ImageInvert", "mode": 4, "outputs": [{"type": "IMAGE"}],
        "inputs": [{"name": "image", "type": "IMAGE", "link": 7}],
    }  # fmt: skip
    bypassed = {"nodes": [*base["nodes"], inverted], "links": links}
    assert to_graph(bypassed, CATALOG)["2"]["inputs"]["images"] == ["1", 0]
    muted = {"nodes": [*base["nodes"], {**inverted, "mode": 2}], "links": links}
    assert "images" not in to_graph(muted, CATALOG)["2"]["inputs"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"nodes": [{"id": 1, "type": "NoSuchNode"}]}, "node 1 (NoSuchNode)"),
        ({"nodes": [{"id": 1, "type": "SaveImage", "widgets_values": []}]}, "filename_prefix"),
        ({"nodes": [{"type": "SaveImage"}]}, "damaged"),
        ({"nodes": []}, "no node of it runs"),
        ({"links": []}, "damaged"),
    ],
)
def test_what_cannot_be_converted_is_refused_with_the_way_out(changes: Any, said: str) -> None:
    with pytest.raises(RequestError) as caught:
        to_graph(edited(**changes), CATALOG)
    assert said in str(caught.value) and "Export (API)" in str(caught.value)


@pytest.mark.parametrize("case", cases()[::6], ids=lambda case: case.name)
def test_a_graph_comes_back_from_the_editors_format(case: Case) -> None:
    graph = case.translate().graph
    back = to_graph(workflow(graph, CATALOG.nodes), CATALOG)
    for name, node in graph.items():
        assert back[name]["class_type"] == node["class_type"]
        assert node["inputs"].items() <= back[name]["inputs"].items()
