"""Limits of translated requests; those of submitted graphs are in test_direct."""

import base64
import io
from typing import Any

import pytest
from PIL import Image

from translator import IMG2IMG, TXT2IMG, Translation, translate
from worker.errors import LimitError
from worker.limits import check_enlarged, check_work
from worker.settings import Settings

SETTINGS = Settings(max_pixels=1_000_000, max_grid_pixels=7_500_000, max_steps=100, max_images=8)

PLOT_TAIL = [False, False, False, False, False, False, False, 0, False]


def plot(axis: int, values: str) -> dict[str, Any]:
    """An X/Y/Z plot with one axis."""
    args = [axis, values, [], 0, "", [], 0, "", [], True, *PLOT_TAIL[1:]]
    return {"seed": 1, "script_name": "X/Y/Z plot", "script_args": args}


def lines(text: str) -> dict[str, Any]:
    """Prompts from file or textbox."""
    args = [False, False, "start", text]
    return {"seed": 1, "script_name": "Prompts from file or textbox", "script_args": args}


@pytest.mark.parametrize(
    "payload",
    [
        {"seed": 1},
        {"seed": 1, "steps": 100, "width": 1000, "height": 1000, "batch_size": 4, "n_iter": 2},
        {"seed": 1, "hr_scale": 8},  # without enable_hr
        {"seed": 1, "enable_hr": True, "denoising_strength": 0.5, "hr_resize_x": 1000,
         "hr_resize_y": 1000, "hr_scale": 8},
        {"seed": 1, "firstphase_width": 512, "firstphase_height": 512, "width": 4096},
    ],
)  # fmt: skip
def test_what_is_within_passes(payload: dict[str, Any]) -> None:
    check_work(translate(payload).work, SETTINGS)


@pytest.mark.parametrize(
    ("payload", "words"),
    [
        ({"steps": 101}, ["steps", "101", "MAX_STEPS"]),
        ({"steps": "101"}, ["steps", "MAX_STEPS"]),
        (
            {"enable_hr": True, "denoising_strength": 1, "hr_second_pass_steps": 500},
            ["hr_second_pass_steps", "500"],
        ),
        ({"width": 1008, "height": 1000}, ["width x height", "1008x1000", "MAX_PIXELS"]),
        ({"enable_hr": True, "denoising_strength": 0.5}, ["hires", "1024x1024"]),
        (
            {"enable_hr": True, "denoising_strength": 0.5, "hr_resize_x": 2000},
            ["hires", "2000x2000"],
        ),
        ({"batch_size": 3, "n_iter": 3}, ["images in all", "9", "MAX_IMAGES"]),
        ({"infotext": "a\nSteps: 5000, Sampler: Euler, CFG scale: 7"}, ["5000", "MAX_STEPS"]),
        ({"infotext": "a\nSteps: 5, Sampler: Euler, Size: 8192x8192"}, ["8192x8192"]),
        ({"infotext": "a\nSteps: 5, Sampler: Euler, Batch size: 64"}, ["64", "MAX_IMAGES"]),
        ({"firstphase_width": 8192, "firstphase_height": 8192}, ["8192x8192", "MAX_PIXELS"]),
        (plot(4, "20,5000"), ["5000", "MAX_STEPS"]),
        (plot(1, "1-9"), ["9", "MAX_IMAGES"]),
        (
            {**plot(1, "1-8"), "width": 1000, "height": 1000},
            ["the grid", "8000x1000", "MAX_GRID_PIXELS"],
        ),
        (
            {
                "n_iter": 8,
                "width": 1000,
                "height": 1000,
                "save_images": True,
            },
            ["the grid", "3000x3000", "MAX_GRID_PIXELS"],
        ),
        (lines('--prompt "a" --steps 101'), ["101", "MAX_STEPS"]),
        (lines('--prompt "a" --width 4096 --height 4096'), ["4096x4096"]),
        (lines('--prompt "a" --batch_size 8\na cat'), ["9", "MAX_IMAGES"]),
    ],
)
def test_what_is_beyond_names_field_value_and_limit(
    payload: dict[str, Any], words: list[str]
) -> None:
    with pytest.raises(LimitError) as caught:
        check_work(translate({"seed": 1, **payload}, TXT2IMG).work, SETTINGS)
    for word in words:
        assert word in str(caught.value)


def scripted(name: str, args: list[Any], width: int, height: int) -> Translation:
    data = io.BytesIO()
    Image.new("L", (width, height)).save(data, "PNG")
    payload = {
        "init_images": [base64.b64encode(data.getvalue()).decode("ascii")],
        "script_name": name,
        "script_args": args,
        "seed": 1,
    }
    return translate(payload, IMG2IMG)


@pytest.mark.parametrize(
    ("name", "args", "size", "words"),
    [
        ("SD upscale", [None, 64, "Lanczos", 2], (640, 640), ["1280x1280", "MAX_PIXELS"]),
        ("Poor man's outpainting", [256, 4, 0, ["left"]], (1024, 960), ["1280x960"]),
        ("Outpainting mk2", [None, 256, 4, ["left"], 1, 0.05], (1024, 960), ["1280x960"]),
    ],
)
def test_pictures_of_scripts_are_limited(
    name: str, args: list[Any], size: tuple[int, int], words: list[str]
) -> None:
    with pytest.raises(LimitError) as error:
        check_enlarged(scripted(name, args, *size).graph, SETTINGS)
    assert all(word in str(error.value) for word in words), error.value


def test_tiles_count_as_images() -> None:
    made = scripted("SD upscale", [None, 64, "None", 2], 2000, 900)
    assert made.work.images == 10
    with pytest.raises(LimitError, match="images in all: 10 is more"):
        check_work(made.work, SETTINGS)


def test_loops_count_as_images() -> None:
    made = scripted("Loopback", [9, 0.5, "Linear", "None"], 64, 64)
    assert made.work.images == 9
