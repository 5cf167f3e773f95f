"""Reading detectors: nothing in a file is run, and what is no detector is said to be none."""

from __future__ import annotations

import json
import os
import pickle
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from custom_nodes.comfyui_a1111.maths import yolo  # noqa: E402
from custom_nodes.comfyui_a1111.maths.detector_files import (  # noqa: E402
    UnsafeDetectorError,
    read_detector,
)
from tests.comfyui.lab.detectors import DETECTORS, save, tensors  # noqa: E402

pytestmark = pytest.mark.torch

SEGMENTS = DETECTORS["person_yolov8n-seg.pt"]


class Runs:
    """A pickle of this would create a file when it is loaded by the usual means."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.path),)


class Asks:
    """A pickle of this calls getattr, as some real detectors' do."""

    def __reduce__(self) -> Any:
        return getattr, (torch.nn.Conv2d(1, 1, 1), "forward")


def test_all_tensors_names_and_the_size_are_read(tmp_path: Path) -> None:
    save(SEGMENTS, tmp_path / "person.pt")
    weights = read_detector(tmp_path / "person.pt")
    expected = tensors(SEGMENTS)
    assert weights.tensors.keys() == expected.keys()
    assert all(torch.equal(weights.tensors[name], expected[name]) for name in expected)
    assert (dict(weights.names), weights.size) == ({0: "person"}, 64)


def test_half_precision_is_read_as_single(tmp_path: Path) -> None:
    state = {name: tensor.half() for name, tensor in tensors(SEGMENTS).items()}
    module = torch.nn.Module()
    module.register_buffer("weight", state["model.0.conv.weight"])
    torch.save({"model": module}, tmp_path / "half.pt")
    weights = read_detector(tmp_path / "half.pt")
    assert weights.tensors["weight"].dtype == torch.float32
    assert weights.size == 640


def test_safetensors_files_are_read_as_well(tmp_path: Path) -> None:
    save_file = pytest.importorskip("safetensors.torch").save_file
    metadata = {"names": json.dumps({0: "person"}), "imgsz": "64"}
    save_file(tensors(SEGMENTS), tmp_path / "person.safetensors", metadata=metadata)
    weights = read_detector(tmp_path / "person.safetensors")
    assert (dict(weights.names), weights.size) == ({0: "person"}, 64)
    assert yolo.Yolo(weights, torch.device("cpu")).has_masks


def test_code_in_a_file_is_not_run(tmp_path: Path) -> None:
    torch.save({"model": Runs(tmp_path / "made")}, tmp_path / "bad.pt")
    with pytest.raises(UnsafeDetectorError, match=r"bad\.pt.*mkdir"):
        read_detector(tmp_path / "bad.pt")
    assert not (tmp_path / "made").exists()


def test_getattr_gives_an_inert_object(tmp_path: Path) -> None:
    torch.save({"model": torch.nn.Module(), "other": Asks()}, tmp_path / "asks.pt")
    assert read_detector(tmp_path / "asks.pt").tensors == {}


@pytest.mark.parametrize(
    "content",
    [b"", b"PK\x03\x04 not a zip", pickle.dumps({"model": 1})],
    ids=["empty", "zip", "old"],
)
def test_other_files_are_refused_by_name(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "other.pt"
    path.write_bytes(content)
    with pytest.raises(UnsafeDetectorError, match=r"other\.pt"):
        read_detector(path)


def test_a_truncated_tensor_is_refused(tmp_path: Path) -> None:
    import zipfile

    save(SEGMENTS, tmp_path / "whole.pt")
    with (
        zipfile.ZipFile(tmp_path / "whole.pt") as whole,
        zipfile.ZipFile(tmp_path / "short.pt", "w") as short,
    ):
        for name in whole.namelist():
            data = whole.read(name)
            short.writestr(name, data[:8] if "/data/" in name else data)
    with pytest.raises(UnsafeDetectorError, match=r"short\.pt"):
        read_detector(tmp_path / "short.pt")


def test_another_network_is_refused(tmp_path: Path) -> None:
    torch.save({"model": torch.nn.Linear(2, 2)}, tmp_path / "linear.pt")
    weights = read_detector(tmp_path / "linear.pt")
    with pytest.raises(yolo.UnknownDetectorError, match="no YOLOv8"):
        yolo.Yolo(weights, torch.device("cpu"))
