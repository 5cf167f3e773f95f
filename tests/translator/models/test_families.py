"""Families of checkpoints: told by header and name, and each classified wherever one matters."""

from __future__ import annotations

import ast
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from translator import Catalog, ModelFacts, Translation, TranslationError, translate
from translator.models import families
from translator.models.families import FAMILIES, UNKNOWN, UNSUPPORTED, Family

ROOT = Path(__file__).parents[3]
UNET = "model.diffusion_model."


def tensor(*shape: int) -> dict[str, Any]:
    return {"dtype": "F16", "shape": list(shape), "data_offsets": [0, 0]}


HEADERS: dict[str, list[dict[str, Any]]] = {
    "SD1": [
        {"cond_stage_model.transformer.text_model.embeddings.token_embedding.weight": tensor(8)},
        {f"{UNET}input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight": tensor(320, 768)},
    ],
    "SD2": [
        {"cond_stage_model.model.transformer.resblocks.0.attn.in_proj_weight": tensor(3072)},
        {f"{UNET}input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight": tensor(320, 1024)},
    ],
    "SDXL": [
        {
            "conditioner.embedders.0.transformer.text_model.embeddings.x": tensor(1),
            "conditioner.embedders.1.model.ln_final.weight": tensor(1280),
        },
        {f"{UNET}label_emb.0.0.weight": tensor(1280, 2816)},
        {f"{UNET}input_blocks.4.1.transformer_blocks.0.attn2.to_k.weight": tensor(640, 2048)},
    ],
    "SDXL-refiner": [
        {"conditioner.embedders.0.model.ln_final.weight": tensor(1280)},
        {f"{UNET}label_emb.0.0.weight": tensor(1536, 2560)},
    ],
}
"""Headers of each family: whole checkpoints, and a UNet alone."""

NAMES: dict[str, tuple[str, ...]] = {
    "SD1": ("realisticVisionV51_v51VAE", "dreamshaper_8"),
    "SD2": ("v2-1_768-ema-pruned",),
    "SDXL": (
        "sd_xl_base_1.0",
        "dynavisionXLAllInOneStylized_release0557Bakedvae",
        "ponyDiffusionV6",
    ),
    "SDXL-refiner": ("sd_xl_refiner_1.0",),
}

SEEN: dict[str, dict[str, Any]] = {
    "SD1": {"clip_skip": 2, "zeroed": False, "told_size": False, "score": -1.0},
    "SD2": {"clip_skip": 1, "zeroed": False, "told_size": False, "score": -1.0},
    "SDXL": {"clip_skip": 1, "zeroed": True, "told_size": True, "score": -1.0},
    "SDXL-refiner": {
        "clip_skip": 1,
        "zeroed": True,
        "told_size": True,
        "score": 6.0,
    },
}
"""What a request's graph shows of its checkpoint's family."""


def generate(family: str, **more: Any) -> Translation:
    payload = {
        "prompt": "a cat",
        "seed": 1,
        "steps": 10,
        "scheduler": "Align Your Steps",
        "override_settings": {
            "CLIP_stop_at_last_layers": 2,
            "sd_model_checkpoint": "model",
            "sdxl_crop_left": 8,
        },
        **more,
    }
    return translate(payload, options={"architectures": {"model": family}})


def test_a_family_is_classified_everywhere() -> None:
    """A new row needs headers, names and an expected graph here, and a mark in the documents."""
    for table in (HEADERS, NAMES, SEEN):
        assert set(table) == set(FAMILIES)
    documented = (ROOT / "docs" / "compatibility.md").read_text("utf-8")
    assert all(name in documented for name in FAMILIES)


@pytest.mark.parametrize("family", FAMILIES)
def test_header_and_name_tell_the_family(family: str) -> None:
    for header in HEADERS[family]:
        assert families.of_header({"__metadata__": {}, **header}) == family
    for name in NAMES[family]:
        assert families.of_name(name) == family


@pytest.mark.parametrize("family", FAMILIES)
def test_the_graph_is_the_familys(family: str) -> None:
    graph = generate(family).graph
    encoders = [node for node in graph.values() if node["class_type"] == "A1111TextEncode"]
    positive = next(node["inputs"] for node in encoders if "a cat" in node["inputs"]["prompt"])
    negative = next(node["inputs"] for node in encoders if "a cat" not in node["inputs"]["prompt"])
    assert {
        "clip_skip": positive["clip_skip"],
        "zeroed": negative["zero_empty"],
        "told_size": positive["crop_left"] == 8,
        "score": positive["aesthetic_score"],
    } == SEEN[family]


def test_align_your_steps_has_a_table_for_sd1_and_one_for_sdxl() -> None:
    def sigmas(family: str) -> str:
        graph = generate(family).graph
        return next(
            str(node["inputs"]["sigmas"])
            for node in graph.values()
            if node["class_type"] == "A1111Sigmas"
        )

    tables = {name: sigmas(name) for name in FAMILIES}
    assert tables["SD1"] == tables["SD2"] != tables["SDXL"] == tables["SDXL-refiner"]


@pytest.mark.parametrize("family", FAMILIES)
def test_core_nodes_spell_every_family(family: str) -> None:
    payload = {"prompt": "a cat", "override_settings": {"sd_model_checkpoint": "model"}}
    options = {"architectures": {"model": family}, "fidelity": "core"}
    graph = translate(payload, options=options).graph
    zeroed = any(node["class_type"] == "ConditioningZeroOut" for node in graph.values())
    assert zeroed == SEEN[family]["zeroed"]


@pytest.mark.parametrize("fidelity", ("exact", "core"))
def test_loader_and_latent_are_the_familys(monkeypatch: pytest.MonkeyPatch, fidelity: str) -> None:
    row = replace(families.SD1, loader="unCLIPCheckpointLoader", empty_latent="EmptySD3LatentImage")
    monkeypatch.setitem(cast(dict[str, Family], FAMILIES), "SD1", row)
    graph = translate(
        {"prompt": "a cat", "refiner_checkpoint": "other", "refiner_switch_at": 0.5},
        options={"architectures": {"": "SD1"}, "fidelity": fidelity},
    ).graph
    kinds = [node["class_type"] for node in graph.values()]
    assert kinds.count("unCLIPCheckpointLoader") == 2
    assert kinds.count("EmptySD3LatentImage") == 1
    assert not {"CheckpointLoaderSimple", "EmptyLatentImage"} & set(kinds)


def catalog(architecture: str | None) -> Catalog:
    bundled = Catalog.bundled()
    return Catalog(
        nodes=bundled.nodes,
        folders={"checkpoints": ("some-model.safetensors",)},
        facts={("checkpoints", "some-model.safetensors"): ModelFacts(architecture=architecture)},
    )


@pytest.mark.parametrize("name", UNSUPPORTED)
@pytest.mark.parametrize("prefix", ("", UNET))
def test_an_unsupported_family_is_told_by_its_header(name: str, prefix: str) -> None:
    for key in UNSUPPORTED[name]:
        assert families.of_header({f"{prefix}{key}": tensor(1)}) == name


@pytest.mark.parametrize("name", UNSUPPORTED)
@pytest.mark.parametrize("unsupported", ("error", "warn"))
def test_an_unsupported_family_is_refused_by_name(name: str, unsupported: str) -> None:
    payload = {"prompt": "a cat", "override_settings": {"sd_model_checkpoint": "some-model"}}
    with pytest.raises(TranslationError) as refused:
        translate(payload, catalog=catalog(name), options={"unsupported": unsupported})
    (problem,) = refused.value.problems
    assert problem.path == "override_settings.sd_model_checkpoint"
    assert f"is a {name} model" in problem.message
    assert "cannot be read" not in problem.message


def test_chroma_and_flux_are_told_apart() -> None:
    both = {"double_blocks.0.img_attn.norm.key_norm.scale": tensor(1)}
    assert families.of_header(both) == "Flux"
    both["distilled_guidance_layer.in_proj.weight"] = tensor(1)
    assert families.of_header(both) == "Chroma"


@pytest.mark.parametrize(
    ("architecture", "words"),
    [(None, "its file cannot be read"), (UNKNOWN, "its file shows no family that is known here")],
)
def test_a_guess_says_why(architecture: str | None, words: str) -> None:
    translation = translate({"prompt": "a cat"}, catalog=catalog(architecture))
    assert any(words in text for text in translation.warning_texts)


def test_headers_that_show_nothing() -> None:
    assert families.of_header({}) is None
    assert families.of_header({"__metadata__": {"a": "b"}}) is None
    assert families.of_header({"first_stage_model.decoder.conv_in.weight": tensor(5)}) == UNKNOWN
    broken: dict[str, Any] = {f"{UNET}label_emb.0.0.weight": "no tensor"}
    assert families.of_header(broken) == UNKNOWN


def test_no_other_file_compares_an_architectures_name() -> None:
    for package in ("translator", "worker", "server"):
        for file in (ROOT / package).rglob("*.py"):
            if file.name == "families.py":
                continue
            for node in ast.walk(ast.parse(file.read_text("utf-8"))):
                if isinstance(node, ast.Compare):
                    words = {
                        item.value for item in ast.walk(node) if isinstance(item, ast.Constant)
                    }
                    of_schedule = "schedule" in ast.unparse(node.left)
                    assert of_schedule or not words & set(FAMILIES), f"{file}:{node.lineno}"


@pytest.mark.parametrize(("channels", "beside"), [(4, 0), (8, 4), (9, 5)])
def test_a_unet_that_takes_a_picture_shows_it_in_its_first_layer(
    channels: int, beside: int
) -> None:
    key = "model.diffusion_model.input_blocks.0.0.weight"
    assert families.picture_channels({key: {"shape": [320, channels, 3, 3]}}) == beside


def test_a_header_without_a_unet_tells_no_picture_channels() -> None:
    assert families.picture_channels({}) is None
