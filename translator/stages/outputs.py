"""Stage: the nodes that answer images, and what stands where in the answer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from translator import result
from translator.comfy import nodes
from translator.comfy.graph import Graph, Image
from translator.plan.answer import Assembled, DetectedMaps, Grid, Output
from translator.plan.pictures import Made, Picture
from translator.plan.values import Plan
from translator.report import Report
from translator.stages.control import units
from translator.stages.finish import Finished
from translator.stages.starts import PosteriorSeed

GRID_NODE = "A1111ImageGrid"
_GRID_INPUTS = 100
"""Inputs of A1111ImageGrid; each takes a whole batch."""


@dataclass(frozen=True)
class GraphGeneration:
    """A generation in the graph.

    Attributes:
        plan: what it was made from.
        batches: the pictures of each batch, None where none is shown, and how many they are.
    """

    plan: Plan
    batches: Sequence[tuple[Finished | None, int]]

    @property
    def posterior(self) -> PosteriorSeed | None:
        """What A1111 has seeded torch with after it, where a node tells; see `Finished`."""
        finished = self.batches[-1][0]
        return finished.posterior if finished else None

    def image(self, graph: Graph, index: int) -> Image:
        """One image of it, cut out of its batch where that has several."""
        finished, size, place = self.find(index)
        if size == 1:
            return finished.image
        return nodes.image_from_batch(graph, finished.image, place)

    def find(self, index: int) -> tuple[Finished, int, int]:
        """The batch that holds an image, the batch's size, and the image's place in it."""
        for finished, size in self.batches:
            if finished is not None and index < size:
                return finished, size, index
            index -= size
        raise IndexError(index)


def add_outputs(
    graph: Graph,
    answered: Sequence[Output],
    generations: Sequence[GraphGeneration],
    make: Callable[[Made], Image],
    how: str,
    report: Report,
) -> tuple[list[result.Output], list[int | None]]:
    """Add the output nodes.

    Args:
        answered: what is answered, see `Expansion.outputs`.
        generations: of each variant.
        make: a picture's output, see `PictureMaker.make`.
        how: see `Options.image_output`.

    Returns:
        `Translation.outputs`, and for each of them the position in ``answered`` whose infotext it
        carries; None for masks, which carry none.
    """
    writer = _OutputWriter(graph, generations, make, how, report)
    outputs: list[result.Output] = []
    sources: list[int | None] = []
    for position, output in enumerate(answered):
        entries = list(writer.write(output))
        outputs += entries
        sources += [None if entry.kind == "mask" else position for entry in entries]
    if not outputs:
        report.invalid("script_name", "without its grid there is nothing to answer")
    return outputs, sources


class _OutputWriter:
    def __init__(
        self,
        graph: Graph,
        generations: Sequence[GraphGeneration],
        make: Callable[[Made], Image],
        how: str,
        report: Report,
    ) -> None:
        self._graph = graph
        self._generations = generations
        self._make = make
        self._how = how
        self._report = report

    def write(self, output: Output) -> Iterator[result.Output]:
        if isinstance(output, Picture):
            yield from self._picture(output)
        elif isinstance(output, Assembled):
            yield result.Output("image", self._save(self._make(output.picture), "Images"))
        elif isinstance(output, DetectedMaps):
            generation = self._generations[output.variant]
            yield from units.detected_maps(self._graph, generation.plan.control, self._save)
            yield from self._swapped(generation)
        elif self._graph.has(GRID_NODE):
            yield result.Output("grid", self._save(self._grid(output), "Grid"))
        else:
            self._report.missing(
                "script_name", "a grid needs our node pack", instead="it is left out"
            )

    def _picture(self, picture: Picture) -> Iterator[result.Output]:
        """A picture, and what option return_mask and return_mask_composite answer beside it."""
        generation = self._generations[picture.variant]
        finished, _, index = generation.find(picture.index)
        yield result.Output("image", self._save(finished.image, "Images"), index=index)
        if finished.mask and generation.plan.answers_mask:
            yield result.Output("mask", self._save(finished.mask, "Masks"), index=index)
        if finished.composite and generation.plan.answers_composite:
            node = self._save(finished.composite, "What was made anew")
            yield result.Output("mask", node, index=index)

    def _swapped(self, generation: GraphGeneration) -> Iterator[result.Output]:
        """The pictures with swapped faces, where ReActor keeps the originals."""
        for finished, _ in generation.batches:
            for image in finished.swapped if finished else ():
                yield result.Output("image", self._save(image, "Faces swapped"))

    def _save(self, image: Image, title: str) -> str:
        return nodes.output_image(self._graph, image, self._how, title)

    def _grid(self, grid: Grid) -> Image:
        cells = [self._cell(cell) for cell in grid.cells]
        images = nodes.within_inputs(self._graph, cells, _GRID_INPUTS)
        return nodes.a1111_image_grid(self._graph, images, grid.rows, grid.legend, grid.background)

    def _cell(self, cell: Picture | Assembled | Grid) -> Image:
        if isinstance(cell, Grid):
            return self._grid(cell)
        return self._make(cell.picture if isinstance(cell, Assembled) else cell)
