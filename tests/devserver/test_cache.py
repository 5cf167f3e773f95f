"""What is answered from cache, and what is not."""

from __future__ import annotations

import requests

from devserver import DevServer, NodeFault
from tests.devserver.client import Played, play
from tests.devserver.conftest import png, upload
from tests.devserver.graphs import Graph, image_graph, node, txt2img


def ran(played: Played) -> list[str]:
    """Nodes that were executed, in order."""
    return [message[1] for message in played.of("executing") if message[1] is not None]


def test_new_seed_runs_from_the_sampler_on(server: DevServer) -> None:
    play(server.url, txt2img(seed=1))
    assert ran(play(server.url, txt2img(seed=2))) == ["5", "6", "7"]


def test_new_prompt_encodes_that_prompt_only(server: DevServer) -> None:
    play(server.url, txt2img(text="a cat"))
    assert ran(play(server.url, txt2img(text="a dog"))) == ["2", "5", "6", "7"]


def test_ids_do_not_matter(server: DevServer) -> None:
    first = play(server.url, txt2img())
    renamed = {
        f"n{name}": {
            **item,
            "inputs": {
                key: [f"n{value[0]}", value[1]] if isinstance(value, list) else value
                for key, value in item["inputs"].items()
            },
        }
        for name, item in txt2img().items()
    }
    second = play(server.url, renamed)
    assert ran(second) == []
    assert second.outputs == {"n7": first.outputs["7"]}
    assert second.history["meta"]["n7"]["node_id"] == "7"


def test_only_the_last_graph_is_kept(server: DevServer) -> None:
    play(server.url, txt2img())
    play(server.url, {"a": node("EmptyImage", width=8, height=8, batch_size=1, color=0)} | show())
    assert ran(play(server.url, txt2img())) == ["1", "4", "3", "2", "5", "6", "7"]


def show() -> Graph:
    return {"s": node("PreviewImage", images=["a", 0])}


def test_a_changed_file_is_loaded_again(server: DevServer) -> None:
    graph = {"a": node("LoadImage", image="x.png")} | show()
    upload(server.url, "x.png", png((10, 20)))
    play(server.url, graph)
    assert ran(play(server.url, graph)) == []
    upload(server.url, "x.png", png((10, 20)), overwrite="true")
    assert ran(play(server.url, graph)) == []
    upload(server.url, "x.png", png((30, 20)), overwrite="true")
    assert ran(play(server.url, graph)) == ["a", "s"]


def test_images_over_the_websocket_are_always_sent(server: DevServer) -> None:
    graph = {
        "a": node("EmptyImage", width=8, height=8, batch_size=1, color=0),
        "s": node("SaveImageWebsocket", images=["a", 0]),
    }
    play(server.url, graph)
    assert ran(play(server.url, graph)) == ["s"]


def test_free_memory_empties_it(server: DevServer) -> None:
    play(server.url, txt2img())
    requests.post(f"{server.url}/free", json={"unload_models": True}, timeout=5)
    assert ran(play(server.url, txt2img())) == []
    requests.post(f"{server.url}/free", json={"free_memory": True}, timeout=5)
    assert len(ran(play(server.url, txt2img()))) == 7


def test_what_ran_before_a_failure_is_kept(server: DevServer) -> None:
    server.faults.add(NodeFault("VAEDecode"))
    assert play(server.url, txt2img()).history["status"]["status_str"] == "error"
    assert ran(play(server.url, txt2img())) == ["6", "7"]


def test_restart_forgets(server: DevServer) -> None:
    play(server.url, txt2img())
    server.restart()
    assert len(ran(play(server.url, txt2img()))) == 7
    assert requests.get(f"{server.url}/history", timeout=5).json().keys() != set()


def test_the_second_of_two_equal_nodes_is_answered_by_the_first(server: DevServer) -> None:
    graph = image_graph(
        a=node("ImageInvert", image=["image", 0]),
        b=node("ImageInvert", image=["image", 0]),
        out=node("ImageBatch", image1=["a", 0], image2=["b", 0]),
    )
    played = play(server.url, graph)
    assert ran(played) == ["image", "b", "out", "show"]
    assert ["executed", "a", None] in played.messages
    assert ran(play(server.url, graph)) == []
