"""A1111's Hypertile: options hypertile_* -> what they change of the UNet.

Source: A1111 v1.10.1 ``extensions-builtin/hypertile/scripts/hypertile_script.py``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from translator.plan.patches import HyperTile
from translator.report import Report
from translator.request.a1111_options import A1111Options

_BOUNDS: Mapping[str, tuple[int, int]] = {
    "hypertile_max_tile_unet": (1, 2048),
    "hypertile_swap_size_unet": (1, 128),
    "hypertile_max_depth_unet": (0, 10),
}
"""Numbers that ComfyUI's node takes."""

_KEYS: Mapping[str, tuple[str, int]] = {
    "hypertile_max_depth_unet": ("Hypertile U-Net max depth", 3),
    "hypertile_max_tile_unet": ("Hypertile U-Net max tile size", 256),
    "hypertile_swap_size_unet": ("Hypertile U-Net swap size", 3),
}
"""Option -> its infotext key, and the default, which is null there."""


def hypertile(options: A1111Options, report: Report) -> tuple[HyperTile, ...]:
    """What the options change, with a warning that the node cuts other tiles."""
    roles = _roles(options)
    if not roles:
        return ()
    for name, (low, high) in _BOUNDS.items():
        value = getattr(options, name)
        if not low <= value <= high:
            message = f"{value} is not within {low}..{high}"
            report.invalid(options.path_of(name), message, value)
            return ()
    switch = "hypertile_enable_unet"
    if not options.hypertile_enable_unet:
        switch = "hypertile_enable_unet_secondpass"
    report.warn(
        options.path_of(switch),
        "ComfyUI's HyperTile cuts other tiles than A1111's, which draws them by the first seed: "
        "the picture is near, not the same",
    )
    return (
        HyperTile(
            options.hypertile_max_tile_unet,
            options.hypertile_swap_size_unet,
            options.hypertile_max_depth_unet,
            roles,
        ),
    )


def infotext(options: A1111Options, *, hires: bool) -> Iterator[tuple[str, Any]]:
    """What Hypertile writes into the infotext.

    Args:
        hires: whether there is a hires pass.
    """
    if options.hypertile_enable_unet:
        yield "Hypertile U-Net", True
    elif hires and options.hypertile_enable_unet_secondpass:
        yield "Hypertile U-Net second pass", True
    else:
        return
    for name, (key, usual) in _KEYS.items():
        value = getattr(options, name)
        yield key, None if value == usual else value


def _roles(options: A1111Options) -> tuple[str, ...]:
    """The passes that it acts in; ADetailer's are img2img's to it."""
    if options.hypertile_enable_unet:
        return "first", "img2img", "hires", "detail"
    return ("hires",) if options.hypertile_enable_unet_secondpass else ()
