"""Where ADetailer's regions come out otherwise than A1111's."""

from __future__ import annotations

from collections.abc import Sequence

from translator.control.units import ControlUnit
from translator.detailer.inner_scripts import acts, patch_acts
from translator.detailer.units import NO_MODEL, DetailerUnit
from translator.plan.patches import TiledDiffusion
from translator.plan.regions import RegionalPrompts
from translator.plan.values import Plan
from translator.scope import Scope


def warn_of_scripts(
    plan: Plan,
    units: Sequence[DetailerUnit],
    control_units: Sequence[ControlUnit],
    scope: Scope,
) -> None:
    """Scripts of the request that change regions in A1111, and not here."""
    warn, path = scope.report.warn, units[0].path or "alwayson_scripts.ADetailer"
    if isinstance(plan.first.regions, RegionalPrompts):
        warn(
            path,
            "in A1111 Regional Prompter goes on acting while a region is made anew; here a region "
            "has its own prompt alone",
        )
    options = plan.a1111_options
    selected = options.ad_only_selected_scripts
    option = options.path_of("ad_script_names" if selected else "ad_only_selected_scripts")
    without = any(unit.ad_controlnet_model == NO_MODEL for unit in units)
    if control_units and without and acts(options, "controlnet"):
        warn(option, "ControlNet's units act on the whole picture here, not on regions as well")
    tiled = any(isinstance(patch, TiledDiffusion) for patch in plan.model_patches)
    if tiled and patch_acts(options, TiledDiffusion):
        warn(option, "Tiled Diffusion cuts the whole picture here, not regions as well")
