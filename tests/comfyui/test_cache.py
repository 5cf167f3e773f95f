"""ComfyUI caches by inputs: what changes between two requests decides what runs again."""

from __future__ import annotations

import base64
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
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


REQUESTS: Mapping[str, tuple[dict[str, Any], Sequence[str]]] = {
    "txt2img": (sd15(), ()),
    "sdxl-hires": (sdxl(**HIRES, denoising_strength=0.4), ()),
    "controlnet": (sd15(**canny()), ["CannyEdgePreprocessor"]),
    "seed-request": (seed_request(), ["InstantIDModelLoader"]),
}
"""Requests whose parts must stay in ComfyUI's cache, and the nodes they need."""


@pytest.fixture(scope="module", params=REQUESTS)
def payload(request: pytest.FixtureRequest, catalog: Catalog) -> dict[str, Any]:
    asked, classes = REQUESTS[request.param]
    if not catalog.has(*classes):
        pytest.skip(f"this ComfyUI has no {', '.join(classes)}")
    return asked


@dataclass(frozen=True)
class Ran:
    """A request's graph, and the nodes that ran for it."""

    graph: Graph
    executed: set[str]


@pytest.fixture(scope="module")
def ran(client: Client, catalog: Catalog, payload: dict[str, Any]) -> Mapping[str, Ran]:
    """The request, one that differs in the seed, the same again, one that differs in the prompt."""
    another_seed = {**payload, "seed": 102}
    return {
        "first": run(client, catalog, {**payload, "seed": 101}),
        "another seed": run(client, catalog, another_seed),
        "equal": run(client, catalog, another_seed),
        "another prompt": run(client, catalog, {**another_seed, "prompt": "a lighthouse"}),
    }


def translated(catalog: Catalog, payload: Mapping[str, Any]) -> Translation:
    return translate(payload, catalog=catalog, options=OPTIONS)


def run(client: Client, catalog: Catalog, payload: Mapping[str, Any]) -> Ran:
    """Translate with the server's catalog and submit, as the worker does."""
    translation = translated(catalog, payload)
    for upload in translation.uploads:
        client.upload(upload.name, base64.b64decode(upload.data))
    exchange = client.submit(translation.graph)
    assert exchange.status == 200, exchange.reply
    assert exchange.of("execution_success"), exchange.of("execution_error")
    assert exchange.cached.isdisjoint(exchange.executed)
    return Ran(translation.graph, set(exchange.executed))


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


def test_another_seed_runs_only_noise_and_sampling(ran: Mapping[str, Ran]) -> None:
    graph, executed = ran["another seed"].graph, ran["another seed"].executed
    before = executed - downstream(graph, of_class(graph, SAMPLERS))
    assert executed & of_class(graph, SAMPLERS), "nothing was sampled: the test is void"
    assert not before - of_class(graph, NOISE), classes(graph, before)


def test_an_equal_request_runs_nothing(ran: Mapping[str, Ran]) -> None:
    assert ran["equal"].executed == set()


def test_another_prompt_encodes_only_that_prompt(ran: Mapping[str, Ran]) -> None:
    graph, executed = ran["another prompt"].graph, ran["another prompt"].executed
    encoded = executed & of_class(graph, ENCODERS)
    assert len(encoded) == 1, classes(graph, encoded)
    beside = executed - downstream(graph, encoded)
    assert not beside, classes(graph, beside)


def test_ids_are_stable(catalog: Catalog, payload: dict[str, Any], ran: Mapping[str, Ran]) -> None:
    again = translated(catalog, {**payload, "seed": 101}).graph
    assert list(again.items()) == list(ran["first"].graph.items())
    assert [(node, item["class_type"]) for node, item in again.items()] == [
        (node, item["class_type"]) for node, item in ran["another seed"].graph.items()
    ]


def test_the_same_image_is_uploaded_once(
    worker: Worker, comfy: ComfyServer, need: Callable[..., None]
) -> None:
    need("InstantIDModelLoader")
    worker.generate(seed_request(seed=107))
    before = {path.name: path.stat().st_mtime_ns for path in comfy.input_dir.iterdir()}
    worker.generate(seed_request(seed=108))
    after = {path.name: path.stat().st_mtime_ns for path in comfy.input_dir.iterdir()}
    assert before == after
