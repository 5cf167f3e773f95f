"""ComfyUI caches by inputs: what changes between two requests decides what runs again."""

from __future__ import annotations

import base64
from collections.abc import Callable, Collection, Mapping
from typing import Any

import pytest

from tests.comfyui.exchange import Client, Graph
from tests.comfyui.server import ComfyServer
from tests.comfyui.test_requests import canny, sd15, sdxl, seed_request
from tests.comfyui.worker import Worker
from translator import Catalog, Options, Translation, translate

NOISE = {"A1111Noise", "RandomNoise"}
SAMPLERS = {"SamplerCustomAdvanced", "SamplerCustom", "KSampler", "KSamplerAdvanced"}
ENCODERS = {"A1111TextEncode", "CLIPTextEncode", "CLIPTextEncodeSDXL"}
OPTIONS = Options(
    architectures={"synth_sd15": "SD1", "synth_sdxl": "SDXL"} | {"dynavisionXL": "SDXL"}
)
HIRES = {"enable_hr": True, "hr_scale": 1.5, "hr_upscaler": "R-ESRGAN 4x+"}


@pytest.fixture(scope="module")
def catalog(object_info: Mapping[str, Any]) -> Catalog:
    return Catalog.from_object_info(object_info)


@pytest.fixture(params=["txt2img", "sdxl-hires", "controlnet", "seed-request"])
def payload(request: pytest.FixtureRequest, need: Callable[..., None]) -> dict[str, Any]:
    """Requests whose parts must stay in ComfyUI's cache."""
    match request.param:
        case "txt2img":
            return sd15()
        case "sdxl-hires":
            return sdxl(**HIRES, denoising_strength=0.4)
        case "controlnet":
            need("CannyEdgePreprocessor")
            return sd15(**canny())
        case _:
            need("InstantIDModelLoader")
            return seed_request()


class Asker:
    """Translates with the server's catalog and submits, as the worker does."""

    def __init__(self, client: Client, catalog: Catalog) -> None:
        self._client = client
        self._catalog = catalog

    def translate(self, payload: Mapping[str, Any]) -> Translation:
        return translate(payload, catalog=self._catalog, options=OPTIONS)

    def executed(self, payload: Mapping[str, Any]) -> tuple[Graph, set[str]]:
        """A request's graph, and the nodes that ran for it."""
        translation = self.translate(payload)
        for upload in translation.uploads:
            self._client.upload(upload["name"], base64.b64decode(upload["data"]))
        exchange = self._client.submit(translation.graph)
        assert exchange.status == 200, exchange.reply
        assert exchange.of("execution_success"), exchange.of("execution_error")
        assert exchange.cached.isdisjoint(exchange.executed)
        return translation.graph, set(exchange.executed)


@pytest.fixture
def ask(client: Client, catalog: Catalog) -> Asker:
    return Asker(client, catalog)


def downstream(graph: Graph, sources: Collection[str]) -> set[str]:
    """`sources`, and the nodes that need one of them, directly or not."""
    found = set(sources)
    while True:
        more = {
            node
            for node, item in graph.items()
            if node not in found and any(link in found for link in links(item))
        }
        if not more:
            return found
        found |= more


def links(item: Mapping[str, Any]) -> list[str]:
    return [value[0] for value in item["inputs"].values() if isinstance(value, list)]


def of_class(graph: Graph, classes: Collection[str]) -> set[str]:
    return {node for node, item in graph.items() if item["class_type"] in classes}


def classes(graph: Graph, nodes: Collection[str]) -> list[str]:
    return sorted(graph[node]["class_type"] for node in nodes)


def test_another_seed_runs_only_noise_and_sampling(ask: Asker, payload: dict[str, Any]) -> None:
    ask.executed({**payload, "seed": 101})
    graph, executed = ask.executed({**payload, "seed": 102})
    before = executed - downstream(graph, of_class(graph, SAMPLERS))
    assert executed & of_class(graph, SAMPLERS), "nothing was sampled: the test is void"
    assert not before - of_class(graph, NOISE), classes(graph, before)


def test_another_prompt_encodes_only_that_prompt(ask: Asker, payload: dict[str, Any]) -> None:
    ask.executed({**payload, "seed": 103})
    graph, executed = ask.executed({**payload, "seed": 103, "prompt": "a lighthouse"})
    encoded = executed & of_class(graph, ENCODERS)
    assert len(encoded) == 1, classes(graph, encoded)
    beside = executed - downstream(graph, encoded)
    assert not beside, classes(graph, beside)


def test_an_equal_request_runs_nothing(ask: Asker, payload: dict[str, Any]) -> None:
    ask.executed({**payload, "seed": 104})
    assert ask.executed({**payload, "seed": 104})[1] == set()


def test_equal_requests_are_equal_graphs(ask: Asker, payload: dict[str, Any]) -> None:
    fixed = {**payload, "seed": 105}
    assert list(ask.translate(fixed).graph.items()) == list(
        ask.translate(dict(fixed)).graph.items()
    )
    other = ask.translate({**fixed, "seed": 106}).graph
    assert [(node, item["class_type"]) for node, item in other.items()] == [
        (node, item["class_type"]) for node, item in ask.translate(fixed).graph.items()
    ]


def test_the_same_image_is_uploaded_once(
    worker: Worker, comfy: ComfyServer, need: Callable[..., None]
) -> None:
    need("InstantIDModelLoader")
    worker.paint(seed_request(seed=107))
    before = {path.name: path.stat().st_mtime_ns for path in comfy.input_dir.iterdir()}
    worker.paint(seed_request(seed=108))
    after = {path.name: path.stat().st_mtime_ns for path in comfy.input_dir.iterdir()}
    assert before == after
