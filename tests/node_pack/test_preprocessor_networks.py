"""OneFormer's and facexlib's preprocessors around stand-ins for the networks."""

from __future__ import annotations

import sys
from importlib.machinery import ModuleSpec
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from custom_nodes.comfyui_a1111.maths import aligned_face, oneformer  # noqa: E402

pytestmark = pytest.mark.torch


class FakeOneFormer:
    """Two queries: the left half is class 3, the right half class 7."""

    def __init__(self, classes: int = 150) -> None:
        self.config = SimpleNamespace(num_labels=classes)

    def __call__(self, pixel_values: Any, task_inputs: Any) -> Any:
        self.seen, self.task = pixel_values, task_inputs
        height, width = (side // 4 for side in pixel_values.shape[-2:])
        masks = torch.full((1, 2, height, width), -9.0)
        masks[:, 0, :, : width // 2] = 9.0
        masks[:, 1, :, width // 2 :] = 9.0
        classes = torch.zeros(1, 2, self.config.num_labels + 1)
        classes[0, 0, 3] = classes[0, 1, 7] = 20.0
        return SimpleNamespace(class_queries_logits=classes, masks_queries_logits=masks)


@pytest.mark.parametrize(
    ("height", "width", "classes", "expected"),
    [
        (512, 512, 150, (640, 640)),
        (512, 768, 150, (640, 960)),
        (100, 500, 150, (512, 2560)),
        (512, 512, 133, (800, 800)),
        (512, 1024, 133, (667, 1333)),
    ],
)
def test_the_size_that_the_network_sees(
    height: int, width: int, classes: int, expected: tuple[int, int]
) -> None:
    assert oneformer.seen_size(height, width, oneformer.DATA_SETS[classes]) == expected


def test_the_network_is_given_the_picture_normalised_and_padded_and_the_task() -> None:
    network = FakeOneFormer(133)
    picture = np.full((512, 1024, 3), 128, np.uint8)
    found = oneformer.classes(picture, network, oneformer.DATA_SETS[133], "cpu")
    assert network.seen.shape == (1, 3, 672, 1344)
    assert float(network.seen[0, 0, 0, 0]) == pytest.approx((128 - 123.675) / 58.395)
    assert not network.seen[..., 667:, :].any() and not network.seen[..., 1333:].any()
    assert network.task[0, :7].tolist() == [49406, 518, 10549, 533, 29119, 49407, 0]
    assert found.shape == (512, 1024)
    assert set(found[:, :500].flat) == {3} and set(found[:, 530:].flat) == {7}


def test_a_known_data_set_has_a_colour_a_class() -> None:
    assert {count: len(item.colours) for count, item in oneformer.DATA_SETS.items()} == {
        150: 150,
        133: 133,
    }
    assert oneformer.DATA_SETS[150].colours[2] == (6 / 255, 230 / 255, 230 / 255)
    assert oneformer.DATA_SETS[133].colours[0] == (220 / 255, 20 / 255, 60 / 255)


def test_an_unknown_number_of_classes_is_refused() -> None:
    with pytest.raises(ValueError, match="19 classes"):
        oneformer.segmented(np.zeros((64, 64, 3), np.uint8), 64, FakeOneFormer(19), "cpu")


def test_the_map_has_the_colours_and_white_lines_between_them() -> None:
    pytest.importorskip("matplotlib")
    picture = np.zeros((96, 160, 3), np.uint8)
    drawn = oneformer.segmented(picture, 192, FakeOneFormer(), "cpu")
    colours = oneformer.DATA_SETS[150].colours
    assert drawn.shape == (192, 320, 3)
    assert drawn[100, 40].tolist() == [round(255 * level) for level in colours[3]]
    assert drawn[100, 280].tolist() == [round(255 * level) for level in colours[7]]
    assert drawn[100].min(axis=1).max() > 200, "a white line"


def test_a_class_with_holes_lies_below_and_has_no_line() -> None:
    pytest.importorskip("matplotlib")
    found = np.zeros((64, 64), np.int64)
    found[20:40, 20:40] = 1
    drawn = oneformer.draw(found, ((1.0, 0.0, 0.0), (0.0, 0.0, 1.0)))
    assert drawn[5, 5].tolist() == [255, 0, 0]
    assert drawn[30, 30].tolist() == [0, 0, 255]
    assert drawn[0].min(axis=1).max() == 0, "no line at the border"


class FakeHelper:
    """Aligns to the picture's first pixel, or finds nothing on black."""

    def clean_all(self) -> None:
        self.cropped_faces: list[Any] = []

    def read_image(self, bgr: Any) -> None:
        self.bgr = bgr

    def get_face_landmarks_5(self, **options: Any) -> None:
        self.options = options

    def align_warp_face(self) -> None:
        if self.bgr.any():
            self.cropped_faces = [np.broadcast_to(self.bgr[:1, :1], (512, 512, 3))]


class FakeParser(torch.nn.Module):
    """Hair (17) on the left, background (0) in the middle, hat (18) on the right."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def forward(self, face: torch.Tensor) -> tuple[torch.Tensor]:
        self.seen = face
        planes = torch.zeros(1, 19, 512, 512)
        planes[:, 17, :, :200] = 1.0
        planes[:, 0, :, 200:400] = 1.0
        planes[:, 18, :, 400:] = 1.0
        return (planes,)


def test_a_face_is_grey_and_what_is_none_of_it_white() -> None:
    helper, parser = FakeHelper(), FakeParser()
    picture = np.full((100, 150, 3), (200, 100, 50), np.uint8)
    face = aligned_face.features(picture, 512, helper, parser)
    assert helper.bgr.shape == (512, 768, 3)
    assert helper.bgr[0, 0].tolist() == [50, 100, 200]
    assert helper.options == {"only_center_face": True}
    assert float(parser.seen[0, 0, 0, 0]) == pytest.approx((200 / 255 - 0.485) / 0.229, abs=1e-5)
    assert face.shape == (512, 512, 3)
    assert (face[:, :200] == int(0.299 * 200 + 0.587 * 100 + 0.114 * 50)).all()
    assert (face[:, 200:] == 255).all()


def test_no_face_is_an_error() -> None:
    with pytest.raises(ValueError, match="no face"):
        black = np.zeros((64, 64, 3), np.uint8)
        aligned_face.features(black, 512, FakeHelper(), FakeParser())


def test_the_parser_is_looked_for_in_the_model_folders(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    asked: dict[str, Any] = {}
    package, parsing = ModuleType("facexlib"), ModuleType("facexlib.parsing")
    package.__spec__ = ModuleSpec("facexlib", None)
    parsing.init_parsing_model = lambda name, **more: asked.update(name=name, **more)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "facexlib", package)
    monkeypatch.setitem(sys.modules, "facexlib.parsing", parsing)
    monkeypatch.setattr(aligned_face.face_restore, "face_helper", lambda models, device: "helper")
    with pytest.raises(FileNotFoundError, match="parsing_bisenet"):
        aligned_face.load(tmp_path, torch.device("cpu"))
    place = tmp_path / "facexlib"
    place.mkdir()
    (place / "parsing_bisenet.pth").touch()
    helper, _ = aligned_face.load(tmp_path, torch.device("cpu"))
    assert helper == "helper"
    assert asked["name"] == "bisenet" and asked["model_rootpath"] == str(place)
