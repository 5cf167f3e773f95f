"""What a translation gives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from translator.plan.values import Plan
from translator.plan.work import Work
from translator.report import Warning

OutputKind = Literal["image", "mask", "detected_map", "grid", "text"]


@dataclass(frozen=True)
class AnswerFormat:
    """How the worker writes the answer.

    Attributes:
        samples_format: ``png``, ``jpg``, ``jpeg`` or ``webp``, for every answered image.
        jpeg_quality: 1..100, for jpg and webp.
        send_images: whether the answer holds images at all.
        enable_pnginfo: whether images carry their infotext.
        infotexts: one per output, in the order of `Translation.outputs`; None where there is none.
    """

    samples_format: str
    jpeg_quality: int
    send_images: bool
    enable_pnginfo: bool
    infotexts: list[str | None]


@dataclass(frozen=True)
class Output:
    """One answered image or text: what a node gives, or a sent picture as it came.

    Attributes:
        kind: what it is.
        node: id of the graph's node that gives it; None where `upload` says what is answered.
        upload: name of the upload that is answered as it was sent; None for a node's image.
        index: position in the node's batch.
        unit: position of the ControlNet unit that it belongs to, or None.
        source: name of the upload that it was made from (extras), or None.
        poses: id of the node that tells the poses of an openpose map (detect), or None.
        told_as: of a text, the key under which the node tells it; None for images.
    """

    kind: OutputKind
    node: str | None = None
    upload: str | None = None
    index: int = 0
    unit: int | None = None
    source: str | None = None
    poses: str | None = None
    told_as: str | None = None

    def to_json(self) -> dict[str, Any]:
        """The output as the command line prints it."""
        where = {"upload": self.upload} if self.node is None else {"node": self.node}
        beside = {"source": self.source, "poses": self.poses, "told_as": self.told_as}
        told = {name: value for name, value in beside.items() if value is not None}
        return {"kind": self.kind, **where, "index": self.index, "unit": self.unit, **told}


@dataclass(frozen=True)
class Upload:
    """A file that the graph loads or the answer repeats.

    Attributes:
        name: made of the content's hash.
        data: the content in base64.
    """

    name: str
    data: str


@dataclass(frozen=True)
class Translation:
    """A request translated.

    Attributes:
        graph: the graph in ComfyUI's API format, ready for ``POST /prompt``.
        outputs: one entry per answered image, in order.
        uploads: what is to be there before the graph is submitted.
        info: A1111's ``info`` object; A1111 answers it as a JSON text.
        parameters: A1111's echo of the request.
        warnings: what is not as the request says.
        answer: how the worker writes the answer.
        work: what the operator's limits judge.
        plans: what the graph was made from, a plan a generation; empty for other endpoints.
    """

    graph: dict[str, dict[str, Any]]
    outputs: tuple[Output, ...]
    uploads: tuple[Upload, ...]
    info: dict[str, Any]
    parameters: dict[str, Any]
    warnings: tuple[Warning, ...]
    answer: AnswerFormat
    work: Work
    plans: tuple[Plan, ...] = ()

    @property
    def warning_texts(self) -> list[str]:
        """The warnings as an answer holds them, a sentence each, path first."""
        return list(map(str, self.warnings))

    def to_json(self) -> dict[str, Any]:
        """The six members that the command line's ``--full`` prints."""
        return {
            "graph": self.graph,
            "outputs": [output.to_json() for output in self.outputs],
            "uploads": [{"name": upload.name, "data": upload.data} for upload in self.uploads],
            "info": self.info,
            "parameters": self.parameters,
            "warnings": self.warning_texts,
        }
