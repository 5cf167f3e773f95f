"""The development server is faithful: the same submissions, side by side with the real one.

Both servers start empty and get the same graphs in the same order, so that also what they cache can
be compared. Where the two differ, the development server is wrong.
"""

from __future__ import annotations

import base64
import itertools
import re
import threading
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from devserver import DevServer, Durations, Settings
from devserver.dialect import DIALECTS
from tests.comfyui import graphs, models
from tests.comfyui.conftest import Serve
from tests.comfyui.exchange import Client, Exchange
from tests.comfyui.graphs import SAMPLER, SAVE, Graph
from tests.comfyui.pictures import black, photo
from tests.comfyui.server import Checkout
from tests.comfyui.test_cache import OPTIONS
from tests.comfyui.test_requests import canny, sd15, sdxl, seed_request
from translator import Catalog, TranslationError, translate

FACE = "conformance_face.png"
BROKEN = "conformance_broken.png"
UPLOADS = {FACE: photo(), BROKEN: b"not a picture"}
_COUNTER = re.compile(r"_\d{5}_")
_TEMP_PREFIX = re.compile(r"_temp_[a-z]{5}")

RUNS: Mapping[str, Graph] = {
    "cold": graphs.txt2img(),
    "fully cached": graphs.txt2img(),
    "another seed": graphs.txt2img(seed=2),
    "another prompt": graphs.txt2img(seed=2, text="a dog"),
    "batch of 3": graphs.txt2img(batch_size=3),
    "preview output": graphs.output_as("PreviewImage"),
    "websocket output": graphs.output_as("SaveImageWebsocket"),
    "websocket output again": graphs.output_as("SaveImageWebsocket"),
    "latent hires": graphs.latent_hires(),
    "model upscale": graphs.model_upscale(),
    "LoRA": graphs.with_lora(),
    "VAE": graphs.with_vae(),
    "ControlNet": graphs.with_controlnet(FACE),
    "one of two outputs invalid": graphs.partly_invalid(FACE),
    "image": graphs.with_image(FACE),
    "a node fails": graphs.with_image(BROKEN),
}
"""What is accepted, in the order it is sent."""

HIRES = {"enable_hr": True, "hr_scale": 1.5, "denoising_strength": 0.6}
PAYLOADS: Mapping[str, dict[str, Any]] = {
    "request: SD1.5": sd15(),
    "request: another seed": sd15(seed=8),
    "request: batch of 2, twice": sd15(batch_size=2, n_iter=2),
    "request: hires by latent": sd15(**HIRES, hr_upscaler="Latent"),
    "request: SDXL, hires by ESRGAN": sdxl(**HIRES, hr_upscaler="4x_synth"),
    "request: ControlNet canny": sd15(**canny()),
    "request: InstantID": seed_request(),
    "request: no face": seed_request(image=black()),
}
"""A1111 requests; what becomes of them is sent after `RUNS`."""


def _base(**inputs: Any) -> Graph:
    return graphs.changed(graphs.txt2img(), SAMPLER, **inputs)


REFUSALS: Mapping[str, Graph] = {
    "value not in list": _base(sampler_name="no_such_sampler"),
    "missing checkpoint": graphs.changed(graphs.txt2img(), "1", ckpt_name="no.safetensors"),
    "missing image": graphs.with_controlnet("no_such_image.png"),
    "unknown node": graphs.also(graphs.txt2img(), n8=graphs.node("NoSuchNode")),
    "input missing": graphs.without(graphs.txt2img(), SAMPLER, "steps"),
    "linked input missing": graphs.without(graphs.txt2img(), SAMPLER, "model"),
    "too large": _base(steps=100_000),
    "too small": _base(steps=0),
    "not a number": _base(cfg="much"),
    "several errors": _base(steps=0, cfg="much", sampler_name="none"),
    "errors in two nodes": graphs.changed(_base(steps=0), "4", width=3),
    "wrong link type": _base(model=["2", 0]),
    "output number too high": _base(model=["1", 7]),
    "bad link": _base(model=["1"]),
    "dangling link": _base(model=["99", 0]),
    "cycle": graphs.changed(graphs.txt2img(), "4", width=["4", 0]),
    "no outputs": {node: item for node, item in graphs.txt2img().items() if node != SAVE},
    "empty": {},
    "no class": {"1": {"inputs": {}}},
}


@pytest.fixture(scope="module")
def real(serve: Serve, checkout: Checkout) -> Iterator[Client]:
    """A server of its own: what the other tests left in the cache must not show."""
    with serve("conformance", models.lab_models(checkout)) as server:
        client = prepared(server.url)
        if version(client) not in DIALECTS:
            pytest.skip(f"the development server does not speak ComfyUI {version(client)}")
        yield client


@pytest.fixture(scope="module")
def development(real: Client) -> Iterator[Client]:
    """The development server, with the real one's model lists and a sampler that takes time."""
    spoken = version(real)
    settings = Settings(version=spoken, models=real.models(), durations=Durations(step=0.05))
    with DevServer(settings) as server:
        yield prepared(server.url)


def version(client: Client) -> str:
    found: str = client.get("/system_stats")["system"]["comfyui_version"]
    return found


def prepared(url: str) -> Client:
    client = Client(url)
    for name, data in UPLOADS.items():
        client.upload(name, data)
    return client


@pytest.fixture(scope="module")
def runs(real: Client, development: Client) -> dict[str, tuple[Exchange, Exchange]]:
    """Everything that is accepted, as the real and as the development server ran it."""
    submissions = {**RUNS, **translated(real, development)}
    return {
        name: (real.submit(graph), development.submit(graph)) for name, graph in submissions.items()
    }


def translated(real: Client, development: Client) -> dict[str, Graph]:
    """The graphs of `PAYLOADS`, as far as the real server has their nodes."""
    info = real.get("/object_info")
    catalog = Catalog.from_object_info(info)
    graphs: dict[str, Graph] = {}
    for name, payload in PAYLOADS.items():
        try:
            translation = translate(payload, catalog=catalog, options=OPTIONS)
        except TranslationError as error:
            if all(problem.kind == "missing" for problem in error.problems):
                continue
            raise
        for upload in translation.uploads:
            for client in (real, development):
                client.upload(upload.name, base64.b64decode(upload.data))
        graphs[name] = translation.graph
    return graphs


@pytest.mark.parametrize("name", [*RUNS, *PAYLOADS])
class TestRuns:
    @pytest.fixture
    def pair(
        self, name: str, runs: dict[str, tuple[Exchange, Exchange]]
    ) -> tuple[Exchange, Exchange]:
        if name not in runs:
            pytest.skip("this ComfyUI lacks a pack that it needs")
        return runs[name]

    def test_answer(self, pair: tuple[Exchange, Exchange]) -> None:
        real, development = pair
        assert verdict(development) == verdict(real)
        assert shape(development.reply) == shape(real.reply)

    def test_messages(self, pair: tuple[Exchange, Exchange]) -> None:
        real, development = pair
        assert development.message_types_by_node == real.message_types_by_node
        if len(real.history["prompt"][4]) == 1:  # several outputs run in the order of a set
            assert development.message_types == real.message_types

    def test_nodes(self, pair: tuple[Exchange, Exchange]) -> None:
        real, development = pair
        assert development.cached == real.cached
        assert sorted(development.executed) == sorted(real.executed)

    def test_message_shapes(self, pair: tuple[Exchange, Exchange]) -> None:
        real, development = pair
        for kind in set(real.message_types) - {"progress_state"}:
            assert shape(development.of(kind)) == shape(real.of(kind)), kind
        last = slice(-1, None)  # with all nodes that ran; the ones before depend on their order
        states = [exchange.of("progress_state")[last] for exchange in pair]
        assert shape(states[1]) == shape(states[0])

    def test_history(self, pair: tuple[Exchange, Exchange]) -> None:
        real, development = pair
        assert shape(development.history) == shape(real.history)
        assert files(development.history) == files(real.history)
        assert development.history["status"]["status_str"] == real.history["status"]["status_str"]

    def test_pictures(self, pair: tuple[Exchange, Exchange]) -> None:
        real, development = pair
        assert development.pictures == real.pictures

    def test_frames(self, pair: tuple[Exchange, Exchange]) -> None:
        """Binary frames: event and image format, the first eight bytes."""
        real, development = pair
        assert [f[:8] for f in development.frames] == [f[:8] for f in real.frames]


@pytest.mark.parametrize("name", REFUSALS)
def test_refusals(real: Client, development: Client, name: str) -> None:
    expected, found = real.submit(REFUSALS[name]), development.submit(REFUSALS[name])
    assert verdict(found) == verdict(expected)
    assert expected.status == 400, "this one is there to be refused"


@pytest.mark.parametrize("body", [b"{oops", b"[]", b'{"foo": 1}', b'{"prompt": "text"}', b"1"])
def test_bodies_that_are_no_submission(real: Client, development: Client, body: bytes) -> None:
    expected, found = real.submit_raw(body), development.submit_raw(body)
    assert (found.status, found.error_type) == (expected.status, expected.error_type)


@pytest.mark.parametrize("targeted", [False, True], ids=["global", "by prompt id"])
def test_interrupt(real: Client, development: Client, targeted: bool) -> None:
    graph = graphs.txt2img(seed=90 + targeted, steps=400)
    expected, found = (interrupted(client, graph, targeted) for client in (real, development))
    assert expected.of("execution_interrupted"), "the real run was over before: the test is void"
    assert without_steps(found) == without_steps(expected)
    assert shape(found.history) == shape(expected.history)
    assert found.history["status"]["status_str"] == expected.history["status"]["status_str"]
    assert found.history["status"]["completed"] is expected.history["status"]["completed"]


@pytest.mark.parametrize(
    "path",
    [
        "/prompt",
        "/queue",
        "/features",
        "/embeddings",
        "/models/checkpoints",
        "/history/no-such-id",
        "/history?max_items=1",
        "/object_info/NoSuchNode",
    ],
)
def test_get(
    real: Client, development: Client, runs: dict[str, tuple[Exchange, Exchange]], path: str
) -> None:
    """The answers have every key that the worker may look for; ids of runs are values."""
    expected, found = real.get(path), development.get(path)
    if path.startswith("/history?"):
        expected, found = list(expected.values()), list(found.values())
    assert shape(found) == shape(expected)


def test_system_stats(real: Client, development: Client) -> None:
    """The keys; what their values are is the machine's and the installation's own."""
    expected, found = real.get("/system_stats"), development.get("/system_stats")
    assert found["system"].keys() == expected["system"].keys()
    assert [device.keys() for device in found["devices"]] == [
        device.keys() for device in expected["devices"]
    ]


def test_object_info(real: Client, development: Client) -> None:
    """What a catalog is read from: inputs with types and bounds, outputs, and no more."""
    for node in ("KSampler", "CheckpointLoaderSimple", "LoadImage", "SaveImage", "ImageScale"):
        path = f"/object_info/{node}"
        assert facts(development.get(path)[node]) == facts(real.get(path)[node]), node


def facts(info: Mapping[str, Any]) -> dict[str, Any]:
    """A node's structure as ``/object_info`` tells it, without the texts for people."""
    inputs = {
        group: {name: [spec[0], settings(spec)] for name, spec in items.items()}
        for group, items in info["input"].items()
        if group != "hidden"
    }
    names = ("output", "output_name", "output_is_list", "output_node", "python_module", "name")
    return {"inputs": inputs, **{name: info[name] for name in names}}


def settings(spec: list[Any]) -> dict[str, Any]:
    """An input's default and bounds."""
    kept = ("default", "min", "max", "step")
    return {key: spec[1][key] for key in kept if len(spec) > 1 and key in spec[1]}


def verdict(exchange: Exchange) -> tuple[int, str | None, dict[str, list[str]]]:
    return exchange.status, exchange.error_type, exchange.node_errors


def shape(value: Any) -> Any:
    """Keys and types, without the values; of equal shapes in a row, one."""
    match value:
        case dict():
            return {key: shape(item) for key, item in value.items()}
        case list() | tuple():
            return [found for found, _ in itertools.groupby(shape(item) for item in value)]
        case bool() | None:
            return type(value).__name__
        case int() | float():
            return "number"
        case _:
            return type(value).__name__


def files(history: Mapping[str, Any]) -> list[tuple[str, str, str, str]]:
    """The output files a history names, without counters and random prefixes."""
    return [
        (node, neutral(entry["filename"]), entry["subfolder"], entry["type"])
        for node, output in sorted(history["outputs"].items())
        for entry in output.get("images", ())
    ]


def neutral(filename: str) -> str:
    return _COUNTER.sub("_#_", _TEMP_PREFIX.sub("_temp_#", filename))


def without_steps(exchange: Exchange) -> list[str]:
    """Message types without the progress messages, whose number is a matter of time."""
    return [kind for kind in exchange.message_types if not kind.startswith("progress")]


def interrupted(client: Client, graph: Graph, targeted: bool) -> Exchange:
    """Submit a graph and interrupt it at the first step of its sampler."""
    done = threading.Event()

    def interrupt(kind: str) -> None:
        if kind == "progress" and not done.is_set():
            done.set()
            running = client.get("/queue")["queue_running"]
            client.post("/interrupt", {"prompt_id": running[0][1]} if targeted else {})

    return client.submit(graph, interrupt)
