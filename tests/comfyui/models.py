"""Makes the lab's random models once and keeps them under ``.cache/``.

The generators need torch, so the ComfyUI's own interpreter runs them. A cache folder carries the
hash of its generator's source: a changed generator makes fresh files.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from pathlib import Path

from tests.comfyui.server import REPO, Checkout

CACHE = REPO / ".cache" / "comfyui"
_DONE = "done"


def lab_models(checkout: Checkout) -> Path:
    """A1111's root folder with the models of `tests.comfyui.lab.weights`."""
    return _made("weights", checkout)


def golden_models(checkout: Checkout) -> Path:
    """A1111's root folder with the models that the goldens were made with."""
    return _made("golden_models", checkout)


def detectors(checkout: Checkout) -> Path:
    """A1111's root folder with stand-ins for ADetailer's detectors."""
    return _made("detectors", checkout)


def detailer_models(checkout: Checkout) -> Path:
    """A1111's root folder with the models of the goldens with ADetailer."""
    return _made("detailer_models", checkout)


def picture_models(checkout: Checkout) -> Path:
    """A1111's root folder with an inpainting and an instruct-pix2pix checkpoint."""
    return _made("picture_models", checkout)


def controlnet_models(checkout: Checkout) -> Path:
    """A1111's root folder with the models of the goldens with ControlNet and SDXL."""
    return _made("controlnet_models", checkout)


def control_kinds(checkout: Checkout) -> Path:
    """A1111's root folder with the rarer kinds of control model."""
    return _made("control_kinds", checkout)


def preprocessors(checkout: Checkout) -> Path:
    """A1111's root folder with the networks of ControlNet's preprocessors."""
    return _made("preprocessors", checkout)


def insightface(checkout: Checkout) -> Path:
    """InsightFace's folder, with stand-ins for its packs below ``models``."""
    return _made("faces", checkout, "models")


def swapping(checkout: Checkout) -> Path:
    """ComfyUI's folder models with stand-ins for what ComfyUI-ReActor loads."""
    return _made("swapping", checkout)


def _made(generator: str, checkout: Checkout, subfolder: str = ".") -> Path:
    source = REPO / "tests" / "comfyui" / "lab" / f"{generator}.py"
    digest = hashlib.sha256(source.read_bytes()).hexdigest()[:12]
    folder = CACHE / f"{generator}-{digest}"
    if not (folder / _DONE).exists():
        _forget(generator)
        _run(generator, folder / subfolder, checkout)
        (folder / _DONE).touch()
    return folder


def _forget(generator: str) -> None:
    """Remove what earlier sources of this generator made, and what was left unfinished."""
    for stale in CACHE.glob(f"{generator}-*"):
        if stale.is_symlink():
            stale.unlink()
        else:
            shutil.rmtree(stale)


def _run(generator: str, out: Path, checkout: Checkout) -> None:
    out.mkdir(parents=True)
    command = [checkout.python, "-m", f"tests.comfyui.lab.{generator}", str(out)]
    done = subprocess.run(command, cwd=REPO, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(
            f"{' '.join(command)} failed (COMFYUI_PYTHON must have torch, safetensors and, with "
            f"the InstantID pack, onnx):\n{done.stderr[-2000:]}"
        )
