"""What flows along the links of a graph when it is executed symbolically."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from devserver.files import Files
from devserver.settings import Work
from devserver.signatures import NodeSpec

T = TypeVar("T")
CELL = 8
"""Pixels per latent cell, along each side."""


@dataclass(frozen=True, slots=True)
class Picture:
    """What is known of one image or latent of a batch.

    Attributes:
        seed: of the noise it was sampled from, where it was.
        index: its place in the batch that was drawn from that seed.
        text: the prompt, or what made the picture.
        face: whether a face detector finds one; only a black picture has none.
        file: the picture that was loaded, as long as nothing changed it but its size.
        edges: Canny's thresholds (low, high) where the picture is the edges of `file`.
        grid: where the picture is others side by side.
    """

    seed: int | None = None
    index: int = 0
    text: str = ""
    face: bool = True
    file: Path | None = None
    edges: tuple[int, int] | None = None
    grid: Grid | None = None


@dataclass(frozen=True, slots=True)
class Grid:
    """Pictures side by side.

    Attributes:
        pictures: row by row.
        rows: how many rows they fill.
        cell: width and height of each in pixels.
        legend: A1111ImageGrid's, as JSON; empty for none.
    """

    pictures: tuple[Picture, ...]
    rows: int
    cell: tuple[int, int]
    legend: str = ""


@dataclass(frozen=True, slots=True)
class Mask:
    """A batch of masks; `width` and `height` in pixels.

    Attributes:
        drawing: whether it was loaded and is neither black nor white all over.
    """

    width: int
    height: int
    batch: int = 1
    drawing: bool = False


@dataclass(frozen=True, slots=True)
class Image:
    """A batch of images, RGB or with `alpha`; `width` and `height` in pixels."""

    width: int
    height: int
    pictures: tuple[Picture, ...]
    alpha: bool = False

    def sized(self, width: int, height: int) -> Image:
        return replace(self, width=width, height=height)

    def rgb(self) -> Image:
        return replace(self, alpha=False)

    def made(self, text: str) -> Image:
        """The same batch after a node that draws something new from it."""
        return replace(
            self,
            pictures=tuple(
                replace(p, text=text, file=None, edges=None, grid=None) for p in self.pictures
            ),
        )


@dataclass(frozen=True, slots=True)
class Overlay:
    """What an inpainting puts back over its results.

    Attributes:
        original: what is put back.
        crops: whether the results are a part of it, cut out, and come back to its size.
    """

    original: Image
    crops: bool


@dataclass(frozen=True, slots=True)
class Regions:
    """The regions that a detector found on a picture."""

    count: int


@dataclass(frozen=True, slots=True)
class Latent:
    """A batch of latents; `width` and `height` in cells of 8x8 pixels."""

    width: int
    height: int
    pictures: tuple[Picture, ...]
    mask: Mask | None = None

    def sized(self, width: int, height: int) -> Latent:
        return replace(self, width=width, height=height)


@dataclass(frozen=True, slots=True)
class Conditioning:
    """An encoded prompt, known by its text."""

    text: str


@dataclass(frozen=True, slots=True)
class Noise:
    """Where noise comes from.

    Attributes:
        seeds: one per image of the batch, or a single one for the whole batch.
        per_image: whether each image of the batch has a seed of its own.
    """

    seeds: tuple[int, ...]
    per_image: bool = False


@dataclass(frozen=True, slots=True)
class Sigmas:
    """A noise schedule of `count` values, that is `count` - 1 sampling steps."""

    count: int

    @property
    def steps(self) -> int:
        return max(self.count - 1, 0)


@dataclass(frozen=True, slots=True)
class Guider:
    """A guider, known by its positive prompt."""

    text: str


@dataclass(frozen=True, slots=True)
class Opaque:
    """A model or another thing whose inside does not matter here: ComfyUI's type and a name."""

    kind: str
    name: str = ""


Value = Any
"""One of the classes above, or a plain number, text or boolean."""


class NodeFailure(Exception):
    """A node raised while it was executed.

    Attributes:
        kind: the exception's type, as ComfyUI reports it.
    """

    def __init__(self, message: str, kind: str = "Exception") -> None:
        super().__init__(message)
        self.kind = kind


@dataclass(frozen=True, slots=True)
class Result:
    """What executing a node gives.

    Attributes:
        outputs: one value per output.
        work: what the node is busy with, and so how long it takes.
        steps: progress updates it sends, each costing one unit of `work`; a node without any takes
            one unit.
        previews: whether a step shows a preview of the picture.
        save: images an output node writes or sends, and where to.
        ui: what the node shows beside that, as it stands in ``executed``.
    """

    outputs: tuple[Value, ...] = ()
    work: Work | None = None
    steps: int = 0
    previews: bool = False
    save: Save | None = None
    ui: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Encoding:
    """How A1111ImageFrames writes its files: the node's own inputs, texts as a list."""

    kind: str
    quality: int
    texts: tuple[str | None, ...]


@dataclass(frozen=True, slots=True)
class Save:
    """Images that leave the graph: to the ``output`` or ``temp`` folder, or over the ``socket``.

    With an `encoding` they leave over the socket as files, some after the job's end.
    """

    images: Image
    target: str
    prefix: str = ""
    compress_level: int = 1
    encoding: Encoding | None = None


class Inputs:
    """The inputs of a node that is being executed.

    Every getter raises `NodeFailure` where an input is missing or holds something else than the
    node can work with, as the real node would.
    """

    def __init__(self, spec: NodeSpec, values: Mapping[str, Value], files: Files) -> None:
        self.spec = spec
        self.files = files
        self._values = values

    def get(self, name: str, kind: type[T]) -> T:
        """A required input of the given class."""
        if name not in self._values:
            call = f"{self.spec.name}.execute()"
            raise NodeFailure(
                f"{call} missing 1 required positional argument: '{name}'", "TypeError"
            )
        value = self._values[name]
        if not isinstance(value, kind):
            raise NodeFailure(_wrong(value, name), "AttributeError")
        return value

    def optional(self, name: str, kind: type[T]) -> T | None:
        """An optional input, or None where it is not given."""
        return None if self._values.get(name) is None else self.get(name, kind)

    def value(self, name: str) -> Value:
        """An input whose class does not matter, as long as it is no constant on a link's place."""
        value = self.get(name, object)
        spec = self.spec.inputs[name]
        if isinstance(value, str) and spec.type not in ("STRING", "COMBO", "*"):
            raise NodeFailure(_wrong(value, name), "AttributeError")
        return value

    def need(self, *names: str) -> None:
        """Check inputs that have to be there, but change nothing here."""
        for name in names:
            self.value(name)

    def integer(self, name: str) -> int:
        return self.get(name, int)

    def number(self, name: str) -> float:
        value = self.get(name, object)
        if not isinstance(value, int | float):
            raise NodeFailure(_wrong(value, name), "TypeError")
        return float(value)

    def text(self, name: str) -> str:
        return self.get(name, str)

    def flag(self, name: str) -> bool:
        return self.get(name, bool)

    def image(self, name: str = "image") -> Image:
        return self.get(name, Image)

    def latent(self, name: str = "samples") -> Latent:
        return self.get(name, Latent)


def _wrong(value: Value, name: str) -> str:
    return f"'{type(value).__name__}' object cannot be used as {name}"
