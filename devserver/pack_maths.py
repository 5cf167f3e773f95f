"""Modules of our node pack's maths that need no torch, loaded without the pack itself."""

from __future__ import annotations

import importlib.util
import sys
from functools import cache
from pathlib import Path
from types import ModuleType

FOLDER = Path(__file__).parents[1] / "custom_nodes" / "comfyui_a1111" / "maths"


@cache
def load(name: str) -> ModuleType:
    """The module of a name.

    Raises:
        ImportError: it is not there, or needs what is not installed.
    """
    file = FOLDER / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"comfyui_a1111_{name}", file)
    if spec is None or spec.loader is None:
        raise ImportError(f"{file} cannot be imported")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module
