"""Downloads of model files into the volume: off, or within the operator's limits.

Hosts are those of DOWNLOAD_HOSTS alone, redirects included; the connection goes to the very public
address that was checked. A file lands below one of MODEL_ROOTS under a model's extension, whole or
not at all.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote, urljoin, urlsplit

import urllib3

from worker.errors import LimitError, RequestError
from worker.pictures.addresses import public_address
from worker.settings import Settings

EXTENSIONS = frozenset(
    {".safetensors", ".ckpt", ".pt", ".pth", ".bin", ".onnx", ".gguf", ".torchscript", ".yaml"}
)
"""What a downloaded file may end in: nothing that a program would run."""

HUB = "huggingface.co"
MOST_SYNCED = 200
"""Files that one synchronisation fetches at most."""

_TIMEOUT = urllib3.Timeout(connect=10.0, read=60.0)
_PIECE = 1 << 20
_MAX_LISTING = 16 << 20
_MAX_REDIRECTS = 5
_KEPT_FREE = 1 << 30
"""Bytes that stay free on the volume."""


@dataclass(frozen=True)
class Downloads:
    """Fetches files, within the operator's limits.

    Args:
        settings: DOWNLOAD_HOSTS, MAX_DOWNLOAD_BYTES, MODEL_ROOTS, and the time limit of a job.
    """

    settings: Settings

    def check_allowed(self) -> None:
        """Raises RequestError unless the operator has turned downloads on."""
        if not self.settings.download_hosts or not self.settings.model_roots:
            raise RequestError(
                "this worker downloads nothing",
                "put the file on the volume, or have the operator set DOWNLOAD_HOSTS and "
                "MODEL_ROOTS",
            )

    def fetch(self, url: str, target: Path, headers: Mapping[str, str] | None = None) -> None:
        """Download a file to a checked target.

        Args:
            headers: sent to the first host only, never to one that it redirects to.

        Raises:
            RequestError: a host that is not allowed, an address that is not public, or an answer
                that is no file.
            LimitError: more than MAX_DOWNLOAD_BYTES, no room, or too slow.
        """
        deadline = time.monotonic() + self.settings.job_timeout_s
        for _ in range(_MAX_REDIRECTS + 1):
            with self._open(url, headers or {}) as reply:
                if reply.status == 200:
                    self._keep(reply, target, deadline)
                    return
                location = reply.headers.get("Location")
                if reply.status not in (301, 302, 303, 307, 308) or not location:
                    raise RequestError(f"source_url: it answered with status {reply.status}")
                url, headers = urljoin(url, location), None
        raise RequestError(f"source_url: it redirects more than {_MAX_REDIRECTS} times")

    def listing(self, repository: str, token: str) -> list[str]:
        """The files of a repository of Hugging Face that lie in a folder of it.

        Raises:
            RequestError, LimitError: as `fetch`; a listing that makes no sense.
        """
        url = f"https://{HUB}/api/models/{quote(repository)}"
        with self._open(url, _authorization(token)) as reply:
            raw = reply.read(_MAX_LISTING)
            if reply.status != 200:
                raise RequestError(f"repo_id: {HUB} answered with status {reply.status}")
        try:
            names = [str(item["rfilename"]) for item in json.loads(raw)["siblings"]]
        except (ValueError, KeyError, TypeError):
            raise RequestError(f"repo_id: {HUB} answered no list of files") from None
        return sorted(name for name in names if "/" in name)

    def sync(self, repository: str, token: str, folder: Path) -> list[Path]:
        """Fetch what of a repository is not there yet; the files that came.

        Raises:
            RequestError, LimitError: as `fetch`; more than `MOST_SYNCED` files are missing.
        """
        wanted = [
            (name, self.target(str(folder / name), "sync_path", make_parent=True))
            for name in self.listing(repository, token)
            if PurePosixPath(name).suffix.lower() in EXTENSIONS
        ]
        missing = [(name, target) for name, target in wanted if not target.exists()]
        if len(missing) > MOST_SYNCED:
            raise LimitError(
                f"repo_id: {len(missing)} files are missing; at most {MOST_SYNCED} are fetched",
                "fetch them onto the volume from elsewhere",
            )
        for name, target in missing:
            url = f"https://{HUB}/{quote(repository)}/resolve/main/{quote(name)}"
            target.parent.mkdir(parents=True, exist_ok=True)
            self.fetch(url, target, _authorization(token))
        return [target for _, target in missing]

    def target(self, path: str, field: str, *, make_parent: bool = False) -> Path:
        """Where a file may go: a path below one of MODEL_ROOTS, relative ones below the first.

        Args:
            make_parent: the folder need not be there yet.

        Raises:
            RequestError: it is elsewhere, ends in something that is no model, or has no folder.
        """
        roots = [root.resolve() for root in self.settings.model_roots]
        given = Path(path)
        target = (given if given.is_absolute() else roots[0] / given).resolve()
        if not any(target.is_relative_to(root) and target != root for root in roots):
            raise RequestError(f"{field}: not below a folder of models", "name one of MODEL_ROOTS")
        if target.suffix.lower() not in EXTENSIONS:
            shown = ", ".join(sorted(EXTENSIONS))
            raise RequestError(f"{field}: {target.name!r} is no model file", f"it ends in {shown}")
        if not make_parent and not target.parent.is_dir():
            raise RequestError(f"{field}: its folder is not there")
        return target

    @contextmanager
    def _open(
        self, url: str, headers: Mapping[str, str]
    ) -> Iterator[urllib3.response.BaseHTTPResponse]:
        parts = urlsplit(url)
        host = (parts.hostname or "").lower()
        if parts.scheme != "https" or not self._is_allowed(host):
            raise RequestError(
                f"source_url: {parts.scheme}://{host} is not a place to download from",
                f"allowed by https: {', '.join(self.settings.download_hosts)} (DOWNLOAD_HOSTS)",
            )
        port = parts.port or 443
        pool = pool_to(host, public_address(host, port, "source_url"), port)
        target = f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"
        sent = {"Host": parts.netloc.rpartition("@")[2], **headers}
        try:
            with pool.request(
                "GET", target, headers=sent, redirect=False, retries=False, preload_content=False
            ) as reply:
                yield reply
        except urllib3.exceptions.HTTPError as error:
            raise RequestError(f"source_url: it cannot be read ({type(error).__name__})") from None
        finally:
            pool.close()

    def _is_allowed(self, host: str) -> bool:
        return any(
            host == allowed or host.endswith(f".{allowed}")
            for allowed in self.settings.download_hosts
        )

    def _keep(
        self, reply: urllib3.response.BaseHTTPResponse, target: Path, deadline: float
    ) -> None:
        most = self.settings.max_download_bytes
        room = min(most, shutil.disk_usage(target.parent).free - _KEPT_FREE)
        part = target.with_name(f"{target.name}.{os.getpid()}.part")
        taken = 0
        try:
            with part.open("wb") as out:
                for piece in reply.stream(_PIECE):
                    taken += len(piece)
                    if taken > room:
                        raise LimitError(
                            f"source_url: the file has more than {max(room, 0)} bytes",
                            "limits: MAX_DOWNLOAD_BYTES, and 1 GB stays free on the volume",
                        )
                    if time.monotonic() > deadline:
                        raise LimitError("source_url: the download takes too long", "JOB_TIMEOUT_S")
                    out.write(piece)
            part.replace(target)
        except OSError as error:  # a quota says so only when it is reached
            raise LimitError(
                f"source_url: the volume did not take the file ({error.strerror})",
                "make room on it",
            ) from error
        finally:
            part.unlink(missing_ok=True)


def pool_to(host: str, address: str, port: int) -> urllib3.HTTPConnectionPool:
    """Connections by https to an address that was checked, with the certificate of its name."""
    return urllib3.HTTPSConnectionPool(
        address, port, timeout=_TIMEOUT, server_hostname=host, assert_hostname=host
    )


def _authorization(token: Any) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"} if token else {}
