"""Preprocessors with networks of their own on the real server, with random weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tests.comfyui.pictures import as_base64, photo
from tests.comfyui.test_control import controlled, half_mask, unit
from tests.comfyui.test_requests import NEAR_DB, is_picture, likeness, pixels, sd15, sizes
from tests.comfyui.worker import Worker

SQUARE = as_base64(photo(64, 64))
LAMA = {"module": "inpaint_only+lama", "image": SQUARE, "mask": half_mask(64, 64)}
OUTSIDE = np.s_[:, 48:, :3]


def lama(**fields: Any) -> dict[str, Any]:
    return unit(**{**LAMA, **fields})


def test_lama_fills_in_what_is_masked_and_the_rest_stays(
    worker: Worker, need: Callable[..., None]
) -> None:
    need("InpaintPreprocessor", "A1111ControlNetLama")
    answer = worker.generate(sd15(**controlled(lama())))
    assert sizes(answer) == [(64, 64), (64, 64)]
    source = pixels({"images": [SQUARE]})
    assert np.abs(pixels(answer)[OUTSIDE] - source[OUTSIDE]).max() <= 1
    assert np.abs(pixels(answer, 1)[OUTSIDE] - source[OUTSIDE]).max() <= 1
    assert likeness(pixels(answer, 1)[:, :32, :3], source[:, :32]) < NEAR_DB


def test_the_picture_starts_from_what_lama_filled_in(
    worker: Worker, need: Callable[..., None]
) -> None:
    """With a unit that never acts and a mask of the whole picture only the noise is another."""
    need("A1111NoiseOverLatent")
    whole = {"weight": 0.0, "mask": as_base64(photo(64, 64))}
    held = worker.generate(sd15(**controlled(lama(**whole, module="inpaint_only"))))
    filled = worker.generate(sd15(**controlled(lama(**whole))))
    assert is_picture(pixels(filled))
    assert likeness(pixels(held), pixels(filled)) < NEAR_DB


def test_lama_fills_in_what_is_added(worker: Worker, need: Callable[..., None]) -> None:
    need("A1111ControlNetLama")
    wide = {"image": as_base64(photo(96, 48)), "mask": half_mask(96, 48)}
    fields = {**wide, "resize_mode": "Resize and Fill"}
    shown = pixels(worker.generate(sd15(**controlled(lama(**fields)))), 1)
    plain = pixels(worker.generate(sd15(**controlled(lama(**fields, module="inpaint_only")))), 1)
    border, inside = np.s_[:12, :, :3], np.s_[24:40, 48:, :3]
    assert shown.shape == plain.shape == (64, 64, 3)
    assert plain[border].std(axis=(0, 1)).max() == 0
    assert shown[border].std(axis=(0, 1)).max() > 0
    assert np.abs(shown[inside] - plain[inside]).max() <= 1


@pytest.mark.parametrize("module", ["oneformer_ade20k", "oneformer_coco"])
def test_oneformer_draws_classes(worker: Worker, need: Callable[..., None], module: str) -> None:
    need("A1111ControlNetOneFormer")
    answer = worker.generate(sd15(**controlled(unit(module=module, image=SQUARE))))
    assert sizes(answer) == [(64, 64), (64, 64)]
    assert is_picture(pixels(answer))
    colours, areas = np.unique(pixels(answer, 1).reshape(-1, 3), axis=0, return_counts=True)
    assert (255, 255, 255) in map(tuple, colours) or len(colours) == 1
    assert areas.max() > 200
    assert not any("UniFormer" in text for text in answer["warnings"])
