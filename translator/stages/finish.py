"""Stage: what is done to decoded pictures, in the plan's order."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from translator.comfy import nodes
from translator.comfy.graph import Graph, Image
from translator.plan.values import (
    ColorCorrection,
    Detail,
    FaceRestoration,
    FaceSwap,
    Finish,
    InitPicture,
    Plan,
)
from translator.stages import detailer, faceswap, init_images
from translator.stages.detailer import Picture
from translator.stages.init_images import Prepared
from translator.stages.sampling import Batch
from translator.stages.starts import PosteriorSeed, posterior_seed
from translator.stages.targets.base import Target


@dataclass(frozen=True)
class Finished:
    """The pictures of a batch, and what is answered beside them.

    Attributes:
        mask: what was made anew, a picture each; None where there is none.
        composite: the results alone where they were made anew, with alpha; None likewise.
        swapped: each picture with its faces swapped, where the originals are kept.
        posterior: what A1111 has seeded torch with after it, where a node tells (ADetailer).
    """

    image: Image
    mask: Image | None = None
    composite: Image | None = None
    swapped: tuple[Image, ...] = ()
    posterior: PosteriorSeed | None = None


Pictures = list[tuple[Finished, int]]
"""A batch, or each of its pictures, and how many each has."""

OwnStep = Detail | FaceSwap
"""A step that goes its own way with every picture: what is found on each is its own."""


def finish(
    graph: Graph,
    target: Target,
    plan: Plan,
    image: Image,
    batch: Batch,
    prepared: Prepared | None,
) -> Pictures:
    """The decoded pictures of a batch, each step of the plan done to them.

    Where ADetailer or ReActor comes last the pictures stay apart: what is found on each, and so its
    size, is its own.

    Args:
        prepared: what the batch started from; None where it started from noise.
    """
    steps, beside = _parted(plan)
    own = tuple(step for step in steps if isinstance(step, Detail | FaceSwap))
    size = plan.passes[-1].size
    if own:
        place = steps.index(own[0])
        before, after = steps[:place], steps[place + len(own) :]
        image = _steps(graph, target, image, before, prepared).image
        pictures = _own_steps(target, plan, image, own, batch, size)
        if not after:
            return _with_swapped(target, _apart(pictures), beside, size)
        images = [item.image for item in pictures]
        if prepared is not None and prepared.apart:
            finished = _each_by_its_own(graph, target, images, after, prepared.apart)
            return _with_swapped(target, finished, beside, size)
        image = nodes.batched(graph, images)
        steps = after
    if prepared is not None and prepared.apart:
        images = [nodes.image_from_batch(graph, image, index) for index in range(len(batch.seeds))]
        finished = _each_by_its_own(graph, target, images, steps, prepared.apart)
        return _with_swapped(target, finished, beside, size)
    done = _steps(graph, target, image, steps, prepared)
    return _with_swapped(target, [(done, len(batch.seeds))], beside, size)


def _each_by_its_own(
    graph: Graph,
    target: Target,
    pictures: Sequence[Image],
    steps: tuple[Finish, ...],
    apart: Sequence[Prepared],
) -> Pictures:
    """The steps done to pictures that are each finished by what is its own."""
    return [
        (_steps(graph, target, picture, steps, own), 1)
        for picture, own in zip(pictures, apart, strict=True)
    ]


def of_init_picture(target: Target, plan: Plan, init: InitPicture, batch: Batch) -> Pictures:
    """The init image for every picture of a batch, each one's own steps done to it."""
    graph = target.graph
    image, alpha = init_images.load(graph, init.image)
    if alpha is not None and init.image.is_rgba:
        image = nodes.a1111_flatten(graph, image, alpha, init.background)
    steps, beside = _parted(plan)
    own = tuple(step for step in steps if isinstance(step, Detail | FaceSwap))
    size = init.image.width, init.image.height
    pictures = _own_steps(target, plan, image, own, batch, size, shared=True)
    return _with_swapped(target, _apart(pictures), beside, size)


def _apart(pictures: Iterable[Picture]) -> Pictures:
    """Pictures that were finished one by one."""
    return [(Finished(item.image, posterior=item.posterior_seed), 1) for item in pictures]


def _parted(plan: Plan) -> tuple[tuple[Finish, ...], FaceSwap | None]:
    """What is done to the pictures themselves, and the swap that is answered beside them."""
    last = plan.finish[-1] if plan.finish else None
    if isinstance(last, FaceSwap) and last.beside:
        return plan.finish[:-1], last
    return plan.finish, None


def _own_steps(
    target: Target,
    plan: Plan,
    image: Image,
    steps: tuple[OwnStep, ...],
    batch: Batch,
    size: tuple[int, int],
    shared: bool = False,
) -> list[Picture]:
    """Every picture of a batch through its own steps.

    A1111's random state runs on from picture to picture.

    Args:
        size: width and height of a picture.
        shared: whether `image` is one picture for all of them.
    """
    graph, count = target.graph, len(batch.seeds)
    last = plan.passes[-1]
    loaded, drawn = last.left_loaded, last.drawn_in_between
    seed: PosteriorSeed = posterior_seed(plan, batch.seeds)
    pictures = []
    for index in range(count):
        own = image if shared or count == 1 else nodes.image_from_batch(graph, image, index)
        picture = Picture(own, seed, drawn if index == 0 else ())
        seeds = Batch(batch.first + index, batch.seeds[index:][:1], batch.subseeds[index:][:1])
        for step in steps:
            if isinstance(step, Detail):
                picture = detailer.detail(graph, step, picture, seeds, loaded)
                loaded = step.checkpoint
            else:
                swapped = faceswap.swap(target, step, picture.image, size)
                picture = replace(picture, image=swapped)
        pictures.append(picture)
        seed = picture.posterior_seed
    return pictures


def _with_swapped(
    target: Target, pictures: Pictures, step: FaceSwap | None, size: tuple[int, int]
) -> Pictures:
    """The pictures with what ReActor answers after them, where it keeps the originals."""
    if step is None:
        return pictures
    graph = target.graph

    def swapped(done: Finished, count: int) -> tuple[Image, ...]:
        single = (
            [done.image]
            if count == 1
            else [nodes.image_from_batch(graph, done.image, index) for index in range(count)]
        )
        return tuple(faceswap.swap(target, step, image, size) for image in single)

    return [(replace(done, swapped=swapped(done, count)), count) for done, count in pictures]


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
    assert not isinstance(step, Detail | FaceSwap | InitPicture)
    if isinstance(step, FaceRestoration):
        restored = nodes.a1111_face_restore(graph, done.image, step.model, step.codeformer_weight)
        return replace(done, image=restored)
    assert prepared is not None
    if isinstance(step, ColorCorrection):
        source = init_images.load(graph, step.source)[0] if step.source else prepared.pixels
        return replace(done, image=target.correct_colors(done.image, source))
    return Finished(*target.put_back(done.image, prepared, step))
