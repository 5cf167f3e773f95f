"""ADetailer's mediapipe detectors, where the package mediapipe is installed.

Source of the rules: ADetailer v25.3.0, restated in the shared facts `adetailer.md` sections 2.1 and
2.2. As there, whatever goes wrong inside mediapipe counts as nothing found, and is logged.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from .regions import Box, Detection, box_mask

log = logging.getLogger(__name__)

_MAX_FACES = 20
_SHORT_RANGE, _FULL_RANGE = 0, 1
_MESH_SCORE = 1.0

Point = tuple[int, int]


def detect(model: str, picture: Image.Image, confidence: float) -> list[Detection]:
    """The faces (or pairs of eyes) on an RGB picture."""
    try:
        import mediapipe

        solutions = mediapipe.solutions
        if model in ("mediapipe_face_full", "mediapipe_face_short"):
            selection = _FULL_RANGE if model.endswith("full") else _SHORT_RANGE
            return _faces(solutions, selection, picture, confidence)
        return _meshes(solutions, picture, confidence, model.endswith("eyes_only"))
    except Exception:
        log.exception("%s: nothing found, as mediapipe failed", model)
        return []


def _faces(
    solutions: Any, selection: int, picture: Image.Image, confidence: float
) -> list[Detection]:
    finder = solutions.face_detection.FaceDetection(
        model_selection=selection, min_detection_confidence=confidence
    )
    with finder as faces:
        found = faces.process(np.asarray(picture)).detections or ()
    width, height = picture.size
    detections = []
    for face in found:
        place = face.location_data.relative_bounding_box
        left, top = place.xmin * width, place.ymin * height
        box = (left, top, left + place.width * width, top + place.height * height)
        detections.append(Detection(box, float(face.score[0]), box_mask(box, width, height)))
    return detections


def _meshes(
    solutions: Any, picture: Image.Image, confidence: float, eyes_only: bool
) -> list[Detection]:
    meshes = solutions.face_mesh
    finder = meshes.FaceMesh(
        static_image_mode=True, max_num_faces=_MAX_FACES, min_detection_confidence=confidence
    )
    with finder as faces:
        found = faces.process(np.asarray(picture)).multi_face_landmarks or ()
    detections = []
    for face in found:
        points = [
            (int(mark.x * picture.width), int(mark.y * picture.height)) for mark in face.landmark
        ]
        if eyes_only:
            groups = [
                [points[index] for index in _indexes(eye)]
                for eye in (meshes.FACEMESH_LEFT_EYE, meshes.FACEMESH_RIGHT_EYE)
            ]
        else:
            groups = [points]
        detections.append(_hulls(groups, picture))
    return detections


def _indexes(connections: Iterable[tuple[int, int]]) -> list[int]:
    return sorted({index for pair in connections for index in pair})


def _hulls(groups: list[list[Point]], picture: Image.Image) -> Detection:
    """One mask of the convex hulls of all groups, and the box around them."""
    import cv2

    mask = Image.new("L", picture.size, 0)
    for points in groups:
        hull = cv2.convexHull(np.array(points, dtype=np.int32)).reshape(-1, 2)
        ImageDraw.Draw(mask).polygon([(int(x), int(y)) for x, y in hull], fill=255)
    bounds = mask.getbbox() or (0, 0, 0, 0)
    box: Box = (float(bounds[0]), float(bounds[1]), float(bounds[2]), float(bounds[3]))
    return Detection(box, _MESH_SCORE, np.asarray(mask))
