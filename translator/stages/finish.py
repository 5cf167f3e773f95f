"""Stage: what is done to a decoded picture, in the plan's order."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from translator.comfy import nodes
from translator.comfy.graph import Graph, Image
from translator.plan.values import ColorCorrection, FaceRestoration, Finish
from translator.stages.init_images import Prepared
from translator.stages.targets.base import Target


@dataclass(frozen=True)
class Finished:
    """The pictures of a batch, and what is answered beside them.

    Attributes:
        mask: what was made anew, a picture each; None where there is none.
        composite: the results alone where they were made anew, with alpha; None likewise.
    """

    image: Image
    mask: Image | None = None
    composite: Image | None = None


def finish(
    graph: Graph,
    target: Target,
    image: Image,
    steps: Iterable[Finish],
    prepared: Prepared | None,
) -> Finished:
    """The decoded pictures of a batch, each step done to them.

    Args:
        prepared: what the batch started from; None where it started from noise.
    """
    done = Finished(image)
    for step in steps:
        done = _step(graph, target, done, step, prepared)
    return done


def _step(
    graph: Graph, target: Target, done: Finished, step: Finish, prepared: Prepared | None
) -> Finished:
    if isinstance(step, FaceRestoration):
        restored = nodes.a1111_face_restore(graph, done.image, step.model, step.codeformer_weight)
        return replace(done, image=restored)
    assert prepared is not None
    if isinstance(step, ColorCorrection):
        return replace(done, image=target.correct_colors(done.image, prepared))
    return Finished(*target.put_back(done.image, prepared, step))
