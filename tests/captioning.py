"""Signatures of nodes that tell a picture in words, as their packs declare them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from devserver.dialect import OLDEST
from devserver.signatures import bundled_documents


def _widget(kind: str, default: Any, **more: Any) -> dict[str, Any]:
    return {"type": kind, "default": default, **more}


def _choice(*options: str) -> dict[str, Any]:
    return {"type": "COMBO", "options": list(options)}


WD14: Mapping[str, Any] = {
    "pack": "custom_nodes.ComfyUI-WD14-Tagger",
    "category": "image",
    "output_node": True,
    "inputs": {
        "required": {
            "image": {"type": "IMAGE"},
            "model": _choice("wd-v1-4-moat-tagger-v2", "wd-v1-4-vit-tagger-v2"),
            "threshold": _widget("FLOAT", 0.35, min=0.0, max=1),
            "character_threshold": _widget("FLOAT", 0.85, min=0.0, max=1),
            "replace_underscore": _widget("BOOLEAN", False),
            "trailing_comma": _widget("BOOLEAN", False),
            "exclude_tags": _widget("STRING", ""),
        }
    },
    "outputs": [{"type": "STRING", "name": "STRING"}],
}

BLIP: Mapping[str, Any] = {
    "pack": "custom_nodes.was-node-suite-comfyui",
    "category": "WAS Suite/Text/AI",
    "output_node": False,
    "inputs": {
        "required": {
            "images": {"type": "IMAGE"},
            "mode": _choice("caption", "interrogate"),
            "question": _widget("STRING", "What does the background consist of?"),
            "blip_model": {"type": "BLIP_MODEL"},
        },
        "optional": {
            "min_length": _widget("INT", 24, min=1, max=1024),
            "max_length": _widget("INT", 64, min=2, max=1024),
            "num_beams": _widget("INT", 5, min=1, max=12),
        },
    },
    "outputs": [
        {"type": "STRING", "name": "FULL_CAPTIONS"},
        {"type": "STRING", "name": "CAPTIONS"},
    ],
}

BLIP_LOADER: Mapping[str, Any] = {
    "pack": "custom_nodes.was-node-suite-comfyui",
    "category": "WAS Suite/Loaders",
    "output_node": False,
    "inputs": {
        "required": {
            "blip_model": _widget("STRING", "Salesforce/blip-image-captioning-base"),
            "vqa_model_id": _widget("STRING", "Salesforce/blip-vqa-base"),
            "device": _choice("cuda", "cpu"),
        }
    },
    "outputs": [{"type": "BLIP_MODEL", "name": "BLIP_MODEL"}],
}

FLORENCE: Mapping[str, Any] = {
    "pack": "custom_nodes.ComfyUI-Florence2",
    "category": "Florence2",
    "output_node": False,
    "inputs": {
        "required": {
            "image": {"type": "IMAGE"},
            "florence2_model": {"type": "FL2MODEL"},
            "text_input": _widget("STRING", ""),
            "task": _choice("region_caption", "caption", "ocr"),
            "fill_mask": _widget("BOOLEAN", True),
        }
    },
    "outputs": [
        {"type": "IMAGE", "name": "image"},
        {"type": "MASK", "name": "mask"},
        {"type": "STRING", "name": "caption"},
    ],
}


def florence_loader(*models: str) -> Mapping[str, Any]:
    """Florence-2's loader, which lists the folders below models/LLM."""
    return {
        "pack": "custom_nodes.ComfyUI-Florence2",
        "category": "Florence2",
        "output_node": False,
        "inputs": {"required": {"model": _choice(*models), "precision": _choice("fp16", "fp32")}},
        "outputs": [{"type": "FL2MODEL", "name": "florence2_model"}],
    }


NODES: Mapping[str, Any] = {
    "WD14Tagger|pysssss": WD14,
    "BLIP Analyze Image": BLIP,
    "BLIP Model Loader": BLIP_LOADER,
}
"""Those that the development server runs."""


def documents(nodes: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The signature files of a development server that has some nodes besides."""
    return [*bundled_documents(OLDEST), {"nodes": nodes}]
