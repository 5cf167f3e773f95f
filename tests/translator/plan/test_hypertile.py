"""Hypertile's options: the passes it acts in, ComfyUI's node, infotext."""

from __future__ import annotations

from typing import Any

import pytest

from translator import Translation, TranslationError, translate

HIRES = {"enable_hr": True, "denoising_strength": 0.5, "hr_upscaler": "Latent"}


def made(options: dict[str, Any], **fields: Any) -> Translation:
    request = {"prompt": "a", "seed": 1, "steps": 4, "override_settings": options}
    return translate({**request, **fields})


def nodes(answer: Translation) -> list[dict[str, Any]]:
    found = [node for node in answer.graph.values() if node["class_type"] == "HyperTile"]
    return [
        {key: value for key, value in node["inputs"].items() if key != "model"} for node in found
    ]


@pytest.mark.parametrize(
    ("options", "fields", "passes"),
    [
        ({}, HIRES, 0),
        ({"hypertile_enable_unet": True}, {}, 1),
        ({"hypertile_enable_unet": True}, HIRES, 1),
        ({"hypertile_enable_unet_secondpass": True}, {}, 0),
        ({"hypertile_enable_unet_secondpass": True}, HIRES, 1),
    ],
)
def test_passes(options: dict[str, Any], fields: dict[str, Any], passes: int) -> None:
    """One model for both passes is one node."""
    assert len(nodes(made(options, **fields))) == passes


@pytest.mark.parametrize(
    ("options", "tiled"),
    [
        ({"hypertile_enable_unet": True}, True),
        ({"hypertile_enable_unet": True, "ad_script_names": ""}, True),
        ({"hypertile_enable_unet_secondpass": True}, False),
    ],
)
def test_it_acts_inside_adetailer_where_it_acts_in_img2img(
    options: dict[str, Any], tiled: bool
) -> None:
    """ADetailer always keeps its script; the option for hires fix alone does not reach inside."""
    detail = {"ADetailer": {"args": [True, False, {"ad_model": "face_yolov8n.pt"}]}}
    graph = made(options, alwayson_scripts=detail, **HIRES).graph
    (node,) = [item for item in graph.values() if item["class_type"] == "A1111DetailRegions"]
    above, seen = [node["inputs"]["guider"][0]], set()
    while above:
        item = graph[above.pop()]
        seen.add(item["class_type"])
        above += [value[0] for value in item["inputs"].values() if isinstance(value, list)]
    assert ("HyperTile" in seen) is tiled


def test_numbers_and_infotext() -> None:
    options = {
        "hypertile_enable_unet": True,
        "hypertile_max_tile_unet": 128,
        "hypertile_swap_size_unet": 2,
        "hypertile_max_depth_unet": 1,
    }
    answer = made(options)
    assert nodes(answer) == [
        {"tile_size": 128, "swap_size": 2, "max_depth": 1, "scale_depth": False}
    ]
    (text,) = answer.info["infotexts"]
    assert (
        "Hypertile U-Net: True, Hypertile U-Net max depth: 1, "
        "Hypertile U-Net max tile size: 128, Hypertile U-Net swap size: 2"
    ) in text
    warned = [item for item in answer.warnings if "HyperTile cuts other tiles" in item.message]
    assert [item.path for item in warned] == ["override_settings.hypertile_enable_unet"]


@pytest.mark.parametrize(
    ("options", "fields", "switch"),
    [
        ({"hypertile_enable_unet": True}, {}, "Hypertile U-Net"),
        ({"hypertile_enable_unet_secondpass": True}, HIRES, "Hypertile U-Net second pass"),
        ({"hypertile_enable_unet_secondpass": True}, {}, None),
    ],
)
def test_usual_numbers_are_null_beside_the_infotext(
    options: dict[str, Any], fields: dict[str, Any], switch: str | None
) -> None:
    answer = made(options, **fields)
    added = answer.info["extra_generation_params"]
    found = {key: value for key, value in added.items() if "Hypertile" in key}
    numbers = ("max depth", "max tile size", "swap size")
    usual = dict.fromkeys(f"Hypertile U-Net {name}" for name in numbers)
    assert found == ({switch: True, **usual} if switch else {})
    (text,) = answer.info["infotexts"]
    assert ("Hypertile" in text) is (switch is not None)
    assert "max depth" not in text


def test_a_number_that_the_node_does_not_take_is_refused() -> None:
    options = {"hypertile_enable_unet": True, "hypertile_max_depth_unet": 99}
    with pytest.raises(TranslationError, match=r"max_depth_unet: 99 is not within 0\.\.10"):
        made(options)
