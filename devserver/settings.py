"""How a development server is set up."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from functools import cache
from importlib import resources
from typing import Literal

from devserver.dialect import OLDEST


class Work(Enum):
    """What a node is busy with; `Durations` has a field of this name for each."""

    LOAD = "load"
    TEXT = "text"
    STEP = "step"
    VAE = "vae"
    UPSCALE = "upscale"
    DETECT = "detect"
    SAVE = "save"


@dataclass(frozen=True, slots=True)
class Durations:
    """Simulated seconds; all are divided by `speed`.

    Attributes:
        load: per model loaded.
        text: per prompt encoded.
        step: per sampling step of a whole batch.
        vae: per VAE encode or decode of a batch.
        upscale: per tile of an upscale model.
        detect: per image of a preprocessor or face analysis.
        save: per output node, beside what encoding really takes.
    """

    load: float = 0.0
    text: float = 0.0
    step: float = 0.0
    vae: float = 0.0
    upscale: float = 0.0
    detect: float = 0.0
    save: float = 0.0
    speed: float = 1.0

    def of(self, work: Work | None) -> float:
        """Seconds for one unit of `work`."""
        return 0.0 if work is None else float(getattr(self, work.value)) / self.speed


def default_models() -> Mapping[str, Sequence[str]]:
    """Model folder -> files, as a worker's volume may hold them."""
    return _default_models()


@cache
def _default_models() -> Mapping[str, Sequence[str]]:
    text = (resources.files("devserver") / "models.json").read_text("utf-8")
    folders: dict[str, list[str]] = json.loads(text)
    return folders


@dataclass(frozen=True)
class Settings:
    """What the server has and how it behaves.

    Attributes:
        version: the ComfyUI that it answers as, one of `devserver.dialect.DIALECTS`.
        models: model folder (ComfyUI's name) -> the file names it lists.
        missing: packs and node classes that are not installed.
        durations: simulated render times.
        previews: send a JPEG preview after each sampling step, as ``--preview-method latent2rgb``.
        pictures: ``label`` draws flat pictures with a caption; ``photo`` puts them on a texture
            that weighs as a PNG what a photo weighs, for measurements.
        metadata: write the graph into PNGs, as ComfyUI does without ``--disable-metadata``.
        history_limit: finished jobs kept; ComfyUI's own limit is 10,000.
        keep_submissions: accepted submissions kept for tests to look at.
        max_upload_bytes: largest request body; ComfyUI's default is 100 MiB.
    """

    version: str = OLDEST
    models: Mapping[str, Sequence[str]] = field(default_factory=default_models)
    missing: frozenset[str] = frozenset()
    durations: Durations = Durations()
    previews: bool = False
    pictures: Literal["label", "photo"] = "label"
    metadata: bool = True
    history_limit: int = 10_000
    keep_submissions: int = 1_000
    max_upload_bytes: int = 100 * 1024 * 1024
