"""The other routes on the real server: extras against A1111's pictures, detect, lists."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.comfyui.pictures import as_base64, decoded, photo
from tests.comfyui.server import REPO
from tests.comfyui.worker import Worker

GOLDENS = REPO / "tests" / "goldens" / "extras"
SINGLE = "/sdapi/v1/extra-single-image"
PIXELS = np.int16


def golden(name: str) -> dict[str, Any]:
    """A case of tests/goldens/extras, its picture filled in."""
    case: dict[str, Any] = json.loads((GOLDENS / f"{name}.json").read_text("utf-8"))
    file = case["payload"]["image"].removeprefix("@")
    case["payload"]["image"] = as_base64((GOLDENS / file).read_bytes())
    return case


def get(worker: Worker, endpoint: str) -> Any:
    return worker.run({"api": {"method": "GET", "endpoint": endpoint}})


def as_array(image: Image.Image) -> np.ndarray[Any, Any]:
    return np.asarray(image.convert("RGB"), PIXELS)


@pytest.mark.parametrize("name", ["none", "lanczos2", "to_size", "to_size_nocrop"])
def test_extras_are_a1111s_pictures(worker: Worker, name: str) -> None:
    case = golden(name)
    answer = worker.call(case["payload"], SINGLE)
    assert answer["html_info"] == case["response"]["html_info"]
    with Image.open(Path(GOLDENS / f"{name}_0.png")) as wanted:
        result = decoded(answer["image"])
        assert np.array_equal(as_array(result), as_array(wanted))
        assert result.info == wanted.info


def test_an_upscale_model_enlarges_and_is_blended(worker: Worker) -> None:
    names = [entry["name"] for entry in get(worker, "/sdapi/v1/upscalers")]
    assert "4x_synth" in names
    picture = as_base64(photo(96, 80))

    def enlarged(**fields: Any) -> np.ndarray[Any, Any]:
        payload = {"image": picture, "upscaling_resize": 2, **fields}
        return as_array(decoded(worker.call(payload, SINGLE)["image"]))

    model = enlarged(upscaler_1="4x_synth")
    plain = enlarged(upscaler_1="Lanczos")
    assert model.shape == plain.shape == (160, 192, 3)
    blended = enlarged(
        upscaler_1="Lanczos", upscaler_2="4x_synth", extras_upscaler_2_visibility=0.25
    )
    wanted = plain + 0.25 * (model - plain)
    assert np.abs(blended - wanted).max() <= 1


def test_detect_gives_the_map_that_a_unit_would_be_fitted_from(worker: Worker) -> None:
    payload = {
        "controlnet_module": "canny",
        "controlnet_input_images": [as_base64(photo(96, 80))],
        "controlnet_processor_res": 128,
    }
    answer = worker.call(payload, "/controlnet/detect")
    assert answer["info"] == "Success"
    found = decoded(answer["images"][0])
    assert found.size == (154, 128)
    assert set(np.unique(as_array(found))) == {0, 255}


def test_lists_show_the_servers_models(worker: Worker) -> None:
    titles = [entry["model_name"] for entry in get(worker, "/sdapi/v1/sd-models")]
    assert {"synth_sd15", "synth_sdxl"} <= set(titles)
    assert get(worker, "/controlnet/model_list")["model_list"]
    memory = get(worker, "/sdapi/v1/memory")
    assert memory["cuda"] == {"error": "unavailable"}
    assert memory["ram"]["total"] > 1e9


def test_unloading_leaves_a_server_that_paints(worker: Worker) -> None:
    assert worker.call({}, "/sdapi/v1/unload-checkpoint") == {}
    assert worker.call({}, "/sdapi/v1/interrupt") == {}
    case = golden("lanczos2")
    assert "image" in worker.call(case["payload"], SINGLE)
