"""What every response passes: its time, who may ask, and how a path may be written."""

from __future__ import annotations

import base64
import binascii
import secrets
import time
from collections.abc import Mapping

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import RedirectResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from server import exchange
from worker.failures import http_exception

_OPEN_PATHS = frozenset({"/ping", "/internal/ping"})
"""Answered without a password: a load balancer has none."""


class ProcessTime:
    """Adds ``X-Process-Time``: seconds, as A1111 gives it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start = time.perf_counter()

        async def stamped(message: Message) -> None:
            if message["type"] == "http.response.start":
                spent = round(time.perf_counter() - start, 4)
                MutableHeaders(scope=message)["X-Process-Time"] = str(spent)
            await send(message)

        await self._app(scope, receive, stamped)


class PathRules:
    """Takes a path with a slash at its end, with slashes doubled, and below the subpath."""

    def __init__(self, app: ASGIApp, subpath: str = "") -> None:
        self._app = app
        self._prefix = f"/{subpath}" if subpath else ""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            if self._prefix and scope["path"] == self._prefix and scope["method"] == "GET":
                # The page's own addresses are relative.
                await RedirectResponse(f"{self._prefix}/")(scope, receive, send)
                return
            parts = [part for part in scope["path"].split("/") if part]
            path = "/" + "/".join(parts)
            if self._prefix and (path == self._prefix or path.startswith(f"{self._prefix}/")):
                path = path.removeprefix(self._prefix) or "/"
            scope = {**scope, "path": path}
        await self._app(scope, receive, send)


class BasicAuth:
    """HTTP basic authentication, as ``--api-auth`` of A1111.

    A1111 guards its own routes only; here ControlNet's and the documentation are guarded too.
    """

    def __init__(self, app: ASGIApp, users: Mapping[str, str]) -> None:
        self._app = app
        self._users = users

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or self._is_open(scope):
            await self._app(scope, receive, send)
            return
        problem = self._problem(Headers(scope=scope).get("authorization", ""))
        if problem is None:
            await self._app(scope, receive, send)
            return
        response = exchange.failed(http_exception(401, problem))
        response.headers["WWW-Authenticate"] = "Basic"
        await response(scope, receive, send)

    @staticmethod
    def _is_open(scope: Scope) -> bool:
        return scope["path"] in _OPEN_PATHS or scope["method"] == "OPTIONS"

    def _problem(self, header: str) -> str | None:
        """What is wrong with the credentials; None where nothing is."""
        scheme, _, text = header.partition(" ")
        if scheme.lower() != "basic":
            return "Not authenticated"
        try:
            user, _, password = base64.b64decode(text, validate=True).decode("utf-8").partition(":")
        except (binascii.Error, UnicodeDecodeError):
            return "Invalid authentication credentials"
        known = self._users.get(user)
        same = secrets.compare_digest(password.encode(), (known or "").encode())
        return None if known is not None and same else "Incorrect username or password"
