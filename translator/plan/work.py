"""How much work a request is: what the operator's limits judge."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from translator.plan.answer import Assembled, Grid, Output, needed_images
from translator.plan.pictures import Made, Picture, Size, size_of
from translator.plan.values import Detail, Plan, Role


@dataclass(frozen=True)
class PassWork:
    """One sampling pass over all batches of a generation.

    Attributes:
        role: the pass' part in the generation.
        width, height: of its pictures, in pixels.
        batch: pictures that are sampled together.
        runs: how often it is run, once for each batch.
        steps: sampling steps of one run.
    """

    role: Role
    width: int
    height: int
    batch: int
    runs: int
    steps: int

    @property
    def pixels(self) -> int:
        """Pixels of one picture."""
        return self.width * self.height


@dataclass(frozen=True)
class Work:
    """All that a request makes ComfyUI do.

    Attributes:
        passes: of every generation in order.
        images: pictures that are generated, over all generations; grids and maps do not count.
        grids: width and height of each grid in pixels, without its legend and margins, by the sizes
            of its generations' last passes.
    """

    passes: tuple[PassWork, ...] = ()
    images: int = 0
    grids: tuple[Size, ...] = ()


def work_of(plans: Sequence[Plan], outputs: Sequence[Output], made: Iterable[Made] = ()) -> Work:
    """The work of a request.

    Args:
        plans: one for each variant of the request.
        outputs: what is answered of them: a batch without a picture that is needed is not run.
        made: what variants start from, see `Expansion.made`.
    """
    needed = needed_images(outputs, len(plans), made)
    batches = [
        list(_needed_batches(plan, indexes)) for plan, indexes in zip(plans, needed, strict=True)
    ]
    return Work(
        passes=tuple(
            item
            for plan, sizes in zip(plans, batches, strict=True)
            if sizes
            for item in _passes(plan, sizes)
        ),
        images=sum(map(sum, batches)),
        grids=tuple(_size(item, plans) for item in outputs if isinstance(item, Grid)),
    )


def _size(cell: Picture | Assembled | Grid, plans: Sequence[Plan]) -> Size:
    """Width and height of a grid, or of one of its cells."""
    if isinstance(cell, Grid):
        widths, heights = zip(*(_size(item, plans) for item in cell.cells), strict=True)
        rows = max(cell.rows, 1)
        return max(widths) * math.ceil(len(widths) / rows), max(heights) * rows
    made = cell.picture if isinstance(cell, Assembled) else cell
    return size_of(made, lambda picture: _last_size(plans[picture.variant]))


def _last_size(plan: Plan) -> Size:
    last = plan.passes[-1]
    return last.width, last.height


def _needed_batches(plan: Plan, needed: set[int]) -> Iterator[int]:
    """The sizes of the batches of which a picture is needed."""
    first = 0
    for seeds, _ in plan.batches():
        if any(first <= index < first + len(seeds) for index in needed):
            yield len(seeds)
        first += len(seeds)


def _passes(plan: Plan, sizes: Sequence[int]) -> Iterator[PassWork]:
    """The passes of a plan, and one for each of ADetailer's units: a region a picture."""
    for item in plan.passes:
        yield PassWork(
            role=item.role,
            width=item.width,
            height=item.height,
            batch=max(sizes),
            runs=len(sizes),
            steps=item.schedule.planned_steps,
        )
    for step in plan.finish:
        if isinstance(step, Detail):
            yield PassWork(
                role="detail",
                width=step.rules.width,
                height=step.rules.height,
                batch=1,
                runs=sum(sizes),
                steps=step.plan.first.schedule.planned_steps,
            )
