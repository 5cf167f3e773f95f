"""Ultimate SD upscale: tiles, seams and factors as inpaintings of one graph."""

from __future__ import annotations

from typing import Any

import pytest

from tests.translator.scripts.test_img2img_scripts import nodes, sent
from translator import Translation, TranslationError, translate
from translator.scripts.ultimate_upscale import ARGUMENTS, TITLE, _factors

USUAL: dict[str, Any] = {
    **dict.fromkeys(ARGUMENTS),
    "tile_width": 64,
    "tile_height": 0,
    "mask_blur": 8,
    "padding": 32,
    "seams_fix_width": 64,
    "seams_fix_denoise": 0.35,
    "seams_fix_padding": 16,
    "upscaler_index": 0,
    "redraw_mode": 0,
    "seams_fix_mask_blur": 4,
    "seams_fix_type": 0,
    "target_size_type": 2,
    "custom_width": 2048,
    "custom_height": 2048,
    "custom_scale": 2,
}


def upscaled(size: tuple[int, int] = (96, 64), **given: Any) -> Translation:
    fields = given.pop("fields", {})
    payload = {
        "prompt": "a cat",
        "seed": 100,
        "steps": 8,
        "init_images": [sent(*size)],
        "script_name": TITLE,
        "script_args": list({**USUAL, **given}.values()),
    }
    return translate(payload | fields, "sdapi/v1/img2img")


def refused(**given: Any) -> str:
    with pytest.raises(TranslationError) as error:
        upscaled(**given)
    return str(error.value)


@pytest.mark.parametrize(
    ("given", "passes", "images"),
    [
        ({}, 6, 1),
        ({"redraw_mode": 1}, 6, 1),
        ({"tile_width": 128, "tile_height": 64}, 4, 1),
        ({"seams_fix_type": 1}, 6 + 3, 2),
        ({"seams_fix_type": 2}, 6 + 4 + 3, 2),
        ({"seams_fix_type": 3}, 6 + 4 + 3 + 2, 2),
        ({"redraw_mode": 2, "seams_fix_type": 1}, 3, 2),
        ({"target_size_type": 1, "custom_width": 64, "custom_height": 128}, 2, 1),
    ],
)
def test_inpaintings_and_pictures(given: dict[str, Any], passes: int, images: int) -> None:
    made = upscaled(**given)
    assert len(made.plans) == passes and len(made.outputs) == images
    assert made.work.images == passes
    assert {plan.seeds for plan in made.plans} == {(100,)}


def test_every_tile_starts_from_the_one_before() -> None:
    made = upscaled()
    inpaints = nodes(made, "A1111Inpaint")
    overlays = [key for key, node in made.graph.items() if node["class_type"] == "A1111Overlay"]
    assert len(inpaints) == len(overlays) == 6
    assert {(item["width"], item["height"]) for item in inpaints} == {(128, 128)}
    corners = [(item["x"], item["y"]) for item in nodes(made, "ImageCompositeMasked")]
    assert corners == [(x, y) for y in (0, 64) for x in (0, 64, 128)]


def test_the_chess_board_begins_with_its_one_colour() -> None:
    made = upscaled(redraw_mode=1)
    corners = [(item["x"], item["y"]) for item in nodes(made, "ImageCompositeMasked")]
    assert corners == [(0, 0), (128, 0), (64, 64), (64, 0), (0, 64), (128, 64)]


def test_infotext_is_of_the_whole_picture() -> None:
    info = upscaled(seams_fix_type=2).info
    assert (info["width"], info["height"], info["seed"], info["subseed"]) == (192, 128, 100, -1)
    (text,) = set(info["infotexts"])
    assert len(info["infotexts"]) == 2  # the redrawn picture, and its mended seams
    assert "Size: 192x128" in text and "Denoising strength: 0.35" in text
    assert "Ultimate SD upscale upscaler: None" in text
    assert "Ultimate SD upscale padding: 32" in text


@pytest.mark.parametrize(
    ("scale", "factors"),
    [(1, []), (2, [2]), (3, [3]), (4, [4]), (5, [3, 2]), (6, [3, 2]), (8, [4, 2]), (10, None)],
)
def test_factors(scale: int, factors: list[int] | None) -> None:
    assert _factors(scale) == factors


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"tile_width": 0}, "script_args[1]: a tile's sides are at least 8"),
        ({"padding": 600}, "script_args[4]: padding lies within 0..512"),
        ({"redraw_mode": 3}, "script_args[10]: redraw_mode lies within 0..2"),
        ({"redraw_mode": 2}, "neither tiles nor seams"),
        ({"upscaler_index": "Latent"}, "Latent"),
        ({"upscaler_index": 99}, "there are the upscalers"),
        ({"custom_scale": 400}, "is not within 8..8192"),
        ({"custom_scale": "big"}, "the scale is a number"),
        ({"seams_fix_type": 1, "seams_fix_width": 0}, "at least 1 pixel wide"),
        ({"tile_width": 8, "custom_scale": 80}, "generations; at most 2000"),
    ],
)
def test_what_cannot_be_done_is_refused_at_its_place(given: dict[str, Any], said: str) -> None:
    assert said in refused(**given)


def test_core_nodes_alone_do_not_do_it() -> None:
    with pytest.raises(TranslationError, match="needs our node pack"):
        translate(
            {
                "init_images": [sent()],
                "script_name": TITLE,
                "script_args": list(USUAL.values()),
            },
            "sdapi/v1/img2img",
            options={"fidelity": "core"},
        )
