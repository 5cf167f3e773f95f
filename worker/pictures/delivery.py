"""Answers: A1111's shape, image formats, and what fits RunPod.

A picture is carried as the file's bytes until the very end, when it becomes base64 (or a URL), so
that its size can be judged, and its format changed, before that costs anything.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from io import BytesIO
from typing import Any

import pybase64

from worker.errors import JobError, ResultTooLarge
from worker.pictures import metadata
from worker.pictures.storage import Bucket, StorageError
from worker.settings import MEGABYTE, Settings

log = logging.getLogger(__name__)

Answer = dict[str, Any]
Buffer = bytes | memoryview

FORMATS: Mapping[str, tuple[str, str]] = {
    "png": ("PNG", "png"),
    "jpg": ("JPEG", "jpg"),
    "jpeg": ("JPEG", "jpg"),
    "webp": ("WEBP", "webp"),
}
"""A1111's samples_format -> Pillow's format and the file extension."""

_SIGNATURES: Sequence[tuple[bytes, int, str]] = (
    (metadata.PNG_SIGNATURE, 0, "png"),
    (b"\xff\xd8\xff", 0, "jpg"),
    (b"WEBP", 8, "webp"),
)
_JPEG_QUALITIES = (95, 90, 80, 70, 60, 50)
_WEBP_EFFORT = 2
_OVERHEAD = 400
"""Bytes of JSON around an image in an answer, generously."""


class NotEncoded(JobError):
    """A picture that cannot be written in a format."""


@dataclass(frozen=True)
class Picture:
    """An image on its way into an answer.

    Attributes:
        data: the file.
        extension: by its format.
        text: A1111's infotext, kept when the format is changed.
        filename: as ComfyUI named it.
    """

    data: Buffer
    extension: str
    text: str | None = None
    filename: str = ""

    @property
    def size(self) -> int:
        """Bytes it takes in an answer as base64."""
        return (len(self.data) + 2) // 3 * 4 + _OVERHEAD

    def encoded(self) -> str:
        return pybase64.b64encode_as_string(self.data)


@dataclass(frozen=True)
class Delivered:
    """Pictures as they stand in the answer: base64, or URLs where `uploaded`.

    Attributes:
        errors: what did not go to the bucket, a sentence a picture, as worker-comfyui words it.
    """

    values: list[str]
    pictures: list[Picture]
    uploaded: bool
    warnings: list[str]
    errors: list[str] = field(default_factory=list)


def extension_of(data: Buffer) -> str | None:
    """png, jpg or webp by the first bytes of a file; None for anything else."""
    for signature, offset, extension in _SIGNATURES:
        if bytes(data[offset : offset + len(signature)]) == signature:
            return extension
    return None


def a1111_picture(data: Buffer, samples_format: str, quality: int, text: str | None) -> Picture:
    """An image of ComfyUI in the format that A1111 would answer.

    Args:
        samples_format: png, jpg, jpeg or webp (A1111's option).
        quality: of JPEG and WebP, 1 to 100 (A1111's jpeg_quality).
        text: the infotext: a PNG chunk, or EXIF; None for none.
    """
    kind, extension = FORMATS[samples_format.lower()]
    if kind == "PNG" and metadata.is_png(data):
        return Picture(metadata.with_parameters(data, text), "png", text)
    return Picture(_encode(data, kind, text, quality=quality), extension, text)


def finished_picture(data: Buffer, samples_format: str, text: str | None) -> Picture:
    """A file that is already as A1111 would answer it.

    Args:
        samples_format, text: what it was written with.
    """
    return Picture(data, FORMATS[samples_format.lower()][1], text)


def workflow_picture(name: str, data: Buffer, made_by: str | None) -> Picture:
    """A result of direct submission.

    Args:
        made_by: the graph as JSON, for images that came without; None where they have it.
    """
    extension = extension_of(data) or name.rpartition(".")[2]
    if made_by is not None and extension == "png":
        data = metadata.with_prompt(data, made_by)
    return Picture(data, extension, None, name)


def detected_map_picture(data: Buffer) -> Picture:
    """A picture answered as it was sent; formats no A1111 answers become PNG."""
    extension = extension_of(data)
    if extension is None:
        return Picture(_encode(data, "PNG", None), "png")
    return Picture(data, extension)


def deliver(
    pictures: Sequence[Picture],
    *,
    rest: int,
    limit: int,
    settings: Settings,
    bucket: Bucket | None,
    upload: bool,
    job_id: str,
) -> Delivered:
    """Pictures in the form in which they fit the answer.

    Args:
        rest: bytes of the answer without its pictures.
        limit: bytes that RunPod takes.
        upload: whether pictures go to the bucket even if they would fit.

    Raises:
        ResultTooLarge: they do not fit, and no step of RESULT_OVERSIZE helps.
    """
    warnings: list[str] = []
    errors: list[str] = []
    ways: list[_Way] = []
    if upload and bucket is not None:
        ways.append(_uploaded)
    ways.append(_as_they_are)
    ways += [_WAYS[name] for name in settings.oversize if name in _WAYS]
    for way in ways:
        try:
            delivered = way(pictures, limit - rest, bucket, job_id)
        except StorageError as error:
            log.warning("upload failed: %s", error)
            warnings.append(f"results were not uploaded: {error.message}")
            errors = [
                f"Error uploading {picture.filename} to S3: {error.message}" for picture in pictures
            ]
            continue
        if delivered is not None:
            return replace(delivered, warnings=warnings + delivered.warnings, errors=errors)
    total = rest + sum(picture.size for picture in pictures)
    raise ResultTooLarge(
        f"the answer has {total / MEGABYTE:.1f} MB in {len(pictures)} images; RunPod takes "
        f"{limit / MEGABYTE:.1f} MB",
        "ask for fewer or smaller images, set samples_format to jpg or webp, use /runsync, or "
        "configure a bucket (BUCKET_ENDPOINT_URL)",
    )


_Way = Callable[[Sequence[Picture], int, Bucket | None, str], Delivered | None]


def _as_they_are(
    pictures: Sequence[Picture], room: int, bucket: Bucket | None, job_id: str
) -> Delivered | None:
    if sum(picture.size for picture in pictures) > room:
        return None
    return Delivered([picture.encoded() for picture in pictures], list(pictures), False, [])


def _uploaded(
    pictures: Sequence[Picture], room: int, bucket: Bucket | None, job_id: str
) -> Delivered | None:
    if bucket is None:
        return None
    urls = [bucket.upload(job_id, picture.data, picture.extension) for picture in pictures]
    return Delivered(urls, list(pictures), True, [])


def _as_webp(
    pictures: Sequence[Picture], room: int, bucket: Bucket | None, job_id: str
) -> Delivered | None:
    smaller = [_lossless_webp(picture) for picture in pictures]
    delivered = _as_they_are(smaller, room, bucket, job_id)
    if delivered is None:
        return None
    warning = "the answer was too large for PNG; its images are lossless WebP"
    return replace(delivered, warnings=[warning])


def _as_jpeg(
    pictures: Sequence[Picture], room: int, bucket: Bucket | None, job_id: str
) -> Delivered | None:
    for quality in _JPEG_QUALITIES:
        smaller = [_lossy_jpeg(picture, quality) for picture in pictures]
        delivered = _as_they_are(smaller, room, bucket, job_id)
        if delivered is not None:
            warning = f"the answer was too large; its images are JPEG of quality {quality}"
            return replace(delivered, warnings=[warning])
    return None


_WAYS: Mapping[str, _Way] = {"s3": _uploaded, "webp": _as_webp, "jpeg": _as_jpeg}


def _lossless_webp(picture: Picture) -> Picture:
    if picture.extension != "png":
        return picture
    try:
        data = _encode(picture.data, "WEBP", picture.text, lossless=True, method=_WEBP_EFFORT)
    except NotEncoded:
        return picture
    return replace(picture, data=data, extension="webp")


def _lossy_jpeg(picture: Picture, quality: int) -> Picture:
    if picture.extension not in ("png", "jpg", "jpeg", "webp"):
        return picture
    text = picture.text if metadata.fits_exif(picture.text) else None
    try:
        data = _encode(picture.data, "JPEG", text, quality=quality)
    except NotEncoded:
        return picture
    return replace(picture, data=data, extension="jpg")


def _encode(data: Buffer, kind: str, text: str | None, **how: Any) -> bytes:
    """An image file in another format, by Pillow, as A1111's API encodes it.

    Raises:
        NotEncoded: it is no picture, or the format does not take it.
    """
    from PIL import Image

    try:
        with Image.open(BytesIO(data)) as opened:
            return _written(opened, kind, text, how)
    except Exception as error:  # a decoder raises whatever a broken file leads it to
        raise NotEncoded(
            f"samples_format: a picture cannot be written as {kind} ({error})",
            "ask for a smaller picture, or set samples_format to png",
        ) from error


def _written(opened: Any, kind: str, text: str | None, how: dict[str, Any]) -> bytes:
    image, out = _with_mode_of(opened, kind), BytesIO()
    if kind != "PNG":
        # A1111 writes the comment even where it is empty.
        how["exif"] = metadata.exif_user_comment(text or "")
    else:
        how.pop("quality", None)
    image.save(out, format=kind, **how)
    return out.getvalue()


def _with_mode_of(image: Any, kind: str) -> Any:
    """The picture in a mode that the format takes; 16 bits become their upper 8."""
    if image.mode.startswith("I") and kind != "PNG":
        return image.convert("I").point([value // 256 for value in range(65536)], "L")
    if kind == "PNG":
        return image.convert("RGB") if image.mode in ("CMYK", "YCbCr", "LAB", "HSV") else image
    return image if image.mode in ("RGB", "L") else image.convert("RGB")


def a1111_answer(
    pictures: list[Picture], parameters: Mapping[str, Any], info: Mapping[str, Any]
) -> Answer:
    """The answer to txt2img and img2img."""
    return {
        "images": pictures,
        "parameters": dict(parameters),
        "info": json.dumps(info, ensure_ascii=False),
    }


def with_warnings(answer: Answer, warnings: Iterable[str]) -> Answer:
    """An answer with its warnings, each once."""
    unique = list(dict.fromkeys(warnings))
    if unique:
        answer["warnings"] = unique
    return answer
