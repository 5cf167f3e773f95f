"""Modules of our node pack that need no torch, loaded without the pack itself."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from functools import cache
from pathlib import Path
from types import ModuleType

PACK = Path(__file__).parents[1] / "custom_nodes" / "comfyui_a1111"


@cache
def load(name: str) -> ModuleType:
    """A module of the pack's maths.

    Raises:
        ImportError: it is not there, or needs what is not installed.
    """
    return _module(f"comfyui_a1111_{name}", PACK / "maths" / f"{name}.py")


@cache
def load_copy(name: str) -> ModuleType:
    """A module of the pack's copies of the translator's, such as ``schedules.written``.

    Raises:
        ImportError: it is not there.
    """
    package = "comfyui_a1111_vendor"
    if package not in sys.modules:
        _module(package, PACK / "vendor" / "__init__.py")
    return importlib.import_module(f"{package}.{name}")


def _module(name: str, file: Path) -> ModuleType:
    """A file as a module of that name; an ``__init__.py`` as a package."""
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise ImportError(f"{file} cannot be imported")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module
