"""Tiled Diffusion: its arguments become sizes, pictures, a node and infotext."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.translator.scripts.test_forge_couple import written
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
    given = spread(given)
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
    assert "one tile holds the picture" in "".join(answer.warning_texts)


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
        ("txt2img", {"regions": True, "one": (True, "left")}, "args[21]: a region is [true, x, y"),
        (
            "txt2img",
            {"regions": True, "one": (True, 0, 0, 1, 1, "<lora:x:1>")},
            "args[21]: the extension changes the LoRAs",
        ),
        ("img2img", {"inverse": True, "steps": 0}, "args[13]: 0 is not a whole number"),
        ("img2img", {"inverse": True, "retouch": 0.5}, "args[14]: 0.5 is not a number within 1"),
        (
            "img2img",
            {"inverse": True, "regions": True, "one": (True, 0, 0, 1, 1)},
            "beside prompts by region is not done",
        ),
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


def beside(**unit: Any) -> dict[str, Any]:
    given = {"image": sent(), "model": "control_v11p_sd15_canny", **unit}
    scripts = {"Tiled Diffusion": {"args": list(USUAL)}, "ControlNet": {"args": [given]}}
    return {"alwayson_scripts": scripts}


def test_a_control_net_acts_beside_it() -> None:
    """Its picture is cut inside the node; what changes the model for the whole picture is not."""
    answer = made(fields=beside(module="canny"))
    assert len(nodes(answer, "A1111TiledDiffusion")) == 1
    assert "is made for the whole picture" in refused(fields=beside(module="reference_only"))


REGIONS: dict[str, Any] = {
    "regions": True,
    "background": True,
    "one": (True, 0.1, 0, 0.4, 1, "a cat", "blurred"),
    "two": (False, 0, 0, 1, 1, "never"),
    "three": (True, 0.25, 0.5, 0.5, 0.12345, "a dog", "", "Foreground", 0.3, 7),
}


def spread(given: dict[str, Any]) -> dict[str, Any]:
    """Regions as the flat list that a request has."""
    usual = (False, 0.4, 0.4, 0.2, 0.2, "", "", "Background", 0.2, -1)
    flat: dict[str, Any] = {}
    for name, value in given.items():
        if isinstance(value, tuple):
            flat |= {f"{name}{n}": item for n, item in enumerate((*value, *usual[len(value) :]))}
        else:
            flat[name] = value
    return flat


def test_regions_have_their_own_prompts() -> None:
    answer = made(**spread(REGIONS), fields={"prompt": "a field", "negative_prompt": "bad"})
    (node,) = nodes(answer, "A1111TiledDiffusion")
    assert json.loads(node["regions"]) == [
        [0.1, 0.0, 0.4, 1.0, "Background", 0.2],
        [0.25, 0.5, 0.5, 0.1235, "Foreground", 0.3],
    ]
    assert node["draws_tiles"] is True
    names = [f"{side}_{n}" for n in range(2) for side in ("positive", "negative")]
    texts = [written(json.loads(answer.graph[node[n][0]]["inputs"]["prompt"])) for n in names]
    assert texts == ["a field, a cat", "bad, blurred", "a field, a dog", "bad"]
    told = answer.info["infotexts"][0]
    assert '"Region 3": {"enable": true' in told.replace("\\", "") and "Region 2" not in told


def test_regions_need_no_tiles() -> None:
    answer = made(**spread({**REGIONS, "background": False}), tile_width=128, tile_height=128)
    assert nodes(answer, "A1111TiledDiffusion")[0]["draws_tiles"] is False


def test_regions_without_any_that_is_on_are_tiles() -> None:
    answer = made(regions=True, tile_width=128, tile_height=128)
    assert "regions" not in nodes(answer, "A1111TiledDiffusion")[0]


def test_forges_own_cuts_every_pass() -> None:
    scripts = {"MultiDiffusion Integrated": {"args": [True, "Mixture of Diffusers", 512, 640, 64]}}
    answer = made(fields={"alwayson_scripts": scripts})
    (node,) = nodes(answer, "A1111TiledDiffusion")
    assert (node["width"], node["tile_width"], node["tile_height"]) == (0, 64, 80)
    assert node["tile_overlap"] == 8 and node["method"] == "Mixture of Diffusers"


def test_noise_inversion_finds_the_noise_first() -> None:
    fields = {"sampler_name": "DPM++ 2M", "prompt": "a [b:c:0.5]", "denoising_strength": 0.5}
    answer = made("img2img", fields, inverse=True, steps=3, retouch=2, renoise=0.5, kernel=32)
    (sampler,) = nodes(answer, "A1111InvertingSampler")
    assert sampler == {"retouch": 2.0}
    (noise,) = nodes(answer, "A1111InvertedNoise")
    assert (noise["strength"], noise["kernel"]) == (0.5, 32)
    assert round(noise["sigma"], 4) == 14.6146
    ways = [json.loads(item["sigmas"]) for item in nodes(answer, "A1111Sigmas")]
    assert [len(way) for way in ways if way[0] == 0] == [4], "three steps upwards"
    assert {item["sampler"] for item in nodes(answer, "A1111Sampler")} == {"Euler"}
    guiders = {item["cfg"]: item for item in nodes(answer, "A1111Guider")}
    assert set(guiders) == {1.0, 7.0}
    link = guiders[1.0]["positive"]
    text = json.loads(answer.graph[link[0]]["inputs"]["prompt"])["parts"][0]["schedule"]
    assert len(text) == 1, "edits are words on the way to the noise"
    assert any("is left for Euler" in warning.message for warning in answer.warnings)
    told = answer.info["infotexts"][0].replace("\\", "")
    assert '"NoiseInv": true, "NoiseInv Steps": 3, "NoiseInv Retouch": 2.0' in told
    assert "Sampler: Euler" in told
    assert not nodes(made("txt2img", inverse=True), "A1111InvertedNoise"), "img2img alone has it"
