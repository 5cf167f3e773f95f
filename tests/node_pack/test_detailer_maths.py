"""Detection, masks and inpainting boxes against what a real ADetailer recorded.

``tests/goldens/regions.json.gz`` has of each case what the detector found, the unit's settings, and
for every region its mask and where its result was pasted.
"""

from __future__ import annotations

import base64
import gzip
import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

torch = pytest.importorskip("torch")
pytest.importorskip("cv2")

from custom_nodes.comfyui_a1111.maths import detection, inpaint, regions, yolo  # noqa: E402
from custom_nodes.comfyui_a1111.maths.detector_files import read_detector  # noqa: E402
from custom_nodes.comfyui_a1111.maths.region_pass import (  # noqa: E402
    WHOLE_PICTURE,
    PreparedRegion,
    RegionLayout,
    matched_size,
)
from tests.comfyui.lab.detectors import DETECTORS, save  # noqa: E402

pytestmark = pytest.mark.torch

_FILE = Path(__file__).parents[1] / "goldens" / "regions.json.gz"
CASES: list[dict[str, Any]] = json.loads(gzip.decompress(_FILE.read_bytes()))

Case = dict[str, Any]


def of_case(test: Any) -> Any:
    return pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])(test)


@pytest.fixture(scope="module")
def networks(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[yolo.Yolo, int]]:
    folder = tmp_path_factory.mktemp("detectors")
    loaded = {}
    for name, detector in DETECTORS.items():
        save(detector, folder / name)
        weights = read_detector(folder / name)
        loaded[name] = (yolo.Yolo(weights, torch.device("cpu")), weights.size)
    return loaded


def detected(case: Case, networks: dict[str, tuple[yolo.Yolo, int]]) -> list[regions.Detection]:
    picture = Image.new("RGB", tuple(case["size"]), "#a08060")
    network, size = networks[case["model"]]
    return detection.detect(network, size, picture, case["confidence"])


def rules(case: Case) -> regions.Rules:
    unit = case["unit"]
    return regions.Rules(
        filter_method=unit.get("ad_mask_filter_method", "Area"),
        k=int(unit.get("ad_mask_k", 0)),
        min_ratio=unit.get("ad_mask_min_ratio", 0.0),
        max_ratio=unit.get("ad_mask_max_ratio", 1.0),
        sort=case["sort"],
        dilate_erode=unit.get("ad_dilate_erode", 4),
        x_offset=unit.get("ad_x_offset", 0),
        y_offset=unit.get("ad_y_offset", 0),
        merge=unit.get("ad_mask_merge_invert", "None"),
    )


def recorded_mask(item: dict[str, Any], size: tuple[int, int]) -> np.ndarray:
    levels = np.frombuffer(zlib.decompress(base64.b64decode(item["mask"])), np.uint8)
    return levels.reshape(size[1], size[0])


@of_case
def test_the_detector_finds_what_ultralytics_finds(case: Case, networks: Any) -> None:
    found = detected(case, networks)
    assert np.array([item.box for item in found]) == pytest.approx(
        np.array(case["boxes"]), abs=1e-3
    )
    assert [item.score for item in found] == pytest.approx(case["scores"], abs=1e-3)


@of_case
def test_masks_are_adetailers(case: Case, networks: Any) -> None:
    size = tuple(case["size"])
    found = regions.find_regions(detected(case, networks), *size, rules(case))
    assert len(found.masks) == case["masks"]
    assert np.array(found.boxes) == pytest.approx(np.array(case["kept"]), abs=1e-3)
    for mask, item in zip(found.masks, case["passes"], strict=False):
        assert np.array_equal(mask, recorded_mask(item, size))


@of_case
def test_crops_are_a1111s(case: Case) -> None:
    """The box that a pass' result was pasted to, and the size of the pass."""
    unit, size = case["unit"], tuple(case["size"])
    picture = Image.new("RGB", size, "#204060")
    only_masked = unit.get("ad_inpaint_only_masked", True)
    padding = unit.get("ad_inpaint_only_masked_padding", 32) if only_masked else WHOLE_PICTURE
    for index, item in enumerate(case["passes"]):
        box = case["kept"][index] if index < len(case["kept"]) else None
        if not unit.get("ad_use_inpaint_width_height"):
            matched = matched_size(box, *case["request_size"], case["match"])
            assert list(matched) == item["size"]
        layout = RegionLayout(*item["size"], unit.get("ad_mask_blur", 4), padding, "Off")
        found = regions.Regions((recorded_mask(item, size),), ())
        prepared = layout.prepare(picture, found, 0)
        assert prepared is not None
        x, y, width, height = item["box"] or (0, 0, 0, 0)
        box_of_paste = (x, y, x + width, y + height) if item["box"] else None
        assert prepared.overlay.paste_to == box_of_paste
        assert prepared.pixels.size == prepared.mask.size == tuple(item["size"])


def prepared_region(
    picture: Image.Image, mask: Image.Image, blur: int, padding: int
) -> PreparedRegion | None:
    found = regions.Regions((np.asarray(mask),), ())
    return RegionLayout(64, 64, blur, padding, "Off").prepare(picture, found, 0)


def test_a_black_mask_leaves_nothing_to_inpaint() -> None:
    picture, mask = Image.new("RGB", (64, 64)), Image.new("L", (64, 64))
    assert prepared_region(picture, mask, 4, 8) is None
    assert prepared_region(picture, mask, 4, WHOLE_PICTURE) is not None


def test_what_is_pasted_back_leaves_the_rest_alone() -> None:
    random = np.random.default_rng(1)
    picture = Image.fromarray(random.integers(0, 256, (96, 64, 3), np.uint8))
    mask = Image.new("L", picture.size)
    mask.paste(255, (20, 30, 40, 50))
    prepared = prepared_region(picture, mask, 2, 4)
    assert prepared is not None
    finished = np.asarray(prepared.finish(Image.new("RGB", (64, 64), "#ff0000")))
    blurred = np.asarray(inpaint.blurred(mask, 2, 2))
    assert np.array_equal(finished[blurred == 0], np.asarray(picture)[blurred == 0])
    assert (finished[blurred == 255] == (255, 0, 0)).all()


def test_a_whole_picture_comes_out_in_the_size_of_the_pass() -> None:
    picture, mask = Image.new("RGB", (96, 32), "#204060"), Image.new("L", (96, 32))
    mask.paste(255, (0, 0, 48, 32))
    prepared = prepared_region(picture, mask, 0, WHOLE_PICTURE)
    assert prepared is not None
    finished = prepared.finish(Image.new("RGB", (64, 64), "#ff0000"))
    assert finished.size == (64, 64)
    assert finished.getpixel((2, 2)) == (255, 0, 0)
    assert finished.getpixel((62, 2)) == (32, 64, 96)


def test_the_strict_sizes_are_sdxls() -> None:
    assert matched_size((0, 0, 300, 100), 1024, 1024, "Strict (SDXL only)") == (1536, 640)
    assert matched_size((0, 0, 320, 241.5), 128, 128, "Free") == (128, 96)  # 96.6 is no more
    assert matched_size((0, 0, 100, 100), 1024, 1024, "Strict (SDXL only)") == (1024, 1024)
    assert matched_size((0, 0, 3000, 100), 512, 512, "Strict (SDXL only)") == (512, 512)
