"""Workflows of ComfyUI's editor become the graphs that they stand for."""

from __future__ import annotations

import time
import tracemalloc
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


def sub(name: str, nodes: list[dict[str, Any]], **changes: Any) -> dict[str, Any]:
    """The definition of a subgraph."""
    return {"definitions": {"subgraphs": [{"id": name, "nodes": nodes, **changes}]}}


def link(name: int, start: tuple[int, int], end: tuple[int, int]) -> dict[str, Any]:
    """A link inside a subgraph."""
    (origin, out), (target, to) = start, end
    return {
        "id": name, "origin_id": origin, "origin_slot": out, "target_id": target, "target_slot": to,
    }  # fmt: skip


SCALE = {
    "id": 4, "type": "ImageScaleBy", "widgets_values": ["bilinear", 1.5],
    "inputs": [
        {"name": "image", "type": "IMAGE", "link": 1},
        {"name": "scale_by", "type": "FLOAT", "link": 2, "widget": {"name": "scale_by"}},
    ],
    "outputs": [{"type": "IMAGE"}],
}  # fmt: skip
SCALING = sub(
    "scaling",
    [SCALE],
    inputs=[{"name": "picture"}, {"name": "by"}],
    links=[link(1, (-10, 0), (4, 0)), link(2, (-10, 1), (4, 1)), link(3, (4, 0), (-20, 0))],
)


def with_subgraph(host: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """A picture that goes through a subgraph of one node."""
    host = {
        "id": 5, "type": "scaling", "outputs": [{"type": "IMAGE"}],
        "inputs": [{"name": "picture", "type": "IMAGE", "link": 7}], **host,
    }  # fmt: skip
    base = edited()
    base["nodes"][1]["inputs"][0]["link"] = 8
    links = [[7, 1, 0, 5, 0, "IMAGE"], [8, 5, 0, 2, 0, "IMAGE"]]
    return {"nodes": [*base["nodes"], host], "links": links, **SCALING, **changes}


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
    ("host", "factor"),
    [
        ({}, 1.5),
        ({"widgets_values": [3.0]}, 3.0),
        ({"widgets_values": [3.0], "properties": {"proxyWidgets": [["-1", "by"]]}}, 3.0),
        ({"widgets_values": [3.0], "properties": {"proxyWidgets": [["4", "scale_by"]]}}, 3.0),
        ({"widgets_values": [], "properties": {"proxyWidgets": [["4", "scale_by"]]}}, 1.5),
    ],
)
def test_a_subgraph_is_laid_out_with_the_values_that_its_node_shows(
    host: dict[str, Any], factor: float
) -> None:
    graph = inputs(to_graph(with_subgraph(host), CATALOG))
    assert graph["5:4"] == (
        "ImageScaleBy",
        {"upscale_method": "bilinear", "scale_by": factor, "image": ["1", 0]},
    )
    assert graph["2"][1]["images"] == ["5:4", 0]


def test_a_widget_of_a_subgraph_goes_to_everything_on_its_input() -> None:
    shown = {"id": 6, "type": "PreviewAny", "inputs": [{"name": "source", "type": "*", "link": 4}]}
    document = with_subgraph({})
    (definition,) = document["definitions"]["subgraphs"]
    wired = {
        **definition,
        "nodes": [*definition["nodes"], shown],
        "links": [*definition["links"], link(4, (-10, 1), (6, 0))],
    }
    document["definitions"] = {"subgraphs": [wired]}
    assert to_graph(document, CATALOG)["5:6"]["inputs"] == {"source": 1.5}


def test_a_slot_tells_whether_an_input_is_a_widget() -> None:
    """frame_rate takes two types, and is a widget all the same."""
    slots = [
        {"name": name, "type": "INT", "link": None, "widget": {"name": name}}
        for name in ("frames_number", "frame_rate", "batch_size")
    ]
    node = {"id": 1, "type": "LTXVEmptyLatentAudio", "inputs": slots, "widgets_values": [97, 24, 2]}
    graph = to_graph({"nodes": [node], "links": []}, Catalog.bundled("0.33.0"))
    assert graph["1"]["inputs"] == {"frames_number": 97, "frame_rate": 24, "batch_size": 2}


def test_the_choices_of_a_custom_combo_go_along() -> None:
    node = {"id": 1, "type": "CustomCombo", "widgets_values": ["b", 1, "a", "b", ""]}
    graph = to_graph({"nodes": [node], "links": []}, Catalog.bundled("0.33.0"))
    assert graph["1"]["inputs"] == {
        "choice": "b", "index": 1, "option1": "a", "option2": "b", "option3": "",
    }  # fmt: skip


def test_a_subgraph_is_passed_by_or_left_out_as_a_node_is() -> None:
    bypassed = to_graph(with_subgraph({"mode": 4}), CATALOG)
    assert inputs(bypassed)["2"] == ("SaveImage", {"filename_prefix": "x", "images": ["1", 0]})
    assert "5:4" not in bypassed
    assert inputs(to_graph(with_subgraph({"mode": 2}), CATALOG))["2"][1] == {"filename_prefix": "x"}


def test_a_primitive_gives_its_value_into_a_subgraph() -> None:
    primitive = {"id": 9, "type": "PrimitiveNode", "widgets_values": [4.0, "fixed"]}
    host_inputs = [
        {"name": "picture", "type": "IMAGE", "link": 7},
        {"name": "by", "type": "FLOAT", "link": 9, "widget": {"name": "by"}},
    ]
    document = with_subgraph({"inputs": host_inputs, "widgets_values": [3.0]})
    document["nodes"].append(primitive)
    document["links"].append([9, 9, 0, 5, 1, "FLOAT"])
    assert to_graph(document, CATALOG)["5:4"]["inputs"]["scale_by"] == 4.0


def test_a_missing_value_is_the_one_that_the_editor_shows() -> None:
    nodes = edited()["nodes"]
    nodes[1]["widgets_values"] = []
    assert inputs(to_graph(edited(nodes=nodes), CATALOG))["2"][1]["filename_prefix"] == "ComfyUI"


def test_what_happens_to_a_number_after_a_run_is_no_value() -> None:
    sampler = {
        "id": 3,
        "type": "KSampler",
        "widgets_values": [5, "fixed", 20, 8, "euler", "normal", 1],
    }
    found = to_graph({"nodes": [sampler], "links": []}, CATALOG)["3"]["inputs"]
    assert found == {
        "seed": 5, "steps": 20, "cfg": 8, "sampler_name": "euler", "scheduler": "normal",
        "denoise": 1,
    }  # fmt: skip


def test_parts_of_newer_inputs_follow_their_slots() -> None:
    newest = Catalog.bundled("0.33.0")
    slots = [
        {"name": "input", "type": "IMAGE,MASK", "link": 7},
        *({"name": name, "type": "*", "link": None, "widget": {"name": name}}
          for name in ("resize_type", "resize_type.multiplier", "scale_method")),
    ]  # fmt: skip
    node = {
        "id": 2, "type": "ResizeImageMaskNode", "inputs": slots,
        "widgets_values": ["scale by multiplier", 0.5, "area"],
    }  # fmt: skip
    load = edited()["nodes"][0]
    graph = to_graph({"nodes": [load, node], "links": [[7, 1, 0, 2, 0, "IMAGE"]]}, newest)
    assert graph["2"]["inputs"] == {
        "resize_type": "scale by multiplier", "resize_type.multiplier": 0.5, "scale_method": "area",
        "input": ["1", 0],
    }  # fmt: skip


def test_subgraphs_that_grow_without_end_are_refused_in_time() -> None:
    """Each stands for ten of the next: 10**12 nodes in a file of a few kilobytes."""

    def nodes(name: str) -> list[dict[str, Any]]:
        return [{"id": index, "type": name} for index in range(10)]

    definitions = [{"id": f"g{depth}", "nodes": nodes(f"g{depth + 1}")} for depth in range(12)]
    definitions.append({"id": "g12", "nodes": []})
    document = {"nodes": nodes("g0"), "definitions": {"subgraphs": definitions}}
    with pytest.raises(RequestError, match="more than 10000 nodes"):
        to_graph(document, CATALOG)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"nodes": [{"id": 1, "type": "NoSuchNode"}]}, "node 1 (NoSuchNode)"),
        ({"nodes": [{"id": 1, "type": "LoadImage", "widgets_values": []}]}, "input image"),
        ({"nodes": [{"id": 1, "type": "workflow>mine"}]}, "a group node: convert it"),
        ({"nodes": [{"id": 1, "type": "g"}], **sub("g", [{"id": 2, "type": "g"}])}, "20 deep"),
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


def _slot(name: str, source: int, kind: str = "IMAGE") -> dict[str, Any]:
    return {"name": name, "type": kind, "link": source}


def _reroutes(count: int) -> dict[str, Any]:
    """A chain of reroutes, and as many nodes at its end."""
    nodes: list[dict[str, Any]] = [edited()["nodes"][0] | {"id": 0}]
    nodes += [
        {"id": place, "type": "Reroute", "inputs": [_slot("", place)]} for place in range(1, count)
    ]
    nodes += [
        {"id": count + place, "type": "PreviewImage", "inputs": [_slot("images", count + place)]}
        for place in range(count)
    ]
    links = [[place, place - 1, 0, place, 0, "IMAGE"] for place in range(1, count)]
    links += [[count + place, count - 1, 0, count + place, 0, "IMAGE"] for place in range(count)]
    return {"nodes": nodes, "links": links}


def _hosts(count: int, **inside: Any) -> dict[str, Any]:
    """As many nodes that stand for one subgraph."""
    return {"nodes": [{"id": place, "type": "s"} for place in range(count)], **sub("s", **inside)}


def _proxies(count: int) -> dict[str, Any]:
    """A subgraph that shows the widgets of one inside, which shows those of a node."""

    def shown(inner: str) -> dict[str, Any]:
        return {"proxyWidgets": [[inner, f"w{place}"] for place in range(count)]}

    outer = {"id": 0, "type": "s", "widgets_values": list(range(count)), "properties": shown("5")}
    middle = {"id": 5, "type": "t", "properties": shown("1")}
    workflow_ = {"nodes": [outer], **sub("s", [middle])}
    workflow_["definitions"]["subgraphs"] += sub("t", [])["definitions"]["subgraphs"]
    return workflow_


def _bypassed(kind: str) -> dict[str, Any]:
    """A bypassed node whose inputs have types of a long text."""
    nodes = [
        {"id": 1, "type": "PreviewImage", "inputs": [_slot("images", 1)]},
        {"id": 2, "type": "PreviewImage", "mode": 4, "outputs": [{"type": "IMAGE"}],
         "inputs": [_slot(f"i{place}", 2, kind) for place in range(2000)]},
    ]  # fmt: skip
    return {"nodes": nodes, "links": [[1, 2, 0, 1, 0, "IMAGE"]]}


def _wide_host(count: int) -> dict[str, Any]:
    """Nodes in a subgraph whose inputs all come through a host of as many inputs."""
    slots = [{"name": f"i{place}", "link": None} for place in range(count)]
    host = {"id": 0, "type": "s", "inputs": slots}
    nodes = [
        {"id": place, "type": "PreviewImage", "inputs": [_slot("images", place)]}
        for place in range(count)
    ]
    links = [link(place, (-10, count - 1), (place, 0)) for place in range(count)]
    return {"nodes": [host], **sub("s", nodes=nodes, links=links, inputs=slots)}


def _wide_inside(count: int) -> dict[str, Any]:
    """A node with as many inputs in a subgraph, which as many hosts stand for."""
    wide = {"id": 1, "type": "Note", "inputs": [_slot(f"i{place}", 0) for place in range(count)]}
    return _hosts(count, nodes=[wide])


def _nested_proxies(count: int) -> dict[str, Any]:
    """A subgraph with a host of many shown widgets, which as many hosts stand for."""
    shown = {"proxyWidgets": [["1", f"w{place}"] for place in range(count)]}
    workflow_ = _hosts(count, nodes=[{"id": 5, "type": "t", "properties": shown}])
    workflow_["definitions"]["subgraphs"] += sub("t", [])["definitions"]["subgraphs"]
    return workflow_


_NOTES = [{"id": place, "type": "Note"} for place in range(4000)]
_LINKS = [link(place, (1, 0), (2, 0)) for place in range(4000)]


@pytest.mark.parametrize(
    ("hostile", "said"),
    [
        (_reroutes(4000), "too far through reroutes"),
        (_hosts(9000, nodes=_NOTES), "more than 10000 nodes"),
        (_hosts(9000, nodes=[], links=_LINKS), "no node of it runs"),
        (_proxies(20_000), "no node of it runs"),
        (_bypassed("IMAGE," * 20_000), "it is damaged"),
        (_wide_host(9000), "too far through reroutes"),
        (_wide_inside(9000), "too far through reroutes"),
        (_nested_proxies(4900), "too far through reroutes"),
        ({"nodes": [{"id": "x" * 10**6, "type": "s"}], **sub("s", _NOTES)}, "it is damaged"),
    ],
)
def test_hostile_workflows_are_refused_in_bounded_time_and_memory(
    hostile: dict[str, Any], said: str
) -> None:
    """Each took minutes or gigabytes where every meeting of two parts was worked out anew."""
    start = time.thread_time()
    with pytest.raises(RequestError, match=said):
        to_graph(hostile, CATALOG)
    assert time.thread_time() - start < 2
    tracemalloc.start()
    try:
        with pytest.raises(RequestError, match=said):
            to_graph(hostile, CATALOG)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 100 << 20
