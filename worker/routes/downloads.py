"""``v1/download`` and ``v1/sync`` of runpod-worker-a1111; off unless DOWNLOAD_HOSTS is set."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from worker.errors import RequestError
from worker.models.downloads import Downloads
from worker.routes.call import Answerer, Call


def _download(call: Call) -> Any:
    downloads = _allowed(call)
    url, path = _text(call, "source_url"), _text(call, "download_path")
    downloads.fetch(url, downloads.target(path, "download_path"))
    call.resources.catalog.refresh()
    return {"msg": "Download successful", "source_url": url, "download_path": path}


def _sync(call: Call) -> Any:
    downloads = _allowed(call)
    repository, folder = _text(call, "repo_id"), _text(call, "sync_path")
    token = _text(call, "hf_token")
    call.task.secrets = (*call.task.secrets, token)
    files = [str(file) for file in downloads.sync(repository, token, Path(folder))]
    call.resources.catalog.refresh()
    return {"synced_count": len(files), "synced_files": files}


def _allowed(call: Call) -> Downloads:
    downloads = Downloads(call.resources.settings)
    downloads.check_allowed()
    return downloads


def _text(call: Call, field: str) -> str:
    body = call.request.body if isinstance(call.request.body, Mapping) else {}
    value = {**call.request.query, **body}.get(field)
    if not isinstance(value, str) or not value.strip():
        raise RequestError(f"{field}: a text is missing")
    return value.strip()


ANSWERERS: Mapping[str, Answerer] = {"v1/download": _download, "v1/sync": _sync}
"""Path -> what answers it, by GET and by POST alike."""
