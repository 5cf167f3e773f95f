"""Stage: ReActor on one finished picture: faces swapped, restored, enlarged."""

from __future__ import annotations

from collections.abc import Iterator

from translator.comfy import nodes
from translator.comfy.graph import Graph, Image
from translator.comfy.nodes import FaceModel
from translator.plan.values import FaceSwap, Plan
from translator.stages import extras, init_images
from translator.stages.extras import Enlargement, Restoration, Size
from translator.stages.targets.base import Target


def swap(target: Target, step: FaceSwap, image: Image, size: Size) -> Image:
    """The picture with its faces swapped; as it is where none was.

    Args:
        image: a batch of one.
        size: its width and height in pixels.
    """
    graph = target.graph
    swapped = _swapped(graph, step, image)
    processed = _processed(target, step, swapped, size)
    return nodes.a1111_face_swap_result(graph, image, swapped, processed, step.forced)


def inits(target: Target, plan: Plan) -> Iterator[tuple[str, Image]]:
    """The init images with swapped faces, by the names of the uploads that stand for them."""
    for item in plan.swapped_inits:
        image, _ = init_images.load(target.graph, item.image)
        yield item.name, swap(target, item.swap, image, (item.image.width, item.image.height))


def _swapped(graph: Graph, step: FaceSwap, image: Image) -> Image:
    source: Image | None = None
    face_model: FaceModel | None = None
    if step.image is not None:
        source = nodes.load_image(graph, step.image.name)[0]
    elif step.face_model is not None:
        face_model = nodes.reactor_load_face_model(graph, step.face_model)
    options = nodes.reactor_options(
        graph,
        target_faces=_numbers(step.target_faces),
        target_gender=step.target_gender,
        source_faces=_numbers(step.source_faces),
        source_gender=step.source_gender,
        log_level=step.log_level,
    )
    return nodes.reactor_face_swap(
        graph, image, model=step.model, source=source, face_model=face_model, options=options
    )


def _processed(target: Target, step: FaceSwap, image: Image, size: Size) -> Image:
    """A picture restored and enlarged, in the order that is asked for."""
    if step.restores_first:
        return _enlarged(target, step, _restored(target.graph, step, image), size)
    return _restored(target.graph, step, _enlarged(target, step, image, size))


def _restored(graph: Graph, step: FaceSwap, image: Image) -> Image:
    if step.restorer is None:
        return image
    weight = step.restorer.codeformer_weight
    return extras.restore(
        graph, image, [Restoration(step.restorer.model, step.restorer_visibility, weight)]
    )


def _enlarged(target: Target, step: FaceSwap, image: Image, size: Size) -> Image:
    """A picture enlarged; by 1 the model's result is blended over it."""
    if step.upscaler is None:
        return image
    larger = extras.enlarge(target, image, [Enlargement(step.upscaler, size, step.scale, None)], 1)
    if step.scale != 1.0:
        return larger
    return extras.blend(target.graph, image, larger, step.upscaler_visibility)


def _numbers(faces: tuple[int, ...]) -> str:
    return ",".join(map(str, faces))
