"""The routes beside txt2img: lists, options, actions, png-info, extras and detect."""

from __future__ import annotations

import base64
import json
import pickle
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from devserver import DevServer, default_models
from tests.translator.beyond import a1111s_own
from tests.translator.lists.test_a1111 import recorded
from tests.worker.conftest import Worker
from tests.worker.graphs import opened, picture
from translator.lists.a1111 import Embedding
from worker.models.embeddings import read_embedding
from worker.pictures.metadata import exif_user_comment
from worker.pictures.png_info import read_info
from worker.routes import direct, refused, table

GOLDENS = Path(__file__).parents[2] / "goldens" / "extras"
INFOTEXT = "a red cat\nNegative prompt: blurry\nSteps: 9, Sampler: Euler, CFG scale: 7.0, Seed: 5"


def call(method: str, endpoint: str, payload: Any = None) -> dict[str, Any]:
    request: dict[str, Any] = {"api": {"method": method, "endpoint": endpoint}}
    return request if payload is None else {**request, "payload": payload}


def get(route: str, payload: Any = None) -> dict[str, Any]:
    return call("GET", f"/sdapi/v1/{route}", payload)


def post(route: str, payload: Any = None) -> dict[str, Any]:
    return call("POST", f"/sdapi/v1/{route}", payload if payload is not None else {})


def shape(value: Any) -> Any:
    """Keys and types of an answer; of lists that of the first entry."""
    if isinstance(value, dict):
        return {key: shape(item) for key, item in value.items()}
    if isinstance(value, list):
        return [shape(item) for item in value[:1]]
    return type(value).__name__


# Lists


@pytest.mark.parametrize(
    "route",
    [
        "samplers",
        "schedulers",
        "latent-upscale-modes",
        "realesrgan-models",
        "face-restorers",
        "progress",
        "progress?skip_current_image=true",
        "extensions",
    ],
)
async def test_what_no_model_changes_is_answered_as_recorded(worker: Any, route: str) -> None:
    answer = await worker.run(get(route))
    assert json.dumps(a1111s_own(answer)) == json.dumps(recorded()[route.partition("?")[0]])


async def test_lists_of_models_have_a1111s_shape_and_the_servers_models(worker: Any) -> None:
    models = default_models()
    for route, folder, key in (
        ("sd-models", "checkpoints", "title"),
        ("sd-vae", "vae", "model_name"),
        ("loras", "loras", None),
        ("hypernetworks", "hypernetworks", None),
    ):
        answer = await worker.run(get(route))
        assert len(answer) == len(models[folder]), route
        if key:
            assert {entry[key] for entry in answer} == set(models[folder])
        if recorded()[route]:
            assert list(answer[0]) == list(recorded()[route][0]), route
    names = [entry["name"] for entry in await worker.run(get("upscalers"))]
    assert names[:3] == ["None", "Lanczos", "Nearest"]
    assert {"4x-UltraSharp", "R-ESRGAN 4x+"} <= set(names)


async def test_embeddings_scripts_and_flags_have_a1111s_shape(worker: Any) -> None:
    embeddings = await worker.run(get("embeddings"))
    assert set(embeddings) == {"loaded", "skipped", "warnings"}
    assert "EasyNegative" in embeddings["warnings"][0], "its file cannot be read from here"
    assert "EasyNegative" in embeddings["loaded"]
    assert list(embeddings["loaded"]["EasyNegative"]) == list(
        recorded()["embeddings"]["loaded"]["synthemb"]
    )
    assert shape(await worker.run(get("scripts"))) == shape(recorded()["scripts"])
    info = await worker.run(get("script-info"))
    assert [entry["name"] for entry in info] == [
        entry["name"] for entry in recorded()["script-info"]
    ]
    flags = await worker.run(get("cmd-flags"))
    assert list(flags) == list(recorded()["cmd-flags"])


async def test_memory_is_the_servers(worker: Any) -> None:
    answer = await worker.run(get("memory"))
    assert set(answer) == {"ram", "cuda"}
    assert answer["ram"]["free"] + answer["ram"]["used"] == answer["ram"]["total"]


async def test_styles_are_those_of_the_file(make_worker: Any, tmp_path: Path) -> None:
    file = tmp_path / "styles.csv"
    file.write_text('name,prompt,negative_prompt\ncine,"film of {prompt}",cartoon\n')
    answer = await make_worker(styles_file=file).run(get("prompt-styles"))
    assert answer == [{"name": "cine", "prompt": "film of {prompt}", "negative_prompt": "cartoon"}]


async def test_files_that_can_be_read_are_told_with_path_hash_and_metadata(
    make_worker: Any, tmp_path: Path
) -> None:
    lora = tmp_path / "Lora" / "pixel-art-xl.safetensors"
    control = tmp_path / "ControlNet" / "control_v11p_sd15_canny.safetensors"
    header = {"__metadata__": {"ss_output_name": "pixels", "ss_tag_frequency": '{"a": {"b": 1}}'}}
    for file in (lora, control):
        file.parent.mkdir()
        raw = json.dumps(header).encode()
        file.write_bytes(len(raw).to_bytes(8, "little") + raw + bytes(2 << 20))
    worker = make_worker(model_roots=(tmp_path,))
    loras = {entry["name"]: entry for entry in await worker.run(get("loras"))}
    assert loras["pixel-art-xl"] == {
        "name": "pixel-art-xl",
        "alias": "pixels",
        "path": str(lora),
        "metadata": {"ss_output_name": "pixels", "ss_tag_frequency": {"a": {"b": 1}}},
    }
    assert loras["add_detail"]["path"] == "models/Lora/add_detail.safetensors"
    models = (await worker.run(call("GET", "controlnet/model_list")))["model_list"]
    # SHA-256 of 64 KiB of zeros, as the file holds them from 1 MiB on
    assert "control_v11p_sd15_canny [de2f2560]" in models
    assert "control_v11p_sd15_mlsd" in models


async def test_a_list_that_does_not_fit_runpod_is_an_error(make_worker: Any) -> None:
    worker = make_worker(result_limit=2000)
    answer = await worker.run(get("options"))
    assert list(answer) == ["error"]
    assert "options" in answer["error"]
    assert "2000" in answer["error"]
    assert "error" not in await worker.run(get("options"), "sync-1")


# ControlNet's lists


async def test_controlnet_lists(worker: Any) -> None:
    version = await worker.run(call("GET", "controlnet/version"))
    assert version == {"version": 3}
    settings = await worker.run(call("GET", "/controlnet/settings"))
    assert settings == {"control_net_unit_count": 3}
    types = (await worker.run(call("GET", "/controlnet/control_types")))["control_types"]
    assert next(iter(types)) == "All"
    assert types["Canny"]["default_option"] == "canny"
    assert types["Canny"]["default_model"] == "control_v11p_sd15_canny"


@pytest.mark.parametrize(
    "request_",
    [
        call("GET", "controlnet/module_list?alias_names=true"),
        call("GET", "controlnet/module_list", {"alias_names": True}),
        call("GET", "/controlnet/module_list/?alias_names=1", {}),
    ],
)
async def test_parameters_stand_in_the_query_or_in_the_payload(worker: Any, request_: Any) -> None:
    answer = await worker.run(request_)
    assert "softedge_pidinet" in answer["module_list"]
    assert "pidinet" not in answer["module_list"]


async def test_a_parameter_that_makes_no_sense_is_named(worker: Any) -> None:
    answer = await worker.run(call("GET", "controlnet/module_list?alias_names=maybe"))
    assert list(answer) == ["error"]
    assert "alias_names" in answer["error"]
    answer = await worker.run(call("GET", "controlnet/version?fast=1"))
    assert answer["version"] == 3
    assert any("fast" in warning for warning in answer["warnings"])


async def test_a_new_model_is_found_unless_told_not_to_look(worker: Any, server: DevServer) -> None:
    async def names(query: str) -> list[str]:
        answer = await worker.run(call("GET", f"controlnet/model_list{query}"))
        return list(answer["model_list"])

    assert "late" not in await names("")
    server.stop()
    models = {**server.settings.models}
    models["controlnet"] = [*models["controlnet"], "late.safetensors"]
    object.__setattr__(server.settings, "models", models)
    worker.service.catalog.try_refresh = lambda: None  # the connection's own look-up
    server.start()
    worker.service.catalog._read_at = 0.0
    assert "late" not in await names("?update=false")
    assert "late" in await names("")


# Options


async def test_options_are_kept_and_paint_the_next_request(worker: Any) -> None:
    before = await worker.run(get("options"))
    assert before["samples_format"] == "png"
    assert before["sd_model_checkpoint"] == "v1-5-pruned-emaonly.safetensors"
    assert await worker.run(post("options", {"samples_format": "jpg"})) is None
    assert (await worker.run(get("options")))["samples_format"] == "jpg"
    small = {"prompt": "a cat", "steps": 2, "width": 64, "height": 64}
    answer = await worker.run(call("POST", "sdapi/v1/txt2img", small))
    assert opened(answer["images"][0]).format == "JPEG"


async def test_a_checkpoint_is_set_by_any_of_its_names(worker: Any) -> None:
    assert await worker.run(post("options", {"sd_model_checkpoint": "sd_xl_base_1.0"})) is None
    assert (await worker.run(get("options")))["sd_model_checkpoint"] == "sd_xl_base_1.0.safetensors"
    small = {"prompt": "a cat", "steps": 2, "width": 64, "height": 64}
    answer = await worker.run(call("POST", "sdapi/v1/txt2img", small))
    assert json.loads(answer["info"])["sd_model_name"] == "sd_xl_base_1.0"


async def test_all_options_may_be_sent_back(worker: Any) -> None:
    everything = await worker.run(get("options"))
    assert await worker.run(post("options", everything)) is None
    assert await worker.run(get("options")) == everything


async def test_an_unknown_option_fails_after_those_before_it(worker: Any) -> None:
    answer = await worker.run(post("options", {"jpeg_quality": 55, "nope": 1, "n_rows": 3}))
    assert "nope" in answer["error"]
    assert "KeyError" in answer["error"]
    after = await worker.run(get("options"))
    assert after["jpeg_quality"] == 55
    assert after["n_rows"] == -1


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"sd_model_checkpoint": "nope"}, ["sd_model_checkpoint", "nope", "not found"]),
        ({"sd_model_checkpoint": 5}, ["sd_model_checkpoint", "not found"]),
        ({"CLIP_stop_at_last_layers": "two"}, ["CLIP_stop_at_last_layers", "two"]),
        ({"CLIP_stop_at_last_layers": 999}, ["CLIP_stop_at_last_layers", "999", "1..12"]),
        ({"s_churn": 1e9}, ["s_churn", "0.0..1000.0"]),
        ({"sd_vae": "nope"}, ["sd_vae", "nope", "not found"]),
        ({"sd_vae": 5}, ["sd_vae", "not found"]),
        ({"sd_vae_decode_method": "TAESD"}, ["sd_vae_decode_method"]),
    ],
)
async def test_an_option_that_cannot_be_honoured_is_refused_and_not_kept(
    worker: Any, changes: dict[str, Any], words: list[str]
) -> None:
    before = await worker.run(get("options"))
    answer = await worker.run(post("options", {"jpeg_quality": 55, **changes}))
    assert list(answer) == ["error"]
    for word in words:
        assert word in answer["error"]
    assert await worker.run(get("options")) == before


async def test_options_without_effect_are_told(worker: Any) -> None:
    answer = await worker.run(
        post("options", {"api_useragent": "me", "grid_save": False, "gone": None})
    )
    assert list(answer) == ["warnings"]
    told = "\n".join(answer["warnings"])
    assert all(name in told for name in ("api_useragent", "grid_save", "gone"))
    after = await worker.run(get("options"))
    assert after["grid_save"] is False
    assert after["api_useragent"] == ""


# Actions


@pytest.mark.parametrize(
    ("route", "wanted"),
    [
        ("refresh-checkpoints", None),
        ("refresh-vae", None),
        ("refresh-loras", None),
        ("refresh-embeddings", None),
        ("unload-checkpoint", {}),
        ("reload-checkpoint", {}),
        ("interrupt", {}),
        ("skip", None),
    ],
)
async def test_actions_answer_as_a1111_does(worker: Any, route: str, wanted: Any) -> None:
    assert await worker.run(post(route)) == wanted
    assert await worker.run(call("POST", f"sdapi/v1/{route}")) == wanted


async def test_unload_frees_the_servers_memory(worker: Any, server: DevServer) -> None:
    await worker.run(post("unload-checkpoint"))
    assert server.requests["POST /free"] == 1


async def test_refresh_reads_the_catalog_again(worker: Any, server: DevServer) -> None:
    await worker.run(get("sd-models"))
    before = server.requests["GET /object_info"]
    await worker.run(post("refresh-checkpoints"))
    assert server.requests["GET /object_info"] == before + 1


@pytest.mark.parametrize(("method", "path"), sorted(refused.REFUSED))
async def test_a_route_that_cannot_be_done_says_why(worker: Any, method: str, path: str) -> None:
    answer = await worker.run(call(method, path, {}))
    assert list(answer) == ["error"]
    assert path in answer["error"]
    assert refused.REFUSED[method, path] in answer["error"]


async def test_an_unknown_route_names_those_that_can_be_answered(worker: Any) -> None:
    answer = await worker.run(get("nope"))
    assert "nope" in answer["error"]
    assert "sdapi/v1/samplers" in answer["error"]
    assert "train/embedding" not in answer["error"]


async def test_a_wrong_method_is_named(worker: Any) -> None:
    assert "GET" in (await worker.run(post("samplers")))["error"]
    assert "POST" in (await worker.run(get("refresh-loras")))["error"]


def test_every_route_stands_in_the_manual() -> None:
    manual = (Path(__file__).parents[3] / "docs" / "endpoints.md").read_text("utf-8")
    rows = [line for line in manual.splitlines() if line.startswith(("| GET |", "| POST |"))]
    told = {(row.split(" | ")[0][2:], row.split("`")[1].strip("/")): row for row in rows}
    assert set(told) >= set(table.ROUTES) - {("POST", direct.PATH)}
    for key in told:
        assert key in table.ROUTES, key
        assert told[key].endswith("| refused |") == (key in refused.REFUSED), key


# png-info


def with_text(text: str, kind: str = "PNG", **more: str) -> str:
    out = BytesIO()
    image = Image.new("RGB", (64, 64), (9, 90, 9))
    if kind == "PNG":
        chunks = PngInfo()
        for key, value in {"parameters": text, **more}.items():
            chunks.add_text(key, value)
        image.save(out, "PNG", pnginfo=chunks)
    else:
        image.save(out, kind, exif=exif_user_comment(text))
    return base64.b64encode(out.getvalue()).decode()


@pytest.mark.parametrize("name", ["pnginfo", "pnginfo_none"])
async def test_png_info_is_a1111s(worker: Any, name: str) -> None:
    case = json.loads((GOLDENS / f"{name}.json").read_text("utf-8"))
    file = GOLDENS / case["payload"]["image"].removeprefix("@")
    image = base64.b64encode(file.read_bytes()).decode()
    answer = await worker.run(call("POST", case["endpoint"], {"image": image}))
    assert json.dumps(answer) == json.dumps(case["response"])


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
async def test_png_info_reads_the_infotext(worker: Any, kind: str) -> None:
    answer = await worker.run(post("png-info", {"image": with_text(INFOTEXT, kind)}))
    assert answer["info"] == INFOTEXT
    assert answer["items"] == {}
    parameters = answer["parameters"]
    assert parameters["Prompt"] == "a red cat"
    assert parameters["Seed"] == "5"
    assert parameters["Schedule type"] == "Automatic"


async def test_png_info_of_a_plain_picture_fills_in_what_a1111_does(worker: Any) -> None:
    answer = await worker.run(post("png-info", {"image": picture(7, (64, 64))}))
    assert answer["info"] == ""
    assert answer["parameters"]["Hires sampler"] == "Use same sampler"
    assert answer["parameters"]["RNG"] == "GPU"


async def test_png_info_keeps_other_texts(worker: Any) -> None:
    image = with_text(INFOTEXT, workflow="{}")
    answer = await worker.run(post("png-info", {"image": image}))
    assert answer["items"] == {"workflow": "{}"}


def test_novel_ais_pictures_are_read_as_a1111_reads_them() -> None:
    comment = {"sampler": "k_euler", "uc": "bad", "steps": 28, "scale": 11, "seed": 3}
    image = with_text("", Software="NovelAI", Description="a castle", Comment=json.dumps(comment))
    text, _ = read_info(base64.b64decode(image))
    assert text.splitlines() == [
        "a castle",
        "Negative prompt: bad",
        "Steps: 28, Sampler: Euler, CFG scale: 11, Seed: 3, Size: 64x64, Clip skip: 2, ENSD: 31337",
    ]


@pytest.mark.parametrize("image", [None, "", "no image", "aGVsbG8="])
async def test_png_info_names_a_bad_image(worker: Any, image: Any) -> None:
    answer = await worker.run(post("png-info", {"image": image}))
    assert answer["error"].startswith("image: ")


# Extras


async def test_extras_enlarge_a_picture_and_tell_it(worker: Any) -> None:
    payload = {"image": picture(9, (64, 48)), "upscaler_1": "Lanczos", "upscaling_resize": 2}
    answer = await worker.run(post("extra-single-image", payload))
    assert (
        answer["html_info"] == "<p>Postprocess upscale by: 2.0, Postprocess upscaler: Lanczos</p>"
    )
    result = opened(answer["image"])
    assert result.size == (128, 96)
    assert result.info == {"postprocessing": answer["html_info"][3:-4]}


async def test_extras_keep_the_texts_of_the_picture(worker: Any) -> None:
    payload = {"image": with_text(INFOTEXT, other="kept"), "upscaler_1": "4x-UltraSharp"}
    answer = await worker.run(post("extra-single-image", payload))
    result = opened(answer["image"])
    assert result.size == (128, 128)
    assert result.info["parameters"] == INFOTEXT
    assert result.info["other"] == "kept"
    assert result.info["postprocessing"].endswith("Postprocess upscaler: 4x-UltraSharp")


async def test_extras_of_several_pictures_answer_each(worker: Any) -> None:
    pictures = [picture(9, (64, 64)), picture(80, (32, 64))]
    payload = {
        "imageList": [{"data": data, "name": "x.png"} for data in pictures],
        "upscaler_1": "Nearest",
        "resize_mode": 1,
        "upscaling_resize_w": 100,
        "upscaling_resize_h": 64,
    }
    answer = await worker.run(post("extra-batch-images", payload))
    assert list(answer) == ["html_info", "images"]
    assert [opened(image).size for image in answer["images"]] == [(100, 64), (100, 64)]


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"upscaler_1": "nope"}, ["upscaler_1", "could not find upscaler named nope"]),
        ({"upscaler_1": "Latent"}, ["upscaler_1", "Latent"]),
        ({"upscaler_1": "LDSR"}, ["upscaler_1", "LDSR", "diffusion model"]),
        ({"upscaling_resize": 0}, ["upscaling_resize"]),
        ({"gfpgan_visibility": 2}, ["gfpgan_visibility", "0..1"]),
        ({"upscaler_1": "Lanczos", "upscaling_resize": 100}, ["MAX_PIXELS"]),
        ({"image": "nonsense"}, ["image"]),
    ],
)
async def test_extras_name_a_bad_field(
    worker: Any, fields: dict[str, Any], words: list[str]
) -> None:
    payload = {"image": picture(9, (64, 64)), **fields}
    answer = await worker.run(post("extra-single-image", payload))
    assert list(answer) == ["error"]
    for word in words:
        assert word in answer["error"]


# Detect


def detect(module: str, **fields: Any) -> dict[str, Any]:
    payload = {"controlnet_module": module, **fields}
    payload.setdefault("controlnet_input_images", [picture(30, (64, 96))])
    return call("POST", "/controlnet/detect", payload)


async def test_detect_answers_a_map_for_each_image_at_the_processors_size(worker: Any) -> None:
    pictures = [picture(30, (64, 96)), picture(60, (128, 64))]
    answer = await worker.run(
        detect("canny", controlnet_input_images=pictures, controlnet_processor_res=128)
    )
    assert list(answer)[:2] == ["info", "images"]
    assert answer["info"] == "Success"
    assert [opened(image).size for image in answer["images"]] == [(128, 192), (256, 128)]


async def test_detect_tells_the_poses_of_openpose(worker: Any) -> None:
    answer = await worker.run(detect("openpose_full"))
    assert len(answer["poses"]) == len(answer["images"]) == 1
    assert {"people", "canvas_width", "canvas_height"} <= set(answer["poses"][0])


@pytest.mark.parametrize("module", ["instant_id_face_embedding", "ip-adapter_face_id"])
async def test_detect_answers_the_tensor_of_a_face(worker: Any, module: str) -> None:
    answer = await worker.run(detect(module))
    told = {key: value for key, value in answer.items() if key != "warnings"}
    assert told == {"info": "Success", "tensor": ["UEsDBA=="]}


async def test_detect_of_inpaint_shows_the_mask_as_transparency(worker: Any) -> None:
    answer = await worker.run(detect("inpaint_only", controlnet_masks=[picture(255, (64, 96))]))
    assert opened(answer["images"][0]).mode == "RGBA"


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        (detect("nope"), ["controlnet_module", "Module not available"]),
        (detect("clip_vision"), ["controlnet_module", "Module not supported"]),
        (detect("ip-adapter-auto"), ["controlnet_module", "Module not supported"]),
        (detect("canny", controlnet_input_images=[]), ["No image selected"]),
        (detect("inpaint_only"), ["requires `controlnet_masks` param"]),
        (detect("canny", controlnet_input_images=["x y"]), ["controlnet_input_images[0]"]),
        (call("POST", "controlnet/detect"), ["payload"]),
    ],
)
async def test_detect_refuses_as_the_extension_does(
    worker: Any, request_: Any, words: list[str]
) -> None:
    answer = await worker.run(request_)
    assert list(answer) == ["error"]
    for word in words:
        assert word in answer["error"]


# Files of embeddings


def test_an_embedding_in_safetensors_is_described_by_its_header(tmp_path: Path) -> None:
    def written(name: str, tensors: dict[str, list[int]]) -> Path:
        header = {key: {"dtype": "F32", "shape": shape} for key, shape in tensors.items()}
        raw = json.dumps({**header, "__metadata__": {"a": "b"}}).encode()
        file = tmp_path / f"{name}.safetensors"
        file.write_bytes(len(raw).to_bytes(8, "little") + raw)
        return file

    assert read_embedding(written("one", {"emb_params": [3, 768]})) == Embedding(768, 3)
    both = {"clip_l": [4, 768], "clip_g": [4, 1280]}
    assert read_embedding(written("xl", both)) == Embedding(2048, 4)
    assert read_embedding(written("none", {})) == Embedding()


def test_a_pickle_of_another_kind_does_nothing(tmp_path: Path) -> None:
    class Hostile:
        def __reduce__(self) -> Any:
            return (Path.write_text, (tmp_path / "touched", "x"))

    file = tmp_path / "bad.pt"
    file.write_bytes(b"".join(pickle.dumps(item) for item in (1, 2, {}, Hostile())))
    assert read_embedding(file) == Embedding()
    assert not (tmp_path / "touched").exists()


async def test_a_worker_that_is_new_answers_lists_before_comfyui_is_there() -> None:
    with DevServer() as server:
        worker = Worker(server)
        try:
            server.stop()
            assert "DPM++ 2M" in [row["name"] for row in await worker.run(get("samplers"))]
        finally:
            worker.close()
