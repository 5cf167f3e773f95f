"""What a YOLO detector finds on a picture, in the picture's own pixels.

Source of the rules: the behaviour of ultralytics 8.3.200 as ADetailer v25.3.0 calls it, restated in
the shared facts `adetailer.md` section 2.2.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from .regions import Box, Detection, box_mask
from .yolo import Output, Yolo

GREY = 114
"""The level of the bands around a picture in the detector's input."""

STRIDE = 32
MAX_CANDIDATES = 30_000
MAX_DETECTIONS = 300
MAX_OVERLAP = 0.7
"""Two boxes of a class that share more of their area than this are one."""


@dataclass(frozen=True)
class Letterbox:
    """A picture in the detector's input.

    Attributes:
        tensor: [1, 3, height, width], RGB in 0..1.
        width, height: of the input in pixels, multiples of `STRIDE`.
    """

    tensor: Tensor
    width: int
    height: int


def letterbox(picture: Image.Image, size: int) -> Letterbox:
    """Scale an RGB picture so that its longer side is `size`; pad both to whole strides."""
    import cv2

    factor = min(size / picture.height, size / picture.width)
    width, height = round(picture.width * factor), round(picture.height * factor)
    pixels = np.asarray(picture)
    if (width, height) != picture.size:
        pixels = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_LINEAR)
    (top, bottom), (left, right) = _bands(height), _bands(width)
    padded = np.pad(pixels, ((top, bottom), (left, right), (0, 0)), constant_values=GREY).transpose(
        2, 0, 1
    )
    tensor = torch.from_numpy(np.ascontiguousarray(padded)).float()[None] / 255
    return Letterbox(tensor, tensor.shape[3], tensor.shape[2])


def _bands(length: int) -> tuple[int, int]:
    """Pixels before and after a side that make it a multiple of the stride."""
    half = (-length % STRIDE) / 2
    return round(half - 0.1), round(half + 0.1)


@dataclass(frozen=True)
class _Found:
    """In the input's pixels: boxes [n, 4] by corners, scores [n], coefficients [n, 32] or None."""

    boxes: Tensor
    scores: Tensor
    coefficients: Tensor | None


def detect(network: Yolo, size: int, picture: Image.Image, confidence: float) -> list[Detection]:
    """Everything that scores more than `confidence` on an RGB picture, the best first.

    A detector with masks gives them as ADetailer takes them over: at the input's size, its grey
    bands included, then resized to the picture.
    """
    boxed = letterbox(picture, size)
    output = network(boxed.tensor)
    found = _suppressed(output, confidence)
    boxes = [_mapped(box, boxed, picture) for box in found.boxes.tolist()]
    if found.coefficients is None or output.prototypes is None:
        masks = [box_mask(box, *picture.size) for box in boxes]
    else:
        masks = [
            np.asarray(mask.resize(picture.size))
            for mask in _masks(found, output.prototypes, boxed)
        ]
    return [
        Detection(box, score, mask)
        for box, score, mask in zip(boxes, found.scores.tolist(), masks, strict=True)
    ]


def _suppressed(output: Output, confidence: float) -> _Found:
    """The best box of each heap of overlapping ones of the same class."""
    scores, kinds = output.scores.max(0)
    order = scores.argsort(descending=True, stable=True)
    order = order[scores[order] > confidence][:MAX_CANDIDATES]
    centre, extent = output.boxes[:2, order].T, output.boxes[2:, order].T / 2
    boxes = torch.cat([centre - extent, centre + extent], 1)
    kept = _distinct(boxes.cpu(), kinds[order].cpu())[:MAX_DETECTIONS]
    coefficients = output.coefficients
    if coefficients is not None:
        coefficients = coefficients[:, order].T[kept].cpu()
    return _Found(boxes.cpu()[kept], scores[order].cpu()[kept], coefficients)


def _distinct(boxes: Tensor, kinds: Tensor) -> list[int]:
    """Indexes of the boxes (best first) that overlap no better one of their class too much."""
    kept: list[int] = []
    left = torch.arange(len(boxes))
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    while len(left) and len(kept) < MAX_DETECTIONS:
        best, left = int(left[0]), left[1:]
        kept.append(best)
        low = torch.maximum(boxes[best, :2], boxes[left, :2])
        high = torch.minimum(boxes[best, 2:], boxes[left, 2:])
        shared = (high - low).clamp(min=0).prod(1)
        overlap = shared / (areas[best] + areas[left] - shared)
        left = left[(overlap <= MAX_OVERLAP) | (kinds[left] != kinds[best])]
    return kept


def _mapped(box: Sequence[float], boxed: Letterbox, picture: Image.Image) -> Box:
    """A box of the input in the picture's pixels, cut at its border; single precision."""
    gain = min(boxed.height / picture.height, boxed.width / picture.width)
    pad_x = round((boxed.width - picture.width * gain) / 2 - 0.1)
    pad_y = round((boxed.height - picture.height * gain) / 2 - 0.1)
    corners = torch.tensor(box, dtype=torch.float32)
    corners -= torch.tensor([pad_x, pad_y, pad_x, pad_y], dtype=torch.float32)
    corners /= gain
    left, top, right, bottom = corners.tolist()
    return (
        min(max(left, 0.0), picture.width),
        min(max(top, 0.0), picture.height),
        min(max(right, 0.0), picture.width),
        min(max(bottom, 0.0), picture.height),
    )


def _masks(found: _Found, prototypes: Tensor, boxed: Letterbox) -> list[Image.Image]:
    """The masks of all detections at the input's size, 0 or 255."""
    if not len(found.boxes) or found.coefficients is None:
        return []
    channels, height, width = prototypes.shape
    planes = found.coefficients @ prototypes.cpu().view(channels, -1)
    planes = planes.view(-1, height, width)
    scale = torch.tensor([width / boxed.width, height / boxed.height] * 2)
    planes = _cut(planes, found.boxes * scale)
    grown = functional.interpolate(
        planes[None], (boxed.height, boxed.width), mode="bilinear", align_corners=False
    )[0]
    return [Image.fromarray(plane) for plane in ((grown > 0).byte() * 255).numpy()]


def _cut(planes: Tensor, boxes: Tensor) -> Tensor:
    """Each plane [height, width] made 0 outside of its box."""
    left, top, right, bottom = (side[:, None, None] for side in boxes.T)
    y = torch.arange(planes.shape[1])[None, :, None]
    x = torch.arange(planes.shape[2])[None, None, :]
    return planes * ((x >= left) & (x < right) & (y >= top) & (y < bottom))
