"""A1111's txt2img through handler shapes, translator, websocket and answer."""

from __future__ import annotations

import base64
import json
from io import BytesIO
from typing import Any

import pytest
from PIL import Image

from devserver import DevServer, HttpFault, NodeFault, SocketFault
from tests.worker.graphs import marks, opened, picture

ENVELOPE = {"method": "POST", "endpoint": "/sdapi/v1/txt2img"}
SMALL = {"prompt": "a cat", "steps": 2, "seed": 7, "width": 64, "height": 64}


def request(options: dict[str, Any] | None = None, **fields: Any) -> dict[str, Any]:
    whole: dict[str, Any] = {"api": ENVELOPE, "payload": {**SMALL, **fields}}
    return {**whole, "options": options} if options else whole


def face(shade: int = 90) -> str:
    return picture(shade, (64, 64))


def instant_id(**fields: Any) -> dict[str, Any]:
    """The seed request's two units, small."""
    unit = {"resize_mode": "Crop and Resize", "control_mode": "Balanced", "pixel_perfect": False}
    units = [
        {
            **unit,
            "image": face(90),
            "module": "InsightFace (InstantID)",
            "model": "ip-adapter_instant_id_sdxl [eb2d3ec0]",
            "weight": 0.9,
        },
        {
            **unit,
            "image": face(120),
            "module": "instant_id_face_keypoints",
            "model": "control_instant_id_sdxl [c5c25a50]",
        },
    ]
    return request(
        override_settings={"sd_model_checkpoint": "sd_xl_base_1.0"},
        alwayson_scripts={"controlnet": {"args": units}},
        **fields,
    )


async def test_the_answer_has_a1111s_shape(worker: Any) -> None:
    answer = await worker.run(request())
    assert set(answer) - {"warnings"} == {"images", "parameters", "info"}
    assert opened(answer["images"][0]).size == (64, 64)
    assert answer["parameters"]["prompt"] == "a cat"
    info = json.loads(answer["info"])
    assert info["seed"] == 7
    assert info["infotexts"][0].startswith("a cat\nSteps: 2, ")


@pytest.mark.parametrize(
    "endpoint", ["sdapi/v1/txt2img", "/sdapi/v1/txt2img", "/sdapi/v1/txt2img/"]
)
@pytest.mark.parametrize("method", ["POST", "post"])
async def test_slashes_and_case_do_not_matter(worker: Any, endpoint: str, method: str) -> None:
    answer = await worker.run(
        {"api": {"method": method, "endpoint": endpoint}, "payload": dict(SMALL)}
    )
    assert len(answer["images"]) == 1


async def test_the_payload_alone_is_a_request_for_txt2img(worker: Any) -> None:
    """As runpod-workers/worker-a1111 takes it."""
    answer = await worker.run(dict(SMALL))
    assert marks(answer) == [(7, 0)]
    assert answer["parameters"]["prompt"] == "a cat"


async def test_batches_and_iterations_come_in_order_with_their_texts(worker: Any) -> None:
    answer = await worker.run(request(batch_size=2, n_iter=2))
    images = [opened(image) for image in answer["images"]]
    info = json.loads(answer["info"])
    shown = [image for image in images if "Seed: " in image.info.get("parameters", "")]
    assert [image.info["parameters"] for image in shown] == info["infotexts"]
    assert info["all_seeds"] == [7, 8, 9, 10]


async def test_a_drawn_seed_is_told_and_differs(worker: Any) -> None:
    seeds = {json.loads((await worker.run(request(seed=-1)))["info"])["seed"] for _ in range(3)}
    assert len(seeds) == 3
    assert all(0 <= seed < 2**32 for seed in seeds)


@pytest.mark.parametrize(("samples_format", "kind"), [("jpg", "JPEG"), ("webp", "WEBP")])
async def test_samples_format_is_honoured(worker: Any, samples_format: str, kind: str) -> None:
    answer = await worker.run(request(override_settings={"samples_format": samples_format}))
    image = opened(answer["images"][0])
    assert image.format == kind
    assert "Steps: 2".encode("utf-16-be") in image.info["exif"]


async def test_send_images_false_answers_none(worker: Any) -> None:
    answer = await worker.run(request(send_images=False))
    assert answer["images"] == []
    assert json.loads(answer["info"])["seed"] == 7


async def test_instant_id_answers_result_face_and_keypoints(worker: Any, server: DevServer) -> None:
    answer = await worker.run(instant_id())
    assert "error" not in answer
    assert len(answer["images"]) == 3
    result, sent_face, keypoints = (opened(image) for image in answer["images"])
    assert result.size == keypoints.size == (64, 64)
    assert answer["images"][1] == face(90)
    assert "parameters" in result.info
    assert "parameters" not in sent_face.info
    assert "parameters" not in keypoints.info
    # The same faces again are not uploaded again.
    uploads = server.requests["POST /upload/image"]
    await worker.run(instant_id(seed=9))
    assert server.requests["POST /upload/image"] == uploads


async def test_pngs_of_the_server_lose_its_graph_and_keep_their_pixels(make_worker: Any) -> None:
    saved = await make_worker(image_output="save").run(request())
    framed = await make_worker(image_output="websocket").run(request())
    texts = []
    for answer in (saved, framed):
        image = opened(answer["images"][0])
        assert set(image.info) == {"parameters"}
        texts.append(image.info["parameters"])
    assert texts[0] == texts[1]
    assert marks(saved) == marks(framed)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"sampler_name": "Euler z"}, ["sampler_name", "Euler z"]),
        ({"override_settings": {"sd_model_checkpoint": "nope"}}, ["sd_model_checkpoint", "nope"]),
        ({"steps": "many"}, ["steps", "many"]),
        ({"steps": 5000}, ["steps", "MAX_STEPS"]),
        ({"width": 8192, "height": 8192}, ["MAX_PIXELS"]),
        (
            {"enable_hr": True, "denoising_strength": 0.5, "hr_resize_x": 16000},
            ["hires", "MAX_PIXELS"],
        ),
    ],
)
async def test_a_bad_field_is_named(worker: Any, fields: Any, words: list[str]) -> None:
    answer = await worker.run(request(**fields))
    assert list(answer) == ["error"]
    for word in words:
        assert word in answer["error"]


@pytest.mark.parametrize(
    ("image", "words"),
    [
        ("not base64!", ["args[0]", "image"]),
        (base64.b64encode(b"no image at all, only text").decode(), ["args[0]", "image"]),
    ],
)
async def test_a_unit_with_a_bad_image_is_named(worker: Any, image: str, words: list[str]) -> None:
    job = instant_id()
    job["payload"]["alwayson_scripts"]["controlnet"]["args"][0]["image"] = image
    answer = await worker.run(job)
    assert list(answer) == ["error"]
    for word in words:
        assert word in answer["error"]
    assert image not in answer["error"] or len(image) < 60


async def test_an_image_beyond_the_limits_is_named_by_its_field(make_worker: Any) -> None:
    worker = make_worker(max_input_pixels=64 * 64 - 1)
    answer = await worker.run(instant_id())
    assert "alwayson_scripts.controlnet.args[0].image: 64x64" in answer["error"]
    assert "MAX_INPUT_PIXELS" in answer["error"]


async def test_an_image_that_is_cut_short_is_named_by_its_field(worker: Any) -> None:
    job = instant_id()
    unit = job["payload"]["alwayson_scripts"]["controlnet"]["args"][1]
    unit["image"] = base64.b64encode(base64.b64decode(unit["image"])[:-20]).decode()
    answer = await worker.run(job)
    assert "alwayson_scripts.controlnet.args[1].image: the PNG file is cut short" in answer["error"]


async def test_a_missing_pack_is_named() -> None:
    from tests.worker.conftest import Worker

    with DevServer(missing=frozenset({"InstantIDModelLoader", "ApplyInstantID"})) as server:
        worker = Worker(server)
        try:
            answer = await worker.run(instant_id())
        finally:
            worker.close()
    assert "instantid" in answer["error"].lower()


async def test_no_face_is_the_nodes_error(worker: Any) -> None:
    job = instant_id()
    black = BytesIO()
    Image.new("RGB", (64, 64)).save(black, "PNG")
    unit = job["payload"]["alwayson_scripts"]["controlnet"]["args"][0]
    unit["image"] = base64.b64encode(black.getvalue()).decode()
    answer = await worker.run(job)
    assert list(answer) == ["error"]
    assert "face" in answer["error"].lower()
    assert "node " in answer["error"]


async def test_unsupported_may_be_a_warning_by_request(worker: Any) -> None:
    answer = await worker.run(request({"unsupported": "warn"}, sampler_name="Euler z"))
    assert len(answer["images"]) == 1
    assert any("Euler z" in warning for warning in answer["warnings"])


@pytest.mark.parametrize(
    ("job", "words"),
    [
        ({"api": "x", "payload": {}}, ["api"]),
        ({"api": {"method": "POST"}, "payload": {}}, ["api.endpoint"]),
        ({"api": {"endpoint": "sdapi/v1/txt2img"}, "payload": {}}, ["api.method"]),
        ({"api": {**ENVELOPE, "method": "GET"}, "payload": {}}, ["api.method", "POST"]),
        ({"api": {**ENVELOPE, "endpoint": "/sdapi/v1/nope"}, "payload": {}}, ["nope", "txt2img"]),
        ({"api": ENVELOPE}, ["payload"]),
        ({"api": ENVELOPE, "payload": []}, ["payload"]),
        ({"api": ENVELOPE, "payload": {}, "options": {"speed": 1}}, ["options.speed"]),
        ({"api": ENVELOPE, "payload": {}, "options": {"fidelity": "best"}}, ["fidelity", "best"]),
    ],
)
async def test_a_bad_envelope_is_named(worker: Any, job: Any, words: list[str]) -> None:
    answer = await worker.run(job)
    assert list(answer) == ["error"]
    for word in words:
        assert word in answer["error"]


async def test_an_unknown_member_of_the_envelope_is_a_warning(worker: Any) -> None:
    answer = await worker.run({**request(), "extra": 1})
    assert "extra: not a field of this request" in answer["warnings"]


async def test_a_checkpoint_that_came_later_is_found(worker: Any, server: DevServer) -> None:
    worker.service.catalog.current()
    worker.service.catalog._read_at = 0.0
    server.stop()
    models = {**server.settings.models}
    models["checkpoints"] = [*models["checkpoints"], "late.safetensors"]
    object.__setattr__(server.settings, "models", models)
    server.start()
    answer = await worker.run(request(override_settings={"sd_model_checkpoint": "late"}))
    assert len(answer["images"]) == 1


@pytest.mark.parametrize("of", ["binary", "progress", "execution_success"])
async def test_the_images_survive_a_broken_socket(worker: Any, server: DevServer, of: str) -> None:
    worker.service.comfy.wait_ready(3)
    server.faults.add(SocketFault("close", of=of))
    answer = await worker.run(request(batch_size=3))
    assert [mark for mark in marks(answer) if mark][:3] == [(7, 0), (8, 0), (9, 0)]


async def test_a_failing_view_of_one_image_fails_no_half(
    make_worker: Any, server: DevServer
) -> None:
    worker = make_worker(image_output="save")
    server.faults.add(HttpFault("/view", times=100))
    answer = await worker.run(request(batch_size=3))
    assert list(answer) == ["error"]


async def test_a_node_error_names_the_node(worker: Any, server: DevServer) -> None:
    server.faults.add(NodeFault("VAEDecode", message="no"))
    answer = await worker.run(request())
    assert "(VAEDecode) failed: RuntimeError: no" in answer["error"]


@pytest.mark.parametrize("unit", [0, 1], ids=["embedding", "keypoints"])
async def test_without_a_face_warn_makes_the_picture_without_units(worker: Any, unit: int) -> None:
    job = instant_id()
    units = job["payload"]["alwayson_scripts"]["controlnet"]["args"]
    units[unit]["image"] = picture(0, (64, 64))
    refused = await worker.run(job)
    assert "No face detected" in refused["error"]
    answer = await worker.run({**job, "options": {"unsupported": "warn"}})
    assert len(answer["images"]) == 1
    assert any("without any unit" in text for text in answer["warnings"])
    assert "ControlNet 1" in json.loads(answer["info"])["infotexts"][0]
