"""A1111's lists, against what a real A1111 v1.10.1 answered (tests/goldens/endpoints.json)."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.translator.beyond import a1111s_own
from tests.translator.goldens import STYLES_CSV
from translator.comfy.catalog import Catalog, ModelFacts
from translator.lists import a1111
from translator.models import upscalers
from translator.models.names import Checkpoint
from translator.request.styles import read_styles

RECORDED = Path(__file__).parents[2] / "goldens" / "endpoints.json"
ROOT = "/stable-diffusion-webui"
SHA256 = "5f0ab447f22b336b5f6c938ab35b485eeeda141d737eae383fe05990a124d59c"

FOLDERS = {
    "checkpoints": f"{ROOT}/models/Stable-diffusion",
    "configs": f"{ROOT}/models/Stable-diffusion",
    "vae": f"{ROOT}/models/VAE",
    "loras": f"{ROOT}/models/Lora",
    "upscale_models": f"{ROOT}/models/ESRGAN",
}


@cache
def recorded() -> dict[str, Any]:
    answers: dict[str, Any] = json.loads(RECORDED.read_text("utf-8"))
    return answers


def locate(folder: str, name: str) -> str:
    return f"{FOLDERS[folder]}/{name}"


def catalog(**folders: tuple[str, ...]) -> Catalog:
    """The models of the A1111 that was recorded."""
    return Catalog(
        nodes={},
        folders={
            "checkpoints": ("synth15.safetensors", "synth15_alt.safetensors"),
            "configs": ("synth15.yaml", "synth15_alt.yaml"),
            "vae": ("synthvae.safetensors",),
            "loras": ("synthlora.safetensors",),
            "upscale_models": ("synthesrgan.pth",),
            **folders,
        },
        facts={("checkpoints", "synth15.safetensors"): ModelFacts("SD1", sha256=SHA256)},
    )


LORA_METADATA = {
    "ss_base_model_version": "sd_v1",
    "ss_network_module": "networks.lora",
    "ss_output_name": "synthlora",
}


@pytest.mark.parametrize(
    ("route", "answer"),
    [
        ("samplers", a1111.samplers()),
        ("schedulers", a1111.schedulers()),
        ("latent-upscale-modes", a1111.latent_upscale_modes()),
        ("realesrgan-models", a1111.realesrgan_models()),
        ("face-restorers", a1111.face_restorers()),
        ("sd-models", a1111.sd_models(catalog(), locate)),
        ("sd-vae", a1111.sd_vae(catalog(), locate)),
        ("hypernetworks", a1111.hypernetworks(catalog(), locate)),
        ("loras", a1111.loras(catalog(), locate, lambda name: LORA_METADATA)),
        ("embeddings", a1111.embeddings({"synthemb.pt": a1111.Embedding(768, 2)}, "SD1")),
        ("prompt-styles", a1111.prompt_styles(read_styles(STYLES_CSV))),
        ("progress", a1111.idle_progress()),
    ],
)
def test_a_list_is_a1111s_own(route: str, answer: Any) -> None:
    missing = "A1111's own rows differ from its recording; mark others with beyond_a1111"
    assert json.dumps(a1111s_own(answer)) == json.dumps(recorded()[route]), missing


def test_scripts_are_a1111s_with_those_of_extensions_behind() -> None:
    answer = a1111.scripts(Catalog.bundled())
    for tab, own in recorded()["scripts"].items():
        assert answer[tab][: len(own)] == own
        behind = answer[tab][len(own) :]
        assert behind[:2] == ["controlnet m2m", "controlnet"]
        assert {"adetailer", "dynamic prompts v2.17.1"} <= set(behind)
        assert not [name for name in behind if "integrated" in name or name != name.lower()]
        assert "reactor" not in behind, "its pack is not there"
        assert len(set(answer[tab])) == len(answer[tab])


def test_a_script_whose_nodes_are_missing_is_not_listed() -> None:
    answer = a1111.scripts(Catalog({}))
    assert "adetailer" not in answer["txt2img"]
    assert "controlnet" in answer["txt2img"]


def test_script_info_is_a1111s_but_for_upscalers_that_would_be_downloaded() -> None:
    answer = a1111.script_info(catalog())
    wanted = recorded()["script-info"]
    upscaled = [
        argument
        for script in wanted
        for argument in script["args"]
        if argument["label"] == "Upscaler"
    ]
    assert len(upscaled) == 1
    upscaled[0]["choices"] = ["None", "Lanczos", "Nearest", "synthesrgan"]
    assert json.dumps(a1111s_own(answer)) == json.dumps(wanted)


def test_upscalers_are_those_with_a_file_in_a1111s_order() -> None:
    files = ("synthesrgan.pth", "RealESRGAN_x4plus.pth", "DAT_x2.pth", "scunet_color_real_psnr.pth")
    answer = a1111.upscalers(catalog(upscale_models=files), locate)
    wanted = {entry["name"]: entry for entry in recorded()["upscalers"]}
    known = [entry for entry in answer if entry["name"] in wanted]
    assert known == [wanted[entry["name"]] for entry in known]
    names = [entry["name"] for entry in answer]
    assert names[:3] == ["None", "Lanczos", "Nearest"]
    assert names[3:] == sorted(names[3:], key=str.lower)
    assert {"DAT x2", "R-ESRGAN 4x+", "ScuNET PSNR", "synthesrgan"} <= set(names)
    assert "LDSR" not in names


def test_every_listed_upscaler_can_be_used() -> None:
    here = catalog(upscale_models=("4x-UltraSharp.pth", "RealESRGAN_x2plus.pth"))
    for entry in a1111.upscalers(here, locate):
        assert upscalers.find(entry["name"], here) is not None


def test_options_are_a1111s() -> None:
    checkpoint = Checkpoint(
        "checkpoints", "synth15.safetensors", ModelFacts("SD1", sha256=SHA256), "SD1"
    )
    answer = a1111.options({}, checkpoint)
    wanted = recorded()["options"]
    known = [key for key in answer if key in wanted]
    assert known == list(wanted)
    assert {key: answer[key] for key in known} == wanted


def test_options_tell_what_was_set() -> None:
    answer = a1111.options({"CLIP_stop_at_last_layers": 2}, None)
    assert answer["CLIP_stop_at_last_layers"] == 2
    assert answer["sd_model_checkpoint"] is None
    assert answer["sd_checkpoint_hash"] == ""


def test_command_line_flags_are_a1111s_by_name() -> None:
    answer = a1111.cmd_flags(ROOT)
    wanted = recorded()["cmd-flags"]
    assert list(answer) == list(wanted)
    assert answer["embeddings_dir"] == wanted["embeddings_dir"]
    assert answer["styles_file"] == wanted["styles_file"]
    for key, value in answer.items():
        assert value is None or type(value) is type(wanted[key]), key


def test_a_checkpoint_in_a_folder_is_named_as_a1111_does() -> None:
    here = catalog(checkpoints=("sub/model 10.ckpt", "sub/Model 9.ckpt", "z.safetensors"))
    answer = a1111.sd_models(here, locate)
    assert [entry["title"] for entry in answer] == [
        "z.safetensors",
        "sub/Model 9.ckpt",
        "sub/model 10.ckpt",
    ]
    assert answer[2]["model_name"] == "sub_model 10"
    assert answer[2]["hash"] is answer[2]["sha256"] is answer[2]["config"] is None


def test_lora_metadata_is_parsed_and_put_in_order() -> None:
    raw = {
        "a": "{not json",
        "ss_tag_frequency": '{"x": {"cat": 3}}',
        "ssmd_cover_images": '["..."]',
        "ss_clip_skip": "2",
        "ss_sd_model_name": "base",
    }
    told = a1111.lora_metadata(raw)
    assert list(told) == ["ss_sd_model_name", "ss_clip_skip", "ss_tag_frequency", "a"]
    assert told["ss_tag_frequency"] == {"x": {"cat": 3}}
    assert told["a"] == "{not json"


def test_embeddings_are_told_apart_by_their_width() -> None:
    found = {
        "xl.safetensors": a1111.Embedding(2048, 8),
        "sub/old.pt": a1111.Embedding(768, 2, 500, "abc", "base"),
        "unreadable.pt": a1111.Embedding(),
    }
    answer = a1111.embeddings(found, "SDXL")
    assert list(answer["loaded"]) == ["unreadable", "xl"]
    told = answer["loaded"]["unreadable"]
    assert (told["shape"], told["vectors"]) == (2048, 1), "A1111 has numbers for all"
    assert answer["skipped"] == {
        "old": {
            "step": 500,
            "sd_checkpoint": "abc",
            "sd_checkpoint_name": "base",
            "shape": 768,
            "vectors": 2,
        }
    }


def stats(*devices: dict[str, Any]) -> dict[str, Any]:
    return {"system": {"ram_total": 1000, "ram_free": 400}, "devices": list(devices)}


def test_memory_without_a_gpu_has_the_recorded_shape() -> None:
    answer = a1111.memory(stats({"type": "cpu", "vram_total": 1000}))
    wanted = recorded()["memory"]
    assert answer["cuda"] == wanted["cuda"]
    assert {key: type(value) for key, value in answer["ram"].items()} == {
        key: type(value) for key, value in wanted["ram"].items()
    }
    assert answer["ram"] == {"free": 400.0, "used": 600, "total": 1000.0}


def test_memory_of_a_gpu_leaves_torchs_cache_out_of_the_free_part() -> None:
    device = {
        "type": "cuda",
        "vram_total": 100,
        "vram_free": 70,
        "torch_vram_total": 40,
        "torch_vram_free": 15,
    }
    cuda = a1111.memory(stats(device))["cuda"]
    assert cuda["system"] == {"free": 55, "used": 45, "total": 100}
    assert cuda["reserved"] == {"current": 40, "peak": 40}
    assert cuda["active"] == cuda["allocated"] == {"current": 25, "peak": 25}


def test_html_is_escaped() -> None:
    assert a1111.html_text("a & b\nc") == "<p>a &amp; b<br>\nc</p>"
