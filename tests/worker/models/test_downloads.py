"""v1/download and v1/sync: off by default; then from named hosts, into the volume, whole or not."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
import urllib3

from worker.errors import LimitError, RequestError
from worker.models import downloads
from worker.models.downloads import Downloads
from worker.settings import Settings

WEIGHTS = b"weights" * 1000
LISTING = {
    "siblings": [
        {"rfilename": name}
        for name in (
            "README.md",
            "top.safetensors",
            "loras/a.safetensors",
            "loras/b.md",
            "vae/c.pt",
        )
    ]
}


class Hub(BaseHTTPRequestHandler):
    """Answers as a hub does: a listing, redirects to a store, files."""

    asked: list[tuple[str, str | None]]

    def do_GET(self) -> None:
        self.asked.append((self.path, self.headers.get("Authorization")))
        if self.path.startswith("/api/models/"):
            self._answer(200, json.dumps(LISTING).encode())
        elif "/resolve/" in self.path:
            name = self.path.rpartition("/")[2]
            self._answer(302, b"", f"https://store.hf.co/blob/{name}")
        elif self.path == "/away":
            self._answer(302, b"", "https://elsewhere.example/x")
        elif self.path == "/broken":
            self.send_response(200)
            self.send_header("Content-Length", "999999")
            self.end_headers()
            self.wfile.write(WEIGHTS)
        elif self.path == "/none":
            self._answer(404, b"")
        else:
            self._answer(200, WEIGHTS)

    def _answer(self, status: int, body: bytes, location: str = "") -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        if location:
            self.send_header("Location", location)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Hub]]:
    """A hub behind every host name; its certificate is left out of the test."""
    handler = type("Recording", (Hub,), {"asked": []})
    server = HTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()

    def pool_to(*_: Any) -> urllib3.HTTPConnectionPool:
        return urllib3.HTTPConnectionPool("127.0.0.1", server.server_port, timeout=5)

    monkeypatch.setattr(downloads, "public_address", lambda *_: "127.0.0.1")
    monkeypatch.setattr(downloads, "pool_to", pool_to)
    yield handler
    server.shutdown()


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    (tmp_path / "volume" / "models" / "Lora").mkdir(parents=True)
    return tmp_path / "volume"


def allowed(volume: Path, **changes: Any) -> Downloads:
    hosts = ("huggingface.co", "hf.co")
    return Downloads(Settings(model_roots=(volume,), download_hosts=hosts, **changes))


def test_a_file_comes_whole(hub: type[Hub], volume: Path) -> None:
    loader = allowed(volume)
    target = loader.target("models/Lora/x.safetensors", "download_path")
    loader.fetch("https://huggingface.co/me/x.safetensors?download=true", target)
    assert target.read_bytes() == WEIGHTS
    assert [file.name for file in target.parent.iterdir()] == ["x.safetensors"]


@pytest.mark.parametrize(
    "url",
    [
        "http://huggingface.co/x",
        "https://elsewhere.example/x",
        "https://nothuggingface.co/x",
        "https://huggingface.co.example/x",
        "file:///etc/passwd",
        "https://huggingface.co/away",
    ],
)
def test_other_hosts_are_refused_redirects_too(hub: type[Hub], volume: Path, url: str) -> None:
    target = volume / "models" / "Lora" / "x.pt"
    with pytest.raises(RequestError, match="DOWNLOAD_HOSTS"):
        allowed(volume).fetch(url, target)
    assert list(target.parent.iterdir()) == []


@pytest.mark.parametrize(
    ("changes", "path", "error"),
    [
        ({"max_download_bytes": 100}, "/x", LimitError),
        ({"job_timeout_s": 0.0}, "/x", LimitError),
        ({}, "/broken", RequestError),
        ({}, "/none", RequestError),
    ],
)
def test_what_breaks_off_leaves_nothing(
    hub: type[Hub], volume: Path, changes: dict[str, Any], path: str, error: type[Exception]
) -> None:
    target = volume / "models" / "Lora" / "x.pt"
    with pytest.raises(error):
        allowed(volume, **changes).fetch(f"https://huggingface.co{path}", target)
    assert list(target.parent.iterdir()) == []


@pytest.mark.parametrize(
    "path",
    [
        "../outside.pt",
        "/etc/outside.pt",
        "models/Lora/../../../outside.pt",
        "models/Lora/run.py",
        "models/Lora/handler.sh",
        "models/none/x.pt",
        "link/x.pt",
    ],
)
def test_a_path_outside_the_volume_or_of_no_model_is_refused(volume: Path, path: str) -> None:
    (volume / "link").symlink_to("/tmp")
    with pytest.raises(RequestError, match="download_path"):
        allowed(volume).target(path, "download_path")


def test_synchronising_fetches_what_lies_in_folders_and_is_not_there(
    hub: type[Hub], volume: Path
) -> None:
    loader = allowed(volume)
    came = loader.sync("me/repo", "secret", Path("models"))
    assert [file.relative_to(volume.resolve()) for file in came] == [
        Path("models/loras/a.safetensors"),
        Path("models/vae/c.pt"),
    ]
    assert loader.sync("me/repo", "secret", Path("models")) == []
    hub_asked = [token for path, token in hub.asked if not path.startswith("/blob/")]
    assert set(hub_asked) == {"Bearer secret"}
    assert {token for path, token in hub.asked if path.startswith("/blob/")} == {None}


@pytest.mark.parametrize("path", ["v1/download", "v1/sync"])
async def test_both_are_off_by_default(make_worker: Callable[..., Any], path: str) -> None:
    worker = make_worker()
    for method in ("GET", "POST"):
        answer = await worker.run({"api": {"method": method, "endpoint": path}, "payload": {}})
        assert "DOWNLOAD_HOSTS" in answer["error"]


async def test_as_a_job(hub: type[Hub], volume: Path, make_worker: Callable[..., Any]) -> None:
    worker = make_worker(model_roots=(volume,), download_hosts=("huggingface.co",))
    payload = {
        "source_url": "https://huggingface.co/me/x.pt",
        "download_path": "models/Lora/x.pt",
    }
    answer = await worker.run(
        {"api": {"method": "POST", "endpoint": "/v1/download"}, "payload": payload}
    )
    assert answer == {"msg": "Download successful", **payload}
    assert (volume / "models" / "Lora" / "x.pt").read_bytes() == WEIGHTS
