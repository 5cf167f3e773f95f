"""Stage: what is done to decoded pictures, in the plan's order."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import reduce

from translator.comfy import nodes
from translator.comfy.graph import Graph, Image
from translator.plan.values import (
    ColorCorrection,
    Detail,
    FaceRestoration,
    Finish,
    InitPicture,
    Plan,
)
from translator.stages import detailer, init_images
from translator.stages.detailer import Picture
from translator.stages.init_images import Prepared
from translator.stages.sampling import Batch
from translator.stages.starts import posterior_seed
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
    plan: Plan,
    image: Image,
    batch: Batch,
    prepared: Prepared | None,
) -> list[tuple[Finished, int]]:
    """The decoded pictures of a batch, each step of the plan done to them.

    Where ADetailer comes last the pictures stay apart: what is found on each, and so its size, is
    its own.

    Args:
        prepared: what the batch started from; None where it started from noise.

    Returns:
        The batch, or each of its pictures, and how many it has.
    """
    details = tuple(step for step in plan.finish if isinstance(step, Detail))
    if not details:
        return [(_steps(graph, target, image, plan.finish, prepared), len(batch.seeds))]
    place = plan.finish.index(details[0])
    before, after = plan.finish[:place], plan.finish[place + len(details) :]
    image = _steps(graph, target, image, before, prepared).image
    pictures = _detailed(graph, plan, image, details, batch)
    if not after:
        return [(Finished(picture), 1) for picture in pictures]
    image = reduce(lambda first, second: nodes.image_batch(graph, first, second), pictures)
    return [(_steps(graph, target, image, after, prepared), len(batch.seeds))]


def of_init_picture(
    graph: Graph, plan: Plan, init: InitPicture, batch: Batch
) -> list[tuple[Finished, int]]:
    """The init image for every picture of a batch, the units of ADetailer done to it."""
    image, alpha = nodes.load_image(graph, init.image.name)
    if init.image.has_alpha:
        image = nodes.a1111_flatten(graph, image, alpha, init.background)
    details = tuple(step for step in plan.finish if isinstance(step, Detail))
    pictures = _detailed(graph, plan, image, details, batch, shared=True)
    return [(Finished(picture), 1) for picture in pictures]


def _detailed(
    graph: Graph,
    plan: Plan,
    image: Image,
    details: tuple[Detail, ...],
    batch: Batch,
    shared: bool = False,
) -> list[Image]:
    """Every picture of a batch through all units of ADetailer.

    A1111's random state runs on from picture to picture.

    Args:
        shared: whether `image` is one picture for all of them.
    """
    size = len(batch.seeds)
    seed: detailer.PosteriorSeed = posterior_seed(plan, batch.seeds)
    pictures = []
    for index in range(size):
        own = image if shared or size == 1 else nodes.image_from_batch(graph, image, index)
        picture = Picture(own, seed)
        seeds = Batch(batch.first + index, batch.seeds[index:][:1], batch.subseeds[index:][:1])
        for step in details:
            picture = detailer.detail(graph, step, picture, seeds)
        pictures.append(picture.image)
        seed = picture.posterior_seed
    return pictures


def _steps(
    graph: Graph,
    target: Target,
    image: Image,
    steps: tuple[Finish, ...],
    prepared: Prepared | None,
) -> Finished:
    done = Finished(image)
    for step in steps:
        done = _step(graph, target, done, step, prepared)
    return done


def _step(
    graph: Graph, target: Target, done: Finished, step: Finish, prepared: Prepared | None
) -> Finished:
    assert not isinstance(step, Detail | InitPicture)
    if isinstance(step, FaceRestoration):
        restored = nodes.a1111_face_restore(graph, done.image, step.model, step.codeformer_weight)
        return replace(done, image=restored)
    assert prepared is not None
    if isinstance(step, ColorCorrection):
        source = init_images.load(graph, step.source)[0] if step.source else prepared.pixels
        return replace(done, image=target.correct_colors(done.image, source))
    return Finished(*target.put_back(done.image, prepared, step))
