"""What the doctor says: as text, as JSON, and in few lines for the log."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import groupby
from typing import Any

from worker.doctor.checks import Examination, Finding
from worker.doctor.data import ModelFile

_GROUPS = {
    "base": "base",
    "faces": "faces and image prompts",
    "preprocessor": "ControlNet preprocessors",
    "upscaler": "upscalers",
}
_LOGGED_LINES = 12


def as_json(examination: Examination) -> dict[str, Any]:
    """Everything, for programs."""
    return {
        "complete": examination.is_complete,
        "model_roots": [str(root) for root in examination.roots],
        "comfyui": examination.comfyui,
        "states": dict(Counter(finding.state for finding in examination.findings)),
        "features": [_finding(finding) for finding in examination.findings],
    }


def _finding(finding: Finding) -> dict[str, Any]:
    return {
        "feature": finding.feature.name,
        "group": finding.feature.group,
        "state": finding.state,
        "missing_packs": list(finding.missing_packs),
        "missing_nodes": list(finding.missing_nodes),
        "missing_files": [_file(file) for file in finding.missing_files],
    }


def _file(file: ModelFile) -> dict[str, Any]:
    return {
        "name": file.name,
        "put_at": file.target,
        "also_looked_in": list(file.places[1:]),
        "mb": file.mb,
        "home": file.home,
    }


def as_text(examination: Examination) -> str:
    """Everything, for people: features by group, then each missing file once."""
    return "\n".join([*_head(examination), *_features(examination), *_wanted(examination)])


def _head(examination: Examination) -> Iterator[str]:
    roots = ", ".join(str(root) for root in examination.roots) or "none: set MODEL_ROOTS"
    yield f"models: {roots}"
    yield (
        f"ComfyUI: {examination.comfyui}"
        if examination.comfyui
        else "ComfyUI: none answered; nodes and packs were not looked at"
    )


def _features(examination: Examination) -> Iterator[str]:
    for group, findings in groupby(examination.findings, lambda finding: finding.feature.group):
        yield f"\n{_GROUPS[group]}"
        for finding in findings:
            yield f"  {_mark(finding):<13} {finding.feature.name}{_why(finding)}"


def _mark(finding: Finding) -> str:
    return finding.state


def _why(finding: Finding) -> str:
    if finding.missing_nodes:
        return f": {', '.join(finding.missing_packs)} ({', '.join(finding.missing_nodes)})"
    if finding.missing_files:
        return f": {', '.join(file.name for file in finding.missing_files)}"
    return ""


def _missing(examination: Examination) -> list[ModelFile]:
    files = {file.id: file for finding in examination.findings for file in finding.missing_files}
    return list(files.values())


def _wanted(examination: Examination) -> Iterator[str]:
    missing = _missing(examination)
    if missing:
        yield f"\nmissing files ({len(missing)}), below a folder of the volume"
    for file in missing:
        yield f"  {file.target}  about {file.mb:,} MB, {file.home}"
    if examination.is_complete:
        yield "\neverything is there"


def in_few_lines(examination: Examination) -> list[str]:
    """For the log: how many features can be served, and of those that cannot the first ones."""
    findings = examination.findings
    states = Counter(finding.state for finding in findings)
    lines = [f"doctor: {states['ok']} of {len(findings)} features can be served"]
    lacking = [finding for finding in findings if finding.state != "ok"]
    shown = lacking if len(lacking) <= _LOGGED_LINES else lacking[: _LOGGED_LINES - 1]
    lines += [f"doctor: {found.state}: {found.feature.name}{_why(found)}" for found in shown]
    if len(shown) < len(lacking):
        lines.append(
            f"doctor: and {len(lacking) - len(shown)} more: python -m worker doctor lists them"
        )
    return lines
