"""Requests as people really send them (tests/cases): what is right for each.

The cases of direct ``input`` are answered by the worker (tests/worker/test_envelope.py).
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.translator.control_requests import picture
from translator import Catalog, Translation, TranslationError, translate

CASES = Path(__file__).parents[1] / "cases"

FILES = {
    "checkpoints": (
        "v1-5-pruned-emaonly.safetensors",
        "dreamshaper_8.safetensors",
        "sd_xl_base_1.0.safetensors",
        "sdxl/RealitiesEdgeXL_4.safetensors",
    ),
    "loras": ("more_details.safetensors", "styles/Detail_Tweaker.safetensors"),
    "vae": ("vae-ft-mse-840000-ema-pruned.safetensors",),
    "upscale_models": ("4x-UltraSharp.pth",),
    "controlnet": (
        "control_sd15_canny.pth",
        "control_v11p_sd15_openpose.pth",
        "diffusers_xl_canny_full.safetensors",
    ),
    "ipadapter": ("ip-adapter_sd15.safetensors",),
    "clip_vision": ("CLIP-ViT-H-14-laion2B-s32B-b79K.safetensors",),
}


@dataclass(frozen=True)
class Right:
    """What is right for a case.

    Attributes:
        refused: words of the problems; empty where the request is translated.
        told: words of the warnings.
        silent: words that no warning or problem may hold.
        info: members of ``info``.
    """

    refused: tuple[str, ...] = ()
    told: tuple[str, ...] = ()
    silent: tuple[str, ...] = ()
    info: dict[str, Any] = field(default_factory=dict)


UNUSED_ADETAILER = ("ADetailer model", "ADetailer prompt", "ControlNet 0")

RIGHT = {
    "07-deprecated-controlnet-fields": Right(
        told=("controlnet_module", "alwayson_scripts.controlnet.args", "hr_upscaler")
    ),
    "10-windows-path-title": Right(info={"sd_model_name": "RealitiesEdgeXL_4"}),
    "12-clip-skip-ensd-short-names": Right(
        refused=("CLIP_stop_at_last_layers", "eta_noise_seed_delta"), silent=("sdxl_clip_l_skip",)
    ),
    "20-ui-dump-scripts": Right(info={"sampler_name": "DPM++ 2M"}),
    "23-adetailer-model-none": Right(told=("the script is off",)),
    "27-subseed-strength-minus-1": Right(
        told=("include_init_images", "img2img"), info={"subseed_strength": -1.0}
    ),
    "51-infotext-hashes-adetailer": Right(refused=("perfectWorld_v6Baked", "sd_model_checkpoint")),
    "52-infotext-and-latent-couple": Right(told=("not used", "Latent Couple")),
    "55-infotext-one-line": Right(refused=("pi",), told=("one line",)),
    "56-infotext-used-embeddings": Right(told=("last line holds no parameters",)),
    "58-infotext-eular-seed-minus-1": Right(refused=("Eular a", "Euler a")),
    "63-infotext-xyz-script": Right(told=("not used", "X Type", "Y Values")),
    "67-infotext-dynthres": Right(
        told=("Dynamic thresholding enabled", "FreeU Stages", "Tiled Diffusion")
    ),
    "68-lora-block-weight-lbw": Right(told=("lbw", "LoRA Block Weight")),
    "68b-lora-block-weight-start-stop": Right(told=("lbw, stop", "LoRA Block Weight")),
    "69c-xyz-trailing-comma": Right(info={"steps": 20}),
    "69e-styles-none": Right(silent=("styles",)),
    "69f-sd-unet-none": Right(silent=("sd_unet",)),
    "69g-hr-sampler-karras": Right(
        refused=('hr_sampler_name "DPM++ SDE"', 'hr_scheduler "Karras"')
    ),
    "69h-clip-skip-0": Right(silent=("CLIP_stop",)),
    "69i-checkpoint-absolute-path": Right(refused=("without its path", 'mean "dreamshaper_8"')),
    "69j-checkpoint-near-title": Right(refused=('did you mean "dreamshaper_8"',)),
    "69l-lora-wrong-case": Right(refused=('did you mean "more_details"',)),
    "69o-cn-other-architecture-offline": Right(refused=("made for SD1", "checkpoint is SDXL")),
    "80-cn-sd15-on-sdxl": Right(refused=("made for SD1", "checkpoint is SDXL")),
    "80b-cn-sdxl-on-sd15": Right(refused=("made for SDXL", "checkpoint is SD1")),
    "80d-ipadapter-sd15-on-sdxl": Right(refused=("made for SD1", "checkpoint is SDXL")),
}
"""Case -> what is right; those that miss here are of the worker."""


def catalog() -> Catalog:
    bundled = Catalog.bundled()
    return Catalog(nodes=bundled.nodes, folders=FILES)


def request_of(name: str) -> Any:
    text = (CASES / f"{name}.json").read_text("utf-8")
    return json.loads(text.replace("<base64 of a picture>", picture()))["request"]


def answer(payload: Any) -> tuple[Translation | None, str, str]:
    """The translation, the warnings and the problems."""
    try:
        translation = translate(payload, catalog=catalog(), options={"draw_seed": lambda: 7})
    except TranslationError as error:
        return None, "", str(error)
    return translation, "\n".join(translation.warning_texts), ""


@pytest.mark.parametrize("name", RIGHT)
def test_a_public_request_is_answered_right(name: str) -> None:
    right = RIGHT[name]
    translation, warnings, problems = answer(request_of(name))
    for word in right.refused:
        assert word in problems
    if not right.refused:
        assert translation is not None, problems
        for key, value in right.info.items():
            assert translation.info[key] == value
        for word in right.told:
            assert word in warnings
    for word in right.silent:
        assert word not in problems and word not in warnings


def test_every_case_has_its_right_answer() -> None:
    worker = {"69k-official-runpod-worker", "90-direct-input", "90b-direct-with-batch"}
    assert {path.stem for path in CASES.glob("*.json")} == {*RIGHT, *worker}
