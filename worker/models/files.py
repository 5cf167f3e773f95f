"""What A1111 knows of a model file: architecture, hashes, a LoRA's names; read from the file.

Only the header of a safetensors file is read to tell the architecture. Hashes are computed once a
file (path, size and time of change) and may be kept between starts.
"""

from __future__ import annotations

import hashlib
import json
import logging
import struct
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from translator.comfy.catalog import ModelFacts
from translator.models import families

log = logging.getLogger(__name__)

FOLDERS: Mapping[str, tuple[str, ...]] = {
    "checkpoints": ("Stable-diffusion", "checkpoints"),
    "configs": ("Stable-diffusion", "configs"),
    "vae": ("VAE", "vae"),
    "loras": ("Lora", "LyCORIS", "loras"),
    "upscale_models": ("ESRGAN", "RealESRGAN", "SwinIR", "upscale_models"),
    "embeddings": ("embeddings",),
    "hypernetworks": ("hypernetworks",),
    "controlnet": ("ControlNet", "controlnet"),
    "ipadapter": ("ipadapter", "ControlNet"),
    "instantid": ("instantid", "ControlNet"),
    "style_models": ("style_models", "ControlNet"),
    "clip_vision": ("clip_vision",),
}
"""ComfyUI's model folder -> its names in both layouts, under a root or under its ``models``."""

CONTROL_FOLDERS = ("controlnet", "instantid", "ipadapter", "style_models")
"""Folders of control models, which their extension names by A1111's old hash."""

_MAX_HEADER = 100_000_000
_BLOCK = 1 << 20
_OLD_HASH_AT, _OLD_HASH_LENGTH = 0x100000, 0x10000


def locate(roots: Iterable[Path], folder: str, name: str) -> Path | None:
    """A model file below one of the roots, or None."""
    for root in roots:
        for parent in (root, root / "models"):
            for sub in FOLDERS.get(folder, (folder,)):
                file = parent / sub / name
                if file.is_file():
                    return file
    return None


def model_files(roots: Iterable[Path], folder: str) -> Iterator[Path]:
    """The files of a model folder below the roots, in the places where `locate` looks."""
    for root in roots:
        for parent in (root, root / "models"):
            for sub in FOLDERS.get(folder, (folder,)):
                yield from (file for file in (parent / sub).rglob("*") if file.is_file())


def read_header(file: Path) -> dict[str, Any] | None:
    """The header of a safetensors file: tensor name -> {dtype, shape, ...}, ``__metadata__``.

    None for other files and for one whose header makes no sense.
    """
    if file.suffix != ".safetensors":
        return None
    try:
        with file.open("rb") as stream:
            (length,) = struct.unpack("<Q", stream.read(8))
            if length > _MAX_HEADER:
                return None
            header = json.loads(stream.read(length))
    except (OSError, ValueError, struct.error) as error:
        log.warning("the header of %s cannot be read: %s", file.name, type(error).__name__)
        return None
    return header if isinstance(header, dict) else None


def old_hash(file: Path) -> str:
    """A1111's old model hash: 8 digits of the SHA-256 of 64 KiB at 1 MiB."""
    with file.open("rb") as stream:
        stream.seek(_OLD_HASH_AT)
        return hashlib.sha256(stream.read(_OLD_HASH_LENGTH)).hexdigest()[:8]


def sha256(file: Path, skip: int = 0) -> str:
    """SHA-256 of a file, from byte `skip` on."""
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        stream.seek(skip)
        while block := stream.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def tensor_sha256(file: Path) -> str:
    """SHA-256 of a safetensors file without its header: A1111's hash of a LoRA."""
    with file.open("rb") as stream:
        (length,) = struct.unpack("<Q", stream.read(8))
    return sha256(file, skip=8 + length)


class HashCache:
    """Hashes by path, size and time of change, kept in a JSON file if one is given."""

    def __init__(self, file: Path | None) -> None:
        self._file = file
        self._hashes: dict[str, str] = self._read()

    def known(self, file: Path, kind: str) -> str | None:
        return self._hashes.get(self._key(file, kind))

    def compute(self, file: Path, kind: str) -> str:
        """The hash of a file: ``sha256``, or ``tensors`` for the tensor data alone."""
        key = self._key(file, kind)
        if key not in self._hashes:
            self._hashes[key] = tensor_sha256(file) if kind == "tensors" else sha256(file)
            self._save()
        return self._hashes[key]

    def _read(self) -> dict[str, str]:
        if self._file is None or not self._file.is_file():
            return {}
        try:
            kept = json.loads(self._file.read_text("utf-8"))
            if isinstance(kept, dict):
                return kept
        except (OSError, ValueError):
            pass  # told below
        log.warning("the hash cache %s cannot be read and starts empty", self._file)
        return {}

    @staticmethod
    def _key(file: Path, kind: str) -> str:
        status = file.stat()
        return f"{kind}:{file}:{status.st_size}:{status.st_mtime_ns}"

    def _save(self) -> None:
        if self._file is None:
            return
        try:
            partial = self._file.with_suffix(".part")
            partial.write_text(json.dumps(self._hashes), "utf-8")
            partial.replace(self._file)
        except OSError as error:
            log.warning("the hash cache cannot be written: %s", error.strerror)


def facts_of(folder: str, file: Path, hashes: HashCache) -> ModelFacts:
    """What can be said of a file now: its header, and hashes as far as they are known already."""
    header = read_header(file) or {}
    metadata = header.get("__metadata__") or {}
    if folder == "loras":
        return ModelFacts(
            sha256=hashes.known(file, "sha256"),
            alias=metadata.get("ss_output_name"),
            addnet_hash=metadata.get("sshs_model_hash") or hashes.known(file, "tensors"),
        )
    if folder == "checkpoints":
        return ModelFacts(
            architecture=families.of_header(header),
            picture_channels=families.picture_channels(header),
            sha256=hashes.known(file, "sha256"),
            short_hash=old_hash(file),
            v_prediction=True if "v_pred" in header else None,
            has_config=file.with_suffix(".yaml").is_file(),
        )
    if folder in CONTROL_FOLDERS:
        return ModelFacts(short_hash=old_hash(file))
    return ModelFacts(sha256=hashes.known(file, "sha256"))
