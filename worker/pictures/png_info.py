"""What an image file says of how it was made, as A1111's ``POST /sdapi/v1/png-info`` reads it.

Source: A1111 v1.10.1 ``modules/images.py`` (``read_info_from_image``).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from io import BytesIO
from typing import Any

from PIL import ExifTags, Image

from translator.schedules.samplers import samplers

_NOT_TOLD = frozenset(
    (
        "jfif",
        "jfif_version",
        "jfif_unit",
        "jfif_density",
        "dpi",
        "exif",
        "loop",
        "background",
        "timestamp",
        "duration",
        "progressive",
        "progression",
        "icc_profile",
        "chromaticity",
        "photoshop",
    )
)
"""Technical entries that A1111 leaves out."""

_COMMENT_CODES: Mapping[bytes, str] = {
    b"UNICODE\0": "utf-16-be",
    b"ASCII\0\0\0": "ascii",
    b"JIS\0\0\0\0\0": "shift_jis",
}
"""First 8 bytes of an EXIF UserComment -> how the rest is written."""

_NOVEL_AI = "NovelAI"


def read_info(data: bytes) -> tuple[str, dict[str, Any]]:
    """The infotext of an image (empty where there is none) and its other texts by key.

    The infotext is PNG's text ``parameters``, the EXIF comment of JPEG and WebP, or GIF's comment.

    Args:
        data: an image file that Pillow can open.
    """
    with Image.open(BytesIO(data), formats=("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")) as image:
        items = {str(key): value for key, value in image.info.items()}
        text = items.pop("parameters", None)
        if "exif" in items:
            text = _user_comment(image) or text
        elif "comment" in items:
            text = _as_text(items["comment"])
        told = {key: _as_text(value) for key, value in items.items() if key not in _NOT_TOLD}
        if told.get("Software") == _NOVEL_AI:
            text = _novel_ai(told, image.size) or text
    return _as_text(text or ""), told


def _user_comment(image: Image.Image) -> str:
    comment = image.getexif().get_ifd(ExifTags.IFD.Exif).get(ExifTags.Base.UserComment, b"")
    if not isinstance(comment, bytes):
        return str(comment)
    code = _COMMENT_CODES.get(comment[:8])
    if code is None:
        return comment.decode("utf-8", errors="ignore")
    return comment[8:].decode(code, errors="ignore")


def _as_text(value: Any) -> Any:
    """Bytes as text; what JSON knows as it is, anything else as Python writes it."""
    if isinstance(value, bytes):
        return value.decode("utf-8", errors="ignore")
    return value if isinstance(value, str | int | float | bool | None) else str(value)


def _novel_ai(items: Mapping[str, Any], size: tuple[int, int]) -> str | None:
    """NovelAI's description as an infotext; None where it is not as A1111 expects it."""
    try:
        told = json.loads(items["Comment"])
        wanted = str(told["sampler"]).lower()
        known = (item.name for item in samplers() if wanted in (item.name.lower(), *item.aliases))
        name = next(known, "Euler a")
        return (
            f"{items['Description']}\nNegative prompt: {told['uc']}\n"
            f"Steps: {told['steps']}, Sampler: {name}, CFG scale: {told['scale']}, "
            f"Seed: {told['seed']}, Size: {size[0]}x{size[1]}, Clip skip: 2, ENSD: 31337"
        )
    except (KeyError, TypeError, ValueError):
        return None
