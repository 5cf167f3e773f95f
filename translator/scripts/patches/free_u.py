"""FreeU: A1111's extension and Forge's own script.

Sources: sd-webui-freeu ``lib_free_u/global_state.py`` and ``scripts/freeu.py``; Forge 2025-06
``sd_forge_freeu``, restated.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import astuple, replace
from typing import Any

from translator.plan.free_u import Stage
from translator.plan.patches import FreeU
from translator.report import Report, show
from translator.scope import Scope
from translator.scripts.arguments import Arguments
from translator.scripts.patches.values import PatchScript, forge_entries, part_of_run
from translator.suggest import did_you_mean

_NODE = "A1111FreeU"

_VALUES = ("enable", "start_ratio", "stop_ratio", "transition_smoothness", "version")
"""sd-webui-freeu's plain values, in order; six for each stage follow."""

_STAGE_INFOS = "stage_infos"

_NUMBERS: Mapping[str, float] = {
    "start_ratio": 0.0,
    "stop_ratio": 1.0,
    "transition_smoothness": 0.0,
}

_VERSIONS = ("1", "2")

_STAGE: Mapping[str, float] = {
    "backbone_factor": 1.0,
    "skip_factor": 1.0,
    "backbone_offset": 0.0,
    "backbone_width": 0.5,
    "skip_cutoff": 0.0,
    "skip_high_end_factor": 1.0,
}
"""A stage of sd-webui-freeu: its members in order, and what they are where they are not sent."""

_STAGES = 3

_BOUNDS = 100.0


def free_u(args: Sequence[Any], path: str, scope: Scope) -> PatchScript | None:
    """sd-webui-freeu's object, or its newest list: [enable, start, stop, smoothness, version, *6
    values a stage]."""
    given = args[0] if args else None
    if isinstance(given, Mapping):
        return _of_object(given, f"{path}[0]", scope)
    if len(args) < len(_VALUES) or not isinstance(args[4], str):
        scope.report.unsupported(
            path,
            "this list of plain values is of an older release than the newest (enable, start, stop,"
            ' smoothness, version, six values a stage); send that, or one object: {"enable": '
            'true, "version": "2", "stage_infos": [...]}',
            instead="it is left out",
        )
        return None
    named = dict(zip(_VALUES, args, strict=False))
    for name in _NUMBERS:
        value = named[name]
        named[name] = float(value) if isinstance(value, int) else value
    return _of_object({**named, _STAGE_INFOS: list(args[len(_VALUES) :])}, path, scope)


def _of_object(given: Mapping[str, Any], path: str, scope: Scope) -> PatchScript | None:
    report = scope.report
    _refuse_unknown(given, (*_VALUES, _STAGE_INFOS), path, report)
    stages = _stages(given.get(_STAGE_INFOS) or [], f"{path}.{_STAGE_INFOS}", report)
    start, stop, smoothness = (
        _bounded(given.get(name, usual), f"{path}.{name}", report)
        for name, usual in _NUMBERS.items()
    )
    second = _version(given.get("version", "1"), f"{path}.version", report) == "2"
    if all(stage == Stage() for stage in stages):
        report.warn(path, "none of its stages changes anything, as in the extension")
    if isinstance(stop, int) and stop == 1:
        report.warn(f"{path}.stop_ratio", "1 is a step, as in the extension; 1.0 is all of them")
    if report.refused(path):
        return None
    patch = FreeU(
        stages,
        second,
        start,
        stop,
        min(max(float(smoothness), 0.0), 1.0),
        by_calls=True,
    )
    if not scope.has_own(_NODE):
        patch = _by_core(patch, path, report)
    return PatchScript(patch, _infotext(stages, (start, stop, smoothness), second))


def _by_core(patch: FreeU, path: str, report: Report) -> FreeU:
    """What ComfyUI's own nodes can do of it."""
    if not patch.is_plain:
        report.warn(
            path,
            "without our node pack it acts on every step and on half of the channels, with one "
            "cutoff for all frequencies",
        )
    plain = tuple(Stage(stage.backbone, stage.skip) for stage in patch.stages[:2])
    return replace(patch, stages=plain, start=0.0, stop=1.0, smoothness=0.0, by_calls=False)


def _version(value: Any, path: str, report: Report) -> str:
    """``1`` or ``2``; the extension takes whatever else it is told for 1, the number 2 as well."""
    version = value.removeprefix("Version ") if isinstance(value, str) else ""
    if version in _VERSIONS:
        return version
    report.warn(path, f'{show(value)} is taken for "1", as in the extension; it knows "1" and "2"')
    return _VERSIONS[0]


def _infotext(
    stages: Sequence[Stage], schedule: Sequence[float], second: bool
) -> Mapping[str, Any]:
    """Its infotext: what differs of each stage from what changes nothing."""
    changed = [
        {
            name: value
            for (name, usual), value in zip(_STAGE.items(), astuple(stage), strict=True)
            if value != usual
        }
        for stage in stages
    ]
    while changed and not changed[-1]:
        changed.pop()
    return {
        "FreeU Stages": json.dumps(changed),
        "FreeU Schedule": ", ".join(map(str, schedule)),
        "FreeU Version": "2" if second else "1",
    }


def _stages(given: Any, path: str, report: Report) -> tuple[Stage, ...]:
    """Three stages, of objects or of six plain values each; what is no number is reported."""
    found: list[Stage] = []
    values = list(given) if isinstance(given, list) else [None]
    while values and len(found) < _STAGES:
        where = f"{path}[{len(found)}]"
        stage = values[0]
        if isinstance(stage, Mapping):
            values.pop(0)
            _refuse_unknown(stage, _STAGE, where, report)
            own = {name: (stage.get(name, usual), f".{name}") for name, usual in _STAGE.items()}
        elif isinstance(stage, int | float):
            some, values = values[: len(_STAGE)], values[len(_STAGE) :]
            own = {name: (value, "") for name, value in zip(_STAGE, some, strict=False)}
        else:
            report.invalid(path, f"{show(given)} is not a list of objects")
            break
        found.append(
            Stage(*(float(_bounded(value, where + name, report)) for value, name in own.values()))
        )
    if values and len(found) == _STAGES:
        report.warn(path, f"the extension reads {_STAGES} stages, the others are ignored")
    return (*found, *[Stage()] * (_STAGES - len(found)))


def _bounded(value: Any, path: str, report: Report) -> int | float:
    """A number as it was sent, whole or not; 0 after a report."""
    if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= _BOUNDS:
        return value
    report.invalid(path, f"{show(value)} is not a number within -100..100", value)
    return 0


def _refuse_unknown(
    given: Mapping[str, Any], known: Collection[str], path: str, report: Report
) -> None:
    """Members that the extension does not know, on which it fails."""
    for name in given:
        if name not in known:
            hint = did_you_mean(name, known)
            report.invalid(f"{path}.{name}", f"the extension has no such member{hint}")


def free_u_of_forge(args: Sequence[Any], path: str, scope: Scope) -> PatchScript | None:
    """[enabled, b1, b2, s1, s2, start, end]"""
    given = Arguments(args, path, scope, (False, 1.01, 1.02, 0.99, 0.95, 0.0, 1.0))
    given.warn_of_surplus()
    start, end = part_of_run(given, 5, _NODE, scope)
    b1, b2, s1, s2 = (given.number(position, 0.0, 10.0) for position in range(1, 5))
    stages = (Stage(b1, s1), Stage(b2, s2))
    return PatchScript(
        FreeU(stages, True, start, end, 0.0, by_calls=False),
        forge_entries("freeu", ("b1", "b2", "s1", "s2", "start", "end"), given),
    )
