"""Answers to direct submission in worker-comfyui's shape, with its sentences.

Where its sentence says all it stands alone; else ours follows it. Source: ``handler.py`` of
runpod-workers/worker-comfyui (March 2026).
"""

from __future__ import annotations

from collections.abc import Callable

from worker.errors import JobError, NodeFailed, PromptRefused
from worker.pictures.delivery import Answer, Delivered, Picture, with_warnings
from worker.pictures.media import media_type_of

NO_INPUT = "Please provide input"
NOT_JSON = "Invalid JSON format in input"
NO_WORKFLOW = "Missing 'workflow' parameter"
BAD_IMAGES = "'images' must be a list of objects with 'name' and 'image' keys"
NOT_UPLOADED = "Failed to upload one or more input images"
_INVALID = "Workflow validation failed"
_FAILED = "Job processing failed"
_NOTHING = "success_no_images"


def succeeded(delivered: Delivered, texts: object, warnings: list[str]) -> Answer:
    """The answer of a run that ended well.

    What is no image stands under ``files``, with its media type; what nodes say, under ``texts``;
    what went wrong with the bucket, under ``errors``.
    """
    kind = "s3_url" if delivered.uploaded else "base64"
    images: list[Answer] = []
    files: list[Answer] = []
    for picture, value in zip(delivered.pictures, delivered.values, strict=True):
        entry = {"filename": _renamed(picture), "type": kind, "data": value}
        media_type = media_type_of(picture.extension)
        if media_type.startswith("image/"):
            images.append(entry)
        else:
            files.append({**entry, "media_type": media_type})
    answer: Answer = {"images": images}
    if files:
        answer["files"] = files
    if texts:
        answer["texts"] = texts
    if delivered.errors:
        answer["errors"] = delivered.errors
    if not (images or files or texts):
        answer["status"] = _NOTHING
    return with_warnings(answer, warnings)


def failed(error: Exception, said: str, clean: Callable[[str], str]) -> Answer:
    """The answer of one that failed.

    Args:
        said: our own sentences about it.
        clean: takes out of a text what must not leave the worker.
    """
    details = list(error.details) if isinstance(error, JobError) else []
    sentence = ""
    if isinstance(error, NodeFailed):
        sentence = _FAILED
        where = f"Node Type: {error.node_class}, Node ID: {error.node}, Message: {error.text}"
        details.append(f"Workflow execution error: {where}")
    elif isinstance(error, PromptRefused):
        sentence = _INVALID
    answer: Answer = {"error": f"{sentence}: {said}" if sentence else said}
    if details:
        answer["details"] = [clean(text) for text in details]
    return answer


def _renamed(picture: Picture) -> str:
    """The file name, with the extension that the picture has now."""
    stem, dot, extension = picture.filename.rpartition(".")
    if not dot or extension.lower() == picture.extension:
        return picture.filename
    return f"{stem}.{picture.extension}"
