"""What a translation gives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from translator.report import Warning


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
class Translation:
    """A request translated.

    Attributes:
        graph: the graph in ComfyUI's API format, ready for ``POST /prompt``.
        outputs: one entry per answered image, in order: ``{"kind": "image" | "detected_map" |
            "grid", "node": id or "upload": name, "index": position in the node's batch, "unit":
            index of the ControlNet unit or None}``.
        uploads: what the graph loads, to be there before it is submitted: ``{"name", "data"}``,
            the name made of the content's hash, the data in base64.
        info: A1111's ``info`` object; A1111 answers it as a JSON text.
        parameters: A1111's echo of the request.
        warnings: what is not as the request wishes.
        answer: how the worker writes the answer.
    """

    graph: dict[str, dict[str, Any]]
    outputs: list[dict[str, Any]]
    uploads: list[dict[str, str]]
    info: dict[str, Any]
    parameters: dict[str, Any]
    warnings: tuple[Warning, ...]
    answer: AnswerFormat

    @property
    def warning_texts(self) -> list[str]:
        """The warnings as an answer holds them, a sentence each, path first."""
        return list(map(str, self.warnings))
