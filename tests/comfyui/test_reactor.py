"""ReActor by the real ComfyUI-ReActor, with stand-ins for its networks, where the pack is there.

The pack is no part of the image nor of the other tests: its classifier and its detectors want to be
fetched, and it takes over ComfyUI's folder for face restorers. It is looked for in the checkout's
``custom_nodes``, and needs the package segment_anything.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw

from tests.comfyui import models
from tests.comfyui.exchange import Client
from tests.comfyui.pictures import as_base64, png
from tests.comfyui.server import Checkout, ComfyServer
from tests.comfyui.test_requests import pixels, sd15
from tests.comfyui.worker import Worker, worker_at

PACK = "ComfyUI-ReActor"
SIDE, CELL = 640, 32
GREY = (90, 90, 90)


@dataclass(frozen=True)
class Face:
    """What the stand-ins take for a face: where its square is, how large it is, and whose."""

    left: int
    top: int
    size: int
    is_male: bool = False

    @property
    def colour(self) -> tuple[int, int, int]:
        return (255, self.size, 255 if self.is_male else 0)

    @property
    def area(self) -> tuple[slice, slice]:
        """Where a swap changes the picture, at least."""
        return (slice(self.top, self.top + CELL), slice(self.left, self.left + CELL))


LARGE = Face(96, 320, 255)
SMALL = Face(320, 96, 0, is_male=True)
MIDDLE = Face(480, 480, 128)
"""From the left: large, small, middle."""

FACES = (LARGE, SMALL, MIDDLE)


def picture(*faces: Face, around: tuple[int, int, int] = GREY) -> Image.Image:
    drawn = Image.new("RGB", (SIDE, SIDE), around)
    for face in faces:
        corner = (face.left + CELL - 1, face.top + CELL - 1)
        ImageDraw.Draw(drawn).rectangle((face.left, face.top, *corner), fill=face.colour)
    return drawn


def source() -> str:
    """Two people: a woman on the left, before red, and a man on the right, before blue."""
    drawn = picture(Face(96, 96, 0), around=(150, 20, 20))
    right = picture(Face(480, 96, 0, is_male=True), around=(20, 20, 150))
    drawn.paste(right.crop((SIDE // 2, 0, SIDE, SIDE)), (SIDE // 2, 0))
    return as_base64(png(drawn))


TARGET = picture(*FACES)


@pytest.fixture(scope="module")
def worker(checkout: Checkout) -> Iterator[Worker]:
    if not (checkout.directory / "custom_nodes" / PACK).is_dir():
        pytest.skip(f"this ComfyUI has no {PACK}")
    made = models.swapping(checkout)
    folders = [made / name for name in ("insightface", "nsfw_detector", "facerestore_models")]
    roots = (models.lab_models(checkout),)
    server = ComfyServer(checkout, models.CACHE / "run-reactor", roots, models=folders)
    with server:
        if "ReActorFaceSwapOpt" not in Client(server.url).get("/object_info"):
            pytest.skip(f"{PACK} did not load:\n{server.log[-2000:]}")
        with worker_at(server) as started:
            yield started


def swapped(worker: Worker, **values: Any) -> np.ndarray[Any, Any]:
    """The target with its faces swapped; `values` are arguments by position (``p3="1"``).

    inpaint_only with a black mask makes its picture the result that ReActor is given.
    """
    arguments: list[Any] = [source(), True, "0", "0", None, "None", 1, True, "None", 1, 1, False]
    arguments += [True, 1, 0, 0, False, 0.5, True, False, "CPU", False, 0, "None", "", None]
    for name, value in values.items():
        arguments[int(name[1:])] = value
    held = {
        "enabled": True,
        "module": "inpaint_only",
        "model": "synth_control_sd15_canny",
        "image": as_base64(png(TARGET)),
        "mask": as_base64(png(Image.new("L", (SIDE, SIDE)))),
        "save_detected_map": False,
    }
    scripts = {"controlnet": {"args": [held]}, "reactor": {"args": arguments}}
    size = {"width": SIDE, "height": SIDE, "steps": 1}
    answer = worker.generate(sd15(**size, alwayson_scripts=scripts))
    return pixels(answer, len(answer["images"]) - 1)


def changed(result: np.ndarray[Any, Any]) -> list[Face]:
    """The faces that were swapped; nothing far from them has changed."""
    before = np.asarray(TARGET, np.float64)
    different = np.abs(result - before).max(axis=2) > 20
    found = [face for face in FACES if different[face.area].all()]
    left = different.copy()
    for face in found:
        near = 32 + face.size // 2
        top, start = max(0, face.top - near), max(0, face.left - near)
        left[top : face.top + CELL + near, start : face.left + CELL + near] = False
    assert not left.any()
    return found


@pytest.mark.parametrize(
    ("numbers", "expected"),
    [
        ("0", [LARGE]),
        ("1", [SMALL]),
        ("2", [MIDDLE]),
        ("2,0", [LARGE, MIDDLE]),
        ("1,7", [SMALL]),
        ("7", []),
    ],
)
def test_target_faces_are_numbered_from_the_left(
    worker: Worker, numbers: str, expected: list[Face]
) -> None:
    assert changed(swapped(worker, p3=numbers)) == expected


def test_source_faces_are_numbered_from_the_left_and_go_to_targets_in_turn(worker: Worker) -> None:
    centre = (LARGE.top + CELL // 2, LARGE.left + CELL // 2)
    small = (SMALL.top + CELL // 2, SMALL.left + CELL // 2)
    left = swapped(worker, p2="0", p3="0")[centre]
    right = swapped(worker, p2="1", p3="0")[centre]
    assert np.abs(left - right).max() > 5
    both = swapped(worker, p2="1,0", p3="0,1")
    assert np.abs(both[centre] - right).max() <= 2
    assert np.abs(both[small] - swapped(worker, p2="0", p3="1")[small]).max() <= 2


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"p15": 2, "p3": "0,1,2"}, [SMALL]),
        ({"p15": 1, "p3": "0,1,2"}, [LARGE, MIDDLE]),
        ({"p14": 2, "p2": "1", "p3": "0"}, [LARGE]),
        ({"p14": 2, "p2": "0", "p3": "0"}, []),
    ],
)
def test_a_gender_is_that_of_the_numbered_face(
    worker: Worker, values: dict[str, Any], expected: list[Face]
) -> None:
    assert changed(swapped(worker, **values)) == expected


def test_the_original_is_kept_beside_the_swapped_picture(worker: Worker) -> None:
    assert changed(swapped(worker, p16=True)) == [LARGE]
