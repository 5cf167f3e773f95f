"""The documentation page, ``/docs``, with its scripts from this server.

FastAPI's own page loads Swagger UI from a content network; a worker may reach none, so the files
come from the package ``fastapi-offline``.
"""

from __future__ import annotations

from pathlib import Path

import fastapi_offline
from fastapi import FastAPI
from fastapi.openapi.docs import get_swagger_ui_html
from starlette.requests import Request
from starlette.responses import Response
from starlette.staticfiles import StaticFiles

_FILES = Path(fastapi_offline.__file__).parent / "static"
_PATH = "/docs-files"


def add_page(app: FastAPI, root: str) -> None:
    """Add the page to an application.

    Args:
        root: path below which a browser finds the application: empty, or with a leading slash.
    """
    files, document = f"{root}{_PATH}", f"{root}/openapi.json"

    async def swagger(_: Request) -> Response:
        return get_swagger_ui_html(
            openapi_url=document,
            title=app.title,
            swagger_js_url=f"{files}/swagger-ui-bundle.js",
            swagger_css_url=f"{files}/swagger-ui.css",
            swagger_favicon_url=f"{files}/favicon.png",
        )

    app.add_route("/docs", swagger)
    app.mount(_PATH, StaticFiles(directory=_FILES))
