"""How a translation is to be done: everything that is neither the request nor the catalog."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Any, Literal, get_args

from translator.models import families
from translator.report import Problem, TranslationError, Unsupported, show

Fidelity = Literal["exact", "core"]
Defaults = Literal["a1111", "runpod-worker-a1111"]
DetectedMaps = Literal["result", "all"]
ImageOutput = Literal["save", "preview", "websocket"]

DEFAULT_CHECKPOINT = "v1-5-pruned-emaonly.safetensors"

ARCHITECTURES = tuple(families.FAMILIES)
"""What a checkpoint can be."""

REQUEST_OPTIONS = (
    "unsupported",
    "fidelity",
    "defaults",
    "detected_maps",
    "default_checkpoint",
    "embed_workflow",
)
"""What a request itself may set, under ``input.options``."""

_CHOICES: Mapping[str, tuple[str, ...]] = {
    "unsupported": get_args(Unsupported),
    "fidelity": get_args(Fidelity),
    "defaults": get_args(Defaults),
    "detected_maps": get_args(DetectedMaps),
    "image_output": get_args(ImageOutput),
}


@dataclass(frozen=True)
class Style:
    """A row of A1111's styles.csv."""

    prompt: str = ""
    negative_prompt: str = ""


@dataclass(frozen=True)
class Options:
    """Settings of one translation.

    Attributes:
        unsupported: ``error`` refuses what is valid and cannot be honoured, ``warn`` does what
            A1111 would do and says so.
        fidelity: ``exact`` uses our node pack where the catalog has it, ``core`` does without it;
            only grids, which core has no node for, are still joined by it.
        default_checkpoint: the checkpoint where the request names none.
        defaults: ``a1111`` for the API's own defaults, ``runpod-worker-a1111`` for those which
            that worker fills in before it calls A1111.
        detected_maps: ``result`` answers one map a ControlNet unit, at the result's size; ``all``
            answers what A1111 does: with hires fix the map of both passes.
        image_output: the node that ends an image: ``save`` (SaveImage), ``preview``
            (PreviewImage, kept in the server's temp folder) or ``websocket`` (SaveImageWebsocket).
        control_units: off leaves out ControlNet's units and only names them in the infotext, as
            A1111 does where one of them failed.
        embed_workflow: whether answered PNGs carry the graph, so that ComfyUI's editor opens it
            when such a picture is dropped on it.
        a1111_options: the server's A1111 options, as POST /sdapi/v1/options would set them; they
            lie under the request's ``override_settings``.
        styles: the styles a request can name.
        wildcards: what Dynamic Prompts' ``__name__`` stand for: name, with its folders -> values,
            some with a weight.
        architectures: checkpoint name (file name or stem) -> architecture, for files that cannot
            be read: one of `ARCHITECTURES`.
        draw_seed: source of random seeds, 0 <= seed < 2**32, called once for a seed and once for a
            subseed of -1. Without it a fixed seed is used and a warning says so.
        now: start of the job, for ``info.job_timestamp``.
    """

    unsupported: Unsupported = "error"
    fidelity: Fidelity = "exact"
    default_checkpoint: str = DEFAULT_CHECKPOINT
    defaults: Defaults = "a1111"
    detected_maps: DetectedMaps = "result"
    image_output: ImageOutput = "save"
    embed_workflow: bool = False
    control_units: bool = True
    a1111_options: Mapping[str, Any] = field(default_factory=dict)
    styles: Mapping[str, Style] = field(default_factory=dict)
    wildcards: Mapping[str, Sequence[str | tuple[str, float]]] = field(default_factory=dict)
    architectures: Mapping[str, str] = field(default_factory=dict)
    draw_seed: Callable[[], int] | None = None
    now: datetime | None = None

    def __post_init__(self) -> None:
        problems = [
            Problem(
                f"options.{name}",
                f"{show(getattr(self, name))} is not one of {', '.join(choices)}",
                getattr(self, name),
            )
            for name, choices in _CHOICES.items()
            if getattr(self, name) not in choices
        ]
        if not isinstance(self.embed_workflow, bool):
            said = f"{show(self.embed_workflow)} is not true or false"
            problems.append(Problem("options.embed_workflow", said, self.embed_workflow))
        problems += [
            Problem(
                f"options.architectures.{name}",
                f"{show(kind)} is not one of {', '.join(ARCHITECTURES)}",
                kind,
            )
            for name, kind in self.architectures.items()
            if kind not in ARCHITECTURES
        ]
        if problems:
            raise TranslationError(problems)

    @classmethod
    def of(cls, options: Options | Mapping[str, Any] | None) -> Options:
        """Options as they are, from a mapping of field names, or the defaults for None.

        Raises:
            TranslationError: a name or a value that is none of `Options`'.
        """
        if isinstance(options, Options):
            return options
        given = dict(options or {})
        known = {item.name for item in fields(cls)}
        unknown = [name for name in given if name not in known]
        if unknown:
            names = ", ".join(sorted(known))
            raise TranslationError(
                Problem(f"options.{name}", f"unknown option; there are {names}") for name in unknown
            )
        return cls(**given)
