"""The graph builder: sharing, numbering, links, and what the signatures refuse."""

from __future__ import annotations

from typing import Any

import pytest

from translator.comfy.catalog import Catalog
from translator.comfy.graph import Clip, Conditioning, Graph, GraphError, Latent, Model, Ref
from translator.report import Report


@pytest.fixture
def report() -> Report:
    return Report()


@pytest.fixture
def graph(report: Report) -> Graph:
    return Graph(Catalog.bundled(), report)


def latent(graph: Graph, **inputs: Any) -> Ref:
    return graph.add(
        "EmptyLatentImage", **{"width": 64, "height": 64, "batch_size": 1} | inputs
    ).out(Latent)


def test_nodes_are_numbered_in_order_and_spelled_for_the_api(graph: Graph) -> None:
    loaded = graph.add("CheckpointLoaderSimple", title="Base", ckpt_name="a.safetensors")
    graph.add("CLIPTextEncode", clip=loaded.out(Clip, 1), text="hi")
    assert graph.to_api() == {
        "1": {
            "class_type": "CheckpointLoaderSimple",
            "inputs": {"ckpt_name": "a.safetensors"},
            "_meta": {"title": "Base"},
        },
        "2": {
            "class_type": "CLIPTextEncode",
            "inputs": {"clip": ["1", 1], "text": "hi"},
            "_meta": {"title": "CLIPTextEncode"},
        },
    }


def test_equal_nodes_are_shared_whatever_their_title(graph: Graph) -> None:
    assert latent(graph) == latent(graph, title="again")
    assert latent(graph, width=128) != latent(graph)
    assert len(graph.to_api()) == 2


def test_a_whole_number_is_a_float_where_a_float_is_taken(graph: Graph) -> None:
    model = graph.add("CheckpointLoaderSimple", ckpt_name="a").out(Model)
    first = graph.add("TomePatchModel", model=model, ratio=1)
    assert graph.add("TomePatchModel", model=model, ratio=1.0) == first


def test_none_leaves_an_input_out(graph: Graph) -> None:
    loaded = graph.add("CheckpointLoaderSimple", ckpt_name="a")
    text = graph.add("CLIPTextEncode", clip=loaded.out(Clip, 1), text="x").out(Conditioning)
    graph.add(
        "ControlNetApplyAdvanced",
        positive=text,
        negative=text,
        control_net=graph.add("ControlNetLoader", control_net_name="c").out(Ref),
        image=graph.add("LoadImage", image="a.png").out(Ref),
        strength=1.0,
        start_percent=0.0,
        end_percent=1.0,
        vae=None,
    )
    assert "vae" not in graph.to_api()["5"]["inputs"]


@pytest.mark.parametrize(
    ("class_type", "inputs", "said"),
    [
        ("NoSuchNode", {}, "no such node"),
        ("EmptyLatentImage", {"width": 64, "height": 64}, "batch_size: required input missing"),
        ("EmptyLatentImage", {"depth": 1}, "depth: no such input"),
        ("EmptyLatentImage", {"width": 64, "height": 64, "batch_size": 1.5}, "takes INT"),
        ("EmptyLatentImage", {"width": 64, "height": 64, "batch_size": True}, "takes INT"),
        ("CLIPTextEncode", {"clip": "clip", "text": "x"}, "takes a link of type CLIP"),
        ("CLIPTextEncode", {"clip": Ref("1", 0, "MODEL"), "text": "x"}, "got a link of type MODEL"),
        ("CLIPTextEncode", {"clip": Ref("1", 1, "CLIP"), "text": 5}, "takes STRING"),
        ("KSamplerSelect", {"sampler_name": "nonsense"}, "not in its list"),
    ],
)
def test_what_the_signatures_refuse_is_a_defect(
    graph: Graph, class_type: str, inputs: dict[str, Any], said: str
) -> None:
    with pytest.raises(GraphError, match=said):
        graph.add(class_type, **inputs)


def test_numbers_out_of_range_are_the_requests_fault(graph: Graph, report: Report) -> None:
    latent(graph, width=20000, height=8)
    assert graph.to_api()["1"]["inputs"] == {"width": 16384, "height": 16, "batch_size": 1}
    assert [(problem.path, problem.value) for problem in report.problems] == [
        ("width", 20000),
        ("height", 8),
    ]
    assert "EmptyLatentImage.width" in report.problems[0].message


def test_files_of_a_closed_folder_are_checked_and_uploads_are_not(report: Report) -> None:
    catalog = Catalog(nodes=Catalog.bundled().nodes, folders={"checkpoints": ("a.safetensors",)})
    graph = Graph(catalog, report)
    graph.add("CheckpointLoaderSimple", ckpt_name="a.safetensors")
    graph.add("LoadImage", image="not-yet-there.png")
    with pytest.raises(GraphError, match="not in its list"):
        graph.add("CheckpointLoaderSimple", ckpt_name="b.safetensors")


def test_links_of_several_types_and_of_any(graph: Graph) -> None:
    """Advanced-ControlNet and others declare unions ("A,B") and "*"."""
    clip = graph.add("CheckpointLoaderSimple", ckpt_name="a").out(Clip, 1)
    text = graph.add("CLIPTextEncode", clip=Ref(clip.node, 1, "*"), text="x").out(Conditioning)
    graph.add("ConditioningZeroOut", conditioning=Ref(text.node, 0, "MODEL,CONDITIONING"))
    assert len(graph.to_api()) == 3
