"""Stage: a picture that was sent -> enlarged, cut to a canvas, faces restored."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from translator.comfy import nodes
from translator.comfy.graph import Graph, Image
from translator.geometry import LATENT_CELL
from translator.plan.starts import ImageUpscale
from translator.request.a1111_options import SERVER
from translator.request.images import ImageUpload
from translator.stages.targets import Target

Size = tuple[int, int]

_BLACK = 0x000000


@dataclass(frozen=True)
class Enlargement:
    """One upscaler's work.

    Attributes:
        upscaler: what enlarges.
        source: width and height of the picture.
        factor: by which it grows; 1 or less is possible.
        canvas: the size it is then pasted on in the middle, or None.
    """

    upscaler: ImageUpscale
    source: Size
    factor: float
    canvas: Size | None

    @property
    def by_factor(self) -> Size:
        """The sides times the factor."""
        width, height = (int(side * self.factor) for side in self.source)
        return width, height

    @property
    def size(self) -> Size:
        """What the upscaler answers: the sides times the factor, down to multiples of 8."""
        width, height = (
            int(side * self.factor // LATENT_CELL * LATENT_CELL) for side in self.source
        )
        return width, height


@dataclass(frozen=True)
class Restoration:
    """A face restorer's work.

    Attributes:
        model: ``GFPGAN`` or ``CodeFormer``.
        visibility: how far its result covers the picture, above 0, up to 1.
        weight: CodeFormer's.
    """

    model: str
    visibility: float
    weight: float


def load(graph: Graph, image: ImageUpload) -> Image:
    """A picture that was sent; transparency is dropped, as A1111 does here."""
    return nodes.load_image(graph, image.name)[0]


def enlarge(target: Target, image: Image, steps: Sequence[Enlargement], visibility: float) -> Image:
    """The picture by its upscalers: one, or the second's result blended over the first's."""
    if not steps:
        return image
    graph = target.graph
    results = [_on_canvas(graph, _enlarged(target, image, step), step) for step in steps]
    return blend(graph, results[0], results[-1], visibility if len(steps) > 1 else 0.0)


def restore(graph: Graph, image: Image, restorations: Sequence[Restoration]) -> Image:
    """The picture with its faces restored, one restorer after the other."""
    for item in restorations:
        with graph.numbers_from({"codeformer_weight": "codeformer_weight"}):
            restored = nodes.a1111_face_restore(graph, image, item.model, item.weight)
        image = blend(graph, image, restored, item.visibility)
    return image


def differences(step: Enlargement, target: Target) -> Iterator[str]:
    """What is not as A1111 enlarges."""
    if target.enlarging_differs:
        yield target.enlarging_differs
    elif step.upscaler.model and step.factor == 1.0:
        yield "upscaling by 1 runs the model in core's tiles: near, not equal"
    elif step.upscaler.model and step.by_factor != step.size:
        yield (
            f"{step.by_factor[0]}x{step.by_factor[1]} is no multiple of 8: Lanczos comes in twice "
            "where A1111 does it once, which is near, not equal"
        )


def _enlarged(target: Target, image: Image, step: Enlargement) -> Image:
    """A1111's upscaler rule; what does not grow is one Lanczos resize, but by 1 runs the model."""
    if step.factor < 1.0:
        return _lanczos(target, image, step.source, step.size)
    upscaler = step.upscaler
    if upscaler.model is None:
        return _without_model(target, image, step)
    if step.factor == 1.0:
        model = nodes.load_upscale_model(target.graph, upscaler.model.name)
        larger = nodes.image_upscale_with_model(target.graph, model, image)
        return nodes.image_scale(target.graph, larger, "lanczos", *step.size)
    options = (f"{SERVER}.{option}" for option in upscaler.tile_options)
    with target.graph.numbers_from(dict(zip(("tile", "tile_overlap"), options, strict=True))):
        return target.run_upscale_model(image, upscaler, step.source, step.size)


def _without_model(target: Target, image: Image, step: Enlargement) -> Image:
    """Pillow's resize by the factor, then Lanczos to the multiple of 8.

    PyTorch's nearest-exact takes the same pixels as Pillow's nearest.
    """
    if step.upscaler.method == "nearest":
        if step.by_factor != step.source:
            image = nodes.image_scale(target.graph, image, "nearest-exact", *step.by_factor)
    else:
        image = _lanczos(target, image, step.source, step.by_factor)
    return _lanczos(target, image, step.by_factor, step.size)


def _lanczos(target: Target, image: Image, source: Size, wanted: Size) -> Image:
    """One Lanczos resize; none where the size is right."""
    return image if source == wanted else target.scale_image(image, "none", *wanted)


def _on_canvas(graph: Graph, image: Image, step: Enlargement) -> Image:
    """Pasted in the middle of a black canvas, what stands out cut off.

    A1111 halves each side by itself, rounding down, so the middle may be off by a pixel.
    """
    if step.canvas is None or step.canvas == step.size:
        return image
    offsets = [canvas // 2 - side // 2 for canvas, side in zip(step.canvas, step.size, strict=True)]
    left, top = (max(0, -offset) for offset in offsets)
    x, y = (max(0, offset) for offset in offsets)
    width, height = (
        min(side - cut, canvas - at)
        for side, cut, canvas, at in zip(step.size, (left, top), step.canvas, (x, y), strict=True)
    )
    if (width, height) != step.size:
        image = nodes.image_crop(graph, image, width, height, left, top)
    if (width, height) == step.canvas:
        return image
    canvas = nodes.empty_image(graph, *step.canvas, _BLACK)
    return nodes.paste(graph, canvas, image, x, y)


def blend(graph: Graph, under: Image, over: Image, visibility: float) -> Image:
    """One picture laid over another of its size; `visibility` 0..1."""
    if visibility <= 0.0:
        return under
    return over if visibility >= 1.0 else nodes.image_blend(graph, under, over, visibility)
