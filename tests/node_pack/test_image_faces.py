"""Face restoration around stand-ins for facexlib and the network."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from PIL import Image  # noqa: E402

from custom_nodes.comfyui_a1111.maths import face_restore  # noqa: E402

pytestmark = pytest.mark.torch


class FakeHelper:
    """One face: the whole picture at 512 pixels; pasting back puts the restored face there."""

    def __init__(self) -> None:
        self.detection: dict[str, Any] = {}
        self.restored: list[np.ndarray] = []

    def clean_all(self) -> None:
        self.restored = []

    def read_image(self, bgr: np.ndarray) -> None:
        self.bgr = bgr

    def get_face_landmarks_5(self, **options: Any) -> None:
        self.detection = options

    def align_warp_face(self) -> None:
        self.cropped_faces = [np.broadcast_to(self.bgr[:1, :1], (512, 512, 3))]

    def add_restored_face(self, face: np.ndarray) -> None:
        self.restored.append(face)

    def get_inverse_affine(self, path: None) -> None:
        self.inverse = path

    def paste_faces_to_input_image(self) -> np.ndarray:
        return self.restored[0][: self.bgr.shape[0], : self.bgr.shape[1]]


class FakeNetwork(torch.nn.Module):
    """Answers its input less 0.1, with what else a restorer returns."""

    def forward(self, face: torch.Tensor, **options: Any) -> tuple[torch.Tensor, None]:
        self.seen, self.options = face, options
        return face - 0.1, None


def test_faces_go_in_as_rgb_from_minus_one_to_one_and_come_back_truncated(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    helper, network = FakeHelper(), FakeNetwork()
    monkeypatch.setattr(face_restore, "require_packages", lambda names: None)
    monkeypatch.setattr(face_restore, "load_network", lambda path: network)
    monkeypatch.setattr(face_restore, "face_helper", lambda models, device: helper)
    weights = tmp_path / "Codeformer" / "codeformer-v0.1.0.pth"
    weights.parent.mkdir()
    weights.touch()
    (result,) = face_restore.restore_faces(
        [Image.new("RGB", (40, 30), (255, 128, 10))],
        "CodeFormer",
        0.3,
        tmp_path,
        torch.device("cpu"),
    )
    assert network.options == {"weight": 0.3, "adain": True}
    assert network.seen.shape == (1, 3, 512, 512)
    expected = [1.0, 128 / 127.5 - 1, 10 / 127.5 - 1]
    assert network.seen[0, :, 0, 0].tolist() == pytest.approx(expected, abs=1e-6)
    assert helper.detection == {
        "only_center_face": False,
        "resize": 640,
        "eye_dist_threshold": 5,
    }
    # 0.1 of the range -1..1 is 12.75 levels
    assert result.size == (40, 30)
    assert result.getpixel((5, 5)) == (242, 115, 0)


def test_gfpgan_has_no_weight() -> None:
    network = FakeNetwork()
    face = np.zeros((512, 512, 3), dtype=np.uint8)
    options = face_restore.restorer_options("GFPGAN", 0.3)
    face_restore._restore_face(face, network, options, torch.device("cpu"))
    assert network.options == {"return_rgb": False}


def test_detector_files_must_be_there(tmp_path: Any) -> None:
    with pytest.raises(FileNotFoundError, match="detection_Resnet50_Final"):
        face_restore.helper_root(tmp_path)
    folder = tmp_path / "facexlib"
    folder.mkdir()
    (folder / "detection_Resnet50_Final.pth").touch()
    with pytest.raises(FileNotFoundError, match="parsing_parsenet"):
        face_restore.helper_root(tmp_path)
    (folder / "parsing_parsenet.pth").touch()
    assert face_restore.helper_root(tmp_path) == folder
