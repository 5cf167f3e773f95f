"""The rarer kinds of control model on the real server, with random weights."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from tests.comfyui.pictures import as_base64, black, photo
from tests.comfyui.test_control import controlled, unit
from tests.comfyui.test_requests import NEAR_DB, is_picture, likeness, pixels, sd15, sdxl, sizes
from tests.comfyui.worker import Worker

IP_ADAPTER = {"module": "ip-adapter_clip_sd15", "model": "ip-adapter_sd15"}
FACE_ID = {"module": "ip-adapter_face_id", "model": "ip-adapter-faceid_sd15"}
PLUS = {"module": "ip-adapter_clip_sd15", "model": "ip-adapter-plus_sd15"}
FACE_ID_PLUS = {"module": "ip-adapter_face_id_plus", "model": "ip-adapter-faceid-plusv2_sd15"}
LLLITE = {"module": "none", "model": "kohya_controllllite_xl_synth"}


@pytest.mark.parametrize(
    "fields",
    [IP_ADAPTER, PLUS, FACE_ID, FACE_ID_PLUS],
    ids=["IP-Adapter", "IP-Adapter plus", "FaceID", "FaceID plus"],
)
def test_an_image_prompt_steers_by_its_weight(
    worker: Worker, need: Callable[..., None], fields: dict[str, Any]
) -> None:
    need("IPAdapterAdvanced", "IPAdapterFaceID", "A1111ControlNetAttention", "A1111FaceTokens")
    plain = pixels(worker.generate(sd15()))
    full = worker.generate(sd15(**controlled(unit(**fields))))
    assert sizes(full) == [(64, 64), (96, 80)], "the picture, and the unit's image as sent"
    assert is_picture(pixels(full))
    half = pixels(worker.generate(sd15(**controlled(unit(**fields, weight=0.5)))))
    none = pixels(worker.generate(sd15(**controlled(unit(**fields, weight=0)))))
    assert likeness(none, plain) >= NEAR_DB
    assert likeness(pixels(full), plain) < likeness(half, plain) < NEAR_DB


def test_face_id_without_a_face_is_an_error_or_a_picture_without_units(
    worker: Worker, need: Callable[..., None]
) -> None:
    need("IPAdapterFaceID")
    dark = sd15(**controlled(unit(**FACE_ID, image=as_base64(black()))))
    assert "No face detected" in worker.call(dark)["error"]
    answer = worker.generate(dark, unsupported="warn")
    assert sizes(answer) == [(64, 64)]
    assert any("without any unit" in text for text in answer["warnings"])
    assert likeness(pixels(answer), pixels(worker.generate(sd15()))) == float("inf")


def test_a_controlllite_steers_by_its_weight(worker: Worker, need: Callable[..., None]) -> None:
    need("ACN_ControlNetLoaderAdvanced", "A1111ControlLLLite")
    small = {"width": 64, "height": 64}
    plain = pixels(worker.generate(sdxl(**small)))
    full = worker.generate(sdxl(**small, **controlled(unit(**LLLITE))))
    assert sizes(full) == [(64, 64), (64, 64)]
    none = pixels(worker.generate(sdxl(**small, **controlled(unit(**LLLITE, weight=0)))))
    assert likeness(none, plain) >= NEAR_DB
    assert likeness(pixels(full), plain) < NEAR_DB


def test_two_controlllites_of_one_file_show_a_picture_each_at_any_size(
    worker: Worker, need: Callable[..., None]
) -> None:
    need("ACN_ControlNetLoaderAdvanced", "A1111ControlLLLite")
    small = {"width": 72, "height": 104}
    other = as_base64(photo(104, 72))
    one = pixels(worker.generate(sdxl(**small, **controlled(unit(**LLLITE)))))
    units = [unit(**LLLITE, weight=0.5), unit(**LLLITE, weight=0.5)]
    same = pixels(worker.generate(sdxl(**small, **controlled(*units))))
    assert likeness(one, same) >= NEAR_DB, "two halves are one whole"
    units[1]["image"] = other
    assert likeness(one, pixels(worker.generate(sdxl(**small, **controlled(*units))))) < NEAR_DB


def test_an_image_prompts_weight_in_every_layer_is_its_weight(
    worker: Worker, need: Callable[..., None]
) -> None:
    need("IPAdapterMS")
    plain = pixels(worker.generate(sd15(**controlled(unit(**IP_ADAPTER, weight=0.6)))))
    every = unit(**IP_ADAPTER, advanced_weighting=[0.6] * 16)
    assert likeness(plain, pixels(worker.generate(sd15(**controlled(every))))) >= NEAR_DB
    none = unit(**IP_ADAPTER, advanced_weighting=[0.0] * 16)
    bare = pixels(worker.generate(sd15()))
    assert likeness(bare, pixels(worker.generate(sd15(**controlled(none))))) >= NEAR_DB


def test_what_clip_sees_comes_through_comfyui_and_is_more_than_runpod_takes(
    worker: Worker, need: Callable[..., None]
) -> None:
    """ViT-L's 24 layers of 1024: 35 MB of text, which the HTTP server would answer."""
    need("A1111ClipTensor", "PreviewAny")
    picture = as_base64(photo(64, 48))
    fields = {"controlnet_module": "ip-adapter_clip_h", "controlnet_input_images": [picture]}
    error = worker.call(fields, "/controlnet/detect")["error"]
    size, _ = re.findall(r"\d{7,}", error)
    assert 35_000_000 < int(size) < 36_000_000
