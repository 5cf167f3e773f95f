"""Which of the request's always-on scripts act in ADetailer's passes, by their files' names.

Source: ADetailer v25.3.0 ``scripts/!adetailer.py`` (script_filter), restated. The files are those
of the scripts' repositories.
"""

from __future__ import annotations

from collections.abc import Mapping

from translator.plan.patches import (
    DeepShrink,
    DynamicThresholding,
    FreeU,
    HyperTile,
    ModelPatch,
    PerturbedAttentionGuidance,
    RescaledGuidance,
    SelfAttentionGuidance,
    TiledDiffusion,
)
from translator.plan.values import Plan
from translator.request.a1111_options import A1111Options

COMMENTS = "comments"
_HYPERTILE = "hypertile_script"
_ALWAYS = (_HYPERTILE,)

_FILES: Mapping[type, tuple[str, ...]] = {
    DeepShrink: ("kohya_hrfix",),
    DynamicThresholding: ("dynamic_thresholding", "forge_dynamic_thresholding"),
    FreeU: ("freeu", "forge_freeu"),
    HyperTile: (_HYPERTILE,),
    PerturbedAttentionGuidance: ("forge_perturbed_attention",),
    RescaledGuidance: ("CFGRescale",),
    SelfAttentionGuidance: ("SAG", "forge_sag"),
    TiledDiffusion: ("tilediffusion", "forge_multidiffusion"),
}
"""What a script asks for -> the files of the scripts that ask for it."""


def acts(options: A1111Options, *files: str) -> bool:
    """Whether a script of one of these files acts inside."""
    names = [name.strip() for name in options.ad_script_names.split(",")]
    return not options.ad_only_selected_scripts or any(file in (*_ALWAYS, *names) for file in files)


def patch_acts(options: A1111Options, kind: type) -> bool:
    """Whether a kind of change of the model is to act inside."""
    return acts(options, *_FILES[kind])


def patches_inside(plan: Plan) -> tuple[ModelPatch, ...]:
    """The changes of the model that act inside as well; Tiled Diffusion never does here."""
    return tuple(
        patch
        for patch in plan.model_patches
        if not isinstance(patch, TiledDiffusion) and patch_acts(plan.a1111_options, type(patch))
    )
