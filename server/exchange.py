"""HTTP on one side, `ApiRequest` and `ApiAnswer` on the other."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from worker.api import ApiAnswer, ApiRequest
from worker.failures import Failure, http_exception, validation

WARNINGS_HEADER = "X-A1111-Warnings"
MAX_BODY_BYTES = 512_000_000
"""What is announced or comes beyond is refused with 413; A1111 knows no bound."""

_HEADER_BYTES = 6000
"""Of the warnings: proxies commonly take 8 KB of headers."""
_IN_THREAD_BYTES = 1_000_000
"""A body as large as this is parsed outside the event loop."""

_NO_BODY = object()


class BadBody(Exception):
    """A body that A1111 would refuse before it looks at its fields."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(str(failure.body))
        self.failure = failure


async def read(request: Request, path: str, *, needs_body: bool) -> ApiRequest:
    """A request as it came over HTTP. Its body is JSON whatever its content type says.

    Args:
        path: of the route.
        needs_body: whether the route takes an object; others take a body or none.

    Raises:
        BadBody: no JSON, no object where one is needed, or too large.
    """
    body = await _json_of(request)
    if needs_body and body is _NO_BODY:
        raise BadBody(validation([(("body",), "field required", "value_error.missing")]))
    if needs_body and not isinstance(body, dict):
        raise BadBody(validation([(("body",), "value is not a valid dict", "type_error.dict")]))
    query = dict(request.query_params)
    return ApiRequest(request.method, path, query, None if body is _NO_BODY else body)


async def _json_of(request: Request) -> Any:
    raw = bytearray()
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced) > MAX_BODY_BYTES:
        raise BadBody(_too_large())
    async for piece in request.stream():
        raw += piece
        if len(raw) > MAX_BODY_BYTES:
            raise BadBody(_too_large())
    if not raw.strip():
        return _NO_BODY
    try:
        if len(raw) < _IN_THREAD_BYTES:
            return json.loads(raw)
        return await asyncio.to_thread(json.loads, raw)
    except RecursionError:
        raise BadBody(http_exception(422, "the body is nested too deeply")) from None
    except ValueError as error:
        place = getattr(error, "pos", 0)
        what = [(("body", place), str(error), "value_error.jsondecode")]
        raise BadBody(validation(what)) from None


def _too_large() -> Failure:
    return http_exception(413, f"Request body is too large: at most {MAX_BODY_BYTES:,} bytes")


async def written(answer: ApiAnswer) -> Response:
    """An answer as A1111 gives it; what it has no place for stands in `WARNINGS_HEADER`."""
    if answer.pictures:
        raw = await asyncio.to_thread(_with_pictures, answer)
    else:
        raw = _json(answer.body)
    notes = [answer.error] if answer.error else []
    return respond(answer.status, raw, [*notes, *answer.warnings])


def respond(status: int, raw: bytes, notes: list[str] | None = None) -> Response:
    response = Response(raw, status, media_type="application/json")
    if notes:
        response.headers[WARNINGS_HEADER] = header_of(notes)
    return response


def failed(failure: Failure, notes: list[str] | None = None) -> Response:
    """A failure as A1111 words it."""
    return respond(failure.status, _json(failure.body), notes)


def answered(body: Any) -> Response:
    return respond(200, _json(body))


def header_of(notes: list[str]) -> str:
    """Sentences as a JSON list of at most `_HEADER_BYTES`; what is left out is counted."""
    unique = list(dict.fromkeys(notes))
    for count in range(len(unique), 0, -1):
        left = len(unique) - count
        kept = unique[:count] + ([f"and {left} more, see the server's log"] if left else [])
        text = json.dumps(kept)
        if len(text) <= _HEADER_BYTES:
            return text
    return json.dumps([unique[0][: _HEADER_BYTES // 8] + "..."])


def _with_pictures(answer: ApiAnswer) -> bytes:
    return _json(answer.body_with([picture.encoded() for picture in answer.pictures]))


def _json(body: Any) -> bytes:
    """JSON as A1111's FastAPI writes it."""
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()
