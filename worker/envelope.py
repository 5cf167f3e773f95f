"""A RunPod job's ``input`` as a request: the ``api`` envelope, or direct submission."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl

from worker import submission
from worker.api import ApiRequest
from worker.errors import RequestError
from worker.routes import direct

_BARE_PATH = "sdapi/v1/txt2img"
_ENVELOPE_KEYS = ("api", "payload", "options")


def read(given: object) -> tuple[ApiRequest, list[str]]:
    """The request in a job's input, and what there is to warn of.

    Raises:
        RequestError: an input that makes no sense.
    """
    if isinstance(given, str):
        try:
            given = json.loads(given)
        except (ValueError, RecursionError):
            raise RequestError(submission.NOT_JSON) from None
    if given is None:
        raise RequestError(submission.NO_INPUT)
    if not isinstance(given, dict):
        raise RequestError("input: an object is expected")
    if "api" in given:
        return _enveloped(given)
    if "workflow" in given:
        return ApiRequest("POST", direct.PATH, {}, given, given.get("options")), []
    if "prompt" in given:
        # runpod-workers/worker-a1111: the input is txt2img's payload.
        return ApiRequest("POST", _BARE_PATH, {}, given), []
    raise RequestError(
        f"{submission.NO_WORKFLOW}: input: neither api nor workflow is there",
        'send {"api": {"method", "endpoint"}, "payload"} for A1111\'s API, its txt2img payload '
        'alone, or {"workflow"} for a ComfyUI graph',
    )


def _enveloped(given: Mapping[str, Any]) -> tuple[ApiRequest, list[str]]:
    envelope, payload = given["api"], given.get("payload")
    if not isinstance(envelope, Mapping):
        raise RequestError('api: an object {"method", "endpoint"} is expected')
    method, endpoint = envelope.get("method"), envelope.get("endpoint")
    for name, value in (("method", method), ("endpoint", endpoint)):
        if not isinstance(value, str) or not value:
            raise RequestError(f"api.{name}: missing")
    warnings = [f"{key}: not a field of this request" for key in given if key not in _ENVELOPE_KEYS]
    method = str(method).upper()
    path, _, query_string = str(endpoint).partition("?")
    query: dict[str, Any] = {}
    if method == "GET":
        query = dict(parse_qsl(query_string, keep_blank_values=True))
        if isinstance(payload, Mapping):
            query.update(payload)
    elif query_string:
        warnings.append(f"api.endpoint: {query_string[:60]}: {method} takes no query parameters")
    request = ApiRequest(method, path.strip("/"), query, payload, given.get("options"))
    return request, warnings
