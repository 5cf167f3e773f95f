"""Starts a real ComfyUI, on CPU unless told otherwise, from a checkout and without touching it.

Everything a run writes lies in a folder of its own (ComfyUI's ``--base-directory``): custom nodes
are links into the checkout, models come from roots in A1111's folder layout.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

REPO = Path(__file__).resolve().parents[2]
OUR_PACK = REPO / "custom_nodes" / "comfyui_a1111"

A1111_LAYOUT: Mapping[str, Sequence[str]] = {
    "checkpoints": ["models/Stable-diffusion"],
    "configs": ["models/Stable-diffusion"],
    "vae": ["models/VAE"],
    "vae_approx": ["models/VAE-approx"],
    "loras": ["models/Lora", "models/LyCORIS"],
    "upscale_models": ["models/ESRGAN", "models/RealESRGAN", "models/SwinIR"],
    "embeddings": ["embeddings"],
    "hypernetworks": ["models/hypernetworks"],
    "controlnet": ["models/ControlNet"],
    "instantid": ["models/ControlNet"],
    "ipadapter": ["models/ControlNet"],
    "style_models": ["models/ControlNet"],
    "clip_vision": ["models/clip_vision"],
    "adetailer": ["models/adetailer"],
    "inpaint": ["models/inpaint"],
    "oneformer": ["models/oneformer"],
}
"""ComfyUI's model folder -> where A1111 keeps such models, below its root."""

_ENVIRONMENT = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "NO_ALBUMENTATIONS_UPDATE": "1",
    "PYTHONDONTWRITEBYTECODE": "1",
    "OMP_WAIT_POLICY": "PASSIVE",  # or torch crawls on a machine that has other work
    "MALLOC_ARENA_MAX": "2",
    "PYTHONHASHSEED": "0",  # ComfyUI orders a graph's outputs by a set of their ids
}
_START_TIMEOUT_S = 180.0
_STOP_TIMEOUT_S = 10.0


class ServerFailed(RuntimeError):
    """ComfyUI did not start; the message ends with its log."""


@dataclass(frozen=True)
class Checkout:
    """A ComfyUI checkout and the interpreter that has what it needs."""

    directory: Path
    python: str

    @classmethod
    def from_env(cls) -> Checkout | None:
        """From ``COMFYUI_DIR`` and ``COMFYUI_PYTHON``; None where the first is not set.

        Without ``COMFYUI_PYTHON`` it is the checkout's own virtual environment, else ours.

        Raises:
            FileNotFoundError: ``COMFYUI_DIR`` holds no ComfyUI.
        """
        named = os.environ.get("COMFYUI_DIR", "").strip()
        if not named:
            return None
        return cls.at(Path(named), os.environ.get("COMFYUI_PYTHON"))

    @classmethod
    def at(cls, folder: Path, python: str | None = None) -> Checkout:
        """The checkout in a folder; without `python`, with its own virtual environment, else ours.

        Raises:
            FileNotFoundError: the folder holds no ComfyUI.
        """
        directory = folder.resolve()
        if not (directory / "main.py").is_file():
            raise FileNotFoundError(f"{folder} holds no main.py of a ComfyUI")
        return cls(directory, python or _own_python(directory))


def _own_python(directory: Path) -> str:
    for folder in (".venv", "venv"):
        candidate = directory / folder / "bin" / "python"
        if candidate.exists():
            return str(candidate)
    return sys.executable


class ComfyServer:
    """One running ComfyUI, as a context manager.

    Args:
        checkout: what to run.
        run_dir: wiped, then filled with what the run writes; its log is ``run_dir/log``.
        model_roots: A1111 root folders whose models the server sees.
        insightface: folder with InsightFace's ``models``, or None.
        models: folders that are put below ComfyUI's own ``models``.
        packs: also load the packs in the checkout's ``custom_nodes``, and ours.
        nodes: further files or folders of custom nodes.
        arguments: more of ComfyUI's command line.
        cpu: run on the CPU; False takes the GPU that is there.

    Attributes:
        url: base address.
        seconds: how long the server took to answer; from exit on, how long it lived.
        peak_memory: its peak resident bytes, known after exit (0 where the system does not say).
    """

    def __init__(
        self,
        checkout: Checkout,
        run_dir: Path,
        model_roots: Sequence[Path],
        *,
        insightface: Path | None = None,
        models: Sequence[Path] = (),
        packs: bool = True,
        nodes: Sequence[Path] = (),
        arguments: Sequence[str] = (),
        cpu: bool = True,
    ) -> None:
        self.checkout = checkout
        self.run_dir = run_dir
        self.url = ""
        self.seconds = 0.0
        self.peak_memory = 0
        self._model_roots = model_roots
        self._insightface = insightface
        self._models = models
        self._packs = packs
        self._nodes = nodes
        self._arguments = arguments if not cpu else ("--cpu", *arguments)
        self._process: subprocess.Popen[bytes] | None = None
        self._started_at = 0.0

    @property
    def input_dir(self) -> Path:
        return self.run_dir / "input"

    @property
    def log(self) -> str:
        return (self.run_dir / "log").read_text("utf-8", "replace")

    def __enter__(self) -> Self:
        self._lay_out()
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self._started_at = time.monotonic()
        with (self.run_dir / "log").open("wb") as log:
            self._process = subprocess.Popen(
                self._command(port),
                cwd=self.checkout.directory,
                env={**os.environ, **_ENVIRONMENT},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        atexit.register(self._process.kill)  # also where a test session ends in disorder
        try:
            self._wait()
        except BaseException:
            self._stop()
            raise
        self.seconds = time.monotonic() - self._started_at
        return self

    def __exit__(self, *_: object) -> None:
        self.peak_memory = self._peak_memory()
        self._stop()
        self.seconds = time.monotonic() - self._started_at

    def _lay_out(self) -> None:
        shutil.rmtree(self.run_dir, ignore_errors=True)
        for folder in ("custom_nodes", "input", "output", "temp", "user", "models", "frontend"):
            (self.run_dir / folder).mkdir(parents=True)
        (self.run_dir / "frontend" / "index.html").write_text("<html></html>")
        for source in (*self._custom_nodes(), *self._nodes):
            (self.run_dir / "custom_nodes" / source.name).symlink_to(source)
        if self._insightface is not None:
            (self.run_dir / "models" / "insightface").symlink_to(self._insightface)
        for folder in self._models:
            (self.run_dir / "models" / folder.name).symlink_to(folder)
        (self.run_dir / "extra_model_paths.yaml").write_text(model_paths(self._model_roots))

    def _custom_nodes(self) -> list[Path]:
        bundled = self.checkout.directory / "custom_nodes"
        if not self._packs:
            return [bundled / "websocket_image_save.py"]
        found = [
            path
            for path in sorted(bundled.iterdir())
            if (path.is_dir() or path.suffix == ".py") and path.name != "__pycache__"
        ]
        if (OUR_PACK / "__init__.py").exists():
            found = [path for path in found if path.name != OUR_PACK.name] + [OUR_PACK]
        return found

    def _command(self, port: int) -> list[str]:
        run = self.run_dir
        return [
            *(self.checkout.python, "main.py", "--port", str(port)),
            *("--base-directory", str(run), "--user-directory", str(run / "user")),
            *("--database-url", f"sqlite:///{run / 'comfyui.db'}"),
            *("--extra-model-paths-config", str(run / "extra_model_paths.yaml")),
            *("--front-end-root", str(run / "frontend"), "--disable-api-nodes"),
            *self._arguments,
        ]

    def _wait(self) -> None:
        assert self._process is not None
        deadline = self._started_at + _START_TIMEOUT_S
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                raise ServerFailed(f"ComfyUI ended at its start:\n{self.log[-3000:]}")
            with (
                contextlib.suppress(OSError),
                urllib.request.urlopen(self.url + "/system_stats", timeout=5),
            ):
                return
            time.sleep(0.2)
        raise ServerFailed(f"no answer in {_START_TIMEOUT_S:g} s:\n{self.log[-3000:]}")

    def _peak_memory(self) -> int:
        assert self._process is not None
        status = Path(f"/proc/{self._process.pid}/status")
        if not status.exists():
            return 0
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
        return 0

    def _stop(self) -> None:
        assert self._process is not None
        self._process.terminate()
        try:
            self._process.wait(_STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        atexit.unregister(self._process.kill)


def model_paths(roots: Sequence[Path]) -> str:
    """The text of an ``extra_model_paths.yaml`` for A1111 roots; the first one is listed first."""
    lines: list[str] = []
    for number, root in enumerate(roots):
        lines += [f"root{number}:", f"  base_path: {root}"]
        for folder, places in A1111_LAYOUT.items():
            lines.append(f"  {folder}: |")
            lines += [f"    {place}" for place in places]
    return "\n".join(lines or ["{}"]) + "\n"


def free_port() -> int:
    """A port on 127.0.0.1 that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
