"""Stand-ins for ADetailer's YOLOv8 detectors, whose boxes depend on the grid cell alone.

Whole YOLOv8 networks, but narrow ones: every convolution is set so that the last level (stride 32)
sees three constant features: "not in the first column", "not in the first row", "neither". With
them any function of a 2x2 grid can be written, so each cell of a 64 pixel input gets a box, a class
and a score of its own. Nothing is trained, and the picture does not matter. The files are pickles
that name the classes of the program that trains such detectors, as the real ones are.

Use:   python -m tests.comfyui.lab.detectors OUT      (writes OUT/models/adetailer/*.pt)
Needs: torch.
"""

from __future__ import annotations

import math
import sys
import types
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

ONE = 1.2784645427610738
"""SiLU(ONE) = 1."""

_EPS = 1e-3
_WIDTH = 8
_BINS = 16
_PROTOTYPES = 32
_CELLS = ((0, 0), (0, 1), (1, 0), (1, 1))
_NO = -20.0
"""The logit of a class that is not there."""

Cell = tuple[int, int]
Boxes = Mapping[Cell, tuple[float, float, float, float, float, int]]
"""(row, column) -> left, top, right, bottom in pixels of the input, score, class."""


@dataclass(frozen=True)
class Detector:
    """What a stand-in finds: boxes by cell, its classes' names, with masks or not."""

    boxes: Boxes
    names: Sequence[str]
    masks: bool = False
    size: int = 64


DETECTORS: Mapping[str, Detector] = {
    "face_yolov8n.pt": Detector(
        {(0, 0): (8.0, 8.0, 24.0, 24.0, 1 / (1 + math.exp(-3)), 0)}, ["face"], size=32
    ),
    "hand_yolov8n.pt": Detector(
        {(0, 0): (6.4, 8.7, 26.2, 27.9, 0.60, 0), (1, 1): (34.5, 30.3, 60.6, 58.8, 0.90, 0)},
        ["hand", "glove"],
    ),
    "face_yolov8s.pt": Detector(
        {
            (0, 0): (4.6, 5.4, 20.7, 26.3, 0.35, 0),
            (0, 1): (36.2, 6.5, 58.9, 25.1, 0.95, 0),
            (1, 0): (2.5, 38.0, 28.4, 61.7, 0.80, 0),
            (1, 1): (40.1, 42.9, 55.2, 56.6, 0.50, 0),
        },
        ["face"],
    ),
    "over_yolov8n.pt": Detector(
        {(0, 0): (8.0, 8.0, 38.0, 36.0, 0.70, 1), (0, 1): (26.0, 14.0, 56.0, 44.0, 0.65, 0)},
        ["hand", "glove"],
    ),
    "person_yolov8n-seg.pt": Detector(
        {(0, 0): (5.0, 6.0, 27.0, 30.0, 0.85, 0), (1, 1): (36.0, 34.0, 60.0, 60.0, 0.75, 0)},
        ["person"],
        masks=True,
    ),
}
"""The detectors that the goldens of ADetailer were made with."""


def tensors(detector: Detector) -> dict[str, Tensor]:
    """The whole network, by ultralytics' names."""
    made: dict[str, Tensor] = {}
    _body(made)
    _head(made, detector)
    return made


def _conv(made: dict[str, Tensor], name: str, outputs: int, inputs: int, kernel: int) -> None:
    """A convolution with batch norm that gives 0."""
    made[f"{name}.conv.weight"] = torch.zeros(outputs, inputs, kernel, kernel)
    made[f"{name}.bn.weight"] = torch.ones(outputs)
    made[f"{name}.bn.bias"] = torch.zeros(outputs)
    made[f"{name}.bn.running_mean"] = torch.zeros(outputs)
    made[f"{name}.bn.running_var"] = torch.ones(outputs)


def _body(made: dict[str, Tensor]) -> None:
    w = _WIDTH
    _conv(made, "model.0", w, 3, 3)
    for layer in (1, 3, 5, 7, 16, 19):
        _conv(made, f"model.{layer}", w, w, 3)
    for layer, inputs, depth in (
        *((layer, w, depth) for layer, depth in ((2, 1), (4, 2), (6, 2), (8, 1))),
        *((layer, 2 * w, 1) for layer in (12, 15, 18, 21)),
    ):
        name, half = f"model.{layer}", w // 2
        _conv(made, f"{name}.cv1", w, inputs, 1)
        for index in range(depth):
            _conv(made, f"{name}.m.{index}.cv1", half, half, 3)
            _conv(made, f"{name}.m.{index}.cv2", half, half, 3)
        _conv(made, f"{name}.cv2", w, (2 + depth) * half, 1)
    _conv(made, "model.9.cv1", w // 2, w, 1)
    _conv(made, "model.9.cv2", w, 2 * w, 1)


def _head(made: dict[str, Tensor], detector: Detector) -> None:
    w, head = _WIDTH, "model.22"
    ends = {"cv2": 4 * _BINS, "cv3": len(detector.names)}
    if detector.masks:
        ends["cv4"] = _PROTOTYPES
    for branch, outputs in ends.items():
        for level in range(3):
            name = f"{head}.{branch}.{level}"
            _conv(made, f"{name}.0", w, w, 3)
            _conv(made, f"{name}.1", w, w, 3)
            made[f"{name}.2.weight"] = torch.zeros(outputs, w, 1, 1)
            made[f"{name}.2.bias"] = torch.full((outputs,), _NO if branch == "cv3" else 0.0)
    made[f"{head}.dfl.conv.weight"] = torch.arange(_BINS).float().view(1, _BINS, 1, 1)
    for branch in ("cv2", "cv3"):
        _grid_features(made, f"{head}.{branch}.2")
    for side in range(4):
        values = {cell: _distribution(_distance(detector.boxes, cell, side)) for cell in _CELLS}
        for step in range(_BINS):
            cells = {cell: float(values[cell][step]) for cell in _CELLS}
            _write_cells(made, f"{head}.cv2.2.2", _BINS * side + step, cells)
    for kind in range(len(detector.names)):
        logits = {cell: _logit(detector.boxes.get(cell), kind) for cell in _CELLS}
        _write_cells(made, f"{head}.cv3.2.2", kind, logits)
    if detector.masks:
        _prototypes(made, head)


def _grid_features(made: dict[str, Tensor], name: str) -> None:
    """Channels 0, 1, 2 become 10 * (column > 0), 10 * (row > 0), 10 * (both): borders are 0."""
    made[f"{name}.0.bn.bias"][0] = ONE
    for channel, (y, x) in enumerate(((1, 0), (0, 1), (0, 0))):
        made[f"{name}.1.conv.weight"][channel, 0, y, x] = 10.0


def _write_cells(
    made: dict[str, Tensor], name: str, channel: int, values: Mapping[Cell, float]
) -> None:
    base, right, down, both = (values[cell] for cell in _CELLS)
    gain = 10 / (1 + _EPS) ** 0.5
    gain = gain / (1 + math.exp(-gain))
    weight = made[f"{name}.weight"]
    made[f"{name}.bias"][channel] = base
    weight[channel, 0] = (right - base) / gain
    weight[channel, 1] = (down - base) / gain
    weight[channel, 2] = (both - right - down + base) / gain


def _distance(boxes: Boxes, cell: Cell, side: int) -> float:
    """Cells from the cell's centre to a side of its box."""
    if cell not in boxes:
        return 0.25
    centre = (16 + 32 * cell[1], 16 + 32 * cell[0])[side % 2]
    away = boxes[cell][side] - centre
    return max(0.0, (-away if side < 2 else away) / 32)


def _distribution(distance: float) -> Tensor:
    low = int(distance)
    share = distance - low
    logits = torch.full((_BINS,), -60.0)
    logits[low] = torch.log(torch.tensor(max(1 - share, 1e-9)))
    if share > 0:
        logits[low + 1] = torch.log(torch.tensor(share))
    return logits


def _logit(box: tuple[float, ...] | None, kind: int) -> float:
    if box is None or box[5] != kind:
        return _NO
    return float(torch.logit(torch.tensor(box[4], dtype=torch.float64)))


def _prototypes(made: dict[str, Tensor], head: str) -> None:
    """Every mask becomes its box with a lattice of holes."""
    w, name = _WIDTH, f"{head}.proto"
    for level in range(3):
        made[f"{head}.cv4.{level}.2.bias"][0] = 1.0
        made[f"{head}.cv4.{level}.2.bias"][1] = -3.0
    _conv(made, f"{name}.cv1", w, w, 3)
    made[f"{name}.upsample.weight"] = torch.zeros(w, w, 2, 2)
    made[f"{name}.upsample.bias"] = torch.zeros(w)
    _conv(made, f"{name}.cv2", w, w, 3)
    _conv(made, f"{name}.cv3", _PROTOTYPES, w, 1)
    made[f"{name}.cv1.bn.bias"][0] = ONE
    made[f"{name}.upsample.weight"][0, 0, 0, 0] = 10.0
    made[f"{name}.cv2.conv.weight"][0, 0, 1, 1] = 1.0
    made[f"{name}.cv3.conv.weight"][1, 0, 0, 0] = 0.128
    made[f"{name}.cv3.bn.bias"][0] = ONE


class _Module:
    """What a pickled torch module holds."""

    def __init__(self) -> None:
        self._parameters: dict[str, Tensor] = {}
        self._buffers: dict[str, Tensor] = {}
        self._modules: dict[str, _Module] = {}
        self.training = False


def _tree(found: Mapping[str, Tensor], kind: type[_Module]) -> _Module:
    root = kind()
    for name, tensor in found.items():
        *path, leaf = name.split(".")
        place = root
        for part in path:
            place = place._modules.setdefault(part, kind())
        place._buffers[leaf] = tensor
    return root


def save(detector: Detector, path: Path) -> None:
    """Write the file; its pickle names the class `ultralytics.nn.tasks.DetectionModel`."""
    name = "SegmentationModel" if detector.masks else "DetectionModel"
    kind = type(name, (_Module,), {"__module__": "ultralytics.nn.tasks"})
    parts = ("ultralytics", "ultralytics.nn", "ultralytics.nn.tasks")
    modules = {part: types.ModuleType(part) for part in parts}
    setattr(modules["ultralytics.nn.tasks"], name, kind)
    kept = {part: sys.modules.get(part) for part in parts}
    sys.modules.update(modules)
    try:
        model: Any = _tree(tensors(detector), kind)
        model.names = dict(enumerate(detector.names))
        task = "segment" if detector.masks else "detect"
        torch.save(
            {"model": model, "train_args": {"imgsz": detector.size, "task": task}, "epoch": -1},
            path,
        )
    finally:
        for part, module in kept.items():
            if module is None:
                del sys.modules[part]
            else:
                sys.modules[part] = module


def write(root: Path) -> None:
    """Make every detector of `DETECTORS` below A1111's root folder."""
    folder = root / "models" / "adetailer"
    folder.mkdir(parents=True, exist_ok=True)
    for name, detector in DETECTORS.items():
        save(detector, folder / name)


if __name__ == "__main__":
    write(Path(sys.argv[1]))
