"""What the files of textual-inversion embeddings say of themselves, without torch.

A safetensors header has the shapes. A ``.pt`` or ``.bin`` file is a pickle: it is read with a
reader that builds nothing but plain containers, so that a hostile file can do nothing.
"""

from __future__ import annotations

import io
import logging
import pickle
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from translator.lists.a1111 import Embedding
from worker.models.files import read_header

log = logging.getLogger(__name__)

_LEGACY_HEADERS = 3
"""Pickles before the object in a file of old torch: magic number, protocol, system."""

_PICKLED = (".pt", ".bin")


def read_embedding(file: Path) -> Embedding:
    """What a file says; an empty `Embedding` where it cannot be read."""
    header = read_header(file)
    if header is not None:
        shapes = {name: item["shape"] for name, item in header.items() if name != "__metadata__"}
        return _described(shapes)
    if file.suffix.lower() in _PICKLED:
        return _described(_unpickled(file))
    return Embedding()


@dataclass(frozen=True)
class _Tensor:
    """Stands for a tensor: its shape is all that matters here."""

    shape: tuple[int, ...]


class _Inert:
    """Stands for any other object of a pickle: takes everything, does nothing."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.state: Any = None

    def __call__(self, *args: Any) -> _Inert:
        return self

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def __setitem__(self, key: Any, value: Any) -> None:
        """An item of some container that is not looked into."""


def _tensor(storage: Any, offset: Any, size: Sequence[int], *rest: Any) -> _Tensor:
    return _Tensor(tuple(size))


def _first(value: Any, *rest: Any) -> Any:
    return value


_BUILDERS: Mapping[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): dict,
    ("torch._utils", "_rebuild_tensor_v2"): _tensor,
    ("torch._utils", "_rebuild_tensor"): _tensor,
    ("torch._utils", "_rebuild_parameter"): _first,
}


class _Reader(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        return _BUILDERS.get((module, name), _Inert)

    def persistent_load(self, pid: Any) -> Any:
        return None


def _unpickled(file: Path) -> Any:
    """The object of a torch file, with `_Tensor` in place of tensors; None if it is none."""
    try:
        if zipfile.is_zipfile(file):
            with zipfile.ZipFile(file) as archive:
                name = next(item for item in archive.namelist() if item.endswith("data.pkl"))
                return _Reader(io.BytesIO(archive.read(name))).load()
        with file.open("rb") as stream:
            return _legacy(stream)
    except Exception as error:  # a broken pickle raises whatever it likes
        log.warning("the embedding %s cannot be read: %s", file.name, type(error).__name__)
        return None


def _legacy(stream: BinaryIO) -> Any:
    for _ in range(_LEGACY_HEADERS):
        _Reader(stream).load()
    return _Reader(stream).load()


def _described(data: Any) -> Embedding:
    """Width and vectors as A1111 finds them in an embedding's data."""
    if not isinstance(data, Mapping) or not data:
        return Embedding()
    shapes = [_shape(data.get(name)) for name in ("clip_g", "clip_l")]
    if all(shapes):
        return Embedding(sum(shape[-1] for shape in shapes), _vectors(shapes[0]))
    vectors = _parameters(data.get("string_to_param")) or data
    shape = _shape(next(iter(vectors.values()), None))
    if not shape:
        return Embedding()
    step = data.get("step")
    return Embedding(
        shape[-1],
        _vectors(shape),
        step if isinstance(step, int) else None,
        _text(data.get("sd_checkpoint")),
        _text(data.get("sd_checkpoint_name")),
    )


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _parameters(value: Any) -> Mapping[str, Any]:
    """The tensors of ``string_to_param``: a mapping, or torch's ParameterDict."""
    if isinstance(value, _Inert) and isinstance(value.state, Mapping):
        value = value.state.get("_parameters")
    return value if isinstance(value, Mapping) else {}


def _shape(value: Any) -> Sequence[int]:
    return value.shape if isinstance(value, _Tensor) else value if isinstance(value, list) else ()


def _vectors(shape: Sequence[int]) -> int:
    return shape[0] if len(shape) > 1 else 1
