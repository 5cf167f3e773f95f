"""ADetailer's detection: what a detector finds on a picture, as the regions to be made anew."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from ..maths import detection, detector_files, image_ops, regions, yolo
from ..maths.regions import Detection, Regions, Rules
from .inputs import MAX_SIDE, InputTypes, number, whole

CATEGORY = "A1111/detailer"
REGIONS = "A1111_REGIONS"

MEDIAPIPE = (
    "mediapipe_face_full",
    "mediapipe_face_short",
    "mediapipe_face_mesh",
    "mediapipe_face_mesh_eyes_only",
)
_SUFFIXES = (".pt", ".safetensors")
_FOLDER_KEYS = ("adetailer", "ultralytics_bbox", "ultralytics_segm", "ultralytics")


def detector_folders() -> list[Path]:
    """Where detectors are kept: A1111's models/adetailer and the Impact Subpack's folders."""
    try:
        import folder_paths
    except ImportError:
        return []
    found = [Path(folder_paths.models_dir) / "adetailer"]
    for key in _FOLDER_KEYS:
        if key in folder_paths.folder_names_and_paths:
            found += [Path(path) for path in folder_paths.get_folder_paths(key)]
    found += [Path(folder_paths.models_dir) / "ultralytics" / kind for kind in ("bbox", "segm")]
    return list(dict.fromkeys(found))


def detector_files_found() -> dict[str, Path]:
    """Bare file name -> the first file of that name below the folders."""
    found: dict[str, Path] = {}
    for folder in detector_folders():
        for path in sorted(folder.rglob("*")) if folder.is_dir() else ():
            if path.suffix in _SUFFIXES and path.is_file():
                found.setdefault(path.name, path)
    return found


def detector_names() -> list[str]:
    """The detectors that can be used here, ADetailer's mediapipe ones where it is installed."""
    names = list(detector_files_found())
    return names + (list(MEDIAPIPE) if importlib.util.find_spec("mediapipe") else [])


@dataclass(frozen=True)
class _Loaded:
    network: yolo.Yolo
    size: int


class _Detectors:
    """The last detector read, kept as long as its file stays the same."""

    def __init__(self) -> None:
        self._key: tuple[Any, ...] = ()
        self._loaded: _Loaded | None = None

    def get(self, path: Path, device: torch.device) -> _Loaded:
        status = path.stat()
        key = (str(path), status.st_mtime_ns, status.st_size, str(device))
        if self._loaded is None or key != self._key:
            weights = detector_files.read_detector(path)
            self._loaded = _Loaded(yolo.Yolo(weights, device), weights.size)
            self._key = key
        return self._loaded


_DETECTORS = _Detectors()


def _found_by_file(model: str, picture: Image.Image, confidence: float) -> list[Detection]:
    from comfy import model_management

    path = detector_files_found().get(model)
    if path is None:
        raise FileNotFoundError(
            f"A1111DetectRegions: there is no detector {model} below "
            + ", ".join(str(folder) for folder in detector_folders())
        )
    loaded = _DETECTORS.get(path, model_management.get_torch_device())
    return detection.detect(loaded.network, loaded.size, picture, confidence)


def _found_by_provider(detector: Any, picture: Image.Image, confidence: float) -> list[Detection]:
    """What an Impact Subpack detector finds: its own model is asked, as ADetailer asks it."""
    result = detector.bbox_model(picture, conf=confidence, verbose=False)[0]
    boxes = [tuple(box) for box in result.boxes.xyxy.cpu().numpy().tolist()]
    scores = result.boxes.conf.cpu().numpy().tolist()
    if result.masks is None:
        masks = [regions.box_mask(box, *picture.size) for box in boxes]
    else:
        planes = (result.masks.data.cpu().float() > 0).byte().numpy() * 255
        masks = [np.asarray(Image.fromarray(plane).resize(picture.size)) for plane in planes]
    return [Detection(*found) for found in zip(boxes, scores, masks, strict=True)]


class A1111DetectRegions:
    """ADetailer's masks: a detector's finds on one picture, filtered, ordered and grown."""

    CATEGORY = CATEGORY
    RETURN_TYPES = (REGIONS,)
    RETURN_NAMES = ("regions",)
    FUNCTION = "detect"

    @classmethod
    def INPUT_TYPES(cls) -> InputTypes:
        rules = Rules()
        return {
            "required": {
                "image": ("IMAGE",),
                "detector": (detector_names(),),
                "confidence": number(0.3, 0.0, 1.0, 0.01),
                "filter_method": (list(regions.FILTER_METHODS),),
                "mask_k": whole(rules.k, 0, 100_000),
                "mask_min_ratio": number(rules.min_ratio, 0.0, 1.0, 0.01),
                "mask_max_ratio": number(rules.max_ratio, 0.0, 1.0, 0.01),
                "sort": (list(regions.SORTS),),
                "dilate_erode": whole(rules.dilate_erode, -4096, 4096),
                "x_offset": whole(rules.x_offset, -MAX_SIDE, MAX_SIDE),
                "y_offset": whole(rules.y_offset, -MAX_SIDE, MAX_SIDE),
                "merge": (list(regions.MERGES),),
            },
            "optional": {
                "inside": ("MASK",),
                "bbox_detector": ("BBOX_DETECTOR",),
                "segm_detector": ("SEGM_DETECTOR",),
            },
        }

    def detect(
        self,
        image: torch.Tensor,
        detector: str,
        confidence: float,
        filter_method: str,
        mask_k: int,
        mask_min_ratio: float,
        mask_max_ratio: float,
        sort: str,
        dilate_erode: int,
        x_offset: int,
        y_offset: int,
        merge: str,
        inside: torch.Tensor | None = None,
        bbox_detector: Any = None,
        segm_detector: Any = None,
    ) -> tuple[Regions]:
        picture = single_picture(image, "A1111DetectRegions")
        provider = segm_detector or bbox_detector
        if provider is not None:
            found = _found_by_provider(provider, picture, confidence)
        elif detector in MEDIAPIPE:
            from ..maths import mediapipe_faces

            found = mediapipe_faces.detect(detector, picture, confidence)
        else:
            found = _found_by_file(detector, picture, confidence)
        rules = Rules(
            filter_method,
            mask_k,
            mask_min_ratio,
            mask_max_ratio,
            sort,
            dilate_erode,
            x_offset,
            y_offset,
            merge,
        )
        result = regions.find_regions(found, *picture.size, rules)
        if inside is not None:
            result = regions.touching(result, _levels(inside, picture))
        return (result,)


def _levels(mask: torch.Tensor, picture: Image.Image) -> Any:
    plane = mask[0].cpu().float().numpy()
    if plane.shape != (picture.height, picture.width):
        raise ValueError(
            f"A1111DetectRegions: a mask of {plane.shape[1]}x{plane.shape[0]} pixels for a picture "
            f"of {picture.width}x{picture.height}"
        )
    return np.rint(plane * 255).astype(np.uint8)


def single_picture(image: torch.Tensor, node: str) -> Image.Image:
    """The one picture of an IMAGE, 8-bit RGB. Raises ValueError for a batch."""
    if image.shape[0] != 1:
        raise ValueError(f"{node}: one picture at a time, not {image.shape[0]}")
    return image_ops.to_pil(image)[0]
