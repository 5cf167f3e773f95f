"""Scripts that change guidance, attention or the features of a block, by nodes of ComfyUI.

Sources: sd_webui_SAG, CFG_Rescale_webui; Forge 2025-06 ``sd_forge_sag``,
``sd_forge_perturbed_attention``, ``sd_forge_kohya_hrfix``, ``sd_forge_hypertile``, restated.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from translator.plan.patches import (
    DeepShrink,
    HyperTile,
    PerturbedAttentionGuidance,
    RescaledGuidance,
    SelfAttentionGuidance,
)
from translator.scope import Scope
from translator.scripts.arguments import Arguments
from translator.scripts.patches.values import PatchScript, forge_entries, part_of_run

_PERTURBED_NODE = "A1111PerturbedAttention"

_METHODS = ("bicubic", "nearest-exact", "bilinear", "area", "bislerp")


def self_attention_guidance(args: Sequence[Any], path: str, scope: Scope) -> PatchScript | None:
    """[enabled, scale, threshold]"""
    given = Arguments(args, path, scope, (False, 0.75, 1.0))
    given.warn_of_surplus()
    _warn_of_threshold(given, 2)
    return PatchScript(
        SelfAttentionGuidance(given.number(1, -2.0, 5.0), 2.0),
        {"SAG Guidance Scale": given.values[1], "SAG Mask Threshold": given.values[2]},
    )


def self_attention_guidance_of_forge(
    args: Sequence[Any], path: str, scope: Scope
) -> PatchScript | None:
    """[enabled, scale, blur sigma, threshold]"""
    given = Arguments(args, path, scope, (False, 0.5, 2.0, 1.0))
    given.warn_of_surplus()
    _warn_of_threshold(given, 3)
    return PatchScript(
        SelfAttentionGuidance(given.number(1, -2.0, 5.0), given.number(2, 0.0, 10.0)),
        forge_entries("sag", ("scale", "blur_sigma", "threshold"), given),
    )


def _warn_of_threshold(given: Arguments, position: int) -> None:
    if given.values[position] != 1.0:
        given.warn(position, "the threshold of ComfyUI's node is 1")


def perturbed_attention_guidance(
    args: Sequence[Any], path: str, scope: Scope
) -> PatchScript | None:
    """[enabled, scale, attenuation, start, end]"""
    given = Arguments(args, path, scope, (False, 3.0, 0.0, 0.0, 1.0))
    given.warn_of_surplus()
    attenuation = given.number(2, 0.0, 100.0)
    if attenuation and not scope.has_own(_PERTURBED_NODE):
        given.warn(2, "ComfyUI's node does not weaken from step to step")
        attenuation = 0.0
    start, end = part_of_run(given, 3, _PERTURBED_NODE, scope)
    scale = given.number(1, 0.0, 100.0)
    return PatchScript(
        PerturbedAttentionGuidance(scale, attenuation, start, end),
        forge_entries("pagi", ("scale", "attenuation", "start_step", "end_step"), given),
    )


def deep_shrink(args: Sequence[Any], path: str, scope: Scope) -> PatchScript | None:
    """[enabled, block, factor, start, end, after skip, down, up]"""
    usual = (False, 3, 2.0, 0.0, 0.35, True, "bicubic", "bicubic")
    given = Arguments(args, path, scope, usual)
    given.warn_of_surplus()
    patch = DeepShrink(
        block=given.whole(1, 1, 32),
        factor=given.number(2, 0.1, 9.0),
        start=given.number(3, 0.0, 1.0),
        end=given.number(4, 0.0, 1.0),
        after_skip=given.switch(5),
        down=given.choice(6, _METHODS),
        up=given.choice(7, _METHODS),
    )
    names = (
        *("block_number", "downscale_factor", "start_percent", "end_percent"),
        *("downscale_after_skip", "downscale_method", "upscale_method"),
    )
    return PatchScript(patch, forge_entries("kohya_hrfix", names, given))


def hyper_tile(args: Sequence[Any], path: str, scope: Scope) -> PatchScript | None:
    """[enabled, tile size, swap size, depth, scale depth]"""
    given = Arguments(args, path, scope, (False, 256, 2, 0, False))
    given.warn_of_surplus()
    given.warn(0, "ComfyUI's HyperTile draws other tiles: the picture is near, not the same")
    patch = HyperTile(
        tile=given.whole(1, 64, 2048),
        swap_size=given.whole(2, 1, 128),
        depth=given.whole(3, 0, 10),
        roles=("first", "img2img", "hires"),
        scales=given.switch(4),
    )
    names = ("tile_size", "swap_size", "max_depth", "scale_depth")
    return PatchScript(patch, forge_entries("hypertile", names, given))


def rescaled_guidance(args: Sequence[Any], path: str, scope: Scope) -> PatchScript | None:
    """[share, colour fix, its strength, keep the original]"""
    given = Arguments(args, path, scope, (0.0, False, 0.0, False))
    given.warn_of_surplus()
    if given.switch(1):
        given.unsupported(1, "its colour fix is not done; send false", instead="it is left out")
    given.warn(0, "ComfyUI's RescaleCFG takes the spread of v-predictions, not of clean latents")
    share = given.number(0, 0.0, 1.0)
    return PatchScript(RescaledGuidance(share), {"CFG Rescale": given.values[0]})
