"""The routes of A1111's API that the ``api`` envelope reaches: one table, one row a route."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from translator import ENDPOINTS
from worker.errors import RequestError
from worker.jobs import Context, Endpoint, Jobs
from worker.routes import a1111

_ENVELOPE_KEYS = ("api", "payload", "options")


async def _generate(path: str, jobs: Jobs, context: Context) -> Any:
    return await jobs.generate(context, f"/{path}")


def _generation(path: str) -> Endpoint:
    return partial(_generate, path)


ROUTES: Mapping[tuple[str, str], Endpoint] = {
    **{("POST", path.strip("/")): _generation(path.strip("/")) for path in ENDPOINTS},
    **a1111.ROUTES,
}
"""(method, path without leading slash) -> what answers it."""


async def answer(jobs: Jobs, context: Context) -> Any:
    """Answer a request in the ``api`` envelope.

    Raises:
        RequestError: an envelope that makes no sense, or a route that is not there.
    """
    envelope = context.request["api"]
    if not isinstance(envelope, Mapping):
        raise RequestError('api: an object {"method", "endpoint"} is expected')
    method, path = envelope.get("method"), envelope.get("endpoint")
    for name, value in (("method", method), ("endpoint", path)):
        if not isinstance(value, str) or not value:
            raise RequestError(f"api.{name}: missing")
    context.warnings += [
        f"{key}: not a field of this request"
        for key in context.request
        if key not in _ENVELOPE_KEYS
    ]
    where, _, query = str(path).partition("?")
    key = (str(method).upper(), where.strip("/"))
    if query and key[0] != "GET":
        context.warnings.append(f"api.endpoint: {query[:60]}: {key[0]} takes no query parameters")
    context.facts["endpoint"] = f"{key[0]} /{key[1]}"
    route = ROUTES.get(key)
    if route is None:
        raise _unknown(*key)
    return await route(jobs, context)


def _answered() -> list[str]:
    """The paths that can be answered, without leading slash: a message may hold no file paths."""
    return sorted({path for method, path in ROUTES if (method, path) not in a1111.REFUSED})


def _unknown(method: str, path: str) -> RequestError:
    methods = [known for known, known_path in ROUTES if known_path == path]
    if methods:
        return RequestError(
            f"api.method: {method} is not allowed for {path}", f"use {' or '.join(methods)}"
        )
    return RequestError(
        f"api.endpoint: {path} is not available", f"there are {', '.join(_answered())}"
    )
