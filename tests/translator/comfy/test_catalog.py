"""Catalogs: the bundled one, and what /object_info tells of a server."""

from __future__ import annotations

from typing import Any

import pytest

from tests.corpus.signatures import bundled
from translator.comfy.catalog import Catalog, InputSignature, ModelFacts, input_from_spec


def test_bundled_catalog_has_core_packs_and_ours_and_takes_any_file() -> None:
    catalog = Catalog.bundled()
    assert catalog.has("KSampler", "InstantIDAttentionPatch", "CannyEdgePreprocessor", "A1111Noise")
    assert not catalog.has("KSampler", "NoSuchNode")
    assert catalog.files("checkpoints") is None
    assert catalog.facts_of("checkpoints", "x") == ModelFacts()
    assert Catalog.bundled() is catalog


def test_bundled_signatures_are_those_of_the_files() -> None:
    signature = Catalog.bundled().nodes["KSampler"]
    assert signature.inputs["seed"] == InputSignature(
        "INT", True, (), None, 0, 2**64 - 1, default=0
    )
    assert "euler" in signature.inputs["sampler_name"].options
    assert signature.outputs == ("LATENT",)
    assert Catalog.bundled().nodes.keys() == bundled().keys()


def object_info() -> dict[str, Any]:
    return {
        "CheckpointLoaderSimple": {
            "input": {
                "required": {"ckpt_name": [["b.safetensors", "a.safetensors"], {"tooltip": "x"}]}
            },
            "output": ["MODEL", "CLIP", "VAE"],
            "python_module": "nodes",
            "output_node": False,
        },
        "LoraLoader": {
            "input": {
                "required": {
                    "model": ["MODEL"],
                    "lora_name": ["COMBO", {"options": ["x.safetensors"]}],
                    "strength_model": ["FLOAT", {"default": 1.0, "min": -100.0, "max": 100.0}],
                },
                "optional": None,
            },
            "output": ["MODEL", "CLIP"],
            "python_module": "nodes",
        },
        "TheirNode": {
            "input": {"optional": {"mode": [["fast", "slow"]]}},
            "output": [["fast", "slow"]],
            "output_node": True,
        },
    }


def test_a_servers_files_are_listed_by_the_folder_of_the_bundled_input() -> None:
    catalog = Catalog.from_object_info(object_info(), extra_folders={"embeddings": ["e.pt"]})
    assert catalog.files("checkpoints") == ("b.safetensors", "a.safetensors")
    assert catalog.files("loras") == ("x.safetensors",)
    assert catalog.files("embeddings") == ("e.pt",)
    assert catalog.files("vae") == ()


def test_a_servers_nodes_are_its_own() -> None:
    catalog = Catalog.from_object_info(object_info())
    assert set(catalog.nodes) == {"CheckpointLoaderSimple", "LoraLoader", "TheirNode"}
    theirs = catalog.nodes["TheirNode"]
    assert theirs.output_node
    assert theirs.outputs == ("COMBO",)
    assert catalog.options("TheirNode", "mode") == ("fast", "slow")
    assert catalog.options("TheirNode", "other") == ()
    assert catalog.options("Other", "mode") == ()
    assert catalog.nodes["LoraLoader"].inputs["strength_model"].max == 100.0


def test_facts_are_found_by_folder_and_name() -> None:
    facts = {("checkpoints", "a.safetensors"): ModelFacts(sha256="ab")}
    catalog = Catalog.from_object_info(object_info(), facts)
    assert catalog.facts_of("checkpoints", "a.safetensors").sha256 == "ab"
    assert catalog.facts_of("vae", "a.safetensors").sha256 is None


@pytest.mark.parametrize(
    ("spec", "kind", "options"),
    [
        (["INT", {"min": 1}], "INT", ()),
        ([["a", "b"]], "COMBO", ("a", "b")),
        (["COMBO", {"options": ["a"]}], "COMBO", ("a",)),
        (["MODEL"], "MODEL", ()),
    ],
)
def test_input_specs(spec: list[Any], kind: str, options: tuple[str, ...]) -> None:
    item = input_from_spec(spec, required=True)
    assert (item.type, item.options) == (kind, options)
