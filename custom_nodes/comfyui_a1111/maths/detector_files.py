"""Reading a YOLO detector's weights without running anything that lies in the file.

The usual detectors are `.pt` files: a ZIP archive whose pickle names the classes of the program
that trained them. A pickle may call any function it names, so it is read here by an unpickler that
imports nothing: tensors are rebuilt by code of this module, the training program's own classes
become inert objects that only keep their fields, and any other name ends the reading. Files named
`.safetensors` with the same tensor names (`model.22.cv2.0.2.weight`) need none of this; what is not
tensors lies in their metadata: `names` (JSON), `imgsz`.
"""

from __future__ import annotations

import io
import json
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

DEFAULT_SIZE = 640
"""Pixels of the detector's input where its file does not say."""

_DTYPES = {
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "DoubleStorage": torch.float64,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}

_INERT_MODULES = ("ultralytics", "torch", "models", "numpy", "pathlib", "argparse", "types")
"""Top-level packages whose names in a pickle stand for objects that only keep their fields."""

_INERT_BUILTINS = ("getattr", "slice", "range", "complex", "bytearray", "object")


class UnsafeDetectorError(ValueError):
    """A detector's file names something that has no place in one, or is none."""


@dataclass(frozen=True)
class DetectorWeights:
    """A detector's file.

    Attributes:
        tensors: by name, as `model.0.conv.weight`; floats as float32.
        names: class number -> its name.
        size: pixels of the longer side of the detector's input.
        vocabulary: a YOLO-World model's embedding of each class, [classes, channels]; else None.
    """

    tensors: Mapping[str, Tensor]
    names: Mapping[int, str]
    size: int
    vocabulary: Tensor | None = None


def read_detector(path: Path) -> DetectorWeights:
    """Read a `.pt` or `.safetensors` file.

    Raises:
        UnsafeDetectorError: the file is no detector's, or its pickle names something else than
            tensors and a training program's classes; nothing of it was run.
    """
    if path.suffix == ".safetensors":
        return _from_safetensors(path)
    try:
        return _from_document(_unpickled(path))
    except UnsafeDetectorError as error:
        raise UnsafeDetectorError(f"{path.name}: {error}") from error
    except (zipfile.BadZipFile, pickle.UnpicklingError, EOFError, KeyError, IndexError) as error:
        raise UnsafeDetectorError(f"{path.name} is no detector's file ({error})") from error


def _from_safetensors(path: Path) -> DetectorWeights:
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        metadata = file.metadata() or {}
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    names = {int(key): str(name) for key, name in json.loads(metadata.get("names", "{}")).items()}
    vocabulary = tensors.pop("txt_feats", None)
    size = int(metadata.get("imgsz", DEFAULT_SIZE))
    return DetectorWeights(_floats(tensors.items()), names, size, _flat(vocabulary))


def _from_document(document: Any) -> DetectorWeights:
    if not isinstance(document, Mapping):
        raise UnsafeDetectorError("no checkpoint of a detector")
    module = document.get("ema") or document.get("model")
    if not isinstance(module, Inert):
        raise UnsafeDetectorError("it has no model")
    arguments = document.get("train_args")
    size = arguments.get("imgsz", DEFAULT_SIZE) if isinstance(arguments, Mapping) else DEFAULT_SIZE
    names = module.fields.get("names") or {}
    if isinstance(names, Sequence):
        names = dict(enumerate(names))
    vocabulary = module.fields.get("txt_feats")
    return DetectorWeights(
        _floats(_tensors(module, "")),
        {int(key): str(name) for key, name in names.items()},
        int(size[0] if isinstance(size, Sequence) else size),
        _flat(vocabulary if isinstance(vocabulary, Tensor) else None),
    )


def _floats(tensors: Any) -> dict[str, Tensor]:
    return {name: tensor.float() for name, tensor in tensors if tensor.is_floating_point()}


def _flat(vocabulary: Tensor | None) -> Tensor | None:
    return None if vocabulary is None else vocabulary.float().reshape(-1, vocabulary.shape[-1])


class Inert:
    """Stands for an object of a class that is not imported: it keeps what it was given."""

    fields: dict[str, Any]

    def __new__(cls, *_: Any, **fields: Any) -> Inert:
        made = super().__new__(cls)
        made.fields = dict(fields)
        return made

    def __init__(self, *_: Any, **__: Any) -> None:
        """Nothing but what `__new__` has done, which an unpickler may call alone."""

    def __setstate__(self, state: Any) -> None:
        if isinstance(state, Mapping):
            self.fields.update({str(key): value for key, value in state.items()})

    def __setitem__(self, key: Any, value: Any) -> None:
        self.fields[str(key)] = value

    def append(self, value: Any) -> None:
        """A list's items, where a class of the file derives from list."""

    def extend(self, values: Any) -> None:
        """As `append`."""


def _tensors(module: Inert, prefix: str) -> Iterator[tuple[str, Tensor]]:
    """The parameters and buffers of a pickled torch module, by their full names."""
    for group in ("_parameters", "_buffers"):
        for name, tensor in (module.fields.get(group) or {}).items():
            if isinstance(tensor, Tensor):
                yield f"{prefix}{name}", tensor
    for name, child in (module.fields.get("_modules") or {}).items():
        if isinstance(child, Inert):
            yield from _tensors(child, f"{prefix}{name}.")


def _unpickled(path: Path) -> Any:
    with zipfile.ZipFile(path) as archive:
        members = [name for name in archive.namelist() if name.endswith("/data.pkl")]
        if len(members) != 1:
            raise UnsafeDetectorError("not an archive of torch.save")
        folder = members[0].removesuffix("data.pkl")
        return _Unpickler(io.BytesIO(archive.read(members[0])), archive, folder).load()


class _Unpickler(pickle.Unpickler):
    """Imports nothing: every name of the pickle is looked up in tables of this module."""

    def __init__(self, data: io.BytesIO, archive: zipfile.ZipFile, folder: str) -> None:
        super().__init__(data, encoding="utf-8")
        self._archive = archive
        self._folder = folder
        self._storages: dict[str, Tensor] = {}

    def find_class(self, module: str, name: str) -> Any:
        known = _KNOWN.get((module, name))
        if known is not None:
            return known
        if module == "torch" and name in _DTYPES:
            return _DTYPES[name]
        if module.partition(".")[0] in _INERT_MODULES:
            return Inert
        if module in ("builtins", "__builtin__") and name in _INERT_BUILTINS:
            return Inert
        raise UnsafeDetectorError(
            f"its pickle names {module}.{name}, which no detector needs; it was not loaded"
        )

    def persistent_load(self, identity: Any) -> Any:
        """A storage: ("storage", type, key, device, number of elements), as a flat tensor."""
        kind, dtype, key, _, count = identity
        if kind != "storage" or not isinstance(dtype, torch.dtype):
            raise UnsafeDetectorError("it holds something that is no tensor")
        if key not in self._storages:
            raw = bytearray(self._archive.read(f"{self._folder}data/{key}"))
            flat = torch.frombuffer(raw, dtype=dtype) if raw else torch.empty(0, dtype=dtype)
            if flat.numel() < count:
                raise UnsafeDetectorError("it ends too early")
            self._storages[key] = flat
        return self._storages[key]


def _rebuilt_tensor(
    storage: Tensor, offset: int, size: Sequence[int], stride: Sequence[int], *_: Any
) -> Tensor:
    reach = offset + sum((side - 1) * step for side, step in zip(size, stride, strict=True)) + 1
    if all(size) and (offset < 0 or min(stride, default=0) < 0 or reach > storage.numel()):
        raise UnsafeDetectorError("a tensor reaches beyond its storage")
    return torch.as_strided(storage, tuple(size), tuple(stride), offset)


def _rebuilt_parameter(data: Any, *_: Any) -> Any:
    return data


_KNOWN: Mapping[tuple[str, str], Any] = {
    ("torch._utils", "_rebuild_tensor_v2"): _rebuilt_tensor,
    ("torch._utils", "_rebuild_parameter"): _rebuilt_parameter,
    ("collections", "OrderedDict"): OrderedDict,
    ("builtins", "set"): set,
    ("__builtin__", "set"): set,
    ("builtins", "dict"): dict,
    ("__builtin__", "dict"): dict,
    ("builtins", "list"): list,
    ("__builtin__", "list"): list,
}
