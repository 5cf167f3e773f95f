"""Signatures of PuLID_ComfyUI's nodes (commit 4e1fd40), as ComfyUI 0.3.64 lists them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from translator.comfy.catalog import Catalog

_SHARE = {"min": 0.0, "max": 1.0, "step": 0.001}


def object_info(files: Sequence[str]) -> Mapping[str, Any]:
    """The nodes as ``/object_info`` shows them, with the files of models/pulid."""
    return {
        "PulidModelLoader": _node({"pulid_file": [list(files)]}, "PULID"),
        "PulidInsightFaceLoader": _node(
            {"provider": [["CPU", "CUDA", "ROCM", "CoreML"]]}, "FACEANALYSIS"
        ),
        "PulidEvaClipLoader": _node({}, "EVA_CLIP"),
        "ApplyPulid": _node(
            {
                "model": ["MODEL"],
                "pulid": ["PULID"],
                "eva_clip": ["EVA_CLIP"],
                "face_analysis": ["FACEANALYSIS"],
                "image": ["IMAGE"],
                "method": [["fidelity", "style", "neutral"]],
                "weight": ["FLOAT", {"default": 1.0, "min": -1.0, "max": 5.0, "step": 0.05}],
                "start_at": ["FLOAT", {"default": 0.0, **_SHARE}],
                "end_at": ["FLOAT", {"default": 1.0, **_SHARE}],
            },
            "MODEL",
            {"attn_mask": ["MASK"]},
        ),
    }


def _node(
    required: Mapping[str, Any], output: str, optional: Mapping[str, Any] | None = None
) -> Mapping[str, Any]:
    return {
        "input": {"required": required, **({"optional": optional} if optional else {})},
        "output": [output],
        "output_node": False,
        "python_module": "custom_nodes.PuLID_ComfyUI",
    }


def catalog(*files: str) -> Catalog:
    """The bundled nodes and PuLID's; of model files only PuLID's are listed."""
    pulid = Catalog.from_object_info(object_info(files))
    bundled = Catalog.bundled()
    return Catalog({**bundled.nodes, **pulid.nodes}, pulid.folders, open=True)
