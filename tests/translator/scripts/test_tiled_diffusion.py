"""Tiled Diffusion: its arguments become sizes, pictures, a node and infotext."""

from __future__ import annotations

from typing import Any

import pytest

from tests.translator.scripts.test_img2img_scripts import nodes, sent
from translator import Translation, TranslationError, translate

NAMES = (
    *("enabled", "method", "overwrite", "keep", "image_width", "image_height"),
    *("tile_width", "tile_height", "overlap", "batch", "upscaler", "scale", "inverse", "steps"),
    *("retouch", "renoise", "kernel", "cpu", "regions", "background", "causal"),
)
USUAL = (
    *(True, "MultiDiffusion", False, True, 1024, 1024, 96, 96, 48, 4, "None", 2),
    *(False, 10, 1, 1, 64, False, False, False, False),
)


def made(tab: str = "txt2img", fields: dict[str, Any] | None = None, **given: Any) -> Translation:
    args = list({**dict(zip(NAMES, USUAL, strict=True)), **given}.values())
    request: dict[str, Any] = {
        "prompt": "a",
        "seed": 1,
        "steps": 4,
        "width": 1024,
        "height": 768,
        "alwayson_scripts": {"Tiled Diffusion": {"args": args}},
        **({"init_images": [sent(200, 104)]} if tab == "img2img" else {}),
    }
    options = (fields or {}).pop("options", {})
    return translate(request | (fields or {}), f"sdapi/v1/{tab}", options=options)


def refused(tab: str = "txt2img", fields: dict[str, Any] | None = None, **given: Any) -> str:
    with pytest.raises(TranslationError) as error:
        made(tab, fields, **given)
    return str(error.value)


def test_txt2img_samples_in_tiles() -> None:
    answer = made()
    (node,) = nodes(answer, "A1111TiledDiffusion")
    node.pop("model")
    assert node == {
        "method": "MultiDiffusion",
        "width": 128,
        "height": 96,
        "tile_width": 96,
        "tile_height": 96,
        "tile_overlap": 48,
        "tile_batch_size": 4,
    }
    (text,) = answer.info["infotexts"]
    assert (
        'Tiled Diffusion: {"Method": "MultiDiffusion", "Tile tile width": 96, "Tile tile height": '
        '96, "Tile Overlap": 48, "Tile batch size": 4}'
    ) in text


def test_where_one_tile_holds_it_nothing_is_done() -> None:
    answer = made(fields={"width": 512, "height": 512})
    assert not nodes(answer, "A1111TiledDiffusion")
    assert "Tiled Diffusion" not in answer.info["infotexts"][0]


def test_the_size_may_be_overwritten() -> None:
    answer = made(overwrite=True, image_width=1536, image_height=640)
    assert (answer.info["width"], answer.info["height"]) == (1536, 640)
    assert nodes(answer, "A1111TiledDiffusion")[0]["width"] == 192


def test_the_hires_pass_is_not_cut() -> None:
    hires = {"enable_hr": True, "hr_upscaler": "Latent", "denoising_strength": 0.5}
    answer = made(fields=hires)
    kept = nodes(answer, "A1111TiledDiffusion")
    assert {(node["width"], node["height"]) for node in kept} == {(128, 96)}


def test_img2img_keeps_its_pictures_size() -> None:
    answer = made("img2img", tile_width=16, tile_height=16, overlap=8)
    assert (answer.info["width"], answer.info["height"]) == (200, 104)
    assert '"Keep input size": true' in answer.info["infotexts"][0]
    other = made("img2img", keep=False, tile_width=16, tile_height=16, overlap=8)
    assert (other.info["width"], other.info["height"]) == (1024, 768)


def test_img2imgs_upscaler_enlarges_before() -> None:
    answer = made("img2img", upscaler="R-ESRGAN 4x+", scale=3, tile_width=32, tile_height=32)
    assert (answer.info["width"], answer.info["height"]) == (600, 312)
    (enlarge,) = nodes(answer, "A1111EnlargeBy")
    assert enlarge["factor"] == 3.0
    text = answer.info["infotexts"][0]
    assert "Tiled Diffusion upscaler: R-ESRGAN 4x+, Tiled Diffusion scale factor: 3.0" in text
    scaled = made("img2img", upscaler="Lanczos", keep=False, fields={"width": 256, "height": 128})
    assert (scaled.info["width"], scaled.info["height"]) == (512, 256)


@pytest.mark.parametrize(
    ("tab", "given", "said"),
    [
        ("txt2img", {"method": "DemoFusion"}, 'args[1]: "DemoFusion" is not one of'),
        ("txt2img", {"tile_width": 8}, "args[6]: 8 is not a whole number within 16"),
        ("txt2img", {"batch": 0}, "args[9]"),
        ("txt2img", {"regions": True}, "args[18]: there is no node for its prompts by region"),
        ("img2img", {"inverse": True}, "args[12]: there is no node for its noise inversion"),
        ("img2img", {"upscaler": "Latent"}, "args[10]"),
        ("img2img", {"upscaler": "Lanczos", "scale": 20}, "args[11]: 20 is not a number"),
        ("txt2img", {"fields": {"sampler_name": "UniPC"}}, "fails with UniPC"),
        ("txt2img", {"fields": {"options": {"fidelity": "core"}}}, "it needs our node pack"),
    ],
)
def test_what_cannot_be_done_is_refused_at_its_place(
    tab: str, given: dict[str, Any], said: str
) -> None:
    assert said in refused(tab, **given)


def test_a_control_net_beside_it_is_refused() -> None:
    unit = {"image": sent(), "module": "canny", "model": "control_v11p_sd15_canny"}
    scripts = {
        "Tiled Diffusion": {"args": list(USUAL)},
        "ControlNet": {"args": [unit]},
    }
    assert "not cut into its tiles" in refused(fields={"alwayson_scripts": scripts})


def test_forges_own_cuts_every_pass() -> None:
    scripts = {"MultiDiffusion Integrated": {"args": [True, "Mixture of Diffusers", 512, 640, 64]}}
    answer = made(fields={"alwayson_scripts": scripts})
    (node,) = nodes(answer, "A1111TiledDiffusion")
    assert (node["width"], node["tile_width"], node["tile_height"]) == (0, 64, 80)
    assert node["tile_overlap"] == 8 and node["method"] == "Mixture of Diffusers"
