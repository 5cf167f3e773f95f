"""What the development server does otherwise when it speaks as the newest ComfyUI."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from devserver import DevServer, Durations
from devserver.dialect import DIALECTS, OLDEST
from tests.corpus.signatures import versions
from tests.devserver.client import Client
from tests.devserver.graphs import node, txt2img
from translator import Catalog

NEWEST = list(DIALECTS)[-1]


@pytest.fixture(scope="module")
def newest() -> Iterator[DevServer]:
    with DevServer(version=NEWEST, durations=Durations(step=0.05)) as server:
        yield server


def post(server: DevServer, graph: dict[str, Any], **more: Any) -> requests.Response:
    return requests.post(f"{server.url}/prompt", json={"prompt": graph, **more}, timeout=5)


def errors(server: DevServer, graph: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    answer = post(server, graph).json()
    return {node_id: found["errors"] for node_id, found in answer["node_errors"].items()}


def test_the_oldest_and_the_newest_bundled_version_are_spoken() -> None:
    assert list(DIALECTS) == [versions()[0], versions()[-1]]
    assert versions()[0] == OLDEST


def test_it_has_the_newest_nodes(newest: DevServer) -> None:
    stats = requests.get(f"{newest.url}/system_stats", timeout=5).json()
    assert stats["system"]["comfyui_version"] == NEWEST
    listed = requests.get(f"{newest.url}/object_info", timeout=10).json()
    served, known = Catalog.from_object_info(listed), Catalog.bundled(NEWEST)
    assert served.nodes.keys() == known.nodes.keys()
    assert served.nodes["ImageFromBatch"].inputs["batch_index"].min == -16384
    codec = listed["SaveVideo"]["input"]["required"]["codec"]
    assert [option["key"] for option in codec[1]["options"]] == ["auto", "h264"]


def test_a_missing_class_has_its_own_error(newest: DevServer) -> None:
    error = post(newest, {"7": node("NoSuchNode")}).json()["error"]
    assert error["type"] == "missing_node_type"
    assert error["extra_info"]["class_type"] == "NoSuchNode"
    assert post(newest, {"7": {"inputs": {}}}).json()["error"]["type"] == "missing_node_type"


def test_a_cycle_is_told_at_each_of_its_nodes(newest: DevServer) -> None:
    graph = {
        "a": node("ImageInvert", image=["b", 0]),
        "b": node("ImageInvert", image=["a", 0]),
        "c": node("PreviewImage", images=["a", 0]),
    }
    found = errors(newest, graph)
    assert {name: error[0]["type"] for name, error in found.items()} == dict.fromkeys(
        "ab", "dependency_cycle"
    )
    assert found["a"][0]["extra_info"]["cycle_nodes"] == ["a", "b"]


@pytest.mark.parametrize(("version", "accepted"), [(OLDEST, True), (NEWEST, False)])
def test_values_of_v3_nodes_are_checked_by_the_newest_alone(version: str, accepted: bool) -> None:
    graph = {
        "a": node("EmptyImage", width=64, height=64, batch_size=1, color=0),
        "b": node("ImageBlend", image1=["a", 0], image2=["a", 0], blend_factor=0.5, blend_mode="x"),
        "c": node("PreviewImage", images=["b", 0]),
    }
    with DevServer(version=version) as server:
        assert (post(server, graph).status_code == 200) is accepted


def video(codec: dict[str, Any]) -> dict[str, Any]:
    made = node("EmptyImage", width=64, height=64, batch_size=8, color=0)
    saved = {"filename_prefix": "video", "format": "auto", **codec}
    return {
        "a": made,
        "b": node("CreateVideo", images=["a", 0], fps=8.0),
        "c": {"class_type": "SaveVideo", "inputs": {"video": ["b", 0], **saved}},
    }


@pytest.mark.parametrize(
    ("codec", "error"),
    [
        ({"codec": "auto"}, None),
        ({"codec": "h264"}, None),
        ({"codec": "h264", "codec.encoding": "re-encode", "codec.encoding.crf": 20}, None),
        (
            {"codec": "h264", "codec.encoding": "re-encode", "codec.encoding.crf": 99},
            ("value_bigger_than_max", "codec.encoding.crf"),
        ),
        (
            {"codec": "h264", "codec.encoding": "re-encode"},
            ("required_input_missing", "codec.encoding.crf"),
        ),
    ],
)
def test_what_a_dynamic_combo_brings_is_checked(
    newest: DevServer, codec: dict[str, Any], error: tuple[str, str] | None
) -> None:
    found = errors(newest, video(codec))
    told = [(item["type"], item["extra_info"]["input_name"]) for item in found.get("c", ())]
    assert told == ([] if error is None else [error])


def test_a_growing_row_takes_as_many_as_are_given_and_wants_the_first(newest: DevServer) -> None:
    def graph(**images: Any) -> dict[str, Any]:
        inputs = {f"images.{name}": link for name, link in images.items()}
        return {
            "a": node("EmptyImage", width=64, height=64, batch_size=1, color=0),
            "b": {"class_type": "BatchImagesNode", "inputs": inputs},
            "c": node("PreviewImage", images=["b", 0]),
        }

    assert errors(newest, graph(image0=["a", 0], image1=["a", 0])) == {}
    assert errors(newest, graph())["b"][0]["type"] == "required_input_missing"


@pytest.mark.parametrize("prompt_id", ["mine", "7" * 32, "1DD42549-B40E-44E1-9746-FCBEF04C2E52", 7])
def test_a_prompt_id_must_be_a_uuid_as_python_writes_it(newest: DevServer, prompt_id: Any) -> None:
    answer = post(newest, txt2img(1), prompt_id=prompt_id)
    assert answer.status_code == 400
    assert answer.json()["error"]["type"] == "invalid_prompt_id"


def test_a_job_by_its_id(newest: DevServer) -> None:
    prompt_id = str(uuid.uuid4())
    with Client(newest.url) as client:
        post(newest, txt2img(2), prompt_id=prompt_id, client_id=client.client_id)
        client.until("execution_success")
        client.until("status")
    job = requests.get(f"{newest.url}/api/jobs/{prompt_id}", timeout=5).json()
    assert (job["id"], job["status"], job["outputs_count"]) == (prompt_id, "completed", 1)
    assert job["execution_start_time"] <= job["execution_end_time"]
    gone = requests.get(f"{newest.url}/api/jobs/{uuid.uuid4()}", timeout=5)
    assert gone.status_code == 404


def test_a_job_is_cancelled_wherever_it_is(newest: DevServer) -> None:
    running, waiting = str(uuid.uuid4()), str(uuid.uuid4())

    def cancelled(job: str) -> bool:
        answer = requests.post(f"{newest.url}/api/jobs/{job}/cancel", timeout=5).json()
        return bool(answer["cancelled"])

    with Client(newest.url) as client:
        for seed, job in ((3, running), (4, waiting)):
            graph = txt2img(seed)
            sampler = next(n for n in graph.values() if n["class_type"] == "KSampler")
            sampler["inputs"]["steps"] = 400
            post(newest, graph, prompt_id=job, client_id=client.client_id)
        client.until("progress")
        assert cancelled(waiting)
        assert cancelled(running)
        client.until("execution_interrupted")
        client.until("status")
    assert not cancelled(running)
    job = requests.get(f"{newest.url}/api/jobs/{running}", timeout=5).json()
    assert job["status"] == "cancelled"


def test_the_oldest_has_no_such_routes() -> None:
    with DevServer() as server:
        assert requests.get(f"{server.url}/api/jobs/x", timeout=5).status_code == 404
        assert requests.post(f"{server.url}/api/jobs/x/cancel", timeout=5).status_code == 404
