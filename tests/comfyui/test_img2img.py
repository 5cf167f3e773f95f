"""img2img and inpainting through the handler, on the real server, as clients send them."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.comfyui.pictures import as_base64, decoded, photo, png
from tests.comfyui.test_requests import is_picture, likeness, pixels, sd15, sdxl, sizes
from tests.comfyui.worker import Worker

IMG2IMG = "/sdapi/v1/img2img"
PHOTO = as_base64(photo(96, 80))
NEAR_DB = 60.0


def masked(width: int = 96, height: int = 80) -> str:
    """A mask that is white within 16 pixels of the middle."""
    mask = Image.new("L", (width, height))
    left, top = width // 2 - 16, height // 2 - 16
    mask.paste(255, (left, top, left + 32, top + 32))
    return as_base64(png(mask))


def inpaint(**fields: Any) -> dict[str, Any]:
    """A request that inpaints the photo's middle, as plug-ins send it."""
    usual = {
        "init_images": [PHOTO],
        "mask": masked(),
        "mask_blur": 0,
        "inpainting_fill": 1,
        "width": 96,
        "height": 80,
        "denoising_strength": 0.8,
    }
    return sd15(**{**usual, **fields})


def original() -> np.ndarray[Any, Any]:
    return np.asarray(decoded(PHOTO).convert("RGB"), np.float64)


def outside(picture: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """What lies 20 pixels and more from the middle, where no mask reaches."""
    kept = picture.copy()
    height, width = picture.shape[:2]
    kept[height // 2 - 20 : height // 2 + 20, width // 2 - 20 : width // 2 + 20] = 0
    return kept


def made(worker: Worker, payload: Mapping[str, Any]) -> dict[str, Any]:
    answer = worker.call(payload, IMG2IMG)
    assert "error" not in answer, answer["error"]
    return dict(answer)


@pytest.mark.parametrize("sampler", ["Euler", "DPM++ 2M SDE", "DDIM", "PLMS", "LCM", "DPM++ 2S a"])
def test_a_stronger_denoise_moves_further(worker: Worker, sampler: str) -> None:
    fields = {"init_images": [PHOTO], "width": 96, "height": 80, "sampler_name": sampler}
    weak, strong = (
        pixels(made(worker, sd15(**fields, steps=6, denoising_strength=strength)))
        for strength in (0.2, 1)
    )
    assert is_picture(strong)
    assert likeness(weak, original()) > likeness(strong, original())


@pytest.mark.parametrize("mode", [0, 1, 2, 3])
def test_every_resize_mode(worker: Worker, mode: int) -> None:
    """Sides are multiples of 8: the lab's small VAE rounds others up, where real ones cut them."""
    fields = {"init_images": [PHOTO], "resize_mode": mode, "width": 72, "height": 104}
    answer = made(worker, sd15(**fields))
    assert sizes(answer) == [(72, 104)]
    assert is_picture(pixels(answer))


@pytest.mark.parametrize("only_masked", [True, False])
@pytest.mark.parametrize("fill", [0, 1, 2, 3])
def test_inpainting_leaves_the_rest_alone(worker: Worker, fill: int, only_masked: bool) -> None:
    answer = made(
        worker,
        inpaint(inpainting_fill=fill, inpaint_full_res=only_masked, inpaint_full_res_padding=8),
    )
    assert sizes(answer) == [(96, 80)]
    assert np.array_equal(outside(pixels(answer)), outside(original()))
    assert likeness(pixels(answer), original()) < NEAR_DB


def test_a_mask_of_another_size_and_with_alpha(worker: Worker) -> None:
    clear = Image.new("RGBA", (48, 40))
    clear.paste((0, 0, 0, 255), (18, 14, 30, 26))
    mask = as_base64(png(clear))
    answer = made(worker, inpaint(mask=mask, inpaint_full_res=False))
    assert np.array_equal(outside(pixels(answer)), outside(original()))
    assert likeness(pixels(answer), original()) < NEAR_DB


def test_an_inverted_mask_makes_the_rest_anew(worker: Worker) -> None:
    answer = pixels(made(worker, inpaint(inpainting_mask_invert=1, inpaint_full_res=False)))
    middle = (slice(36, 44), slice(44, 52))
    assert np.array_equal(answer[middle], original()[middle])
    assert likeness(outside(answer), outside(original())) < NEAR_DB


def test_a_blank_mask_is_plain_img2img(worker: Worker) -> None:
    blank = as_base64(png(Image.new("L", (96, 80))))
    answer = made(worker, inpaint(mask=blank))
    plain = made(worker, inpaint(mask=None))
    assert np.array_equal(pixels(answer), pixels(plain))
    text = json.loads(answer["info"])["infotexts"][0]
    assert "Inpaint area" not in text


def test_masks_and_composites_are_answered(worker: Worker) -> None:
    options = {"return_mask": True, "return_mask_composite": True}
    payload = inpaint(batch_size=2)
    payload["override_settings"] = {**payload["override_settings"], **options}
    answer = made(worker, payload)
    assert len(answer["images"]) == 6
    assert [decoded(image).mode for image in answer["images"]] == ["RGB", "RGB", "RGBA"] * 2


def test_pictures_of_several_sizes_and_orientations_make_a_batch(worker: Worker) -> None:
    turned = Image.open(io.BytesIO(photo(80, 96)))
    exif = turned.getexif()
    exif[0x0112] = 6
    buffer = io.BytesIO()
    turned.save(buffer, "JPEG", exif=exif.tobytes(), quality=95)
    images = [PHOTO, as_base64(buffer.getvalue())]
    answer = made(worker, sd15(init_images=images, batch_size=2, width=96, height=80))
    assert sizes(answer) == [(96, 80), (96, 80)]
    first, second = (pixels(answer, index) for index in range(2))
    assert likeness(first, second) < NEAR_DB
    assert json.loads(answer["info"])["all_seeds"] == [7, 8]


def test_only_the_masked_part_of_pictures_of_several_sizes(worker: Worker) -> None:
    images = [PHOTO, as_base64(photo(128, 112))]
    answer = made(worker, inpaint(init_images=images, batch_size=2, mask_blur=2))
    assert sizes(answer) == [(96, 80), (128, 112)]
    other = np.asarray(decoded(images[1]).convert("RGB"), np.float64)
    assert likeness(pixels(answer, 1), other) < NEAR_DB
    assert np.array_equal(pixels(answer, 1)[-8:], other[-8:])


def test_soft_inpainting(worker: Worker) -> None:
    scripts = {"soft inpainting": {"args": [True, 1, 0.5, 4, 0, 0.5, 2]}}
    soft = made(worker, inpaint(mask_blur=8, alwayson_scripts=scripts))
    hard = made(worker, inpaint(mask_blur=8))
    assert is_picture(pixels(soft))
    assert likeness(pixels(soft), pixels(hard)) < NEAR_DB


def test_sdxl_with_colours_and_noise_as_asked_for(worker: Worker) -> None:
    options = {"img2img_color_correction": True, "img2img_extra_noise": 0.05}
    payload = sdxl(init_images=[PHOTO], initial_noise_multiplier=0.9, denoising_strength=0.6)
    payload["override_settings"] = {**payload["override_settings"], **options}
    answer = made(worker, payload)
    assert is_picture(pixels(answer))
    text = json.loads(answer["info"])["infotexts"][0]
    assert "Noise multiplier: 0.9" in text
    assert "Extra noise: 0.05" in text


def of_checkpoint(name: str, payload: dict[str, Any], **options: Any) -> dict[str, Any]:
    return {**payload, "override_settings": {"sd_model_checkpoint": name, **options}}


INPAINTING, EDITING = "synth15_inpainting", "synth15_edit"


def test_an_inpainting_checkpoint_sees_the_picture_around_the_mask(worker: Worker) -> None:
    """Its result depends on mask and picture, and on how much of the masked part it is shown."""
    whole, shown = (
        made(worker, of_checkpoint(INPAINTING, inpaint(), inpainting_mask_weight=weight))
        for weight in (1.0, 0.0)
    )
    assert is_picture(pixels(whole))
    assert likeness(pixels(whole), pixels(shown)) < NEAR_DB
    info = json.loads(whole["info"])
    assert info["is_using_inpainting_conditioning"] is True
    assert "Conditional mask weight: 1.0" in info["infotexts"][0]
    assert "Conditional mask weight: 0.0" in json.loads(shown["info"])["infotexts"][0]


@pytest.mark.parametrize("upscaler", [None, "Lanczos"])
def test_an_inpainting_checkpoint_in_txt2img(worker: Worker, upscaler: str | None) -> None:
    hires = {"enable_hr": True, "hr_scale": 1.5, "denoising_strength": 0.6}
    fields = {} if upscaler is None else {**hires, "hr_upscaler": upscaler}
    answer = worker.generate(of_checkpoint(INPAINTING, sd15(batch_size=2, **fields)))
    assert sizes(answer) == [(64, 64) if upscaler is None else (96, 96)] * 2
    assert is_picture(pixels(answer))


def test_an_editing_checkpoint_is_guided_by_the_picture(worker: Worker) -> None:
    plain, weak, strong = (
        made(
            worker,
            of_checkpoint(EDITING, sd15(init_images=[PHOTO], image_cfg_scale=scale, steps=4)),
        )
        for scale in (None, 1.2, 3.0)
    )
    assert is_picture(pixels(strong))
    near = likeness(pixels(plain), pixels(weak))
    assert likeness(pixels(plain), pixels(strong)) < near < NEAR_DB
    assert "Image CFG scale: 3.0" in json.loads(strong["info"])["infotexts"][0]


@pytest.mark.parametrize("checkpoint", [INPAINTING, EDITING])
def test_core_nodes_run_such_checkpoints(worker: Worker, checkpoint: str) -> None:
    payload = of_checkpoint(checkpoint, inpaint(image_cfg_scale=1.5, inpaint_full_res=False))
    answer = worker.call(payload, IMG2IMG, fidelity="core")
    assert "error" not in answer, answer["error"]
    assert is_picture(pixels(answer))
