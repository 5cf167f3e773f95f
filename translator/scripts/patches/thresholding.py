"""Dynamic Thresholding: A1111's extension and Forge's own script.

Sources: sd-dynamic-thresholding ``scripts/dynamic_thresholding.py``; Forge 2025-06
``sd_forge_dynamic_thresholding``, restated.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from translator.plan.patches import DynamicThresholding
from translator.scope import Scope
from translator.scripts.arguments import Arguments
from translator.scripts.patches.values import PatchScript, forge_entries

_NODE = "DynamicThresholdingFull"
_PERCENTILE, _CHANNELS = "threshold_percentile", "separate_feature_channels"

_OF_FORGE: Mapping[str, float | str] = {
    "mimic_scale": 7.0,
    "threshold_percentile": 1.0,
    "mimic_mode": "Constant",
    "mimic_scale_min": 0.0,
    "cfg_mode": "Constant",
    "cfg_scale_min": 0.0,
    "sched_val": 1.0,
    "separate_feature_channels": "enable",
    "scaling_startpoint": "MEAN",
    "variability_measure": "AD",
    "interpolate_phi": 1.0,
}
"""The node's inputs in the order of the arguments behind the switch, with Forge's page's values."""

_USUAL: Mapping[str, Any] = {
    **_OF_FORGE,
    _PERCENTILE: 100.0,
    "sched_val": 4.0,
    _CHANNELS: True,
}
"""The same of the extension's own page, which has percents and a switch."""

_ENTRIES: Mapping[str, str] = {
    "mimic_scale": "Mimic scale",
    _CHANNELS: "Separate Feature Channels",
    "scaling_startpoint": "Scaling Startpoint",
    "variability_measure": "Variability Measure",
    "interpolate_phi": "Interpolate Phi",
    _PERCENTILE: "Threshold percentile",
    "mimic_mode": "Mimic mode",
    "mimic_scale_min": "Mimic scale minimum",
    "cfg_mode": "CFG mode",
    "cfg_scale_min": "CFG scale minimum",
    "sched_val": "Scheduler value",
}
"""What the extension's infotext calls them, in its order."""

_CONSTANT = "Constant"
_MODES_WITH_VALUE = ("Power Up", "Power Down", "Linear Repeating", "Cosine Repeating", "Sawtooth")


def dynamic_thresholding_of_forge(
    args: Sequence[Any], path: str, scope: Scope
) -> PatchScript | None:
    """[enabled, mimic scale, percentile, ..., phi], see `_OF_FORGE`."""
    if not _has_node(path, scope):
        return None
    given = Arguments(args, path, scope, (False, *_OF_FORGE.values()))
    given.warn_of_surplus()
    inputs = _inputs(given, scope)
    return PatchScript(DynamicThresholding(inputs), forge_entries("dynthres", _OF_FORGE, given))


def dynamic_thresholding(args: Sequence[Any], path: str, scope: Scope) -> PatchScript | None:
    """The extension's own: as Forge's, but for a percentile in percent and a switch of channels."""
    if not _has_node(path, scope):
        return None
    given = Arguments(args, path, scope, (False, *_USUAL.values()))
    given.warn_of_surplus()
    shown = dict(zip(_OF_FORGE, given.values[1:], strict=False))
    position = {name: number for number, name in enumerate(_OF_FORGE, 1)}
    given.values[position[_PERCENTILE]] = given.number(position[_PERCENTILE], 0.0, 100.0) * 0.01
    given.values[position[_CHANNELS]] = "enable" if shown[_CHANNELS] else "disable"
    inputs = _inputs(given, scope)
    return PatchScript(DynamicThresholding(inputs), _infotext(shown))


def _has_node(path: str, scope: Scope) -> bool:
    if scope.catalog.has(_NODE):
        return True
    scope.report.missing(
        path,
        "it needs the node pack sd-dynamic-thresholding (mcmonkeyprojects), which is also one of "
        "ComfyUI's",
        instead="it is left out",
    )
    return False


def _inputs(given: Arguments, scope: Scope) -> tuple[tuple[str, Any], ...]:
    """The node's inputs."""
    inputs: dict[str, Any] = {}
    for position, (name, usual) in enumerate(_OF_FORGE.items(), 1):
        if isinstance(usual, float):
            most = 1.0 if name in (_PERCENTILE, "interpolate_phi") else 100.0
            inputs[name] = given.number(position, 0.0, most)
        else:
            known = scope.catalog.options(_NODE, name)
            inputs[name] = given.choice(position, known or (usual,))
    return tuple(inputs.items())


def _infotext(shown: Mapping[str, Any]) -> Mapping[str, Any]:
    """The extension's infotext: what does not count for the modes is left out."""
    left_out: set[str] = set()
    for mode, least in (("mimic_mode", "mimic_scale_min"), ("cfg_mode", "cfg_scale_min")):
        left_out |= {mode, least} if shown[mode] == _CONSTANT else set()
    if not any(shown[mode] in _MODES_WITH_VALUE for mode in ("mimic_mode", "cfg_mode")):
        left_out.add("sched_val")
    entries = {entry: shown[name] for name, entry in _ENTRIES.items() if name not in left_out}
    return {"Dynamic thresholding enabled": True, **entries}
