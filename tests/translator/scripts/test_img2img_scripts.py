"""The scripts of the img2img tab: SD upscale, Loopback and the outpaintings, as graphs."""

from __future__ import annotations

import base64
import io
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.comfyui.goldens import Golden, load
from translator import Catalog, ModelFacts, Translation, TranslationError, translate
from translator.plan.pictures import Cut, Frame, Pasted, Sent, cut, frame
from translator.request.images import ImageUpload
from translator.scripts.axes import axes
from translator.scripts.borders import borders
from translator.scripts.tiles import TileError, split, tile_count

A1111 = Path(__file__).parents[2] / "comfyui" / "a1111"
GOLDENS = [*load(A1111, "sd_upscale"), *load(A1111, "scripts", "sdupscale")]


def sent(width: int = 96, height: int = 80, mode: str = "RGB", color: int = 0) -> str:
    data = io.BytesIO()
    Image.new(mode, (width, height), color).save(data, "PNG")
    return base64.b64encode(data.getvalue()).decode("ascii")


def translated(
    script: str, args: list[Any], options: dict[str, Any] | None = None, **fields: Any
) -> Translation:
    payload = {
        "prompt": "a cat",
        "seed": 100,
        "subseed": 7,
        "steps": 8,
        "width": 64,
        "height": 64,
        "sampler_name": "Euler",
        "denoising_strength": 0.5,
        "init_images": [sent()],
        "script_name": script,
        "script_args": args,
        "override_settings": {"sd_model_checkpoint": "v1-5-pruned-emaonly"},
    }
    return translate(payload | fields, "sdapi/v1/img2img", options=options or {})


def refused(script: str, args: list[Any], **fields: Any) -> str:
    with pytest.raises(TranslationError) as error:
        translated(script, args, **fields)
    return str(error.value)


def nodes(result: Translation, kind: str) -> list[dict[str, Any]]:
    return [node["inputs"] for node in result.graph.values() if node["class_type"] == kind]


def seeds(result: Translation) -> list[list[int]]:
    """The seeds of each sampling, in the order in which they were added."""
    noises = (item["noise"][0] for item in nodes(result, "SamplerCustomAdvanced"))
    return [json.loads(result.graph[noise]["inputs"]["seeds"]) for noise in noises]


def behind(result: Translation, link: list[Any], kind: str) -> list[dict[str, Any]]:
    """The nearest nodes of a class above a link."""
    node = result.graph[link[0]]
    if node["class_type"] == kind:
        return [node["inputs"]]
    links = (value for value in node["inputs"].values() if isinstance(value, list))
    return [found for above in links for found in behind(result, above, kind)]


# --- SD upscale ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "golden", [item for item in GOLDENS if item.status == 200], ids=lambda golden: golden.name
)
def test_info_of_sd_upscale_is_a1111s(golden: Golden) -> None:
    payload = dict(golden.payload)
    payload["override_settings"] = {
        **payload["override_settings"],
        "sd_model_checkpoint": "synth15.safetensors",
    }
    info = translate(payload, golden.endpoint).info
    expected = dict(golden.info or {})
    for name in ("all_subseeds", "job_timestamp", "sd_model_hash"):
        del info[name], expected[name]
    expected["infotexts"] = [
        text.replace("Model hash: 5f0ab447f2, ", "") for text in expected["infotexts"]
    ]
    assert info == expected


def test_tiles_are_sampled_line_by_line_and_joined_again() -> None:
    result = translated("SD upscale", [None, 16, "Lanczos", 2])
    assert seeds(result) == [[100 + index] for index in range(12)]
    (joined,) = nodes(result, "A1111JoinTiles")
    assert (joined["width"], joined["height"]) == (192, 160)
    columns, rows = json.loads(joined["columns"]), json.loads(joined["rows"])
    assert (columns, rows) == ([0, 42, 85, 128], [0, 48, 96])
    crops = [
        behind(result, item["pixels"], "ImageCrop")[0] for item in nodes(result, "A1111VAEEncode")
    ]
    assert [(crop["x"], crop["y"]) for crop in crops] == [(x, y) for y in rows for x in columns]
    assert {(crop["width"], crop["height"]) for crop in crops} == {(64, 64)}
    assert [item.kind for item in result.outputs] == ["image"]
    assert len(result.uploads) == 1
    assert result.answer.infotexts == [None]


def test_a_batch_takes_several_tiles_and_the_last_one_what_is_left() -> None:
    wide = [sent(240, 64)]  # five tiles; the seed grows by one a batch
    result = translated("SD upscale", [None, 16, "None", 2], batch_size=3, init_images=wide)
    assert seeds(result) == [[100, 101, 102], [101, 102]]
    assert result.info["all_seeds"] == [101, 102, 103]
    assert result.info["batch_size"] == 2


def test_a_last_batch_of_one_tile_is_sampled_as_often_as_a_batch_has_places() -> None:
    """A1111 repeats a single picture; only its first result is used."""
    result = translated("SD upscale", [None, 16, "None", 2], batch_size=3, n_iter=2)
    assert seeds(result) == [[100, 101, 102], [101, 102, 103], [101, 102, 103], [102, 103, 104]]


def test_every_iteration_is_a_picture_with_the_next_seed() -> None:
    result = translated("SD upscale", [None, 32, "None", 2], n_iter=2, init_images=[sent(64, 64)])
    assert seeds(result) == [[100], [101]]
    assert [item.kind for item in result.outputs] == ["image", "image"]
    assert result.info["infotexts"][0].count("Seed: 100") == 1


def test_later_tiles_are_encoded_with_the_seed_that_the_one_before_left() -> None:
    result = translated("SD upscale", [None, 16, "None", 2])
    drawn = [item["seed"] for item in nodes(result, "A1111VAEEncode")]
    assert drawn == [-1, 100, 101, 102]


@pytest.mark.parametrize("given", ["lanczos", "LANCZOS", 1])
def test_upscalers_are_found_by_number_and_in_any_case(given: Any) -> None:
    result = translated("sd upscale", ["", 16, given, 2.0])
    assert "SD upscale upscaler: Lanczos" in result.info["infotexts"][0]
    (upscaler,) = nodes(result, "A1111Upscaler")
    assert upscaler["method"] == "lanczos"


def test_options_of_the_server_count_for_the_upscaler() -> None:
    """A1111 applies override_settings only while it generates."""
    args = [None, 16, "R-ESRGAN 4x+", 2]
    tiles = {"ESRGAN_tile": 64}
    overridden = translated("SD upscale", args, override_settings=tiles)
    assert nodes(overridden, "A1111Upscaler")[0]["tile"] == 192
    server = translated("SD upscale", args, options={"a1111_options": tiles})
    assert nodes(server, "A1111Upscaler")[0]["tile"] == 64


def test_a_small_picture_lies_at_the_end_of_its_tile() -> None:
    result = translated("SD upscale", [None, 16, "None", 2], init_images=[sent(48, 40)])
    (pasted,) = nodes(result, "ImageCompositeMasked")
    assert (pasted["x"], pasted["y"]) == (16, 24)
    (joined,) = nodes(result, "A1111JoinTiles")
    assert (joined["columns"], joined["rows"]) == ("[-16]", "[-24]")


def test_transparency_is_laid_on_the_background() -> None:
    result = translated("SD upscale", [None, 16, "None", 2], init_images=[sent(64, 64, "RGBA")])
    assert len(nodes(result, "A1111Flatten")) == 1


def test_a_mask_is_that_of_every_tile() -> None:
    result = translated("SD upscale", [None, 16, "None", 2], mask=sent(96, 80, "L", 255))
    assert len(nodes(result, "A1111Inpaint")) == 4
    assert len(nodes(result, "A1111InpaintMask")) == 1


def test_control_units_take_the_tile_and_no_maps_are_answered() -> None:
    unit = {"module": "canny", "model": "control_v11p_sd15_canny", "enabled": True}
    result = translated(
        "SD upscale",
        [None, 16, "None", 2],
        alwayson_scripts={"controlnet": {"args": [unit]}},
    )
    assert [item.kind for item in result.outputs] == ["image"]
    assert (
        len(
            nodes(result, "ControlNetApplyAdvanced")
            or nodes(result, "ACN_AdvancedControlNetApply_v2")
        )
        == 4
    )


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ([None, 16], "takes 4 values, 2 are given"),
        ([None, 16, 99, 2], "there are the upscalers 0 to"),
        ([None, 16, None, 2], "is not an upscaler's name"),
        ([None, 16, "Latent", 2], "enlarges latents"),
        ([None, 64, "None", 2], "leaves nothing of a tile"),
        ([None, -1, "None", 2], "below 0"),
        ([None, 16.5, "None", 2], "a whole number"),
        ([None, 63, "Lanczos", 40], "at most 2000"),
        ([None, 16, "Lanczos", 0], "above 0"),
        ([None, 16, "Lanczos", "2"], "is a number"),
        ([None, 16, "Lanczos", 0.01], "becomes 0x0"),
        ([None, 16, "Lanczos", 500], "sides of 8 to 16384"),
        ([None, 16, "Lanczos", 1e308], "at most 16384"),
    ],
)
def test_what_sd_upscale_refuses(args: list[Any], message: str) -> None:
    assert message in refused("SD upscale", args)


def test_an_upscaler_that_is_not_there_is_refused() -> None:
    catalog = replace(Catalog.bundled(), folders={"upscale_models": ()}, open=False)
    payload = {"init_images": [sent()], "script_name": "SD upscale", "width": 64, "height": 64}
    payload["script_args"] = [None, 16, "Lanczoz", 2]
    with pytest.raises(TranslationError, match='no upscaler "Lanczoz", did you mean "Lanczos"'):
        translate(payload, "sdapi/v1/img2img", catalog)
    payload["script_args"] = [None, 16, "R-ESRGAN 4x+", 2]
    with pytest.raises(TranslationError, match="needs RealESRGAN_x4plus"):
        translate(payload, "sdapi/v1/img2img", catalog)


def test_core_nodes_join_tiles_with_feathered_masks() -> None:
    result = translated("SD upscale", [None, 16, "Lanczos", 2], options={"fidelity": "core"})
    assert not any(node["class_type"].startswith("A1111") for node in result.graph.values())
    assert len(nodes(result, "KSamplerAdvanced")) == 12
    assert any("tiles are faded" in text for text in result.warning_texts)


def test_core_nodes_cut_off_what_a_tile_has_beside_the_picture() -> None:
    """A tile higher than the picture begins above it."""
    result = translated(
        "SD upscale",
        [None, 16, "None", 1],
        init_images=[sent(80, 40)],
        options={"fidelity": "core"},
    )
    pasted = nodes(result, "ImageCompositeMasked")
    assert all(item["x"] >= 0 and item["y"] >= 0 for item in pasted)
    assert {(item["height"], item["y"]) for item in nodes(result, "CropMask")} == {(40, 24)}
    assert not any("ImageCompositeMasked" in text for text in result.warning_texts)


# --- Tiles --------------------------------------------------------------------------------------


def test_tiles_reach_the_end_of_the_picture() -> None:
    tiles = split((192, 160), (64, 64), 32)
    assert tiles.columns == (0, 32, 64, 96, 128)
    assert tiles.rows == (0, 32, 64, 96)


def test_counting_needs_no_list() -> None:
    assert tile_count((10**9, 10**9), (64, 64), 0) == math.ceil(10**9 / 64) ** 2


def test_a_picture_no_larger_than_the_overlap_has_no_tile() -> None:
    with pytest.raises(TileError, match="has no tile"):
        tile_count((32, 64), (64, 64), 32)


PICTURE = Sent(ImageUpload("a", "data", 40, 30, "RGB", has_alpha=False), None)


def test_what_is_cut_out_of_a_picture() -> None:
    size = (40, 30)
    assert cut(PICTURE, size, (0, 0), size) is PICTURE
    assert cut(PICTURE, size, (8, 4), (16, 16)) == Cut(PICTURE, (8, 4), (16, 16))
    assert cut(PICTURE, size, (-8, -2), (48, 32)) == Pasted(None, PICTURE, (8, 2), (48, 32))
    beyond = cut(PICTURE, size, (30, 20), (16, 16))
    assert beyond == Pasted(None, Cut(PICTURE, (30, 20), (10, 10)), (0, 0), (16, 16))


def test_a_frames_rectangle_includes_its_last_pixels() -> None:
    assert frame((64, 64), (8, 0, 20, 64)) == Frame((64, 64), (8, 0, 21, 64))


# --- Loopback -----------------------------------------------------------------------------------


def strengths(result: Translation) -> list[str]:
    return [
        next(part for part in text.split(", ") if part.startswith("Denoising strength"))
        for text in result.answer.infotexts
        if text
    ]


def test_loops_start_from_the_one_before() -> None:
    result = translated("Loopback", [3, 0.2, "Linear", "None"])
    assert seeds(result) == [[100], [101], [102]]
    encoded = nodes(result, "A1111VAEEncode")
    assert [item["seed"] for item in encoded] == [-1, 100, 101]
    assert not behind(result, encoded[0]["pixels"], "VAEDecode")
    for item in encoded[1:]:  # in 8 bits, as a picture is
        assert result.graph[item["pixels"][0]]["class_type"] == "A1111ImageScale"
        assert len(behind(result, item["pixels"], "VAEDecode")) == 1
    assert [item.kind for item in result.outputs] == ["grid", "image", "image", "image"]
    assert nodes(result, "A1111ImageGrid")[0]["rows"] == 1
    assert strengths(result) == [f"Denoising strength: {value}" for value in (0.5, 0.35, 0.2)]


def test_infotexts_of_loops() -> None:
    info = translated("Loopback", [3, 0.2, "Lazy", "None"]).info
    assert len(info["infotexts"]) == 4  # the grid and three pictures
    assert len(set(info["infotexts"])) == 1
    assert "Final denoising strength: 0.2, Denoising curve: Lazy" in info["infotexts"][0]
    assert (info["seed"], info["all_seeds"], info["subseed"]) == (100, [102], -1)
    bend = 1 - math.cos(1.5 * math.pi * 0.5)
    assert info["denoising_strength"] == pytest.approx(0.5 + (0.2 - 0.5) * bend)


@pytest.mark.parametrize(
    ("curve", "share"),
    [("Aggressive", math.sin(math.pi / 4)), ("Lazy", 1 - math.cos(math.pi / 4)), ("Else", 0.5)],
)
def test_curves(curve: str, share: float) -> None:
    result = translated("Loopback", [3, 1.0, curve, "None"])
    assert strengths(result)[1] == f"Denoising strength: {0.5 + 0.5 * share}"


def test_several_batches_begin_anew_and_show_their_last_picture() -> None:
    result = translated("Loopback", [2, 0.5, "Linear", "None"], n_iter=2, batch_size=4)
    assert seeds(result) == [[100], [101], [102], [103]]
    assert [item["seed"] for item in nodes(result, "A1111VAEEncode")] == [-1, 100, 101, 102]
    assert [item.kind for item in result.outputs] == ["grid", "image", "image"]
    assert ["Seed: 101" in (text or "") for text in result.answer.infotexts[1:]] == [True, False]


def test_masked_content_is_the_original_from_the_second_loop_on() -> None:
    result = translated(
        "Loopback", [2, 0.5, "Linear", "None"], mask=sent(96, 80, "L", 255), inpainting_fill=2
    )
    assert [item["content"] for item in nodes(result, "A1111InpaintLatent")] == [
        "latent noise",
        "original",
    ]
    scaled = nodes(result, "A1111ImageScale")[0]
    assert (scaled["width"], scaled["height"]) == (96, 80)  # put back on the picture it came from


def test_the_first_pictures_colours_stay_where_the_server_corrects_colours() -> None:
    args = [2, 0.5, "Linear", "None"]
    options = {"img2img_color_correction": True}
    server = translated("Loopback", args, options={"a1111_options": options})
    sources = {item["source"][0] for item in nodes(server, "A1111ColorCorrection")}
    assert [server.graph[source]["class_type"] for source in sources] == ["LoadImage"]
    own = translated("Loopback", args, override_settings=options)
    assert len({item["source"][0] for item in nodes(own, "A1111ColorCorrection")}) == 2


def test_one_loop_has_no_grid() -> None:
    result = translated("Loopback", [1, 0.2, "Linear", "None"])
    assert [item.kind for item in result.outputs] == ["image"]
    assert result.info["denoising_strength"] == 0.5


@pytest.mark.parametrize(
    ("args", "fields", "message"),
    [
        ([0, 0.5, "Linear", "None"], {}, "at least one loop"),
        ([2.5, 0.5, "Linear", "None"], {}, "a whole number"),
        ([2, None, "Linear", "None"], {}, "is a number"),
        ([2, 1.5, "Linear", "None"], {}, "within 0..1"),
        ([3000, 0.5, "Linear", "None"], {}, "at most 2000"),
        ([2, 0.5, "Linear", "CLIP"], {}, "only while the graph runs"),
        ([2, 0.5, "Linear", "None"], {"init_images": [sent(), sent()], "batch_size": 2}, "one pic"),
    ],
)
def test_what_loopback_refuses(args: list[Any], fields: dict[str, Any], message: str) -> None:
    assert message in refused("Loopback", args, **fields)


# --- Outpainting --------------------------------------------------------------------------------


def test_borders_share_what_makes_sides_multiples_of_64() -> None:
    sides = borders((640, 480), 128, ("left", "right", "up"))
    assert (sides.left, sides.right, sides.up, sides.down) == (128, 128, 160, 0)
    uneven = borders((600, 480), 100, ("left", "right"))
    assert (uneven.left, uneven.right) == (116, 116)
    assert borders((600, 480), 100, ("down",)).down == 96 + 64


def test_the_name_fill_is_its_number() -> None:
    by_name, by_number = (
        translated("Poor man's outpainting", [32, 2, fill, ["left"]], init_images=[sent(160, 64)])
        for fill in ("fill", 0)
    )
    assert by_name.graph == by_number.graph


def test_poor_mans_outpainting_inpaints_the_tiles_with_something_new() -> None:
    result = translated("Poor man's outpainting", [32, 2, 0, ["left"]], init_images=[sent(160, 64)])
    (joined,) = nodes(result, "A1111JoinTiles")
    assert (joined["width"], joined["height"], joined["overlap"]) == (192, 64, 32)
    assert json.loads(joined["columns"]) == [0, 32, 64, 96, 128]
    assert seeds(result) == [[100]]  # only the first tile holds something of the border
    (inpainted,) = nodes(result, "A1111Inpaint")
    assert (inpainted["fill"], inpainted["only_masked"]) == (True, False)
    assert nodes(result, "A1111InpaintMask")[0]["blur_x"] == 4
    black = [
        (item["width"], item["height"]) for item in nodes(result, "SolidMask") if not item["value"]
    ]
    assert black == [
        (192 - 32 - 4, 64),
        (192 - 32 - 1, 64),
    ]  # for the blurred and the latent's mask
    assert "Mask blur: 4, Masked content: fill" in result.info["infotexts"][0]


def test_outpainting_mk2_enlarges_one_side_after_the_other() -> None:
    result = translated(
        "Outpainting mk2",
        [None, 32, 4, ["left", "down"], 1, 0.05],
        init_images=[sent(96, 64)],
        height=128,
    )
    noises = nodes(result, "A1111OutpaintNoise")
    assert len(noises) == 2
    assert behind(result, noises[1]["image"], "VAEDecode")  # the second starts from the first
    sizes = [(item["width"], item["height"]) for item in nodes(result, "A1111Inpaint")]
    assert sizes == [(64, 64), (128, 128)]
    assert seeds(result) == [[100], [100]]  # A1111 gives every side the same seed
    assert [item["blur_x"] for item in nodes(result, "A1111InpaintMask")] == [16, 16]
    assert [item.kind for item in result.outputs] == ["image"]


def test_outpainting_mk2_has_a_grid_of_several_pictures() -> None:
    args = [None, 32, 4, ["right"], 1, 0.05]
    result = translated("Outpainting mk2", args, batch_size=2, n_iter=2)
    assert [item.kind for item in result.outputs] == ["grid"] + ["image"] * 4
    assert seeds(result) == [[100, 101], [100, 101]]


@pytest.mark.parametrize(
    ("script", "args", "message"),
    [
        ("Poor man's outpainting", [32, 4, 0, []], "left, right, up, down"),
        ("Poor man's outpainting", [0, 4, 0, ["left"]], "within 1.."),
        ("Poor man's outpainting", [64, 4, 0, ["left"]], "leaves nothing of a tile"),
        ("Poor man's outpainting", [32, 60, 0, ["left"]], "leaves nothing of the picture"),
        ("Poor man's outpainting", [32, 4, "original", ["left"]], "1 original"),
        ("Outpainting mk2", [None, 32, 4, None, 1, 0.05], "left, right, up, down"),
        ("Outpainting mk2", [None, 32, 4.5, ["left"], 1, 0.05], "a whole number"),
        ("Outpainting mk2", [None, 32, 4, ["left"], "1", 0.05], "is a number"),
        ("Outpainting mk2", [None, 32, 60, ["left"], 1, 0.05], "leaves nothing of the picture"),
    ],
)
def test_what_the_outpaintings_refuse(script: str, args: list[Any], message: str) -> None:
    assert message in refused(script, args)


@pytest.mark.parametrize("script", ["Outpainting mk2", "Poor man's outpainting"])
def test_outpaintings_need_our_node_pack(script: str) -> None:
    args: list[Any] = [None, 32, 4, ["left"], 1, 0.05] if "mk2" in script else [32, 4, 0, ["left"]]
    with pytest.raises(TranslationError, match="needs our node pack"):
        translated(script, args, options={"fidelity": "core"})


def test_these_scripts_are_unknown_to_txt2img() -> None:
    payload = {"script_name": "SD upscale", "script_args": [None, 16, "None", 2]}
    with pytest.raises(TranslationError, match="Script 'SD upscale' not found"):
        translate(payload, "sdapi/v1/txt2img", Catalog.bundled())


# --- img2img alternative test -------------------------------------------------------------------


def alternative(**given: Any) -> list[Any]:
    values = {
        "info": "",
        "sampler": True,
        "prompts": True,
        "prompt": "a dog",
        "negative": "blurry",
        "steps": True,
        "decode_steps": 12,
        "strength": True,
        "cfg": 1.5,
        "randomness": 0.2,
        "adjusts": False,
    }
    return list((values | given).values())


def test_a_picture_is_sampled_from_the_noise_behind_it() -> None:
    result = translated("img2img alternative test", alternative(), sampler_name="DPM++ 2M")
    back, forth = nodes(result, "SamplerCustomAdvanced")
    assert back["latent_image"] == forth["latent_image"]
    upwards = json.loads(result.graph[back["sigmas"][0]]["inputs"]["sigmas"])
    downwards = json.loads(result.graph[forth["sigmas"][0]]["inputs"]["sigmas"])
    assert upwards[0] == 0
    assert upwards == downwards[::-1]  # both are of 12 steps, strength 1
    assert result.graph[back["guider"][0]]["inputs"]["cfg"] == 1.5
    assert result.graph[forth["guider"][0]]["inputs"]["cfg"] == 7
    noise = result.graph[forth["noise"][0]]["inputs"]
    assert noise["found"][0] in result.graph
    assert (noise["randomness"], noise["sigma_max"]) == (0.2, upwards[-1])
    assert result.graph[forth["sampler"][0]]["inputs"]["sampler"] == "Euler"
    text = result.info["infotexts"][0]
    assert text.startswith("a dog\nNegative prompt: blurry\nSteps: 12, Sampler: Euler")
    assert "Decode prompt: a dog, Decode negative prompt: blurry, Decode CFG scale: 1.5" in text
    assert "Decode steps: 12, Randomness: 0.2, Sigma Adjustment: False" in text


def test_the_way_back_has_the_models_own_sigmas_whatever_is_discarded() -> None:
    """A1111's script asks the model for them, past its options."""
    discarded = {"always_discard_next_to_last_sigma": True}
    plain, other = (
        translated("img2img alternative test", alternative(), override_settings=settings)
        for settings in ({}, discarded)
    )
    ways = [nodes(result, "SamplerCustomAdvanced") for result in (plain, other)]
    sigmas = [
        [json.loads(result.graph[run["sigmas"][0]]["inputs"]["sigmas"]) for run in runs]
        for result, runs in zip((plain, other), ways, strict=True)
    ]
    assert sigmas[0][0] == sigmas[1][0]
    assert sigmas[0][1] != sigmas[1][1]


def test_overrides_that_are_off_leave_the_request_as_it_is() -> None:
    args = alternative(sampler=False, prompts=False, steps=False, strength=False, adjusts=True)
    result = translated("img2img alternative test", args, sampler_name="DPM++ 2M")
    back, forth = nodes(result, "SamplerCustomAdvanced")
    assert nodes(result, "A1111ReversingSampler") == [{"sigma_adjustment": True}]
    assert len(json.loads(result.graph[forth["sigmas"][0]]["inputs"]["sigmas"])) == 6
    assert (
        result.graph[forth["guider"][0]]["inputs"]["positive"]
        != (result.graph[back["guider"][0]]["inputs"]["positive"])
    )
    assert "Sampler: DPM++ 2M" in result.info["infotexts"][0]


@pytest.mark.parametrize(
    ("given", "fields", "message"),
    [
        ({"decode_steps": 0}, {}, "1 to 150"),
        ({"decode_steps": 2.5}, {}, "a whole number"),
        ({"randomness": 2}, {}, "within 0..1"),
        ({"cfg": "1"}, {}, "is a number"),
        ({"prompt": None}, {}, "a text is wanted"),
        ({"sampler": False}, {"sampler_name": "DDIM"}, "A1111 fails on DDIM"),
        (
            {},
            {"override_settings": {"sd_model_checkpoint": "sd_xl_base_1.0.safetensors"}},
            "A1111 fails on SDXL",
        ),
    ],
)
def test_what_the_alternative_refuses(
    given: dict[str, Any], fields: dict[str, Any], message: str
) -> None:
    assert message in refused("img2img alternative test", alternative(**given), **fields)


def test_the_alternative_says_what_is_near() -> None:
    args = alternative(sampler=False)
    drawn = translated("img2img alternative test", args, sampler_name="Euler a")
    assert not any("near" in text for text in drawn.warning_texts)
    unit = {"module": "canny", "model": "control_v11p_sd15_canny", "enabled": True}
    scripts = {"controlnet": {"args": [unit]}}
    steered = translated("img2img alternative test", alternative(), alwayson_scripts=scripts)
    assert any("do not act" in text for text in steered.warning_texts)


# --- The scripts of both tabs -------------------------------------------------------------------

AXES = {
    "Seed": "3, 4",
    "Var. seed": "3, 4",
    "Var. strength": "0.1, 0.2",
    "Steps": "8, 9",
    "CFG Scale": "5, 6",
    "Prompt S/R": "cat, dog",
    "Prompt order": "a, cat",
    "Sampler": "Euler, DPM++ 2M",
    "Checkpoint name": "v1-5-pruned-emaonly, other",
    "Negative Guidance minimum sigma": "0, 2",
    "Sigma Churn": "0, 1",
    "Sigma min": "0, 1",
    "Sigma max": "1, 5",
    "Sigma noise": "1, 1.1",
    "Schedule type": "Karras, Exponential",
    "Schedule min sigma": "0, 0.1",
    "Schedule max sigma": "0, 10",
    "Schedule rho": "0, 5",
    "Beta schedule alpha": "0.6, 0.7",
    "Beta schedule beta": "0.6, 0.7",
    "Eta": "0.5, 1",
    "Clip skip": "1, 2",
    "Denoising": "0.3, 0.6",
    "Initial noise multiplier": "1, 1.1",
    "Extra noise": "0, 0.1",
    "VAE": "None, vae-ft-mse",
    "UniPC Order": "2, 3",
    "Face restore": "false, true",
    "Token merging ratio": "0, 0.5",
    "Always discard next-to-last sigma": "False, True",
    "SGM noise multiplier": "False, True",
    "Refiner checkpoint": "none, other",
    "Refiner switch at": "0.5, 0.8",
    "RNG source": "CPU, NV",
    "Size": "64x64, 128x64",
}
"""Axis -> two values that make two pictures."""

WITH = {
    "Var. seed": {"subseed_strength": 0.5},
    "Schedule min sigma": {"scheduler": "Karras"},
    "Schedule max sigma": {"scheduler": "Karras"},
    "Schedule rho": {"scheduler": "Karras"},
    "Beta schedule alpha": {"scheduler": "Beta"},
    "Beta schedule beta": {"scheduler": "Beta"},
    "Eta": {"sampler_name": "Euler a"},
    "UniPC Order": {"sampler_name": "UniPC"},
    "Refiner switch at": {"refiner_checkpoint": "other", "steps": 20},
}
"""Axis -> what makes it count."""


def plot(label: str, values: str, **fields: Any) -> Translation:
    labels = [axis.label for axis in axes("img2img")]
    nothing = [0, "", []]
    switches = [False, True, False, False, False, False, False, 0, True]
    args = [labels.index(label), values, [], *nothing, *nothing, *switches]
    overrides = {"sd_model_checkpoint": "v1-5-pruned-emaonly", "randn_source": "NV"}
    return translated("X/Y/Z plot", args, **{"override_settings": overrides, **fields})


def finished(result: Translation) -> set[tuple[str, int]]:
    """What the answered pictures come from; equal generations share their nodes."""
    saved = [output.node or "" for output in result.outputs if output.kind == "image"]
    return {tuple(result.graph[node]["inputs"]["images"]) for node in saved}


@pytest.mark.parametrize("label", AXES)
def test_axes_act_on_img2img(label: str) -> None:
    """With NV noise A1111 seeds no torch, so nothing but the axis makes two pictures differ."""
    result = plot(label, AXES[label], **WITH.get(label, {}))
    assert [output.kind for output in result.outputs] == ["grid", "image", "image"]
    assert len(finished(result)) == 2
    assert f"X Type: {label}" in result.info["infotexts"][0]


@pytest.mark.parametrize(
    ("label", "values"),
    [
        ("Image CFG Scale", "1.5, 2"),
        ("Cond. Image Mask Weight", "0.5, 1"),
        ("Token merging ratio high-res", "0, 0.5"),
        ("Denoising", "0.4, 0.4"),
    ],
)
def test_axes_without_effect_make_one_picture(label: str, values: str) -> None:
    """They are for instruct-pix2pix, inpainting checkpoints and hires fix."""
    assert len(finished(plot(label, values))) == 1


def test_every_axis_of_the_tab_is_known_here() -> None:
    others = {"Nothing", "Styles", "FP8 mode", "Image CFG Scale", "Cond. Image Mask Weight"}
    others.add("Token merging ratio high-res")
    assert {axis.label for axis in axes("img2img")} == {*AXES, *others}


def test_a_plots_mask_weight_is_the_inpainting_checkpoints() -> None:
    facts = {
        ("checkpoints", "inpainting.safetensors"): ModelFacts(
            architecture="SD1", picture_channels=5
        )
    }
    catalog = replace(
        Catalog.bundled(), folders={"checkpoints": ("inpainting.safetensors",)}, facts=facts
    )
    labels = [axis.label for axis in axes("img2img")]
    args = [labels.index("Cond. Image Mask Weight"), "0.5, 1", [], 0, "", [], 0, "", []]
    payload = {
        "init_images": [sent()],
        "mask": sent(96, 80, "L"),
        "width": 64,
        "height": 64,
        "seed": 1,
        "script_name": "X/Y/Z plot",
        "script_args": [*args, False, True, False, False, False, False, False, 0, True],
        "override_settings": {"sd_model_checkpoint": "inpainting.safetensors"},
    }
    result = translate(payload, "sdapi/v1/img2img", catalog)
    weights = {item["mask_weight"] for item in nodes(result, "A1111ImageConditioning")}
    assert weights == {0.5, 1.0}
    assert "Conditional mask weight: 0.5" in result.info["infotexts"][1]


def test_a_prompt_matrix_encodes_its_init_image_once() -> None:
    """Its prompts are the images of one generation, so that no noise comes before the encoder."""
    result = translated("Prompt matrix", [False, False, "positive", "comma", 0], prompt="a|b|c")
    assert len(nodes(result, "SamplerCustomAdvanced")) == 4
    assert [item["seed"] for item in nodes(result, "A1111VAEEncode")] == [-1]


def test_prompts_from_a_text_start_from_the_same_picture() -> None:
    lines = 'a cat\n--prompt "a dog" --seed 5 --width 128'
    result = translated("Prompts from file or textbox", [False, False, "start", lines])
    assert seeds(result) == [[100], [5]]
    assert [item["seed"] for item in nodes(result, "A1111VAEEncode")] == [-1, 100]
    assert [item["width"] for item in nodes(result, "A1111ResizeImage")] == [64, 128]


def test_more_tiles_than_a_node_has_inputs_stay_in_order() -> None:
    wide = [sent(64 * 250, 64)]
    result = translated("SD upscale", [None, 0, "None", 2], init_images=wide)
    (joined,) = nodes(result, "A1111JoinTiles")
    names = ["images", *(f"image_{number}" for number in range(1, 100))]
    links = [joined[name] for name in names if name in joined]
    assert len(links) <= 100
    order = [seed for link in links for seed in held(result, link)]
    assert order == list(range(100, 350))
    assert max(len(held(result, link)) for link in links) == 3


def held(result: Translation, link: list[Any]) -> list[int]:
    """The seeds of the pictures of a batch, in order."""
    node = result.graph[link[0]]
    if node["class_type"] == "ImageBatch":
        return [
            seed for name in ("image1", "image2") for seed in held(result, node["inputs"][name])
        ]
    (sampled,) = behind(result, link, "SamplerCustomAdvanced")
    seeds_of: list[int] = json.loads(result.graph[sampled["noise"][0]]["inputs"]["seeds"])
    return seeds_of
