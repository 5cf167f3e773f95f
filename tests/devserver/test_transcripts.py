"""Replays what was recorded from ComfyUI 0.3.64 and compares every message and answer."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from devserver import DevServer, Faults, NodeFault, default_models
from tests.devserver.client import Client, Played, brief, play
from tests.devserver.conftest import png, upload
from tests.devserver.record import reduced

TRANSCRIPTS = Path(__file__).parent / "transcripts"
MODELS = {
    **default_models(),
    "checkpoints": [
        "synth_sd15.safetensors",
        "synth_sd15_fast.safetensors",
        "synth_sdxl.safetensors",
    ],
    "upscale_models": ["4x_synth.pth"],
    "controlnet": [
        "control_instant_id_sdxl.safetensors",
        "synth_control_sd15_canny.safetensors",
        "synth_control_sdxl_canny.safetensors",
    ],
    "embeddings": ["synth_ti_sd15.safetensors", "synth_ti_sdxl.safetensors"],
}


def transcript(number: str) -> Any:
    (path,) = TRANSCRIPTS.glob(f"{number}_*.json")
    return json.loads(path.read_text("utf-8"))


@pytest.fixture
def server() -> Iterator[DevServer]:
    with DevServer(models=MODELS) as server:
        upload(server.url, "lab_face.png", png((80, 64)))
        upload(server.url, "lab_black.png", png((80, 64), (0, 0, 0)))
        yield server


def recorded_graph(recorded: dict[str, Any]) -> dict[str, Any]:
    """The graph with its outputs in the order in which they ran: ComfyUI keeps them in a set."""
    graph: dict[str, Any] = recorded["graph"]
    outputs = recorded["history"]["outputs_to_execute"]
    kept = {name: node for name, node in graph.items() if name not in outputs}
    in_order = [name for name in graph if name in outputs] == outputs
    return graph if in_order else kept | {name: graph[name] for name in outputs}


def replay(server: DevServer, recorded: dict[str, Any]) -> Played:
    played = play(server.url, recorded_graph(recorded))
    assert played.response.json()["node_errors"] == recorded["node_errors"]
    return played


def compare(played: Played, recorded: dict[str, Any]) -> None:
    assert played.messages == recorded["messages"]
    wanted, history = recorded["history"], played.history
    assert sorted(history) == wanted["keys"]
    assert len(history["prompt"]) == wanted["prompt_length"]
    assert history["meta"] == wanted["meta"]
    assert history["status"]["status_str"] == wanted["status"]["status_str"]
    assert history["status"]["completed"] == wanted["status"]["completed"]
    assert [kind for kind, _ in history["status"]["messages"]] == wanted["status"]["messages"]
    shapes = {
        node: {key: [f"{i['type']}" for i in items] for key, items in shown.items()}
        for node, shown in played.outputs.items()
    }
    assert shapes == {
        node: {key: [i.split("|")[1] for i in items] for key, items in shown.items()}
        for node, shown in wanted["outputs"].items()
    }


@pytest.mark.parametrize(
    "numbers",
    [("01", "02", "03"), ("04", "05"), ("06", "07", "08", "09"), ("10", "11")],
    ids=["sd15", "hires", "instantid", "controlnet"],
)
def test_runs_cold_warm_and_cached(server: DevServer, numbers: tuple[str, ...]) -> None:
    for number in numbers:
        recorded = transcript(number)
        compare(replay(server, recorded), recorded)


def test_cached_run_names_the_old_file(server: DevServer) -> None:
    graph = transcript("03")["graph"]
    first, second = play(server.url, graph), play(server.url, graph)
    assert second.outputs == first.outputs


def warm_up(server: DevServer, recorded: dict[str, Any], checkpoint: str | None = None) -> None:
    """Bring the cache to the state in which the exchange was recorded."""
    graph = json.loads(json.dumps(transcript("40")["graph"]))
    graph["1"]["inputs"]["ckpt_name"] = checkpoint or recorded["graph"]["1"]["inputs"]["ckpt_name"]
    graph["5"]["inputs"]["seed"] += 1000
    play(server.url, graph)


def test_partly_valid_graph_and_error_in_a_node(server: DevServer) -> None:
    partial, failing = transcript("36"), transcript("37")
    warm_up(server, partial, "synth_sdxl.safetensors")
    compare(replay(server, partial), partial)
    message = "'NoneType' object has no attribute 'shape'"
    server.faults.add(NodeFault("KSampler", message=message, kind="AttributeError"))
    played = replay(server, failing)
    compare(played, failing)
    (error,) = [raw["data"] for raw in played.raw if raw["type"] == "execution_error"]
    assert error["exception_message"] == message + "\n"
    assert error["exception_type"] == "AttributeError"


@pytest.mark.parametrize("number", ["38", "39"], ids=["global", "by prompt id"])
def test_interrupt(number: str) -> None:
    recorded = transcript(number)
    last = [message for message in recorded["messages"] if message[0] == "progress"][-1]
    with DevServer(models=MODELS) as server:
        warm_up(server, recorded)
        server.faults.add(NodeFault("KSampler", "hang", at_step=last[2] + 1))
        with Client(server.url) as client:
            client.receive()
            prompt_id = client.submit(recorded["graph"]).json()["prompt_id"]
            client.until(*last)
            body = {} if number == "38" else {"prompt_id": prompt_id}
            assert requests.post(f"{server.url}/interrupt", json=body, timeout=5).status_code == 200
            client.until("executing", None)
            history = client.history(prompt_id)
            played = Played(requests.Response(), client.messages, client.raw, [], history)
    compare(played, recorded)


def test_client_prompt_id_and_extra_data(server: DevServer) -> None:
    recorded = transcript("40")
    warm_up(server, recorded)
    prompt_id = "0b5c2a3e-1111-4222-8333-444455556666"
    extra = {"extra_pnginfo": {"workflow": {"note": "lab"}}}
    played = play(server.url, recorded["graph"], prompt_id=prompt_id, extra_data=extra)
    compare(played, recorded)
    assert played.response.json()["prompt_id"] == prompt_id
    assert played.history["prompt"][3]["extra_pnginfo"] == extra["extra_pnginfo"]


def test_images_over_the_websocket(server: DevServer) -> None:
    recorded = transcript("41")
    warm_up(server, recorded)
    compare(replay(server, recorded), recorded)


def test_previews() -> None:
    recorded = transcript("44")
    with DevServer(models=MODELS, previews=True) as server:
        compare(replay(server, recorded), recorded)


def test_previews_with_metadata() -> None:
    recorded = transcript("45")["messages"]
    graph = json.loads(json.dumps(transcript("44")["graph"]))
    with DevServer(models=MODELS, previews=True) as server:
        play(server.url, graph)
        graph["5"]["inputs"]["seed"] += 1
        with Client(server.url) as client:
            client.receive()
            client.announce(supports_preview_metadata=True)
            client.receive()
            client.play(graph)
            assert client.messages[: len(recorded)] == recorded


def test_feature_flags(server: DevServer) -> None:
    recorded = transcript("42")["messages"]
    with Client(server.url, "ff") as client:
        client.receive()
        client.announce(supports_preview_metadata=True)
        client.receive()
        assert client.messages[1:] == recorded[1:]


def test_reconnect_under_the_same_id(server: DevServer) -> None:
    recorded = transcript("43")["messages"]
    graph = json.loads(json.dumps(transcript("40")["graph"]))
    server.faults.add(NodeFault("KSampler", "hang", at_step=4))
    reconnected = next(i for i, m in enumerate(recorded) if i and m[0] == "status" and m[2])
    with Client(server.url, "recon") as client:
        client.receive()
        graph["5"]["inputs"]["steps"] = 25
        client.submit(graph)
        client.until("progress", "5", 3, 25)
    with Client(server.url, "recon") as client:
        client.receive()
        client.receive()
        assert client.messages == recorded[reconnected : reconnected + 2]


def test_bystander_sees_only_status(server: DevServer) -> None:
    with Client(server.url) as bystander:
        play(server.url, transcript("40")["graph"])
        seen = [bystander.receive() for _ in range(4)]
    recorded = transcript("46")["messages"]
    assert seen[: len(recorded)] == recorded
    assert {message[0] for message in seen} == {"status"}


REFUSALS = sorted(path.stem[:2] for path in TRANSCRIPTS.glob("[23]*.json") if path.stem < "36")


@pytest.mark.parametrize("number", REFUSALS)
def test_refusals(server: DevServer, number: str) -> None:
    recorded = transcript(number)
    body = recorded["request_body"]
    text = body if isinstance(body, str) else json.dumps(body)
    response = requests.post(f"{server.url}/prompt", data=text, timeout=20)
    assert response.status_code == recorded["status"]
    if isinstance(recorded["response"], str):
        assert response.text == recorded["response"]
        return
    assert reduced(response.json()) == reduced(recorded["response"])
    assert response.headers["Content-Type"] == recorded["content_type"]


@pytest.mark.parametrize("number", ["50", "51", "53", "55", "56"])
def test_plain_answers(server: DevServer, number: str) -> None:
    recorded = transcript(number)
    response = requests.get(server.url + recorded["path"], timeout=20)
    assert response.status_code == recorded["status"]
    assert response.json() == recorded["response"]


def test_system_stats_has_the_same_members(server: DevServer) -> None:
    recorded = transcript("52")["response"]
    answer = requests.get(f"{server.url}/system_stats", timeout=20).json()
    assert answer["system"].keys() == recorded["system"].keys()
    assert answer["devices"][0].keys() == recorded["devices"][0].keys()
    assert answer["system"]["comfyui_version"] == recorded["system"]["comfyui_version"]


def test_models_lists_the_folders_that_are_used(server: DevServer) -> None:
    folders = requests.get(f"{server.url}/models", timeout=20).json()
    used = {"checkpoints", "loras", "vae", "controlnet", "upscale_models", "instantid", "ipadapter"}
    assert used <= set(folders) & set(transcript("54")["response"])
    assert requests.get(f"{server.url}/models/nothing", timeout=20).status_code == 404


def test_history_of_the_last(server: DevServer) -> None:
    graph = transcript("57")["response"].popitem()[1]["prompt"][2]
    play(server.url, transcript("40")["graph"])
    played = play(server.url, graph)
    recent = requests.get(f"{server.url}/history?max_items=1", timeout=20).json()
    assert list(recent.values()) == [played.history]
    (wanted,) = transcript("57")["response"].values()
    assert sorted(played.history) == sorted(wanted)
    assert played.outputs == wanted["outputs"] == {}


def test_queue_delete_and_clear() -> None:
    recorded = transcript("58")
    graphs = [item[2] for item in recorded["queue"]["queue_running"]]
    graphs += [item[2] for item in recorded["queue"]["queue_pending"]]

    def prompt_graphs(queue: dict[str, Any]) -> dict[str, Any]:
        return {key: [item[2] for item in items] for key, items in queue.items()}

    with DevServer(models=MODELS, faults=Faults(NodeFault("KSampler", "hang"))) as server:
        queue_url = f"{server.url}/queue"
        with Client(server.url) as client:
            ids = [client.submit(graph).json()["prompt_id"] for graph in graphs]
            client.until("executing", "5")
            assert prompt_graphs(requests.get(queue_url, timeout=5).json()) == prompt_graphs(
                recorded["queue"]
            )
            deleted = requests.post(queue_url, json={"delete": [ids[2]]}, timeout=5)
            assert [deleted.status_code, deleted.text] == [recorded["delete"][0], ""]
            assert prompt_graphs(requests.get(queue_url, timeout=5).json()) == prompt_graphs(
                recorded["queue_after_delete"]
            )
            cleared = requests.post(queue_url, json={"clear": True}, timeout=5)
            assert cleared.status_code == recorded["clear"][0]
            assert prompt_graphs(requests.get(queue_url, timeout=5).json()) == prompt_graphs(
                recorded["queue_after_clear"]
            )


def test_brief_keeps_what_clients_follow() -> None:
    """The comparison above would be worth little if it dropped what matters."""
    message = {"type": "progress", "data": {"value": 1, "max": 2, "prompt_id": "x", "node": "5"}}
    assert brief(message) == ["progress", "5", 1, 2]
