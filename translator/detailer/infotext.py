"""What ADetailer writes into the infotext."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from translator.detailer.units import (
    NO_MODEL,
    SAME_SCHEDULER,
    VERSION,
    DetailerScript,
    DetailerUnit,
)

_SUFFIXES = ("", " 2nd", " 3rd")


def infotext_entries(script: DetailerScript) -> dict[str, Any]:
    """Key -> value, in A1111's order; nothing where no unit is on."""
    if not script.is_on:
        return {}
    entries: dict[str, Any] = {}
    for unit in script.units:
        if unit.is_on:
            suffix = _suffix(unit.number)
            for name, value in _entries(unit):
                entries[f"ADetailer {name}{suffix}"] = value
    entries["ADetailer version"] = VERSION
    return entries


def _suffix(number: int) -> str:
    return _SUFFIXES[number] if number < len(_SUFFIXES) else f" {number + 1}th"


def _entries(unit: DetailerUnit) -> Iterator[tuple[str, Any]]:
    yield "model", unit.ad_model
    for name, text in (
        ("model classes", unit.ad_model_classes),
        ("prompt", unit.ad_prompt),
        ("negative prompt", unit.ad_negative_prompt),
    ):
        if text:
            yield name, text
    yield "confidence", unit.ad_confidence
    if unit.ad_mask_k:
        yield "method to decide top k masks", unit.ad_mask_filter_method
        yield "mask only top k", unit.ad_mask_k
    yield from _unless("mask min ratio", unit.ad_mask_min_ratio, 0.0)
    yield from _unless("mask max ratio", unit.ad_mask_max_ratio, 1.0)
    yield from _unless("x offset", unit.ad_x_offset, 0)
    yield from _unless("y offset", unit.ad_y_offset, 0)
    yield "dilate erode", unit.ad_dilate_erode
    yield from _unless("mask merge invert", unit.ad_mask_merge_invert, "None")
    yield "mask blur", unit.ad_mask_blur
    yield "denoising strength", unit.ad_denoising_strength
    yield "inpaint only masked", unit.ad_inpaint_only_masked
    if unit.ad_inpaint_only_masked:
        yield "inpaint padding", unit.ad_inpaint_only_masked_padding
    yield from _separate(unit)
    yield from _control(unit)


def _unless(name: str, value: Any, usual: Any) -> Iterator[tuple[str, Any]]:
    if value != usual:
        yield name, value


def _separate(unit: DetailerUnit) -> Iterator[tuple[str, Any]]:
    """What the unit does not take over from the request."""
    if unit.ad_use_inpaint_width_height:
        yield "use inpaint width height", True
        yield "inpaint width", unit.ad_inpaint_width
        yield "inpaint height", unit.ad_inpaint_height
    for used, name, value in (
        (unit.ad_use_steps, "steps", unit.ad_steps),
        (unit.ad_use_cfg_scale, "CFG scale", unit.ad_cfg_scale),
        (unit.ad_use_checkpoint, "checkpoint", unit.ad_checkpoint),
        (unit.ad_use_vae, "VAE", unit.ad_vae),
    ):
        if used:
            yield f"use separate {name}", True
            yield name, value
    if unit.ad_use_sampler:
        yield "use separate sampler", True
        yield "sampler", unit.ad_sampler
        yield from _unless("scheduler", unit.ad_scheduler, SAME_SCHEDULER)
    if unit.ad_use_noise_multiplier:
        yield "use separate noise multiplier", True
        yield "noise multiplier", unit.ad_noise_multiplier
    if unit.ad_use_clip_skip:
        yield "use separate CLIP skip", True
        yield "CLIP skip", unit.ad_clip_skip
    if unit.ad_restore_face:
        yield "restore face", True


def _control(unit: DetailerUnit) -> Iterator[tuple[str, Any]]:
    if unit.ad_controlnet_model == NO_MODEL:
        return
    yield "ControlNet model", unit.ad_controlnet_model
    yield from _unless("ControlNet module", unit.ad_controlnet_module, NO_MODEL)
    yield from _unless("ControlNet weight", unit.ad_controlnet_weight, 1.0)
    yield from _unless("ControlNet guidance start", unit.ad_controlnet_guidance_start, 0.0)
    yield from _unless("ControlNet guidance end", unit.ad_controlnet_guidance_end, 1.0)
