"""Nothing is dropped in silence: every field and option changes the answer, or is told.

Each is set to other values in requests in which it may act. What leaves no trace in any of them
stands in a table here with the reason, and must go from there when it begins to act.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any

import pytest

from tests.translator.control_requests import picture
from tests.translator.traces import (
    DETAIL,
    FROM_PICTURE,
    HIRES,
    MASK,
    MASKED,
    OTHER,
    PLAIN,
    SDXL,
    UNIT,
    Payload,
    on,
    options,
    trace,
)
from translator.request.a1111_options import option_rows
from translator.schemas import read_schema

PLOT = (4, "2,3,4", [], 0, "", [], 0, "", [], True, *[False] * 6, 0, False)
REQUESTS: Mapping[str, Sequence[Payload]] = {
    "txt2img": (
        {},
        HIRES,
        {"batch_size": 5, "n_iter": 2, "save_images": True},
        {"save_images": True},
        {**HIRES, "hr_upscaler": "R-ESRGAN 4x+", "hr_resize_x": 256, "hr_resize_y": 192},
        {"sampler_name": "Euler", "s_churn": 5, "s_tmax": 10, "s_tmin": 0.1, "s_noise": 1.1},
        {"sampler_name": "Euler a"},
        {"sampler_name": "DDIM"},
        {"sampler_name": "UniPC"},
        {"sampler_name": "DPM++ 2M SDE", "batch_size": 2},
        {"sampler_name": "DPM++ 2M", "scheduler": "Karras"},
        {"sampler_name": "DPM++ 2M", "scheduler": "Polyexponential"},
        {"sampler_name": "DPM++ 2M", "scheduler": "Beta"},
        {"subseed": 5, "subseed_strength": 0.3, "seed_resize_from_w": 64, "seed_resize_from_h": 64},
        SDXL,
        {**SDXL, "refiner_checkpoint": "sd_xl_refiner_1.0", "refiner_switch_at": 0.5},
        {**HIRES, "refiner_checkpoint": "other.safetensors", "refiner_switch_at": 0.5},
        {"prompt": "a <lora:one:0.7> # comment\ncat", "negative_prompt": "b <lora:two:1>"},
        {**HIRES, "prompt": "a <lora:one:1>", "hr_prompt": "b <lora:two:0.5>"},
        {"prompt": ", ".join(["a cat in the long grass"] * 20)},
        {"restore_faces": True},
        {"restore_faces": True, **options(face_restoration_model="CodeFormer")},
        {**HIRES, **options(hypertile_enable_unet=True)},
        {**HIRES, **options(token_merging_ratio=0.4)},
        {"s_min_uncond": 3.0},
        {"script_name": "X/Y/Z plot", "script_args": list(PLOT)},
        options(samples_format="jpg"),
        options(sd_lora="more"),
        on(ControlNet=[UNIT] * 4),
        on(ControlNet=[{**UNIT, "mask": MASK}]),
        on(ControlNet=[{**UNIT, "module": "inpaint_only", "mask": MASK}]),
        on(ADetailer=[True, False, *[DETAIL] * 6]),
        on(ADetailer=[True, False, DETAIL], FreeU_Integrated=[True]),
        {
            "infotext": "x (y:1.1) [a:b:0.5]\nNegative prompt: z\n"
            "Steps: 4, Sampler: DDIM, Seed: 3, Size: 128x128, Version: v1.5.0"
        },
    ),
    "img2img": (
        FROM_PICTURE,
        MASKED,
        {"init_images": [picture(96, 128, "RGBA", (1, 2, 3, 100))]},
        {**MASKED, "inpaint_full_res": False, "inpainting_fill": 1},
        {**MASKED, **options(sd_model_checkpoint="sd-v1-5-inpainting.ckpt")},
        {**FROM_PICTURE, "image_cfg_scale": 1.5, **options(sd_model_checkpoint="instruct-pix2pix")},
        {**FROM_PICTURE, "subseed_strength": 0.3, "seed_resize_from_w": 64},
        {**FROM_PICTURE, "subseed_strength": 0.3, "seed_resize_from_h": 64},
        {**FROM_PICTURE, "refiner_checkpoint": "other.safetensors", "refiner_switch_at": 0.5},
        {**FROM_PICTURE, "prompt": "a <lora:one:0.7>"},
        *(
            {**FROM_PICTURE, **options(upscaler_for_img2img=name)}
            for name in ("R-ESRGAN 4x+", "DAT x2", "ScuNET GAN", "SwinIR 4x")
        ),
        {**FROM_PICTURE, "script_name": "SD upscale", "script_args": ["", 16, "None", 2]},
    ),
}
"""Requests in which a field or an option may act, beside `PLAIN`'s fields."""


@cache
def plain_traces(tab: str) -> tuple[tuple[Any, ...], ...]:
    return tuple(trace(tab, {**PLAIN, **request}) for request in REQUESTS[tab])


def acts(tab: str, change: Payload) -> bool:
    """Whether fields leave a trace in some request; options lie over those that it has."""
    for before, request in zip(plain_traces(tab), REQUESTS[tab], strict=True):
        payload = {**PLAIN, **request}
        for name, value in change.items():
            laid_over = name in ("override_settings", "alwayson_scripts")
            payload[name] = {**payload.get(name, {}), **value} if laid_over else value
        if trace(tab, payload) != before:
            return True
    return False


def values_for(item: Mapping[str, Any]) -> Iterator[Any]:
    """Other values than the default of a schema's entry."""
    kinds = [item["type"]] if isinstance(item["type"], str) else item["type"]
    values: list[Any] = []
    if "boolean" in kinds:
        values += [True, False]
    if {"integer", "number"} & set(kinds):
        values += [0, 1, 2, 3, 40, 160]
    if "number" in kinds:
        values += [0.3, 0.9, 8.5]
    return (value for value in values if value != item.get("default"))


FIELD_VALUES: Mapping[str, Any] = {
    **dict.fromkeys(("prompt", "negative_prompt", "hr_prompt", "hr_negative_prompt"), "other"),
    **dict.fromkeys(("sampler_name", "hr_sampler_name", "sampler_index"), "Heun"),
    **dict.fromkeys(("scheduler", "hr_scheduler"), "Exponential"),
    **dict.fromkeys(("refiner_checkpoint", "hr_checkpoint_name"), "third.safetensors"),
    **dict.fromkeys(("mask", "latent_mask", "firstpass_image"), MASK),
    "styles": ["nope"],
    "override_settings": {"CLIP_stop_at_last_layers": 2},
    "comments": {"a": 1},
    "force_task_id": "x",
    "script_name": "Prompt matrix",
    "script_args": [1, 2],
    "alwayson_scripts": {"ControlNet": {"args": [UNIT]}},
    "infotext": "x\nSteps: 3, Sampler: Heun, Seed: 9",
    "hr_upscaler": "Nearest",
    "init_images": [OTHER],
}
"""Values of fields that are neither numbers nor switches."""

SILENT_FIELDS = {
    ("img2img", "include_init_images"): "it changes the echo of the request alone",
}

FIELDS = [(tab, name) for tab in REQUESTS for name in read_schema(tab)["properties"]]


@pytest.mark.parametrize(("tab", "name"), FIELDS)
def test_every_field(tab: str, name: str) -> None:
    item = read_schema(tab)["properties"][name]
    values = [FIELD_VALUES[name]] if name in FIELD_VALUES else list(values_for(item))
    found = any(acts(tab, {name: value}) for value in values)
    assert found is ((tab, name) not in SILENT_FIELDS)


SILENT_OPTIONS = {
    **dict.fromkeys(
        (
            *("interrogate_clip_num_beams", "interrogate_clip_min_length"),
            *("interrogate_clip_max_length", "interrogate_deepbooru_score_threshold"),
            *("deepbooru_sort_alpha", "deepbooru_use_spaces", "deepbooru_escape"),
            "deepbooru_filter_tags",
        ),
        "of /sdapi/v1/interrogate, see tests/translator/endpoints/test_interrogate.py",
    ),
    **dict.fromkeys(
        (
            *("textual_inversion_add_hashes_to_infotext", "lora_add_hashes_to_infotext"),
            *("add_model_hash_to_info", "add_vae_hash_to_info", "add_vae_name_to_info"),
        ),
        "of files whose hashes are known, see tests/translator/infotext",
    ),
    "ad_script_names": "it names no script that these requests have",
}


def other_values(key: str) -> Iterator[Any]:
    """Other values than an option's default."""
    row = option_rows()[key]
    if key == "img_max_size_mp":
        yield 0
    match row.default:
        case bool():
            yield not row.default
        case int():
            yield from (row.default + 1, max(row.default - 1, 0), 64, 5)
        case float():
            yield from (row.default + 0.5, row.default / 2 or 0.25)
        case list():
            yield ["Seed"]
        case _:
            yield from [item for item in row.choices if item != row.default] or ["other"]


@pytest.mark.parametrize("key", option_rows())
def test_every_option(key: str) -> None:
    found = any(
        acts(tab, options(**{key: value})) for value in other_values(key) for tab in REQUESTS
    )
    assert found is (key not in SILENT_OPTIONS)
