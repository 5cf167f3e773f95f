"""A plan whose passes have prompts by region."""

from __future__ import annotations

from dataclasses import replace

from translator.plan.regions import Regions
from translator.plan.values import Plan, SamplingPass
from translator.prompt import PromptError
from translator.scope import Scope
from translator.scripts.regions.forge_couple import ForgeCouple
from translator.scripts.regions.ratios import RegionError
from translator.scripts.regions.regional_prompter import RegionalPrompter

RegionScript = RegionalPrompter | ForgeCouple


def with_regions(plan: Plan, script: RegionScript | None, scope: Scope) -> Plan:
    """A plan whose passes have a prompt for each region."""
    if script is None:
        return plan
    passes = tuple(_of_pass(item, plan.requested_size, script, scope) for item in plan.passes)
    return replace(plan, passes=passes)


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
