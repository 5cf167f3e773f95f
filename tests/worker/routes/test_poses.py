"""Poses sent as JSON: drawn as the ControlNet extension draws them, refused where it fails."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.worker.graphs import opened
from worker.pictures import poses

GOLDENS = Path(__file__).parents[2] / "goldens" / "poses"
SENT: list[dict[str, Any]] = json.loads((GOLDENS / "poses.json").read_text())
BODY = [0.5, 0.5, 1.0] * 18
ENDPOINT = {"method": "POST", "endpoint": "/controlnet/render_openpose_json"}


async def render(worker: Any, payload: Any) -> Any:
    return await worker.run({"api": ENDPOINT, "payload": payload})


def pose(**changes: Any) -> dict[str, Any]:
    return {"people": [], "canvas_width": 64, "canvas_height": 48, **changes}


async def test_poses_are_drawn_as_the_extension_draws_them(worker: Any) -> None:
    answer = await render(worker, SENT)
    assert list(answer) == ["images", "info"]
    assert answer["info"] == "Success"
    for index, image in enumerate(answer["images"]):
        wanted = np.asarray(Image.open(GOLDENS / f"{index}.png"))
        assert np.array_equal(np.asarray(opened(image)), wanted), index
    assert not worker.server.submissions, "no graph is needed"


@pytest.mark.parametrize("payload", [[], None])
async def test_no_pose_is_told(worker: Any, payload: Any) -> None:
    assert await render(worker, payload) == {"info": "No pose data detected."}


async def test_animals_are_drawn_and_it_is_told(worker: Any) -> None:
    """Its first two points are joined by a white line, five pixels wide."""
    animal = [10.0, 20.0, 1.0, 40.0, 20.0, 1.0, *[0.0] * 45]
    canvas = {"canvas_width": 64, "canvas_height": 48, "version": "ap10k"}
    answer = await render(worker, [{**canvas, "animals": [animal]}, pose(animals=[animal])])
    for image in answer["images"]:
        drawn = np.asarray(opened(image))
        assert (drawn[18:23, 12:38] == 255).all()
        assert not drawn[:16].any() and not drawn[25:].any()
    assert "[0].animals: drawn" in answer["warnings"][0]


async def test_people_go_before_animals(worker: Any) -> None:
    both = pose(people=[{"pose_keypoints_2d": BODY}], animals=[[1.0, 2.0, 1.0] * 17])
    answer = await render(worker, [both])
    alone = await render(worker, [pose(people=[{"pose_keypoints_2d": BODY}])])
    assert answer["images"] == alone["images"]
    assert "[0].animals: ignored" in answer["warnings"][0]


async def test_numbers_are_taken_as_pydantic_takes_them(worker: Any) -> None:
    answer = await render(
        worker, [pose(canvas_width="64", canvas_height=48.9, people=[{"pose_keypoints_2d": BODY}])]
    )
    assert opened(answer["images"][0]).size == (64, 48)


async def test_the_format_follows_a1111s_options(worker: Any) -> None:
    options = {"api": {"method": "POST", "endpoint": "/sdapi/v1/options"}}
    await worker.run({**options, "payload": {"samples_format": "webp"}})
    answer = await render(worker, [pose()])
    assert opened(answer["images"][0]).format == "WEBP"


@pytest.mark.parametrize(
    ("payload", "words"),
    [
        ({}, ["not a valid list"]),
        ([3], ["[0]: value is not a valid dict"]),
        ([{"foo": 1}], ["[0].people: field required", "[0].canvas_width", "[0].canvas_height"]),
        ([pose(people={})], ["[0].people: value is not a valid list"]),
        ([pose(people=[{}])], ["[0].people[0].pose_keypoints_2d: field required"]),
        ([pose(people=[{"pose_keypoints_2d": None}])], ["none is not an allowed value"]),
        (
            [pose(people=[{"pose_keypoints_2d": [None] * 54}])],
            ["pose_keypoints_2d[0]: null is not"],
        ),
        ([pose(people=[{"pose_keypoints_2d": BODY[:-1]}])], ["53 numbers are no whole points"]),
        ([pose(people=[{"pose_keypoints_2d": BODY[3:]}])], ["17 points; 18 are expected"]),
        ([pose(people=[{"pose_keypoints_2d": []}])], ["0 points; 18 are expected"]),
        (
            [pose(people=[{"pose_keypoints_2d": BODY, "hand_left_keypoints_2d": BODY}])],
            ["hand_left_keypoints_2d: 18 points; 21 are expected"],
        ),
        ([pose(people=[{"pose_keypoints_2d": [1e12, 1e12, 1] * 18}])], ["too far away"]),
        ([pose(animals=[[1.0, 1.0, 1.0]])], ["[0].animals[0]: 1 points; 17 are expected"]),
        ([pose(animals=[3])], ["[0].animals[0]: value is not a valid list"]),
        ([pose(canvas_width=0)], ["[0].canvas_width: 0 is no size"]),
        ([pose(canvas_width=100_000, canvas_height=100_000)], ["MAX_PIXELS"]),
        ([pose()] * 1000, ["MAX_IMAGES"]),
    ],
)
async def test_what_cannot_be_drawn_is_named(worker: Any, payload: Any, words: list[str]) -> None:
    answer = await render(worker, payload)
    assert list(answer) == ["error"]
    for word in words:
        assert word in answer["error"]
    assert answer["error"].count("\n") < 20


def test_without_opencv_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "cv2", None)
    with pytest.raises(poses.RequestError, match="opencv-python-headless"):
        poses.draw([], 8, 8)
