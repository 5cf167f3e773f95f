"""Direct submission, over the real websocket to the development server."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from devserver import DevServer
from tests.worker.graphs import FILE, image_copy, marks, opened, picture, txt2img
from translator import Catalog
from translator.comfy.editor import workflow


async def test_a_graph_is_answered_in_worker_comfyuis_shape(worker: Any) -> None:
    answer = await worker.graph(txt2img(seed=5))
    assert list(answer) == ["images"]
    (image,) = answer["images"]
    assert set(image) == {"filename", "type", "data"}
    assert image["type"] == "base64"
    assert image["filename"].startswith("test_")
    assert opened(image).size == (64, 64)
    assert marks(answer) == [(5, 0)]


@pytest.mark.parametrize("output", ["SaveImage", "SaveImageWebsocket", FILE])
async def test_every_output_node_answers_a_batch_in_order(worker: Any, output: str) -> None:
    answer = await worker.graph(txt2img(seed=3, batch=3, output=output))
    assert marks(answer) == [(3, 0), (3, 1), (3, 2)]


async def test_a_repeated_job_is_answered_from_cache(worker: Any, server: DevServer) -> None:
    first = await worker.graph(txt2img())
    again = await worker.graph(txt2img())
    assert again["images"] == first["images"]
    assert len(server.submissions) == 2


async def test_saved_images_come_as_frames_and_look_as_if_saved(
    make_worker: Any, server: DevServer
) -> None:
    framed = await make_worker().graph(txt2img(seed=6, batch=2))
    saved = await make_worker(workflow_output="keep").graph(txt2img(seed=6, batch=2))
    assert server.submissions[0].graph["9"]["class_type"] == "A1111ImageFrames"
    assert server.submissions[1].graph == txt2img(seed=6, batch=2)
    for frame, file in zip(framed["images"], saved["images"], strict=True):
        assert frame["filename"] == file["filename"]
        assert json.loads(opened(frame).text["prompt"]) == txt2img(seed=6, batch=2)
        assert opened(frame).text == opened(file).text


async def test_a_prefix_that_comfyui_fills_in_stays_with_saveimage(
    worker: Any, server: DevServer
) -> None:
    graph = txt2img()
    graph["9"]["inputs"]["filename_prefix"] = "x_%year%"
    answer = await worker.graph(graph)
    assert len(answer["images"]) == 1
    assert server.submissions[0].graph["9"]["class_type"] == "SaveImage"


async def test_a_cached_file_that_is_gone_is_made_again(
    make_worker: Any, server: DevServer
) -> None:
    worker = make_worker(workflow_output="keep")
    await worker.graph(txt2img(seed=8))
    for file in (server.root / "output").rglob("*.png"):
        file.unlink()
    answer = await worker.graph(txt2img(seed=8))
    assert marks(answer) == [(8, 0)]
    assert len(server.submissions) == 3


async def test_previews_beside_saved_images_are_left_out_with_a_warning(worker: Any) -> None:
    graph = txt2img()
    graph["10"] = {"class_type": "PreviewImage", "inputs": {"images": ["8", 0]}}
    answer = await worker.graph(graph)
    assert len(answer["images"]) == 1
    assert answer["warnings"] == [
        "previews of nodes 10 are not answered; SaveImage in their place would be"
    ]


async def test_images_are_uploaded_once_under_their_content(worker: Any, server: DevServer) -> None:
    images = [{"name": "in.png", "image": picture(120)}]
    first = await worker.graph(image_copy("in.png"), images=images)
    assert opened(first["images"][0]).getpixel((0, 0)) == (120, 120, 120)
    await worker.graph(image_copy("in.png"), images=images)
    assert server.requests["POST /upload/image"] == 1
    # Another image under the same name is another file: jobs cannot disturb each other.
    other = [{"name": "in.png", "image": f"data:image/png;base64,{picture(7)}"}]
    answer = await worker.graph(image_copy("in.png"), images=other)
    assert opened(answer["images"][0]).getpixel((0, 0)) == (7, 7, 7)
    assert server.requests["POST /upload/image"] == 2


async def test_an_upload_that_the_server_lost_is_repeated(worker: Any, server: DevServer) -> None:
    images = [{"name": "in.png", "image": picture(33)}]
    await worker.graph(image_copy("in.png"), images=images)
    for file in (server.root / "input").iterdir():
        file.unlink()
    answer = await worker.graph(image_copy("in.png"), images=images)
    assert opened(answer["images"][0]).getpixel((0, 0)) == (33, 33, 33)


async def test_an_image_that_no_node_uses_is_a_warning(worker: Any) -> None:
    answer = await worker.graph(txt2img(), images=[{"name": "x.png", "image": picture()}])
    assert answer["warnings"] == ["images: no node of the workflow uses x.png"]


async def test_a_workflow_by_name_with_overrides(make_worker: Any, tmp_path: Path) -> None:
    (tmp_path / "small.json").write_text(json.dumps(txt2img(seed=1)))
    worker = make_worker(workflows_dir=tmp_path)
    request = {"workflow": "small", "overrides": {"Sampler.seed": 77, "5.batch_size": 2}}
    assert marks(await worker.run(request)) == [(77, 0), (77, 1)]
    assert marks(await worker.run({"workflow": "small.json"})) == [(1, 0)]


async def test_an_input_may_be_json_text(worker: Any) -> None:
    assert marks(await worker.run(json.dumps({"workflow": txt2img(seed=4)}))) == [(4, 0)]


def _without_class() -> dict[str, Any]:
    graph = txt2img()
    del graph["8"]["class_type"]
    return graph


def _with(node: str, **inputs: Any) -> dict[str, Any]:
    graph = txt2img()
    graph[node]["inputs"].update(inputs)
    return graph


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        ({}, ["input", "workflow", "api"]),
        ([], ["input", "object"]),
        ("{", ["input", "JSON"]),
        ({"workflow": {}}, ["workflow", "missing"]),
        ({"workflow": {"nodes": [], "links": []}}, ["workflow", "API"]),
        ({"workflow": "../secret"}, ["workflow", "path"]),
        ({"workflow": "none"}, ["workflow", "'none'"]),
        ({"workflow": _without_class()}, ["workflow.8", "class_type"]),
        (
            {"workflow": txt2img(), "images": [{"name": "a.png", "image": "###"}]},
            ["images[0].image", "base64"],
        ),
        (
            {"workflow": txt2img(), "images": [{"name": "a.png", "image": "aGVsbG8gd29ybGQ="}]},
            ["images[0].image", "not an image"],
        ),
        (
            {"workflow": txt2img(), "images": [{"name": "a/b.png", "image": picture()}]},
            ["images[0].name", "path"],
        ),
        (
            {"workflow": txt2img(), "images": [{"name": "a.png", "image": "http://x/y.png"}]},
            ["images[0].image", "IMAGE_URLS"],
        ),
        ({"workflow": txt2img(), "overrides": {"99.seed": 1}}, ["overrides.99.seed", "99"]),
        ({"workflow": txt2img(), "overrides": {"seed": 1}}, ["overrides.seed", "node.input"]),
        ({"workflow": txt2img(), "overrides": {"3.sede": 1}}, ["overrides.3.sede", '"seed"']),
        ({"workflow": "{broken"}, ["workflow", "not JSON"]),
        ({"workflow": _with("3", steps="100000")}, ["workflow.3", "steps", "MAX_STEPS"]),
        ({"workflow": _with("3", steps=100_000)}, ["workflow.3", "steps", "MAX_STEPS"]),
        ({"workflow": _with("5", width=16384, height=16384)}, ["workflow.5", "MAX_PIXELS"]),
        (
            {"workflow": {**txt2img(), "20": {"class_type": "NoSuchNode", "inputs": {}}}},
            ["NoSuchNode", "20"],
        ),
        (
            {"workflow": _with("3", sampler_name="magic")},
            ["3", "KSampler", "sampler_name", "magic"],
        ),
        (
            {"workflow": _with("4", ckpt_name="no.safetensors")},
            ["4", "ckpt_name", "no.safetensors"],
        ),
        ({"workflow": {"1": txt2img()["4"]}}, ["no outputs", "SaveImage"]),
    ],
)
async def test_a_bad_request_names_what_is_wrong(
    worker: Any, request_: Any, words: list[str]
) -> None:
    answer = await worker.run(request_)
    assert set(answer) - {"details"} == {"error"}
    for word in words:
        assert word in answer["error"]
    assert "Traceback" not in answer["error"]


async def test_a_graph_that_is_right_in_part_is_refused_and_not_run(
    worker: Any, server: DevServer
) -> None:
    graph = txt2img(steps=5)
    graph["20"] = {"class_type": "SaveImage", "inputs": {"filename_prefix": "x"}}
    answer = await worker.graph(graph)
    assert list(answer) == ["error"]
    assert "node 20 (SaveImage)" in answer["error"]
    await worker.settled()


async def test_only_nodes_of_the_allow_list_are_taken(make_worker: Any) -> None:
    worker = make_worker(node_allow_list=("LoadImage", "SaveImage"))
    answer = await worker.graph(txt2img())
    assert "CheckpointLoaderSimple is not allowed" in answer["error"]
    images = [{"name": "in.png", "image": picture()}]
    assert len((await worker.graph(image_copy("in.png"), images=images))["images"]) == 1


async def test_a_graph_without_images_says_so(worker: Any) -> None:
    graph = {
        **{key: value for key, value in txt2img().items() if key != "9"},
        "9": {"class_type": "PreviewImage", "inputs": {"images": ["8", 0]}},
    }
    answer = await worker.graph(graph)
    assert (answer["images"], answer["status"]) == ([], "success_no_images")
    assert "SaveImage in their place" in answer["warnings"][0]


@pytest.mark.parametrize(
    ("request_", "sentence"),
    [
        (None, "Please provide input"),
        ("{", "Invalid JSON format in input"),
        ({"workflow": None}, "Missing 'workflow' parameter"),
        *(
            (
                {"workflow": txt2img(), "images": images},
                "'images' must be a list of objects with 'name' and 'image' keys",
            )
            for images in ({}, ["a.png"], [{"name": "a.png"}], [{"image": "x"}])
        ),
    ],
)
async def test_what_is_missing_is_said_in_worker_comfyuis_sentences(
    worker: Any, request_: Any, sentence: str
) -> None:
    assert await worker.run(request_) == {"error": sentence}


async def test_each_image_that_cannot_be_uploaded_is_named(worker: Any) -> None:
    images = [
        {"name": "good.png", "image": picture()},
        {"name": "a.png", "image": "###"},
        {"name": "b.png", "image": "aGVsbG8gd29ybGQ="},
    ]
    answer = await worker.graph(txt2img(), images=images)
    assert answer["error"].startswith(
        "Failed to upload one or more input images: images[1].image: "
    )
    first, second = answer["details"]
    assert first.startswith("Error uploading a.png: images[1].image")
    assert second.startswith("Error uploading b.png: images[2].image")


async def test_a_refused_graph_begins_with_worker_comfyuis_sentence(worker: Any) -> None:
    answer = await worker.graph(_with("3", sampler_name="magic"))
    assert answer["error"].startswith("Workflow validation failed: node 3 (KSampler)")


async def test_a_workflow_is_taken_as_json_text_and_in_the_editors_format(worker: Any) -> None:
    as_text = await worker.run({"workflow": json.dumps(txt2img(seed=4))})
    assert marks(as_text) == [(4, 0)]
    signatures = Catalog.bundled().nodes
    edited = await worker.run({"workflow": workflow(txt2img(seed=4), signatures)})
    assert marks(edited) == [(4, 0)]


@pytest.mark.parametrize(
    "name",
    ["../output/a.png", "a/../../b.png", "/etc/a.png", "..\\a.png", "C:\\a.png", "../a.png [temp]"],
)
@pytest.mark.parametrize("loader", ["LoadImage", "LoadImageMask"])
async def test_a_file_beside_the_input_folder_is_refused(
    worker: Any, server: Any, loader: str, name: str
) -> None:
    graph = txt2img()
    graph["30"] = {"class_type": loader, "inputs": {"image": name, "channel": "alpha"}}
    answer = await worker.graph(graph)
    assert answer["error"].startswith("workflow.30.inputs.image: the file does not lie in ComfyUI")
    assert not server.submissions
