"""A1111's options: the server's a1111_options with a request's ``override_settings`` on top.

Which keys there are, their defaults and what becomes of each here lies in ``tables/options.json``.
Source: A1111 v1.10.1 ``modules/shared_options.py``, ``options.py`` and ``processing.py``, and
the options that its built-in extensions and ControlNet declare.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from functools import cache
from types import MappingProxyType
from typing import Any, Literal

from translator.report import Report, show
from translator.request.hints import field_hint
from translator.tables import read_table

OVERRIDES = "override_settings"
SERVER = "options.a1111_options"

State = Literal["honoured", "no_effect", "unsupported"]


@dataclass(frozen=True)
class OptionRow:
    """What is known of one option.

    Attributes:
        key: A1111's name of it.
        default: A1111's default; None where there is none.
        state: ``honoured`` (a field of `A1111Options`), ``no_effect`` (changes neither picture nor
            answer here) or ``unsupported`` (would change them, and cannot be done).
        why: the reason where it is not honoured.
        choices: the values A1111 knows; empty where any will do.
        otherwise: what a value that is none of `choices` acts like; None where A1111 fails.
        infotext: the key of an infotext that it is read back from.
        read_before_overrides: A1111 reads it before it applies a request's override_settings, so
            that there it is without effect.
        ignored_over_api: A1111 skips it in override_settings.
        harmless: values beside the default that ask for nothing.
    """

    key: str
    default: Any
    state: State
    why: str = ""
    choices: tuple[str, ...] = ()
    otherwise: str | None = None
    infotext: str | None = None
    read_before_overrides: bool = False
    ignored_over_api: bool = False
    harmless: tuple[Any, ...] = ()


@cache
def option_rows() -> Mapping[str, OptionRow]:
    """Every option of A1111 by key, in A1111's order."""
    rows = {}
    for key, row in read_table("options")["options"].items():
        rows[key] = OptionRow(
            key, **{**row, **{name: tuple(row.get(name, ())) for name in ("choices", "harmless")}}
        )
    return MappingProxyType(rows)


@dataclass(frozen=True)
class A1111Options:
    """The options that affect picture or answer, under A1111's own names.

    Numbers are kept as they were given (4 stays 4 where the default is 4.0), because A1111 prints
    them so. Bounds are not checked, as by A1111. Model names are only carried; `path_of` says
    where one stood.

    Attributes:
        given: key -> JSON path of the value, for the keys that server or request have set.
    """

    samples_format: str
    jpeg_quality: int
    enable_pnginfo: bool
    return_grid: bool
    grid_only_if_multiple: bool
    grid_prevent_empty_spots: bool
    n_rows: int
    grid_background_color: str
    grid_text_active_color: str
    grid_text_inactive_color: str
    img_max_size_mp: float

    sd_model_checkpoint: str | None
    sd_vae: str | None
    sd_lora: str
    sd_hypernetwork: str
    extra_networks_default_multiplier: float

    emphasis: str
    use_old_emphasis_implementation: bool
    comma_padding_backtrack: int
    enable_prompt_comments: bool
    use_old_scheduling: bool
    CLIP_stop_at_last_layers: int
    sdxl_clip_l_skip: bool
    sdxl_crop_top: int
    sdxl_crop_left: int
    sdxl_refiner_low_aesthetic_score: float
    sdxl_refiner_high_aesthetic_score: float

    randn_source: str
    eta_noise_seed_delta: int
    no_dpmpp_sde_batch_determinism: bool
    sgm_noise_multiplier: bool

    eta_ancestral: float
    eta_ddim: float
    s_churn: float
    s_tmin: float
    s_tmax: float
    s_noise: float
    s_min_uncond: float
    s_min_uncond_all: bool
    skip_early_cond: float
    pad_cond_uncond: bool
    pad_cond_uncond_v0: bool
    enable_quantization: bool
    uni_pc_variant: str
    uni_pc_skip_type: str
    uni_pc_order: int
    uni_pc_lower_order_final: bool

    sigma_min: float
    sigma_max: float
    rho: float
    beta_dist_alpha: float
    beta_dist_beta: float
    always_discard_next_to_last_sigma: bool
    use_old_karras_scheduler_sigmas: bool
    sd_noise_schedule: str
    use_downcasted_alpha_bar: bool

    img2img_extra_noise: float
    img2img_fix_steps: bool
    img2img_background_color: str
    img2img_color_correction: bool
    initial_noise_multiplier: float
    inpainting_mask_weight: float
    overlay_inpaint: bool
    return_mask: bool
    return_mask_composite: bool
    upscaler_for_img2img: str | None
    hires_fix_refiner_pass: str
    hires_fix_use_firstpass_conds: bool
    use_old_hires_fix_width_height: bool
    refiner_switch_by_sample_steps: bool
    token_merging_ratio: float
    token_merging_ratio_hr: float
    token_merging_ratio_img2img: float
    hypertile_enable_unet: bool
    hypertile_enable_unet_secondpass: bool
    hypertile_max_depth_unet: int
    hypertile_max_tile_unet: int
    hypertile_swap_size_unet: int

    tiling: bool
    face_restoration: bool
    face_restoration_model: str
    code_former_weight: float
    ESRGAN_tile: int
    ESRGAN_tile_overlap: int
    DAT_tile: int
    DAT_tile_overlap: int
    SCUNET_tile: int
    SCUNET_tile_overlap: int
    SWIN_tile: int
    SWIN_tile_overlap: int

    ad_max_models: int
    ad_bbox_sortby: str
    ad_same_seed_for_each_tab: bool
    ad_dynamic_denoise_power: float
    ad_match_inpaint_bbox_size: str
    ad_only_selected_scripts: bool
    ad_script_names: str

    control_net_unit_count: int
    control_net_no_detectmap: bool
    control_net_inpaint_blur_sigma: int
    controlnet_ignore_noninpaint_mask: bool

    add_model_name_to_info: bool
    add_model_hash_to_info: bool
    add_vae_name_to_info: bool
    add_vae_hash_to_info: bool
    add_version_to_infotext: bool
    textual_inversion_add_hashes_to_infotext: bool
    lora_add_hashes_to_infotext: bool

    disable_weights_auto_swap: bool
    interrogate_clip_num_beams: int
    interrogate_clip_min_length: int
    interrogate_clip_max_length: int
    interrogate_deepbooru_score_threshold: float
    deepbooru_sort_alpha: bool
    deepbooru_use_spaces: bool
    deepbooru_escape: bool
    deepbooru_filter_tags: str

    infotext_skip_pasting: list[str]
    auto_backcompat: bool

    given: Mapping[str, str]

    @classmethod
    def with_defaults(cls, **changes: Any) -> A1111Options:
        """A1111's defaults, but for some values, which are not checked."""
        return replace(_defaults(), **changes)

    def _with(self, values: Mapping[str, Any], given: Mapping[str, str]) -> A1111Options:
        """These options with some values. A copy: so many fields take long to construct."""
        made = copy.copy(self)
        vars(made).update(values, given=MappingProxyType(given))
        return made

    def path_of(self, key: str) -> str:
        """The JSON path to name in a message about an option's value."""
        return self.given.get(key, f"{OVERRIDES}.{key}")

    @property
    def img2img_token_merging_ratio(self) -> float:
        """The share of tokens that img2img merges: a request's own goes before img2img's option."""
        overrides = self.given.get("token_merging_ratio", "").startswith(OVERRIDES)
        own = self.token_merging_ratio if overrides else 0.0
        return own or self.token_merging_ratio_img2img or self.token_merging_ratio

    def appended_networks(self, prompt: str) -> str:
        """The extra networks that options sd_lora and sd_hypernetwork append to every prompt.

        Args:
            prompt: the first prompt of a batch; a network that it names itself is not appended.
        """
        tags = ""
        for kind, name in (("lora", self.sd_lora), ("hypernet", self.sd_hypernetwork)):
            named = re.search(f"<{kind}:{re.escape(name)}[:>]", prompt)
            if name not in ("None", "") and not named:
                tags += f"<{kind}:{name}:{self.extra_networks_default_multiplier}>"
        return tags


@cache
def _defaults() -> A1111Options:
    """A1111's default of every honoured option."""
    rows = option_rows().values()
    values = {row.key: row.default for row in rows if row.state == "honoured"}
    return A1111Options(**values, given=MappingProxyType({}))


def resolve_a1111_options(
    server: Mapping[str, Any], overrides: Mapping[str, Any] | None, report: Report
) -> A1111Options:
    """The options in force during one request.

    Args:
        server: the server's a1111_options (`Options.a1111_options`).
        overrides: the request's ``override_settings``, which lie on top.
        report: takes a warning for every override without effect here, and refuses (or warns of)
            what is unknown, cannot be done, or is of a type with which A1111 fails.
    """
    values: dict[str, Any] = {}
    given: dict[str, str] = {}
    for layer, a1111_options in ((SERVER, server), (OVERRIDES, overrides or {})):
        for key, value in a1111_options.items():
            path = f"{layer}.{key}"
            if _takes_effect(key, value, path, layer, report):
                values[key] = _checked(option_rows()[key], value, path, report)
                given[key] = path
    return _defaults()._with(values, given)


def _takes_effect(key: str, value: Any, path: str, layer: str, report: Report) -> bool:
    """Whether the option is honoured with this value; if it is not, the report says so."""
    row = option_rows().get(key)
    if row is None:
        _report_unknown(key, value, path, layer, report)
        return False
    if row.state != "honoured" and (value == row.default or value in row.harmless):
        return False
    if row.state == "unsupported":
        report.unsupported(path, row.why, instead="A1111's default is used", value=value)
        return False
    if layer == SERVER:
        return row.state == "honoured"
    if row.ignored_over_api or row.state == "no_effect":
        report.warn(path, f"without effect: {row.why}")
        return False
    if row.read_before_overrides:
        report.warn(
            path, "without effect: A1111 reads this option before override_settings are applied"
        )
        return False
    return True


def _report_unknown(key: str, value: Any, path: str, layer: str, report: Report) -> None:
    """An unknown key: A1111 keeps it, and fails on it in a request unless null.

    Forge's clients send theirs empty where nothing is asked for: that loses nothing.
    """
    hint = field_hint("option", key, option_rows())
    if layer == SERVER or value in (None, "", [], {}):
        report.warn(path, f"A1111 1.10.1 has no such option, it is ignored{hint}")
        return
    report.invalid(path, f"A1111 1.10.1 has no such option, and fails on it{hint}", value)


@cache
def _types() -> Mapping[str, str]:
    """Field -> its annotation, such as ``float`` or ``str | None``."""
    return {item.name: str(item.type) for item in fields(A1111Options)}


def _checked(row: OptionRow, value: Any, path: str, report: Report) -> Any:
    """The value if A1111 works with it, else A1111's default after a report."""
    kind = _types()[row.key]
    if kind == "bool":
        return _truth(value, path, report)
    if not _fits(kind, value):
        wanted = _WANTED[kind]
        report.invalid(path, f"{show(value)} is not {wanted}; A1111 does not convert it", value)
        return row.default
    if kind == "int":
        return int(value)
    if row.choices and value not in row.choices:
        return _other_choice(row, value, path, report)
    return value


_WANTED = {
    "int": "a whole number",
    "float": "a number",
    "str": "a text",
    "str | None": "a text or null",
    "list[str]": "a list of texts",
}


def _fits(kind: str, value: Any) -> bool:
    if kind == "int":
        return _is_number(value) and value == int(value)
    if kind == "float":
        return _is_number(value)
    if kind == "list[str]":
        return isinstance(value, list) and all(isinstance(item, str) for item in value)
    return isinstance(value, str) or (kind == "str | None" and value is None)


def _is_number(value: Any) -> bool:
    """Whether it is a finite JSON number."""
    return (
        isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < float("inf")
    )


def _truth(value: Any, path: str, report: Report) -> bool:
    """A switch as A1111 reads it: by Python's truth, in which "false" is true."""
    if isinstance(value, str) and value:
        report.warn(path, f"the text {show(value)} switches the option on, as any text does")
    return bool(value)


def _other_choice(row: OptionRow, value: str, path: str, report: Report) -> Any:
    message = f"{show(value)} is not one of {', '.join(row.choices)}"
    if row.otherwise is None:
        report.invalid(path, f"{message}; A1111 fails", value)
        return row.default
    report.warn(path, f"{message}; it acts like {row.otherwise or 'none'}, as in A1111")
    return row.otherwise
