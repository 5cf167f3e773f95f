"""Numbers that a node does not take, told by the field of the request they come from."""

from __future__ import annotations

from collections.abc import Mapping

from translator.comfy.catalog import InputSignature
from translator.report import Report

_FIELDS: Mapping[str, str] = {
    "aesthetic_score": "override_settings.sdxl_refiner_high_aesthetic_score",
    "cfg": "cfg_scale",
    "codeformer_weight": "override_settings.code_former_weight",
    "comma_padding_backtrack": "override_settings.comma_padding_backtrack",
    "clip_skip": "override_settings.CLIP_stop_at_last_layers",
    "crop_left": "override_settings.sdxl_crop_left",
    "crop_top": "override_settings.sdxl_crop_top",
    "eta": "eta",
    "eta_noise_seed_delta": "override_settings.eta_noise_seed_delta",
    "height": "height",
    "noise_seed": "seed",
    "ratio": "override_settings.token_merging_ratio",
    "refiner_switch_at": "refiner_switch_at",
    "s_churn": "s_churn",
    "s_min_uncond": "s_min_uncond",
    "s_noise": "s_noise",
    "s_tmax": "s_tmax",
    "s_tmin": "s_tmin",
    "seed": "seed",
    "seed_resize_from_h": "seed_resize_from_h",
    "seed_resize_from_w": "seed_resize_from_w",
    "sigma_max": "override_settings.sigma_max",
    "sigma_min": "override_settings.sigma_min",
    "skip_early_cond": "override_settings.skip_early_cond",
    "steps": "steps",
    "stop_at_clip_layer": "override_settings.CLIP_stop_at_last_layers",
    "strength_clip": "prompt",
    "strength_model": "prompt",
    "subseed_strength": "subseed_strength",
    "tile": "override_settings.ESRGAN_tile",
    "tile_overlap": "override_settings.ESRGAN_tile_overlap",
    "total_steps": "steps",
    "width": "width",
}
"""Input of a node -> the field of a request whose number it takes where nothing else is said."""


def usual_field(node: str, name: str) -> str:
    """JSON path of the field whose number an input takes where nothing else is said."""
    return _FIELDS.get(name, f"{node}.{name}")


def within(
    node: str, name: str, item: InputSignature, value: int | float, field: str, report: Report
) -> int | float:
    """A number that an input takes: the value itself, else its bound, and a report.

    A1111 has hardly any bounds, so such a value is valid and cannot be honoured.

    Args:
        field: JSON path of the field that sets it.
    """
    bounded = value
    if item.min is not None and value < item.min:
        bounded = type(value)(item.min)
    elif item.max is not None and value > item.max:
        bounded = type(value)(item.max)
    if bounded != value:
        report.unsupported(
            field,
            f"{value} is not within {item.min}..{item.max}, which ComfyUI's {node}.{name} takes",
            instead=f"{bounded} is used",
            value=value,
        )
    return bounded
