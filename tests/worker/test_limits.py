"""Limits of A1111 payloads; those of graphs are in test_direct."""

from typing import Any

import pytest

from worker.errors import LimitError
from worker.limits import check_request
from worker.settings import Settings

SETTINGS = Settings(max_pixels=1_000_000, max_steps=100, max_images=8)


@pytest.mark.parametrize(
    "payload",
    [
        {},
        {"steps": 100, "width": 1000, "height": 1000, "batch_size": 4, "n_iter": 2},
        {"steps": "20", "width": "512"},
        {"hr_scale": 8},  # without enable_hr
        {"enable_hr": True, "hr_resize_x": 1000, "hr_resize_y": 1000, "hr_scale": 8},
        {"steps": None, "width": "wide"},  # the translator's to refuse
    ],
)
def test_what_is_within_passes(payload: dict[str, Any]) -> None:
    check_request(payload, SETTINGS)


@pytest.mark.parametrize(
    ("payload", "words"),
    [
        ({"steps": 101}, ["steps", "101", "MAX_STEPS"]),
        ({"steps": "101"}, ["steps", "MAX_STEPS"]),
        ({"hr_second_pass_steps": 500}, ["hr_second_pass_steps", "500"]),
        ({"width": 1001, "height": 1000}, ["width x height", "1001x1000", "MAX_PIXELS"]),
        ({"enable_hr": True, "hr_scale": 2}, ["hires", "1024x1024"]),
        ({"enable_hr": True, "hr_resize_x": 2000}, ["hires", "2000x2000"]),
        ({"batch_size": 3, "n_iter": 3}, ["batch_size x n_iter", "9", "MAX_IMAGES"]),
    ],
)
def test_what_is_beyond_names_field_value_and_limit(
    payload: dict[str, Any], words: list[str]
) -> None:
    with pytest.raises(LimitError) as caught:
        check_request(payload, SETTINGS)
    for word in words:
        assert word in str(caught.value)
