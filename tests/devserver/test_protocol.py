"""Routes and queue rules that no recorded exchange covers."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
import requests
from PIL import Image

from devserver import DevServer, Faults, NodeFault
from tests.devserver.client import Client, play
from tests.devserver.conftest import png, upload, view
from tests.devserver.graphs import node, over_socket, txt2img
from translator.comfy.catalog import Catalog, folder_inputs


class TestUploads:
    def test_same_name_other_bytes_gets_a_number(self, server: DevServer) -> None:
        names = [upload(server.url, "a.png", png((n, 5))).json()["name"] for n in (4, 5, 4, 6)]
        assert names == ["a.png", "a (1).png", "a.png", "a (2).png"]

    def test_overwrite(self, server: DevServer) -> None:
        upload(server.url, "a.png", png((4, 5)))
        answer = upload(server.url, "a.png", png((6, 5)), overwrite="true")
        assert answer.json() == {"name": "a.png", "subfolder": "", "type": "input"}
        assert view(server.url, {"filename": "a.png", "type": "input"}).size == (6, 5)

    def test_subfolder_and_type(self, server: DevServer) -> None:
        answer = upload(server.url, "a.png", png((4, 5)), subfolder="x/y", type="temp")
        assert answer.json() == {"name": "a.png", "subfolder": "x/y", "type": "temp"}
        entry = {"filename": "a.png", "subfolder": "x/y", "type": "temp"}
        assert view(server.url, entry).size == (4, 5)

    @pytest.mark.parametrize("subfolder", ["..", "/etc", "a/../../b"])
    def test_outside_is_refused(self, server: DevServer, subfolder: str) -> None:
        assert upload(server.url, "a.png", b"x", subfolder=subfolder).status_code == 400

    def test_without_a_file(self, server: DevServer) -> None:
        answer = requests.post(f"{server.url}/upload/image", data={"image": "text"}, timeout=5)
        assert answer.status_code == 400

    def test_used_by_a_graph(self, server: DevServer) -> None:
        upload(server.url, "a.png", png((40, 50)), subfolder="deep")
        graph = {
            "a": node("LoadImage", image="deep/a.png"),
            "s": node("SaveImage", images=["a", 0], filename_prefix="copy"),
        }
        (entry,) = play(server.url, graph).outputs["s"]["images"]
        copy = view(server.url, entry)
        assert copy.size == (40, 50)
        assert copy.convert("RGB").getpixel((7, 7)) == (200, 10, 10)

    def test_mask(self, server: DevServer) -> None:
        upload(server.url, "a.png", png((4, 5)))
        drawn = io.BytesIO()
        Image.new("RGBA", (4, 5), (0, 0, 0, 77)).save(drawn, "PNG")
        answer = requests.post(
            f"{server.url}/upload/mask",
            files={"image": ("masked.png", drawn.getvalue(), "image/png")},
            data={"original_ref": json.dumps({"filename": "a.png", "type": "input"})},
            timeout=5,
        )
        assert answer.json()["name"] == "masked.png"
        masked = view(server.url, {"filename": "masked.png", "type": "input"})
        assert masked.getpixel((0, 0)) == (200, 10, 10, 77)


class TestView:
    @pytest.mark.parametrize(
        ("query", "status"),
        [
            ({}, 404),
            ({"filename": ""}, 400),
            ({"filename": "../a.png"}, 400),
            ({"filename": "/a.png"}, 400),
            ({"filename": "a.png", "type": "secret"}, 400),
            ({"filename": "a.png", "subfolder": "../.."}, 403),
            ({"filename": "a.png"}, 404),
        ],
    )
    def test_refusals(self, shared_server: DevServer, query: dict[str, str], status: int) -> None:
        answer = requests.get(f"{shared_server.url}/view", params=query, timeout=5)
        assert answer.status_code == status

    def test_file_and_preview(self, shared_server: DevServer) -> None:
        (entry,) = play(shared_server.url, txt2img()).outputs["7"]["images"]
        whole = requests.get(f"{shared_server.url}/view", params=entry, timeout=5)
        assert whole.headers["Content-Type"] == "image/png"
        assert json.loads(Image.open(io.BytesIO(whole.content)).info["prompt"]) == txt2img()
        small = {**entry, "preview": "jpeg;50"}
        preview = requests.get(f"{shared_server.url}/view", params=small, timeout=5)
        assert Image.open(io.BytesIO(preview.content)).format == "JPEG"


class TestQueue:
    def test_front_and_number(self) -> None:
        with DevServer(faults=Faults(NodeFault("KSampler", "hang"))) as server:
            with Client(server.url) as client:
                client.submit(txt2img(0))
                client.until("executing", "5")
                order: list[dict[str, Any]] = [{}, {"front": True}, {"number": -50}, {}]
                ids = [
                    client.submit(txt2img(seed), **more).json()["prompt_id"]
                    for seed, more in enumerate(order)
                ]
                queue = requests.get(f"{server.url}/queue", timeout=5).json()
            waiting = [item[1] for item in queue["queue_pending"]]
            assert waiting == [ids[2], ids[1], ids[0], ids[3]]

    def test_deleted_jobs_never_run(self, server: DevServer) -> None:
        server.faults.add(NodeFault("KSampler", "hang"))
        with Client(server.url) as client:
            first = client.submit(txt2img(1)).json()["prompt_id"]
            client.until("executing", "5")
            second = client.submit(txt2img(2)).json()["prompt_id"]
            third = client.submit(txt2img(3)).json()["prompt_id"]
            requests.post(f"{server.url}/queue", json={"delete": [second, first]}, timeout=5)
            requests.post(f"{server.url}/interrupt", json={"prompt_id": first}, timeout=5)
            client.until("execution_success")
            client.until("executing", None)
        history = requests.get(f"{server.url}/history", timeout=5).json()
        assert list(history) == [first, third]
        assert [history[i]["status"]["status_str"] for i in history] == ["error", "success"]

    def test_interrupt_of_another_job_does_nothing(self, server: DevServer) -> None:
        server.faults.add(NodeFault("KSampler", "hang"))
        with Client(server.url) as client:
            prompt_id = client.submit(txt2img()).json()["prompt_id"]
            client.until("executing", "5")
            requests.post(f"{server.url}/interrupt", json={"prompt_id": "other"}, timeout=5)
            queue = requests.get(f"{server.url}/queue", timeout=5).json()
            assert [item[1] for item in queue["queue_running"]] == [prompt_id]
            requests.post(f"{server.url}/interrupt", data="", timeout=5)
            client.until("execution_interrupted")

    def test_interrupt_while_idle_does_not_hit_the_next_job(self, server: DevServer) -> None:
        requests.post(f"{server.url}/interrupt", json={}, timeout=5)
        assert play(server.url, txt2img()).history["status"]["completed"]

    def test_partial_execution_targets(self, server: DevServer) -> None:
        graph = txt2img() | {"8": node("PreviewImage", images=["6", 0])}
        played = play(server.url, graph, partial_execution_targets=["8"])
        assert list(played.outputs) == ["8"]
        assert played.history["prompt"][4] == ["8"]


class TestHistory:
    def test_delete_and_clear(self, server: DevServer) -> None:
        ids = [play(server.url, txt2img(n)).response.json()["prompt_id"] for n in range(3)]
        url = f"{server.url}/history"
        requests.post(url, json={"delete": [ids[1], "unknown"]}, timeout=5)
        assert list(requests.get(url, timeout=5).json()) == [ids[0], ids[2]]
        requests.post(url, json={"clear": True}, timeout=5)
        assert requests.get(url, timeout=5).json() == {}
        assert requests.get(f"{url}/{ids[0]}", timeout=5).json() == {}

    def test_limit_and_pages(self) -> None:
        with DevServer(history_limit=3) as server:
            ids = [play(server.url, txt2img(n)).response.json()["prompt_id"] for n in range(5)]
            url = f"{server.url}/history"
            assert list(requests.get(url, timeout=5).json()) == ids[2:]
            assert list(requests.get(f"{url}?max_items=2", timeout=5).json()) == ids[3:]
            page = requests.get(f"{url}?max_items=1&offset=1", timeout=5).json()
            assert list(page) == [ids[3]]


def test_job_without_a_client_is_told_to_all(server: DevServer) -> None:
    with Client(server.url) as bystander:
        bystander.receive()
        requests.post(f"{server.url}/prompt", json={"prompt": txt2img()}, timeout=5)
        kinds = set()
        while bystander.receive()[1:] != [0, False]:
            kinds.add(bystander.messages[-1][0])
    assert kinds == {"status", "progress_state", "progress"}


def test_a_node_nobody_looked_at_does_not_end_the_server(server: DevServer) -> None:
    with Client(server.url) as client:
        unused = {"9": {"class_type": "VAEDecode"}}
        prompt_id = client.submit(txt2img() | unused).json()["prompt_id"]
        client.until("executing", None)
        assert not client.history(prompt_id)["status"]["completed"]
    assert play(server.url, txt2img()).history["status"]["completed"]


def test_batch_over_the_websocket_in_order(server: DevServer) -> None:
    with Client(server.url) as client:
        client.receive()
        client.announce(supports_preview_metadata=True)
        played = client.play(over_socket(batch=3))
    assert [frame.metadata["node_id"] for frame in played.frames] == ["7"] * 3
    assert len({frame.image for frame in played.frames}) == 3
    assert played.outputs == {}


def test_metadata_only_where_it_was_announced_first(server: DevServer) -> None:
    with Client(server.url) as client:
        client.receive()
        client.socket.send("{}")
        client.announce(supports_preview_metadata=True)
        played = client.play(over_socket())
    assert [(frame.event, frame.form) for frame in played.frames] == [(1, 2)]


def test_object_info_makes_the_catalog(shared_server: DevServer) -> None:
    listed = requests.get(f"{shared_server.url}/object_info", timeout=5).json()
    served, bundled = Catalog.from_object_info(listed), Catalog.bundled()
    for name, signature in served.nodes.items():
        known = bundled.nodes[name]
        assert signature.outputs == known.outputs
        assert signature.output_node == known.output_node
        assert signature.inputs.keys() == known.inputs.keys()
        for input_name, item in signature.inputs.items():
            wanted = known.inputs[input_name]
            folder = folder_inputs().get((name, input_name))
            found = (item.type, item.required, item.min, item.max, item.folder)
            assert found == (wanted.type, wanted.required, wanted.min, wanted.max, folder)
    assert served.files("checkpoints") == tuple(
        sorted(shared_server.settings.models["checkpoints"])
    )
    one = requests.get(f"{shared_server.url}/object_info/KSampler", timeout=5).json()
    assert one == {"KSampler": listed["KSampler"]}
    assert requests.get(f"{shared_server.url}/object_info/No", timeout=5).json() == {}


def test_missing_pack_and_node() -> None:
    def refused(url: str, class_type: str) -> dict[str, Any]:
        graph = {"a": node(class_type)}
        answer = requests.post(f"{url}/prompt", json={"prompt": graph}, timeout=5)
        error: dict[str, Any] = answer.json()["error"]
        return error

    with DevServer(missing=frozenset({"ComfyUI_InstantID", "VAELoader"})) as server:
        listed = requests.get(f"{server.url}/object_info", timeout=5).json()
        assert not {"InstantIDModelLoader", "VAELoader"} & set(listed)
        message = "Cannot execute because node {} does not exist."
        assert refused(server.url, "ApplyInstantID")["message"] == message.format("ApplyInstantID")
        assert refused(server.url, "VAELoader")["message"] == message.format("VAELoader")


def test_a_node_without_a_rule_is_checked_and_fails_when_it_runs(server: DevServer) -> None:
    graph = {
        "a": node("EmptyImage", width=64, height=64, batch_size=1, color=0),
        "b": node("Canny", image=["a", 0], low_threshold=0, high_threshold=0.5),
        "c": node("PreviewImage", images=["b", 0]),
    }
    answer = requests.post(f"{server.url}/prompt", json={"prompt": graph}, timeout=5).json()
    assert answer["node_errors"]["b"]["errors"][0]["type"] == "value_smaller_than_min"
    graph["b"]["inputs"]["low_threshold"] = 0.25
    played = play(server.url, graph)
    (failure,) = [message["data"] for message in played.raw if message["type"] == "execution_error"]
    assert "Canny" in failure["exception_message"]
    assert "no rule" in failure["exception_message"]


def test_every_route_also_under_api(shared_server: DevServer) -> None:
    for path in ("/queue", "/prompt", "/history", "/features", "/models/vae"):
        plain = requests.get(shared_server.url + path, timeout=5)
        assert requests.get(f"{shared_server.url}/api{path}", timeout=5).json() == plain.json()


def test_submissions_and_requests_are_counted(server: DevServer) -> None:
    play(server.url, txt2img(5))
    (submission,) = server.submissions
    assert submission.graph == txt2img(5)
    assert submission.client_id == submission.extra_data["client_id"]
    assert server.requests["POST /prompt"] == 1
    assert server.requests["GET /history/{prompt_id}"] == 1
    assert server.jobs_executed == 1
