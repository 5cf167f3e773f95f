"""Textual inversion files as A1111 reads them."""

from __future__ import annotations

import base64
import functools
import hashlib
import json
import logging
import os
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

TENSOR_SUFFIXES = (".pt", ".bin", ".safetensors")
IMAGE_SUFFIXES = (".png", ".webp", ".jxl", ".avif")

TEXT_CHUNK = "sd-ti-embedding"
"""The PNG text chunk that holds an embedding."""

_JSON_TENSOR = "TORCHTENSOR"
_LOW_NIBBLE = 0x0F


class EmbeddingError(ValueError):
    """A file that is no embedding, or one A1111 does not read either."""


@dataclass(frozen=True)
class Embedding:
    """A named embedding: `[vectors, channels]` per encoder ("l", "g"); "" fits a single encoder."""

    name: str
    vectors: dict[str, torch.Tensor]

    @property
    def length(self) -> int:
        """How many tokens it takes."""
        return next(iter(self.vectors.values())).shape[0]

    @property
    def width(self) -> int:
        """Channels of all encoders together: 768 SD1, 1024 SD2, 2048 SDXL, 1280 its refiner."""
        return sum(tensor.shape[-1] for tensor in self.vectors.values())

    def for_encoder(self, encoder: str) -> torch.Tensor:
        """The vectors that `encoder` sees."""
        return self.vectors.get(encoder, self.vectors.get("", torch.empty(0)))


def find_embeddings(folders: Iterable[str | Path], width: int) -> list[Embedding]:
    """Every embedding below `folders` with `width` channels; others are skipped.

    Of two with the same name the later one wins. A file that cannot be read is logged and left
    out, as A1111 does.
    """
    found: dict[str, Embedding] = {}
    for path in embedding_files(folders):
        try:
            stat = path.stat()
            embedding = _load_cached(path, stat.st_mtime_ns, stat.st_size)
        except Exception as error:  # a broken download must not stop every prompt
            logging.warning("A1111TextEncode: cannot read embedding %s: %s", path, error)
            continue
        if embedding is not None and embedding.width == width:
            found[embedding.name] = embedding
    return list(found.values())


def embedding_files(folders: Iterable[str | Path]) -> Iterator[Path]:
    """Files below `folders` (links followed) that may be embeddings, in a stable order."""
    for folder in folders:
        for root, directories, names in os.walk(folder, followlinks=True):
            directories.sort()
            for name in sorted(names):
                path = Path(root) / name
                suffix = path.suffix.lower()
                preview = suffix in IMAGE_SUFFIXES and path.stem.lower().endswith(".preview")
                known = suffix in TENSOR_SUFFIXES + IMAGE_SUFFIXES
                if known and not preview and path.stat().st_size:
                    yield path


def fingerprint(folders: Iterable[str | Path]) -> str:
    """A digest that changes when a file that may be an embedding comes, goes or changes."""
    digest = hashlib.sha256()
    for path in embedding_files(folders):
        digest.update(f"{path}\0{path.stat().st_mtime_ns}\0".encode())
    return digest.hexdigest()


@functools.lru_cache(maxsize=4096)
def _load_cached(path: Path, mtime_ns: int, size: int) -> Embedding | None:
    return load_embedding(path)


def load_embedding(path: Path) -> Embedding | None:
    """Read one file; None for an image that carries no embedding.

    Raises EmbeddingError when the content is none of A1111's forms.
    """
    suffix = path.suffix.lower()
    if suffix in IMAGE_SUFFIXES:
        data = read_image(path)
        return None if data is None else _embedding(str(data.get("name", path.stem)), data)
    if suffix == ".safetensors":
        from safetensors.torch import load_file

        return _embedding(path.stem, load_file(path, device="cpu"))
    with torch.serialization.safe_globals([torch.nn.ParameterDict]):
        return _embedding(path.stem, torch.load(path, map_location="cpu", weights_only=True))


def _embedding(name: str, data: dict[str, Any]) -> Embedding:
    return Embedding(name, {key: _matrix(tensor) for key, tensor in _vectors(data).items()})


def _matrix(tensor: torch.Tensor) -> torch.Tensor:
    vectors = tensor.detach().float()
    return vectors.unsqueeze(0) if vectors.ndim == 1 else vectors


def _vectors(data: dict[str, Any]) -> dict[str, torch.Tensor]:
    """The tensors of A1111's own form, of SDXL's two-encoder form or of a diffusers concept."""
    if "string_to_param" in data:
        parameters = data["string_to_param"]
        return {"": _only(getattr(parameters, "_parameters", parameters))}
    if "clip_g" in data and "clip_l" in data:
        return {"l": data["clip_l"], "g": data["clip_g"]}
    if data and all(isinstance(value, torch.Tensor) for value in data.values()):
        return {"": _only(data)}
    raise EmbeddingError("neither a textual inversion embedding nor a diffusers concept")


def _only(tensors: dict[str, torch.Tensor]) -> torch.Tensor:
    if len(tensors) != 1:
        raise EmbeddingError(f"{len(tensors)} terms in one embedding file")
    return next(iter(tensors.values()))


def read_image(path: Path) -> dict[str, Any] | None:
    """The embedding in a picture's text chunk or in its pixels; None if there is none."""
    with Image.open(path) as image:
        text = getattr(image, "text", {}).get(TEXT_CHUNK)
        if text is not None:
            return _decode_json(base64.b64decode(text))
        packed = _pixel_payload(np.asarray(image.convert("RGB"), dtype=np.uint8))
    return None if packed is None else _decode_json(zlib.decompress(packed))


def _decode_json(data: bytes) -> dict[str, Any]:
    decoded = json.loads(data, object_hook=_revive_tensor)
    if not isinstance(decoded, dict):
        raise EmbeddingError("the picture's embedding is not an object")
    return decoded


def _revive_tensor(value: dict[str, Any]) -> Any:
    return torch.tensor(value[_JSON_TENSOR]) if _JSON_TENSOR in value else value


def _pixel_payload(pixels: np.ndarray) -> bytes | None:
    """The bytes in the low nibbles of an image `[H, W, 3]`, or None.

    Black borders are cut off. Blank columns (all nibbles 0) part the picture: left of them are the
    lower nibbles of the data, right of them the upper ones, both scrambled by `_unscramble`.
    """
    lit = (pixels > 0).all(axis=2)
    rows, columns = np.flatnonzero(lit.any(axis=1)), np.flatnonzero(lit.any(axis=0))
    if not rows.size:
        return None
    nibbles = pixels[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] & _LOW_NIBBLE
    blank = np.flatnonzero(nibbles.sum(axis=(0, 2)) == 0)
    if blank.size < 2:
        return None
    lower, upper = nibbles[:, : blank[0]], nibbles[:, blank[-1] + 1 :]
    if lower.shape != upper.shape:
        return None
    return (_unscramble(upper) << 4 | _unscramble(lower)).tobytes()


def _unscramble(block: np.ndarray) -> np.ndarray:
    """Undo the XOR with the low nibbles of a linear congruential generator, seed 0."""
    state, stream = 0, []
    for _ in range(block.size):
        state = (1664525 * state + 1013904223) % 2**32
        stream.append(state % 255 & _LOW_NIBBLE)
    return block ^ np.array(stream, dtype=np.uint8).reshape(block.shape)
