"""What A1111 would answer where a request fails here: its status and its body.

A1111 v1.10.1 (``modules/api/api.py``, ``api_middleware``) has four shapes: FastAPI's list of what
is wrong with a body (422), the text of an ``HTTPException``, the name and text of any other
exception (500), and starlette's bare ``{"detail": ...}`` for routes that are not there.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from translator import Problem, TranslationError
from worker.api import ApiRequest
from worker.errors import (
    ComfyError,
    JobError,
    QueryError,
    RequestError,
    RouteError,
    TimeLimit,
)

_DETAILS: dict[int, str] = {404: "Not Found", 405: "Method Not Allowed"}

_A1111_TEXTS = re.compile(
    r"Script '[^']*' not found"
    r"|Cannot have a selectable script in the always on scripts params"
    r"|Script \d+ out of range"
    r"|always on script [^;]* not found"
    r"|Module not (?:available|supported)"
    r"|No image selected"
    r"|Preprocessor \S+ requires `controlnet_masks` param\."
    r"|Init image not found|Image not found|Model not found|Invalid encoded image"
)
"""Sentences that A1111 and its ControlNet extension raise as an ``HTTPException``."""

_STATUS_OF_TEXT: dict[str, int] = {
    "Init image not found": 404,
    "Image not found": 404,
    "Model not found": 404,
    "Invalid encoded image": 500,
}
_IMAGE_FIELD = re.compile(r"^(?:image|mask|init_images|imageList)\b")
_PNG_INFO = "sdapi/v1/png-info"
_PATH_PART = re.compile(r"[^.\[\]]+")


@dataclass(frozen=True)
class Failure:
    """What A1111 answers."""

    status: int
    body: dict[str, Any]

    def cleaned(self, clean: Callable[[str], str]) -> Failure:
        """With every text as it may leave the worker."""
        return Failure(self.status, _cleaned(self.body, clean))


def failure_of(error: Exception, request: ApiRequest) -> Failure:
    """What A1111 would answer to a request that ended in this error."""
    for kind, shape in _SHAPES:
        if isinstance(error, kind):
            return shape(error, request)
    return raised(type(error).__name__, str(error))


def failure_of_text(text: str, body: object) -> Failure:
    """What A1111 would answer for a sentence of ours, where only that is known.

    Args:
        body: the request's, whose field the sentence may begin with.
    """
    told = _A1111_TEXTS.search(text)
    if told:
        return http_exception(_STATUS_OF_TEXT.get(told[0], 422), told[0])
    path, colon, what = text.partition(": ")
    parts = _path_parts(path)
    if colon and parts and isinstance(body, dict) and parts[0] in body:
        if _IMAGE_FIELD.match(path):
            return http_exception(500, "Invalid encoded image")
        return validation([(("body", *parts), what, "value_error")])
    return raised("RuntimeError", text)


def bare(status: int) -> Failure:
    """Starlette's answer for a route that is not there."""
    return Failure(status, {"detail": _DETAILS[status]})


def http_exception(status: int, detail: str) -> Failure:
    """An ``HTTPException`` raised inside A1111's API."""
    return Failure(status, {"error": "HTTPException", "detail": detail, "body": "", "errors": ""})


def raised(exception: str, text: str) -> Failure:
    """Any other exception."""
    return Failure(500, {"error": exception, "detail": "", "body": "", "errors": text})


def validation(problems: Iterable[tuple[tuple[str | int, ...], str, str]]) -> Failure:
    """FastAPI's list: where, what and of which type each thing is that is wrong with a body."""
    items = [{"loc": list(where), "msg": what, "type": kind} for where, what, kind in problems]
    return Failure(422, {"detail": items})


def _of_route(error: Any, request: ApiRequest) -> Failure:
    return bare(error.status)


def _of_translation(error: Any, request: ApiRequest) -> Failure:
    problems: tuple[Problem, ...] = error.problems
    for problem in problems:
        told = _A1111_TEXTS.search(problem.message)
        if told:
            return http_exception(_STATUS_OF_TEXT.get(told[0], 422), told[0])
        if _IMAGE_FIELD.match(problem.path) and problem.kind == "invalid":
            return http_exception(500, "Invalid encoded image")
    wrong = [problem for problem in problems if problem.kind == "invalid"]
    if wrong:
        return validation(
            (("body", *_path_parts(problem.path)), problem.message, "value_error")
            for problem in wrong
        )
    return raised("RuntimeError", str(error))


def _of_request(error: Any, request: ApiRequest) -> Failure:
    if request.method == "POST" and not isinstance(request.body, dict | list):
        return validation([(("body",), "field required", "value_error.missing")])
    if isinstance(error, QueryError):
        what = "value could not be parsed to a boolean"
        return validation([(("query", error.parameter), what, "type_error.bool")])
    if error.exception:
        return raised(error.exception, error.message)
    if request.path == _PNG_INFO and "image" not in request.body:
        return validation([(("body", "image"), "field required", "value_error.missing")])
    if _IMAGE_FIELD.match(error.message):
        return http_exception(500, "Invalid encoded image")
    return http_exception(422, str(error))


def _of_comfyui(error: Any, request: ApiRequest) -> Failure:
    kind = "OutOfMemoryError" if "out of GPU memory" in error.message else "RuntimeError"
    return raised(kind, str(error))


def _of_time(error: Any, request: ApiRequest) -> Failure:
    return raised("TimeoutError", str(error))


def _of_job(error: Any, request: ApiRequest) -> Failure:
    return raised("RuntimeError", str(error))


_SHAPES: tuple[tuple[type[Exception], Callable[[Any, ApiRequest], Failure]], ...] = (
    (RouteError, _of_route),
    (RequestError, _of_request),
    (TranslationError, _of_translation),
    (ComfyError, _of_comfyui),
    (TimeLimit, _of_time),
    (JobError, _of_job),
)


def _path_parts(path: str) -> tuple[str | int, ...]:
    """``a.b[0].c`` as FastAPI's ``loc``."""
    parts = _PATH_PART.findall(path)
    return tuple(int(part) if part.isdigit() else part for part in parts)


def _cleaned(value: Any, clean: Callable[[str], str]) -> Any:
    if isinstance(value, dict):
        return {key: _cleaned(item, clean) for key, item in value.items()}
    if isinstance(value, list):
        return [_cleaned(item, clean) for item in value]
    return clean(value) if isinstance(value, str) else value
