"""Stage: the pictures that scripts make of sent ones and of their generations' pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from translator.comfy import nodes
from translator.comfy.graph import Graph, Image, Mask
from translator.plan import pictures
from translator.plan.pictures import Made
from translator.request.images import ImageUpload
from translator.stages.outputs import GraphGeneration
from translator.stages.targets.base import Target

_BLACK, _WHITE = 0.0, 1.0


class PictureMaker:
    """Makes pictures in a graph.

    Args:
        target: spells what exact and core nodes do differently.
        generations: those that are in the graph, by variant; it may grow.
    """

    def __init__(self, target: Target, generations: Sequence[GraphGeneration]) -> None:
        self._graph = target.graph
        self._target = target
        self._generations = generations

    def provide(self, made: Mapping[str, Made], uploads: Sequence[ImageUpload]) -> dict[str, Image]:
        """The pictures that a generation's uploads stand for, for `Graph.providing`."""
        return {upload.name: self._started_from(made[upload.name], upload) for upload in uploads}

    def _started_from(self, picture: Made, upload: ImageUpload) -> Image:
        image = self.make(picture)
        if isinstance(picture, pictures.Picture):
            return self._target.to_bytes(image, (upload.width, upload.height))
        return image

    def make(self, picture: Made) -> Image:
        """A picture's output, its nodes added where they are not there yet."""
        graph = self._graph
        match picture:
            case pictures.Picture():
                return self._generations[picture.variant].image(graph, picture.index)
            case pictures.Sent():
                return self._sent(picture)
            case pictures.EnlargedBy():
                return self._target.enlarge_by(self.make(picture.of), picture)
            case pictures.Stretched():
                return self._target.scale_image(self.make(picture.of), "none", *picture.size)
            case pictures.Cut():
                return nodes.image_crop(graph, self.make(picture.of), *picture.size, *picture.at)
            case pictures.Pasted():
                return self._pasted(picture)
            case pictures.Joined():
                return self._target.join_tiles(list(map(self.make, picture.tiles)), picture)
            case pictures.Frame():
                return nodes.mask_to_image(graph, frame_mask(graph, picture))
            case pictures.Noised():
                mask = frame_mask(graph, picture.mask)
                return nodes.a1111_outpaint_noise(
                    graph, self.make(picture.of), mask, picture.falloff, picture.colors
                )

    def _sent(self, picture: pictures.Sent) -> Image:
        image, alpha = nodes.load_image(self._graph, picture.image.name)
        if picture.image.is_rgba and picture.background is not None:
            return self._target.flatten(image, alpha, picture.background)
        return image

    def _pasted(self, picture: pictures.Pasted) -> Image:
        over = self.make(picture.over)
        if picture.under is None:
            under = nodes.empty_image(self._graph, *picture.size, pictures.BLACK)
        else:
            under = self.make(picture.under)
        return nodes.paste(self._graph, under, over, *picture.at)


def frame_mask(graph: Graph, frame: pictures.Frame) -> Mask:
    """White with a black rectangle."""
    white = nodes.solid_mask(graph, _WHITE, *frame.size)
    left, top, right, bottom = frame.kept
    if right <= left or bottom <= top:
        return white
    black = nodes.solid_mask(graph, _BLACK, right - left, bottom - top)
    return nodes.mask_multiply(graph, white, black, left, top)
