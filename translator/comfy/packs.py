"""Where node classes come from."""

from __future__ import annotations

from collections.abc import Mapping

from translator.comfy.catalog import Catalog

PACKS: Mapping[str, str] = {
    "custom_nodes.comfyui_controlnet_aux": "comfyui_controlnet_aux (github.com/Fannovel16)",
    "custom_nodes.ComfyUI-Advanced-ControlNet": (
        "ComfyUI-Advanced-ControlNet (github.com/Kosinkadink)"
    ),
    "custom_nodes.ComfyUI_InstantID": "ComfyUI_InstantID (github.com/cubiq)",
    "custom_nodes.ComfyUI_IPAdapter_plus": "ComfyUI_IPAdapter_plus (github.com/cubiq)",
    "custom_nodes.comfyui_a1111": "custom_nodes/comfyui_a1111 of this project",
}
"""Where a missing node comes from; ``custom_nodes.txt`` pins the packs."""

_OPTIONAL: Mapping[str, str] = dict.fromkeys(
    ("PulidModelLoader", "PulidEvaClipLoader", "PulidInsightFaceLoader", "ApplyPulid"),
    "the pack PuLID_ComfyUI (github.com/cubiq), with its model in models/pulid, insightface's "
    "antelopev2, facexlib's files, and EVA02_CLIP_L_336 in Hugging Face's cache",
)
"""Nodes of packs that the image does not bring along -> what to install."""


def pack_of(class_type: str) -> str:
    """What to install for a node that is not there."""
    if class_type in _OPTIONAL:
        return _OPTIONAL[class_type]
    known = Catalog.bundled().nodes.get(class_type)
    return PACKS.get(known.pack if known else "", "a current ComfyUI")
