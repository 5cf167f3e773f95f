"""img2img's own fields: what A1111 makes of them before it starts."""

from __future__ import annotations

import pytest

from tests.translator.control_requests import picture
from translator import TranslationError, translate
from translator.report import Report
from translator.request.img2img import parse

PICTURE = "data:image/png;base64,AAAA"


def test_fewer_pictures_than_batch_size_make_the_smaller_batch() -> None:
    report = Report()
    request = parse({"init_images": [PICTURE, PICTURE], "batch_size": 3}, "a1111", report)
    assert request.batch_size == 2
    assert [warning.path for warning in report.warnings] == ["batch_size"]


def test_one_picture_fills_the_batch() -> None:
    report = Report()
    assert parse({"init_images": [PICTURE], "batch_size": 3}, "a1111", report).batch_size == 3
    assert not report.warnings


@pytest.mark.parametrize("pictures", [None, [], [PICTURE] * 3])
def test_no_picture_and_too_many_are_refused(pictures: list[str] | None) -> None:
    report = Report()
    parse({"init_images": pictures, "batch_size": 2}, "a1111", report)
    assert [problem.path for problem in report.problems] == ["init_images"]


@pytest.mark.parametrize("pictures", ["iVBOR", [None], [{"image": PICTURE}]])
def test_pictures_that_are_none_are_told_of_once(pictures: object) -> None:
    report = Report()
    parse({"init_images": pictures}, "a1111", report)
    (problem,) = report.problems
    assert problem.path.startswith("init_images")


@pytest.mark.parametrize(
    ("sent", "told"),
    [
        ({"resize_mode": 4}, ["resize_mode"]),
        ({"inpainting_fill": 9}, []),
        ({"inpainting_fill": 9, "mask": PICTURE}, ["inpainting_fill"]),
        ({"mask_blur": 8, "mask_blur_x": 2, "mask_blur_y": 8, "mask": PICTURE}, ["mask_blur_x"]),
        ({"mask_blur_x": 2, "mask": PICTURE}, []),
    ],
)
def test_numbers_that_mean_something_else_are_told(
    sent: dict[str, object], told: list[str]
) -> None:
    report = Report()
    parse({"init_images": [PICTURE], **sent}, "a1111", report)
    assert [warning.path for warning in report.warnings] == told


def test_too_many_pictures_are_told_of_once() -> None:
    photo = picture()
    with pytest.raises(TranslationError) as error:
        translate({"init_images": [photo, photo]}, "sdapi/v1/img2img")
    assert len(error.value.problems) == 1
