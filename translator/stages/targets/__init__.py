"""The targets: A1111's own numbers by our node pack, or what core nodes come to."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from translator.comfy.graph import Graph
from translator.plan.pictures import Made
from translator.plan.values import Plan
from translator.report import Report
from translator.stages.targets.base import Target
from translator.stages.targets.core import Core, picture_differences
from translator.stages.targets.exact import Exact

__all__ = ["Target", "target_of", "warn_of_differences", "warn_of_pictures"]


def target_of(graph: Graph, exact: bool, embeddings: Sequence[str] = ()) -> Target:
    """What spells a plan.

    Args:
        exact: whether our nodes are used.
        embeddings: stems of the embeddings that ComfyUI has.
    """
    return Exact(graph) if exact else Core(graph, embeddings)


def warn_of_pictures(pictures: Iterable[Made], report: Report) -> None:
    """Warn of everything in a script's pictures that core nodes do otherwise than A1111."""
    for picture in pictures:
        for message in picture_differences(picture):
            report.warn("", f"core nodes: {message}")


def warn_of_differences(plan: Plan, report: Report) -> None:
    """Warn of everything in a plan that core nodes do otherwise than A1111."""
    if not plan.exact:
        for message in Core.differences(plan):
            report.warn("", f"core nodes: {message}")
