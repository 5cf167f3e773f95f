"""Stage: what is done to a decoded picture, in the plan's order."""

from __future__ import annotations

from collections.abc import Iterable

from translator.comfy import nodes
from translator.comfy.graph import Graph, Image
from translator.plan.values import Finish


def finish(graph: Graph, image: Image, steps: Iterable[Finish]) -> Image:
    """The decoded pictures of a batch, each step done to them."""
    for step in steps:
        image = nodes.a1111_face_restore(graph, image, step.model, step.codeformer_weight)
    return image
