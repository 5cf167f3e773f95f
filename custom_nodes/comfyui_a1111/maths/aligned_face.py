"""ControlNet's module facexlib: the largest face of a picture, aligned, grey on white.

It is PuLID's look at a face. Source of the rules: sd-webui-controlnet v1.1.455
(`scripts/preprocessor/pulid.py`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from . import controlnet_ops, face_restore

Array = NDArray[Any]

PARSER_FILE = "parsing_bisenet.pth"

_BACKGROUND = (0, 7, 8, 9, 14, 15, 16, 18)
"""BiSeNet's classes that are none of the face: background, ears, neck, clothes, hat."""

_MEAN = (0.485, 0.456, 0.406)
_DEVIATION = (0.229, 0.224, 0.225)
_BRIGHTNESS = (0.299, 0.587, 0.114)


def load(models: Path, device: torch.device) -> tuple[Any, Any]:
    """facexlib's detector and aligner, and its parser.

    Args:
        models: ComfyUI's model folder.

    Raises:
        RuntimeError: facexlib is not there.
        FileNotFoundError: one of its files is not.
    """
    face_restore.require_packages(("facexlib",))
    from facexlib.parsing import init_parsing_model

    places = [
        folder for folder in face_restore.helper_folders(models) if (folder / PARSER_FILE).is_file()
    ]
    if not places:
        place = models / face_restore.HELPER_FOLDERS[0]
        raise FileNotFoundError(f"{PARSER_FILE} is missing; put it into {place}")
    parser = init_parsing_model("bisenet", device=device, model_rootpath=str(places[0]))
    return face_restore.face_helper(models, device), parser


def features(picture: Array, resolution: int, helper: Any, parser: Any) -> Array:
    """The features of a face `[512, 512, 3]` uint8.

    Args:
        picture: `[H, W, 3]` uint8, whose short side becomes `resolution` pixels.
        helper, parser: see `load`.

    Raises:
        ValueError: there is no face.
    """
    scaled = controlnet_ops.scale_short_side(picture, resolution)
    padded = controlnet_ops.pad_to_multiple(scaled)
    helper.clean_all()
    helper.read_image(np.ascontiguousarray(padded[..., ::-1]))
    helper.get_face_landmarks_5(only_center_face=True)
    helper.align_warp_face()
    if not helper.cropped_faces:
        raise ValueError("facexlib finds no face in the image")
    return _features(np.ascontiguousarray(helper.cropped_faces[0][..., ::-1]), parser)


def _features(face: Array, parser: Any) -> Array:
    device = next(parser.parameters()).device
    levels = torch.from_numpy(face).permute(2, 0, 1)[None].float().to(device) / 255.0
    mean, deviation, brightness = (
        torch.tensor(values, device=device).view(1, 3, 1, 1)
        for values in (_MEAN, _DEVIATION, _BRIGHTNESS)
    )
    with torch.inference_mode():
        found = parser((levels - mean) / deviation)[0].argmax(dim=1, keepdim=True)
    beyond = torch.isin(found, torch.tensor(_BACKGROUND, device=device))
    grey = (levels * brightness).sum(dim=1, keepdim=True)
    shown = torch.where(beyond, torch.ones_like(grey), grey)[0, 0]
    return (shown * 255.0).to(torch.uint8).cpu().numpy()[..., None].repeat(3, axis=2)
