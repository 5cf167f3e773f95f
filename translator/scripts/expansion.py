"""One request as several generations, and what is answered of them."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from translator.comfy.catalog import Catalog
from translator.infotext.text import GenerationFacts, HiresFacts
from translator.plan.answer import Assembled, DetectedMaps, Grid, Output
from translator.plan.pictures import Made, Picture, parts
from translator.prompt import split_networks
from translator.report import Report
from translator.request.a1111_options import A1111Options
from translator.request.images import ImageReader
from translator.request.schema import Tab
from translator.schedules.samplers import AUTOMATIC, get_sampler_and_scheduler, resolve

Fields = Mapping[str, Any]
"""A request as a mapping of all its fields to their values."""


RANDOM_SEEDS = (None, "", -1)

MAX_GENERATIONS = 2000
"""Generations that one request may stand for."""

MAX_IMAGES = 10_000
"""Images of all of them."""

MAX_CHARACTERS = 5_000_000
"""Characters of the prompts of all of them."""

MOST_MARGIN = 500
"""Pixels between a grid's cells: A1111's slider ends here, and a grid has to fit into memory."""


@dataclass(frozen=True)
class ScriptContext:
    """What a script needs beside the request.

    Attributes:
        tab: the endpoint, which decides what scripts and axes there are.
        a1111_options: the options in force for the request.
        server_options: the options without the request's overrides.
        report: takes warnings and problems.
        draw_seed: source of random seeds, 0 <= seed < 2**32.
        checkpoint: (name, JSON path) -> the file of the checkpoint that A1111's loose search finds,
            or None after a report.
        catalog: what the ComfyUI has.
        images: reads the request's pictures.
        exact: whether our node pack is used.
    """

    tab: Tab
    a1111_options: A1111Options
    server_options: A1111Options
    report: Report
    draw_seed: Callable[[], int]
    checkpoint: Callable[[str, str], str | None]
    catalog: Catalog
    images: ImageReader
    exact: bool


@dataclass(frozen=True)
class Expansion(ABC):
    """What a script makes of a request.

    Attributes:
        fields: the request itself.
        a1111_options: the options in force for it.
        variants: the generations, each a complete request, in the order in which A1111 runs them.
        outputs: what is answered, in order.
        made: the pictures that variants start from and that the graph makes, by the names of the
            uploads that stand for them in the variants' fields.
        parameters: what the script itself writes into the infotext before anything else.
        runs_as_one: whether A1111 runs the variants as the images of one generation, which encodes
            an init image once.
        crops_control: whether ControlNet takes the script for one that upscales, and so cuts every
            unit's image with "only masked".
    """

    fields: Fields
    a1111_options: A1111Options
    variants: tuple[Fields, ...]
    outputs: tuple[Output, ...]
    made: Mapping[str, Made] = field(default_factory=dict, kw_only=True)
    parameters: Mapping[str, Any] = field(default_factory=dict, kw_only=True)
    runs_as_one: bool = field(default=False, kw_only=True)
    crops_control: bool = field(default=False, kw_only=True)

    @property
    def pictures(self) -> Iterator[Made]:
        """Every picture that the graph makes, with all that it is made of."""
        for start in self.made.values():
            yield from parts(start)
        for output in self.outputs:
            if isinstance(output, Assembled):
                yield from parts(output.picture)

    @property
    def set_by(self) -> tuple[Mapping[str, str], ...]:
        """Of each variant, the fields that the script sets -> JSON path of what it reads them from.

        For messages, see `Report.set_by`.
        """
        return ({},) * len(self.variants)

    @abstractmethod
    def info(self, facts: Sequence[GenerationFacts], now: datetime | None = None) -> dict[str, Any]:
        """A1111's ``info`` of the whole.

        Args:
            facts: of each variant, as if it ran alone.
            now: start of the job.
        """

    def image_texts(self, facts: Sequence[GenerationFacts]) -> list[str | None]:
        """The infotext that the file of each output carries, None where it carries none.

        Detected maps, which carry none, have one entry for all.

        Args:
            facts: of each variant, as if it ran alone.
        """
        shared = share_parameters(facts)
        return [_image_text(output, shared) for output in self.outputs]


def _image_text(output: Output, facts: Sequence[GenerationFacts]) -> str | None:
    if isinstance(output, Picture):
        return facts[output.variant].texts[output.index]
    if isinstance(output, DetectedMaps | Assembled) or output.infotext_of is None:
        return None
    return facts[output.infotext_of].texts[0]


def share_parameters(facts: Sequence[GenerationFacts]) -> list[GenerationFacts]:
    """The same facts, each with what the generations before it wrote into the infotext.

    A1111's scripts run copies of one request that share a dictionary of infotext entries, so an
    entry of one generation ("Schedule type", "Lora hashes") stays for those after it.
    """
    shared: list[GenerationFacts] = []
    for item in facts:
        shared.append(replace(item, inherited=shared[-1].extra) if shared else item)
    return shared


def alone(fields: Fields, place: int) -> dict[str, Any]:
    """What makes a generation of one image of a request that A1111 makes in batches.

    Args:
        place: position of the image among all.
    """
    one: dict[str, Any] = {"batch_size": 1, "n_iter": 1}
    pictures = fields.get("init_images") or ()
    if len(pictures) > 1:  # a picture for each image of a batch
        one["init_images"] = [pictures[place % len(pictures)]]
    return one


def warn_of_shared_networks(
    texts: Sequence[str], batch_size: int, path: str, report: Report
) -> None:
    """A1111 gives a whole batch the extra networks of its first prompt; a variant has its own."""
    starts = range(0, len(texts), batch_size)
    batches = [texts[start : start + batch_size] for start in starts]
    if any(len({split_networks(text)[1] for text in batch}) > 1 for batch in batches):
        report.warn(
            path,
            "prompts of one batch name different extra networks; each is made with "
            "its own, where A1111 takes those of the first prompt for the whole batch",
        )


def joined_hires(passes: Sequence[HiresFacts]) -> HiresFacts | None:
    """The hires passes of single images as that of one generation; None where there are none."""
    if not passes:
        return None
    return replace(
        passes[-1],
        prompts=tuple(item.prompts[0] for item in passes),
        negative_prompts=tuple(item.negative_prompts[0] for item in passes),
    )


def within_bounds(generations: int, characters: int, path: str, report: Report) -> bool:
    """Whether a script may be expanded, told by counting; a report where it may not.

    Args:
        generations: how many there would be.
        characters: of the prompts of each, or a bound of that.
    """
    if generations > MAX_GENERATIONS:
        report.invalid(
            path, f"there would be {_count(generations)} generations; at most {MAX_GENERATIONS}"
        )
    elif generations * characters > MAX_CHARACTERS:
        report.invalid(
            path,
            f"{generations} generations of up to {characters} characters of prompt are too much "
            f"text; together at most {MAX_CHARACTERS} are taken",
        )
    else:
        return True
    return False


def _count(number: int) -> str:
    """A number as it may stand in a message, however large."""
    digits = 10
    return str(number) if number < 10**digits else f"more than 10^{digits}"


def prompt_length(fields: Fields) -> int:
    """Characters of a request's prompts."""
    return len(fields["prompt"]) + len(fields["negative_prompt"])


def settled_sampler(fields: Fields) -> dict[str, Any]:
    """The request with its sampler name split, as A1111's API hands it to a script.

    An unknown sampler name stays, so that it is still found to be unknown.
    """
    name, scheduler = fields["sampler_name"] or fields["sampler_index"], fields["scheduler"]
    if resolve(name, scheduler).unknown_sampler:
        return dict(fields)
    sampler, found = get_sampler_and_scheduler(name, scheduler)
    if not scheduler and found.label != AUTOMATIC:
        scheduler = found.label
    return {**fields, "sampler_name": sampler.name, "scheduler": scheduler}


def fix_seeds(fields: Fields, draw_seed: Callable[[], int]) -> dict[str, Any]:
    """The request with random seeds drawn once for all generations."""
    drawn = {name: draw_seed() for name in ("seed", "subseed") if fields[name] in RANDOM_SEEDS}
    return {**fields, **drawn}


def legend(a1111_options: A1111Options, **content: Any) -> str:
    """The legend input of A1111ImageGrid.

    Args:
        content: ``columns`` and ``rows``, or ``prompt_matrix``; ``margin`` in pixels.
    """
    colors = {
        "active_color": a1111_options.grid_text_active_color,
        "inactive_color": a1111_options.grid_text_inactive_color,
    }
    return json.dumps({**content, **colors}, ensure_ascii=False)


def grid_rows(count: int, batch_size: int, a1111_options: A1111Options) -> int:
    """Rows of A1111's plain grid.

    Option n_rows above 0 is the number itself, 0 the batch size, below it is the rounded root of
    the count, or with grid_prevent_empty_spots the largest divisor that does not exceed the root.
    """
    if a1111_options.n_rows > 0:
        rows = a1111_options.n_rows
    elif a1111_options.n_rows == 0:
        rows = batch_size
    elif a1111_options.grid_prevent_empty_spots:
        rows = next(rows for rows in range(int(count**0.5), 0, -1) if count % rows == 0)
    else:
        rows = round(count**0.5)
    return min(rows, count)


def batch_grid(fields: Fields, a1111_options: A1111Options, variant: int = 0) -> Grid | None:
    """The grid that A1111 answers before a generation's images, or None.

    There is one where the request saves its images (the API ties grids to that), option
    return_grid is on, and there is more than one image (or grid_only_if_multiple is off).
    """
    count = fields["batch_size"] * fields["n_iter"]
    images = tuple(Picture(variant, index) for index in range(count))
    return grid_of(images, fields, a1111_options, infotext_of=variant)


def grid_of(
    images: Sequence[Picture], fields: Fields, a1111_options: A1111Options, infotext_of: int
) -> Grid | None:
    """The grid of these images, see `batch_grid`; `infotext_of`: the variant that it quotes."""
    wanted = fields["save_images"] and a1111_options.return_grid
    if not wanted or (len(images) < 2 and a1111_options.grid_only_if_multiple):
        return None
    return Grid(
        cells=tuple(images),
        rows=grid_rows(len(images), fields["batch_size"], a1111_options),
        background=a1111_options.grid_background_color,
        infotext_of=infotext_of,
    )


def margin(value: Any, path: str, report: Report) -> int:
    """The pixels between a grid's cells, 0 after a report of anything else."""
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MOST_MARGIN:
        return value
    report.invalid(
        path,
        f"the margin between a grid's cells is a whole number of pixels within 0..{MOST_MARGIN}",
        value,
    )
    return 0
