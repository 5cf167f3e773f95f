"""The bounded store of uploaded images."""

import threading
from pathlib import Path

from worker.comfyui.uploads import UploadStore, content_name


class Recorder:
    """Takes uploads and remembers them, into a folder if there is one."""

    def __init__(self, folder: Path | None = None, pause_s: float = 0.0) -> None:
        self.names: list[str] = []
        self._folder = folder
        self._pause = threading.Event()
        self._pause_s = pause_s

    def upload(self, name: str, data: bytes) -> str:
        self._pause.wait(self._pause_s)
        self.names.append(name)
        if self._folder is not None:
            (self._folder / name).write_bytes(data)
        return name


def test_same_bytes_have_the_same_name() -> None:
    assert content_name(b"x", "png") == content_name(b"x", ".PNG")
    assert content_name(b"x", "png") != content_name(b"y", "png")


def test_an_image_is_uploaded_once_and_not_decoded_again() -> None:
    api = Recorder()
    store = UploadStore(api, 4)
    assert store.ensure("a", lambda: b"1") is False
    assert store.ensure("a", lambda: 1 / 0) is True  # type: ignore[arg-type, return-value]
    assert api.names == ["a"]


def test_two_threads_with_the_same_image_upload_it_once() -> None:
    api = Recorder(pause_s=0.05)
    store = UploadStore(api, 4)
    threads = [threading.Thread(target=store.ensure, args=("a", lambda: b"1")) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert api.names == ["a"]


def test_the_least_recently_used_leaves_and_its_file_with_it(tmp_path: Path) -> None:
    store = UploadStore(Recorder(tmp_path), 2, tmp_path)
    for name in ("a", "b", "a", "c"):
        store.ensure(name, lambda: b"1")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a", "c"]
    assert len(store) == 2


def test_what_a_job_uses_is_not_evicted(tmp_path: Path) -> None:
    store = UploadStore(Recorder(tmp_path), 1, tmp_path)
    with store.hold(["a"]):
        store.ensure("a", lambda: b"1")
        store.ensure("b", lambda: b"1")
        assert (tmp_path / "a").exists()
    store.ensure("c", lambda: b"1")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["c"]


def test_a_forgotten_name_is_uploaded_again() -> None:
    api = Recorder()
    store = UploadStore(api, 4)
    store.ensure("a", lambda: b"1")
    store.forget(["a", "never seen"])
    store.ensure("a", lambda: b"1")
    assert api.names == ["a", "a"]
