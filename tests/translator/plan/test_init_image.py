"""What img2img starts from: blank masks, fewer pictures than a batch, pictures of several sizes."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from typing import Any

import pytest
from PIL import Image

from translator import Translation, TranslationError, translate

Color = int | tuple[int, ...]


def encoded(image: Image.Image) -> str:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode("ascii")


def flat(mode: str, color: Color, size: tuple[int, int] = (64, 64)) -> str:
    return encoded(Image.new(mode, size, color))


PICTURE = flat("RGB", (9, 90, 200))


def img2img(options: Mapping[str, Any] | None = None, **fields: Any) -> Translation:
    payload = {
        "prompt": "a cat",
        "seed": 5,
        "subseed": 50,
        "steps": 10,
        "width": 64,
        "height": 64,
        "init_images": [PICTURE],
        **fields,
    }
    return translate(payload, "/sdapi/v1/img2img", options=options)


def nodes(translation: Translation, class_type: str) -> list[Mapping[str, Any]]:
    return [
        node["inputs"] for node in translation.graph.values() if node["class_type"] == class_type
    ]


def infotext(translation: Translation) -> str:
    text: str = translation.info["infotexts"][0]
    return text


BLANK: list[tuple[str, dict[str, Any]]] = [
    ("black", {"mask": flat("L", 0)}),
    ("white, inverted", {"mask": flat("RGB", (255, 255, 255)), "inpainting_mask_invert": 1}),
    ("clear", {"mask": flat("RGBA", (255, 255, 255, 0))}),
    ("faint, rounded", {"mask": flat("RGBA", (255, 255, 255, 128))}),
    ("opaque black", {"mask": flat("RGBA", (0, 0, 0, 255))}),
]


@pytest.mark.parametrize("fields", [row[1] for row in BLANK], ids=[row[0] for row in BLANK])
def test_a_blank_mask_makes_the_whole_picture_anew(fields: dict[str, Any]) -> None:
    options = {"return_mask": True}
    made = img2img(**fields, batch_size=2, override_settings=options)
    assert not nodes(made, "A1111Inpaint")
    assert not nodes(made, "A1111Overlay")
    assert len(made.outputs) == 2
    assert any(warning.path == "mask" for warning in made.warnings)
    text = infotext(made)
    assert "Mask blur: 4" in text
    assert ("Mask mode" in text) == ("inpainting_mask_invert" in fields)
    assert not any(key in text for key in ("Inpaint area", "Masked area", "Masked content"))


@pytest.mark.parametrize(
    "fields",
    [
        {"mask": flat("L", 1)},
        {"mask": flat("RGBA", (255, 255, 255, 129))},
        {"mask": flat("RGBA", (255, 255, 255, 1)), "mask_round": False},
        {"mask": flat("L", 254), "inpainting_mask_invert": 1},
        {"mask": flat("L", 0), "inpaint_full_res": False},
    ],
)
def test_other_masks_are_painted(fields: dict[str, Any]) -> None:
    made = img2img(**fields)
    assert nodes(made, "A1111Inpaint")
    assert "Masked content: fill" in infotext(made)


def test_a_mask_that_cannot_be_decoded_is_left_to_the_nodes() -> None:
    whole = base64.b64decode(flat("L", 0, (640, 640)))
    broken = base64.b64encode(whole[: len(whole) // 2]).decode("ascii")
    assert nodes(img2img(mask=broken), "A1111Inpaint")


def test_seeds_are_drawn_for_pictures_that_are_not_sent() -> None:
    made = img2img(init_images=[PICTURE, flat("L", 7)], batch_size=3, n_iter=2)
    info = made.info
    assert info["all_seeds"] == [5, 6, 7, 8, 9, 10]
    assert info["all_subseeds"] == [50, 51, 52, 53, 54, 55]
    assert len(info["all_prompts"]) == len(info["all_negative_prompts"]) == 6
    assert (info["batch_size"], len(info["infotexts"])) == (2, 4)
    assert made.parameters["batch_size"] == 3
    assert [item["seeds"] for item in nodes(made, "A1111Noise")] == ["[5,6]", "[7,8]"]


def test_with_a_variation_the_seeds_stay() -> None:
    info = img2img(init_images=[PICTURE] * 2, batch_size=3, subseed_strength=0.5).info
    assert info["all_seeds"] == [5, 5, 5]
    assert info["all_subseeds"] == [50, 51, 52]


SEVERAL = [PICTURE, flat("RGB", (7, 8, 9), (96, 80))]


def test_the_masked_part_of_pictures_of_several_sizes_is_cut_out_of_each() -> None:
    made = img2img(init_images=SEVERAL, batch_size=2, mask=flat("L", 255))
    first, second = nodes(made, "A1111Inpaint")
    assert "before" not in first
    assert second["before"][1] == 2
    pictures = nodes(made, "A1111Overlay")
    assert len({str(item["overlay"]) for item in pictures}) == 2
    assert [item["batch_index"] for item in nodes(made, "ImageFromBatch")] == [0, 1]
    assert [output.index for output in made.outputs] == [0, 0]
    assert len({output.node for output in made.outputs}) == 2


SOFT = {"soft inpainting": {"args": [True]}}


@pytest.mark.parametrize(("scripts", "covers"), [({}, False), (SOFT, True)])
def test_soft_inpainting_puts_back_whatever_overlay_inpaint_says(
    scripts: dict[str, Any], covers: bool
) -> None:
    options = {"overlay_inpaint": False}
    mask = flat("L", 255)
    made = img2img(mask=mask, alwayson_scripts=scripts, override_settings=options)
    assert any(item["covers"] for item in nodes(made, "A1111Overlay")) == covers


@pytest.mark.parametrize("unsupported", ["error", "warn"])
def test_soft_inpainting_of_several_sizes_is_refused(unsupported: str) -> None:
    fields = {"init_images": SEVERAL, "batch_size": 2, "mask": flat("L", 255)}
    with pytest.raises(TranslationError, match="init_images"):
        img2img({"unsupported": unsupported}, **fields, alwayson_scripts=SOFT)


def test_a_script_whose_batch_has_another_size_than_its_pictures_is_refused() -> None:
    """A1111 says the same, where return_grid is off and X/Y/Z plot makes one image a cell."""
    plot = [4, "1,2", [], 0, "", [], 0, "", [], True, True, False, False, *[False] * 3, 0, False]
    request = {"script_name": "X/Y/Z plot", "script_args": plot, "init_images": [PICTURE] * 2}
    assert img2img(**request, batch_size=2)
    with pytest.raises(TranslationError, match="bad number of images passed: 2"):
        img2img(**request, batch_size=2, override_settings={"return_grid": False})


STRIP = flat("RGB", (9, 90, 200), (9000, 1))


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"init_images": [PICTURE, STRIP], "batch_size": 2, "resize_mode": 1}, "init_images[1]"),
        ({"mask": flat("L", 255, (1, 9000)), "resize_mode": 1}, "mask"),
        (
            {
                "init_images": [STRIP],
                "override_settings": {"upscaler_for_img2img": "R-ESRGAN 4x+"},
            },
            "init_images[0]",
        ),
    ],
)
def test_a_strip_that_would_be_scaled_beyond_all_memory_is_refused(
    fields: dict[str, Any], path: str
) -> None:
    with pytest.raises(TranslationError, match="too narrow") as caught:
        img2img(**{"width": 512, "height": 512, **fields})
    assert [problem.path for problem in caught.value.problems] == [path]


@pytest.mark.parametrize("resize_mode", [0, 2, 3])
def test_a_strip_that_is_only_stretched_or_fitted_is_taken(resize_mode: int) -> None:
    img2img(width=512, height=512, init_images=[STRIP], resize_mode=resize_mode)
