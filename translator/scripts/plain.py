"""A request without a script: one generation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from translator.infotext.text import GenerationFacts, create_info
from translator.plan.answer import DetectedMaps, Grid, Output
from translator.plan.pictures import Made, Picture
from translator.request.a1111_options import A1111Options
from translator.scripts.expansion import (
    Expansion,
    Fields,
    batch_grid,
)


@dataclass(frozen=True)
class PlainExpansion(Expansion):
    """The request itself as its only variant."""

    def info(self, facts: Sequence[GenerationFacts], now: datetime | None = None) -> dict[str, Any]:
        """The ``info`` of the generation, the grid's text first where a grid is answered."""
        texts = facts[0].texts
        with_grid = isinstance(self.outputs[0], Grid)
        return create_info(
            facts[0],
            (texts[0], *texts) if with_grid else texts,
            index_of_first_image=int(with_grid),
            now=now,
        )


def expand_plain(
    fields: Fields, a1111_options: A1111Options, made: Mapping[str, Made] | None = None
) -> PlainExpansion:
    """The request as it is: a grid where A1111 answers one, the images, the detected maps.

    Args:
        made: see `Expansion.made`.
    """
    grid = batch_grid(fields, a1111_options)
    images: list[Output] = [
        Picture(0, index) for index in range(fields["batch_size"] * fields["n_iter"])
    ]
    before: list[Output] = [] if grid is None else [grid]
    outputs = (*before, *images, DetectedMaps(0))
    return PlainExpansion(fields, a1111_options, (fields,), outputs, made=made or {})
