"""Media types of result files by their extensions."""

from __future__ import annotations

import mimetypes
from collections.abc import Mapping

_KNOWN: Mapping[str, str] = {
    "webp": "image/webp",
    "avif": "image/avif",
    "flac": "audio/flac",
    "opus": "audio/opus",
    "glb": "model/gltf-binary",
    "webm": "video/webm",
    "mkv": "video/x-matroska",
}
"""Extensions whose media types not every Python knows."""


def media_type_of(extension: str) -> str:
    """The media type of a file, ``application/octet-stream`` for an unknown extension."""
    known = _KNOWN.get(extension.lower())
    return known or mimetypes.guess_type(f"x.{extension}")[0] or "application/octet-stream"
