"""Node signatures of a running ComfyUI as the bundled file keeps them: structural facts only.

Lists of model files are emptied. Which model folder such a list shows a server does not say: it is
taken over from the signatures that are bundled, and guessed from the input's name for new nodes.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from translator.comfy.catalog import folder_inputs, type_name

CORE_MODULES = ("nodes", "comfy_extras", "custom_nodes.websocket_image_save")
DYNAMIC_COMBO, AUTOGROW = "COMFY_DYNAMICCOMBO_V3", "COMFY_AUTOGROW_V3"
"""Inputs of newer versions that bring further inputs: by the value chosen, and as a growing row."""

_KEPT_SETTINGS = ("default", "min", "max", "step", "round", "multiline", "image_upload")

FOLDER_INPUTS: Mapping[str, str] = {
    "ckpt_name": "checkpoints",
    "vae_name": "vae",
    "lora_name": "loras",
    "control_net_name": "controlnet",
    "hypernetwork_name": "hypernetworks",
    "instantid_file": "instantid",
    "ipadapter_file": "ipadapter",
    "style_model_name": "style_models",
    "unet_name": "diffusion_models",
    "detector": "adetailer",
    "clip_name": "text_encoders",
    "clip_name1": "text_encoders",
    "clip_name2": "text_encoders",
    "clip_name3": "text_encoders",
    "clip_name4": "text_encoders",
    "text_encoder": "text_encoders",
    "audio_encoder_name": "audio_encoders",
    "bg_removal_name": "background_removal",
}
"""Input name -> model folder, for nodes that the bundled signatures do not have."""

NODE_FOLDERS: Mapping[tuple[str, str], str] = {
    ("LatentUpscaleModelLoader", "model_name"): "latent_upscale_models",
    ("FrameInterpolationModelLoader", "model_name"): "frame_interpolation",
    ("OpticalFlowLoader", "model_name"): "optical_flow",
    ("LoadMoGeModel", "model_name"): "geometry_estimation",
    ("LoadDA3Model", "model_name"): "geometry_estimation",
    ("LoadMediaPipeFaceLandmarker", "model_name"): "detection",
    ("A1111ControlNetLama", "model_name"): "inpaint",
    ("A1111ControlNetOneFormer", "model_name"): "oneformer",
    ("LoadVideo", "file"): "input",
    ("LoadAudio", "audio"): "input",
    ("LoadImageOutput", "image"): "output",
}
"""(node, input) -> model folder, where the input's name alone does not say it."""


def signature_file(
    object_info: Mapping[str, Any],
    system_stats: Mapping[str, Any],
    packs: Collection[str] | None = None,
) -> str:
    """The text of a signature file, one node a line, from a server's answers.

    Args:
        object_info: ``GET /object_info``.
        system_stats: ``GET /system_stats``, for the version.
        packs: folder names of the node packs to keep beside the core; None keeps all.
    """
    nodes = {
        name: signature(info, name)
        for name, info in sorted(object_info.items())
        if _wanted(info.get("python_module", "nodes"), packs)
    }
    found = sorted({node["pack"] for node in nodes.values()} - set(CORE_MODULES))
    meta = {
        "comfyui": system_stats.get("system", {}).get("comfyui_version"),
        "packs": [pack for pack in found if pack.startswith("custom_nodes.")],
        "note": "structural facts only; folders = the model folder a list of files comes from",
    }
    lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(node)}" for name, node in nodes.items())
    return f'{{"_meta": {json.dumps(meta)},\n"nodes": {{\n{lines}\n}}}}\n'


def signature(info: Mapping[str, Any], name: str) -> dict[str, Any]:
    """The node `name` of ``/object_info`` (or of a pack in that form), as the file has it."""
    inputs = _groups(name, info["input"])
    names = info.get("output_name") or info["output"]
    return {
        "pack": info.get("python_module", ""),
        "category": info.get("category", ""),
        "output_node": bool(info.get("output_node")),
        "inputs": inputs,
        "outputs": [
            {"type": type_name(kind), "name": label}
            for kind, label in zip(info["output"], names, strict=False)
        ],
    }


def _wanted(module: str, packs: Collection[str] | None) -> bool:
    if packs is None or module in CORE_MODULES or module.split(".")[0] == "comfy_extras":
        return True
    return module.removeprefix("custom_nodes.") in packs


def _folder(node: str, name: str, settings: Mapping[str, Any]) -> str | None:
    """The model folder whose files an input lists; None for a list that the node's code holds.

    A list with a default is the code's own, whatever the input is called: of the files of a
    machine, none can be the default.
    """
    key = (node, name)
    guessed = None if "default" in settings else FOLDER_INPUTS.get(name)
    return folder_inputs().get(key) or NODE_FOLDERS.get(key) or guessed


def _groups(node: str, groups: Mapping[str, Any]) -> dict[str, Any]:
    """The inputs of a node, or those that a dynamic input brings, by ``required``, ``optional``."""
    return {
        group: {item: _input(node, item, spec) for item, spec in groups[group].items()}
        for group in ("required", "optional")
        if groups.get(group)
    }


def _input(node: str, name: str, spec: Sequence[Any]) -> dict[str, Any]:
    settings: Mapping[str, Any] = spec[1] if len(spec) > 1 and isinstance(spec[1], dict) else {}
    kind, folder = spec[0], _folder(node, name, settings)
    found: dict[str, Any] = {"type": type_name(kind)}
    if found["type"] == "COMBO":
        if folder is not None:
            found["folders"] = [folder]
        options = kind if isinstance(kind, list | tuple) else settings.get("options", [])
        found["options"] = [] if folder else list(options)
    if kind == DYNAMIC_COMBO:
        found["choices"] = [
            {"key": option["key"], "inputs": _groups(node, option["inputs"])}
            for option in settings["options"]
        ]
    if kind == AUTOGROW:
        template = dict(settings["template"])
        found["template"] = {**template, "input": _groups(node, template["input"])}
    found.update({key: settings[key] for key in _KEPT_SETTINGS if key in settings})
    return found
