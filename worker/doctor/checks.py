"""Holds every feature against the nodes of a ComfyUI and the files of a volume."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from translator.comfy.packs import pack_of
from worker.doctor.data import Feature, ModelFile, features, model_files
from worker.doctor.volume import find

State = Literal["ok", "missing file", "missing pack"]


@dataclass(frozen=True)
class Finding:
    """What was found of one feature.

    Attributes:
        missing_files: what it needs and the volume has not.
        missing_packs: what to install for the nodes that ComfyUI has not.
        missing_nodes: those nodes.
    """

    feature: Feature
    missing_files: tuple[ModelFile, ...]
    missing_packs: tuple[str, ...]
    missing_nodes: tuple[str, ...]

    @property
    def state(self) -> State:
        if self.missing_nodes:
            return "missing pack"
        return "missing file" if self.missing_files else "ok"


@dataclass(frozen=True)
class Examination:
    """What was looked at, and what was found.

    Attributes:
        roots: the volume's folders.
        comfyui: version of the server whose nodes were looked at; None where none answered.
        findings: one for each feature.
    """

    roots: tuple[Path, ...]
    comfyui: str | None
    findings: tuple[Finding, ...]

    @property
    def is_complete(self) -> bool:
        """Whether everything can be served, as far as it was looked at."""
        return all(finding.state == "ok" for finding in self.findings)


def examine(
    roots: Sequence[Path], nodes: Collection[str] | None = None, comfyui: str | None = None
) -> Examination:
    """Look at everything. Reads folders, no file's content.

    Args:
        roots: the volume's folders, in A1111's or ComfyUI's layout.
        nodes: the node classes of a ComfyUI; None where they are not known and not looked at.
        comfyui: its version.
    """
    there = {file.id for file in model_files().values() if find(file, roots) is not None}
    findings = tuple(_finding(feature, nodes, there) for feature in features())
    return Examination(tuple(roots), comfyui, findings)


def _finding(feature: Feature, nodes: Collection[str] | None, there: Collection[str]) -> Finding:
    absent = tuple(name for name in feature.nodes if nodes is not None and name not in nodes)
    packs = tuple(dict.fromkeys(pack_of(name) for name in absent))
    files = tuple(model_files()[id] for id in feature.files if id not in there)
    return Finding(feature, files, packs, absent)
