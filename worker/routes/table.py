"""The routes of A1111's API, and direct submission: one table, a row a route.

docs/endpoints.md is checked against it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from translator.report import show
from translator.request.schema import TRUTH_WORDS
from worker.errors import QueryError, RouteError
from worker.routes import (
    actions,
    direct,
    doctor,
    downloads,
    generation,
    lists,
    options,
    page,
    poses,
    refused,
)
from worker.routes.call import Answerer, Call, Endpoint, fetch_pictures, in_thread, outside


def _rows(method: str, answerers: Mapping[str, Answerer]) -> dict[tuple[str, str], Endpoint]:
    return {(method, path): in_thread(row) for path, row in answerers.items()}


ROUTES: Mapping[tuple[str, str], Endpoint] = {
    **{("POST", path): row for path, row in generation.POST.items()},
    **_rows("GET", lists.GET),
    **_rows("GET", doctor.GET),
    **{("GET", path): outside(row) for path, row in downloads.ANSWERERS.items()},
    **{("POST", path): outside(row) for path, row in downloads.ANSWERERS.items()},
    **_rows("GET", options.GET),
    **_rows("POST", options.POST),
    **_rows("POST", actions.POST),
    **_rows("POST", page.POST),
    **_rows("POST", poses.POST),
    **refused.ENDPOINTS,
    ("POST", direct.PATH): direct.answer,
}
"""(method, path without slashes around it) -> what answers it."""

_TAKE_ADDRESSES = {
    *(("POST", path) for path in generation.POST),
    ("POST", "sdapi/v1/png-info"),
    ("POST", direct.PATH),
}
"""Routes whose image fields take web addresses, where an operator allows them."""

_SWITCHES: Mapping[str, tuple[str, ...]] = {
    "controlnet/model_list": ("update",),
    "controlnet/module_list": ("alias_names",),
    "sdapi/v1/progress": ("skip_current_image",),
}
"""Query parameters; all of them are true or false."""


async def answer(call: Call) -> Any:
    """Answer a request by its route.

    Raises:
        RouteError: a route that is not there.
        JobError, TranslationError: what the route raises.
    """
    method, path = call.request.method, call.request.path
    route = ROUTES.get((method, path))
    if route is None:
        raise _unknown(method, path)
    if method == "GET" and path not in downloads.ANSWERERS:
        call.switches = _switches(call)
    if (method, path) in _TAKE_ADDRESSES:
        await fetch_pictures(call)
    return await route(call)


def _switches(call: Call) -> dict[str, bool]:
    """The query parameters of a GET.

    Raises:
        QueryError: a value that is neither true nor false.
    """
    path, given = call.request.path, call.request.query
    known = _SWITCHES.get(path, ())
    call.warnings += [f"{key}: not a parameter of {path}" for key in given if key not in known]
    return {key: switch(key, given[key]) for key in known if key in given}


def switch(name: str, value: Any) -> bool:
    """A query parameter that is true or false.

    Raises:
        QueryError: it is neither.
    """
    truth = TRUTH_WORDS.get(str(value).lower())
    if truth is None:
        raise QueryError(name, show(value))
    return truth


def _answered() -> list[str]:
    """The paths that can be answered, without leading slash: a message may hold no file paths."""
    return sorted({path for method, path in ROUTES if (method, path) not in refused.REFUSED})


def _unknown(method: str, path: str) -> RouteError:
    methods = [known for known, known_path in ROUTES if known_path == path]
    if methods:
        return RouteError(
            405, f"api.method: {method} is not allowed for {path}", f"use {' or '.join(methods)}"
        )
    return RouteError(
        404, f"api.endpoint: {path} is not available", f"there are {', '.join(_answered())}"
    )
