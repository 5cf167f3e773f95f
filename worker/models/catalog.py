"""The catalog of the running ComfyUI: its nodes and files, and the facts of model files."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from translator.comfy.catalog import Catalog, ModelFacts
from worker.comfyui.http import ComfyApi
from worker.errors import ComfyError
from worker.models.files import CONTROL_FOLDERS, HashCache, facts_of, locate, model_files
from worker.settings import Settings

log = logging.getLogger(__name__)

FACT_FOLDERS = (
    "checkpoints",
    "loras",
    "vae",
    "embeddings",
    "upscale_models",
    *CONTROL_FOLDERS,
)
HASHED: Mapping[str, str] = {
    "checkpoints": "sha256",
    "vae": "sha256",
    "loras": "tensors",
    "embeddings": "sha256",
}
"""Folders whose files A1111 hashes -> which hash."""

_HASH_AT_ONCE = 256 << 20
"""Bytes up to which a file is hashed before the catalog is used; larger ones in the background."""

_JUST_READ_S = 1.0
"""A catalog that a job has read while the connection was made is not read again."""

Key = tuple[str, str]


class CatalogSource:
    """Reads the catalog from ComfyUI once, again when asked, and keeps what it learns of files.

    Args:
        api: the server.
        settings: MODEL_ROOTS, HASH_MODELS and HASH_CACHE.
    """

    def __init__(self, api: ComfyApi, settings: Settings) -> None:
        self._api = api
        self._settings = settings
        self._hashes = HashCache(settings.hash_cache)
        self._lock = threading.Lock()
        self._catalog: Catalog | None = None
        self._read_at = 0.0
        self._files: dict[Key, Path] = {}
        self._facts_read: dict[tuple[str, Path, int, int], ModelFacts] = {}
        self._closing = threading.Event()
        self._hasher: threading.Thread | None = None

    def current(self) -> Catalog:
        """The catalog; read now if it never was. Blocks.

        Raises:
            ComfyError: the server does not answer.
        """
        with self._lock:
            if self._catalog is None:
                self._read()
            assert self._catalog is not None
            return self._catalog

    @property
    def is_known(self) -> bool:
        """Whether the catalog was read, so that `current` does not ask the server."""
        return self._catalog is not None

    def refresh(self, older_than_s: float = 0.0) -> bool:
        """Read the catalog again if it is old enough; True if it was read. Blocks."""
        with self._lock:
            if self._catalog is not None and time.monotonic() - self._read_at < older_than_s:
                return False
            self._read()
            return True

    def try_refresh(self) -> None:
        """As `refresh` after a connection; a server that does not answer is only logged."""
        try:
            self.refresh(older_than_s=_JUST_READ_S)
        except ComfyError as error:
            log.warning("catalog not read: %s", error)

    def read_ahead(self) -> None:
        """Read what there is below MODEL_ROOTS while ComfyUI starts; the catalog needs it next."""
        for folder in FACT_FOLDERS:
            for file in model_files(self._settings.model_roots, folder):
                if self._closing.is_set():
                    return
                self._facts((folder, file.name), file)

    def path(self, folder: str, name: str) -> Path | None:
        """Where a model file lies, if it is below one of MODEL_ROOTS."""
        return self._files.get((folder, name))

    def close(self) -> None:
        """End hashing in the background."""
        self._closing.set()
        if self._hasher is not None:
            self._hasher.join()

    def _read(self) -> None:
        object_info = self._api.get("/object_info")
        embeddings = self._api.get("/models/embeddings")
        catalog = Catalog.from_object_info(object_info, extra_folders={"embeddings": embeddings})
        self._files = self._located(catalog)
        facts = {key: self._facts(key, file) for key, file in self._files.items()}
        self._catalog = replace(catalog, facts=facts)
        self._read_at = time.monotonic()
        log.info("catalog: %d nodes, %d model files known", len(catalog.nodes), len(facts))
        if self._settings.hash_models and self._unhashed() and not self._hashing():
            self._hasher = threading.Thread(
                target=self._hash_rest, name="model-hashes", daemon=True
            )
            self._hasher.start()

    def _located(self, catalog: Catalog) -> dict[Key, Path]:
        located: dict[Key, Path] = {}
        for folder in FACT_FOLDERS:
            for name in catalog.files(folder) or ():
                file = locate(self._settings.model_roots, folder, name)
                if file is not None:
                    located[folder, name] = file
        return located

    def _facts(self, key: Key, file: Path) -> ModelFacts:
        folder, _ = key
        try:
            status = file.stat()
            known = (folder, file, status.st_size, status.st_mtime_ns)
            if known not in self._facts_read:
                if (
                    self._settings.hash_models
                    and folder in HASHED
                    and status.st_size <= _HASH_AT_ONCE
                ):
                    self._hashes.compute(file, HASHED[folder])
                self._facts_read[known] = facts_of(folder, file, self._hashes)
            return self._facts_read[known]
        except (OSError, ValueError) as error:
            log.warning("nothing could be read of %s: %s", file.name, error)
            return ModelFacts()

    def _unhashed(self) -> list[tuple[Key, Path]]:
        return sorted(
            (
                (key, file)
                for key, file in self._files.items()
                if key[0] in HASHED and self._hashes.known(file, HASHED[key[0]]) is None
            ),
            key=lambda item: item[1].stat().st_size,
        )

    def _hashing(self) -> bool:
        return self._hasher is not None and self._hasher.is_alive()

    def _hash_rest(self) -> None:
        """Hash what is left, the smallest first, and put each hash into the catalog."""
        for key, file in self._unhashed():
            if self._closing.is_set():
                return
            try:
                self._hashes.compute(file, HASHED[key[0]])
                status = file.stat()
                facts = facts_of(key[0], file, self._hashes)
                self._facts_read[key[0], file, status.st_size, status.st_mtime_ns] = facts
                self._put(key, facts)
            except (OSError, ValueError) as error:
                log.warning("%s could not be hashed: %s", file.name, error)

    def _put(self, key: Key, facts: ModelFacts) -> None:
        with self._lock:
            if self._catalog is not None:
                self._catalog = replace(self._catalog, facts={**self._catalog.facts, key: facts})
