"""A plan whose passes have prompts by region."""

from __future__ import annotations

from dataclasses import replace

from translator.control.models import Kind
from translator.plan.regions import RegionalPrompts, Regions
from translator.plan.values import Plan, SamplingPass
from translator.prompt import PromptError
from translator.scope import Scope
from translator.scripts.regions.forge_couple import ForgeCouple
from translator.scripts.regions.ratios import RegionError
from translator.scripts.regions.regional_prompter import RegionalPrompter

RegionScript = RegionalPrompter | ForgeCouple

_IMAGE_PROMPTS = (Kind.IP_ADAPTER, Kind.INSTANT_ID_ADAPTER)
"""Models that add to the cross-attention."""


def with_regions(plan: Plan, script: RegionScript | None, scope: Scope) -> Plan:
    """A plan whose passes have a prompt for each region."""
    if script is None:
        return plan
    passes = tuple(_of_pass(item, plan.requested_size, script, scope) for item in plan.passes)
    plan = replace(plan, passes=passes)
    _warn_of_image_prompts(plan, scope)
    return plan


def _warn_of_image_prompts(plan: Plan, scope: Scope) -> None:
    """Regional Prompter hooks the same layers as ControlNet's image prompts, and after them."""
    regions = [item.regions for item in plan.passes]
    if not any(
        isinstance(own, RegionalPrompts) and own.calculation == "Attention" for own in regions
    ):
        return
    for item in plan.control.units:
        if item.kind in _IMAGE_PROMPTS:
            scope.report.warn(
                item.unit.path,
                "has no effect beside Regional Prompter's Attention, which puts its own "
                "cross-attention in place of the image prompt's, as in A1111; its Latent leaves it",
            )


def _of_pass(
    item: SamplingPass, size: tuple[int, int], script: RegionScript, scope: Scope
) -> SamplingPass:
    regions: Regions | None
    try:
        if isinstance(script, ForgeCouple):
            regions = script.regions(item, size)
        else:
            regions = script.regions(item)
    except (RegionError, PromptError) as error:
        scope.report.invalid("prompt", f"as prompts of regions: {error}")
        return item
    return replace(item, regions=regions)
