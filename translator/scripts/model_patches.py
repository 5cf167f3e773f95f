"""Always-on scripts that change the model: their arguments -> `ModelPatch`.

Sources: the scripts' own argument lists (sd-webui-freeu, sd-dynamic-thresholding, the "Integrated"
scripts of Forge 2025-06), restated in the project's facts. Arguments that are not sent have the
values of A1111's page. What a node does otherwise than the script is a warning.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import astuple, replace
from typing import Any

from translator.plan.patches import (
    DeepShrink,
    DynamicThresholding,
    FreeU,
    ModelPatch,
    PerturbedAttentionGuidance,
    RescaledGuidance,
    SelfAttentionGuidance,
    Stage,
)
from translator.report import show
from translator.scope import Scope

_METHODS = ("bicubic", "nearest-exact", "bilinear", "area", "bislerp")
_THRESHOLDING_NODE = "DynamicThresholdingFull"
_THRESHOLDING = (
    ("mimic_scale", 7.0),
    ("threshold_percentile", 1.0),
    ("mimic_mode", "Constant"),
    ("mimic_scale_min", 0.0),
    ("cfg_mode", "Constant"),
    ("cfg_scale_min", 0.0),
    ("sched_val", 1.0),
    ("separate_feature_channels", "enable"),
    ("scaling_startpoint", "MEAN"),
    ("variability_measure", "AD"),
    ("interpolate_phi", 1.0),
)


_FREE_U_NODE = "A1111FreeU"
_PERTURBED_NODE = "A1111PerturbedAttention"

_STAGE = (
    ("backbone_factor", 1.0),
    ("skip_factor", 1.0),
    ("backbone_offset", 0.0),
    ("backbone_width", 0.5),
    ("skip_cutoff", 0.0),
    ("skip_high_end_factor", 1.0),
)
"""A stage of sd-webui-freeu: its members in order, and what they are where they are not sent."""

_STAGES = 3
_BOUNDS = 100.0


class _Arguments:
    """The values behind a script's switch, each with the page's value where none is sent."""

    def __init__(self, args: Sequence[Any], path: str, scope: Scope) -> None:
        self._args = args
        self._path = path
        self._scope = scope

    def number(self, position: int, usual: float, low: float, high: float) -> float:
        """A number within a node's bounds; another value is refused by its place."""
        value = self._args[position] if position < len(self._args) else usual
        sound = isinstance(value, int | float) and not isinstance(value, bool)
        if not sound or not low <= value <= high:
            self._scope.report.invalid(
                f"{self._path}[{position}]",
                f"{show(value)} is not a number within {low:g}..{high:g}",
                value,
            )
            return usual
        return float(value)

    def choice(self, position: int, usual: str, choices: Sequence[str]) -> str:
        """One of several texts."""
        value = self._args[position] if position < len(self._args) else usual
        if value not in choices:
            self._scope.report.invalid(
                f"{self._path}[{position}]",
                f"{show(value)} is not one of {', '.join(choices)}",
                value,
            )
            return usual
        return str(value)

    def value(self, position: int, usual: Any) -> Any:
        return self._args[position] if position < len(self._args) else usual

    def warn(self, position: int, message: str) -> None:
        self._scope.report.warn(f"{self._path}[{position}]", message)

    def part_of_run(self, start: int, end: int, node: str) -> tuple[float, float]:
        """The share of the steps that the script acts in; all of them without our node."""
        found = self.number(start, 0.0, 0.0, 1.0), self.number(end, 1.0, 0.0, 1.0)
        if found == (0.0, 1.0) or _has(node, self._scope):
            return found
        self.warn(start, "ComfyUI's node acts on every step, not on a part of them")
        return 0.0, 1.0


def _has(node: str, scope: Scope) -> bool:
    """Whether our pack is used, and has a node."""
    return scope.options.fidelity != "core" and scope.catalog.has(node)


def free_u(args: Sequence[Any], path: str, scope: Scope) -> ModelPatch | None:
    """sd-webui-freeu's object, or its newest list: [enable, start, stop, smoothness, version, *6
    values a stage]."""
    given = args[0] if args else None
    if isinstance(given, Mapping):
        return _free_u_of(given, f"{path}[0]", scope)
    if len(args) < len(_FREE_U) or not isinstance(args[4], str):
        scope.report.unsupported(
            path,
            "this list of plain values is of an older release than the newest (enable, start, stop,"
            ' smoothness, version, six values a stage); send that, or one object: {"enable": '
            'true, "version": "2", "stage_infos": [...]}',
            instead="it is left out",
        )
        return None
    named = dict(zip(_FREE_U, args, strict=False))
    stages = list(args[len(_FREE_U) :])
    for name in _FREE_U[1:4]:
        value = named[name]
        named[name] = float(value) if isinstance(value, int) else value
    return _free_u_of({**named, "stage_infos": stages}, path, scope)


_FREE_U = ("enable", "start_ratio", "stop_ratio", "transition_smoothness", "version")


def _free_u_of(given: Mapping[str, Any], path: str, scope: Scope) -> ModelPatch | None:
    stages = _stages(given.get("stage_infos") or [], f"{path}.stage_infos", scope)
    numbers = [
        _bounded(given.get(name, usual), f"{path}.{name}", scope)
        for name, usual in zip(_FREE_U[1:4], (0.0, 1.0, 0.0), strict=True)
    ]
    if stages is None or None in numbers:
        return None
    start, stop, smoothness = (number or 0.0 for number in numbers)
    if all(stage == Stage() for stage in stages):
        scope.report.warn(path, "none of its stages changes anything, as in the extension")
    if isinstance(stop, int) and stop == 1:
        scope.report.warn(
            f"{path}.stop_ratio", "1 is a step, as in the extension; 1.0 is all of them"
        )
    version = str(given.get("version", "1")).removeprefix("Version ")
    second = version == "2"
    patch = FreeU(
        stages,
        second,
        start,
        stop,
        min(max(float(smoothness), 0.0), 1.0),
        by_calls=True,
        told=_free_u_entries(stages, (start, stop, smoothness), second),
    )
    if _has(_FREE_U_NODE, scope):
        return patch
    if not patch.is_plain:
        scope.report.warn(
            path,
            "without our node pack it acts on every step and on half of the channels, with one "
            "cutoff for all frequencies",
        )
    plain = tuple(Stage(stage.backbone, stage.skip) for stage in stages[:2])
    return replace(patch, stages=plain, start=0.0, stop=1.0, smoothness=0.0, by_calls=False)


def _free_u_entries(
    stages: Sequence[Stage], schedule: Sequence[float], second: bool
) -> tuple[tuple[str, Any], ...]:
    """Its infotext: what differs of each stage from what changes nothing."""
    told = [
        {
            name: value
            for (name, usual), value in zip(_STAGE, astuple(stage), strict=True)
            if value != usual
        }
        for stage in stages
    ]
    while told and not told[-1]:
        told.pop()
    return (
        ("FreeU Stages", json.dumps(told)),
        ("FreeU Schedule", ", ".join(map(str, schedule))),
        ("FreeU Version", "2" if second else "1"),
    )


def _stages(given: Any, path: str, scope: Scope) -> tuple[Stage, ...] | None:
    """Three stages, of objects or of six plain values each; None after a report."""
    found: list[Stage] = []
    values = list(given) if isinstance(given, list) else [None]
    while values and len(found) < _STAGES:
        where = f"{path}[{len(found)}]"
        stage = values[0]
        if isinstance(stage, Mapping):
            values.pop(0)
            numbers = [
                _bounded(stage.get(name, usual), f"{where}.{name}", scope) for name, usual in _STAGE
            ]
        elif isinstance(stage, int | float):
            some, values = values[: len(_STAGE)], values[len(_STAGE) :]
            some += [usual for _, usual in _STAGE[len(some) :]]
            numbers = [_bounded(value, where, scope) for value in some]
        else:
            scope.report.invalid(path, f"{show(given)} is not a list of objects")
            return None
        if None in numbers:
            return None
        found.append(Stage(*(float(number or 0.0) for number in numbers)))
    return (*found, *[Stage()] * (_STAGES - len(found)))


def _bounded(value: Any, path: str, scope: Scope) -> int | float | None:
    """A number as it was sent, whole or not; None after a report."""
    if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= _BOUNDS:
        return value
    scope.report.invalid(path, f"{show(value)} is not a number within -100..100", value)
    return None


def free_u_of_forge(args: Sequence[Any], path: str, scope: Scope) -> ModelPatch | None:
    """[enabled, b1, b2, s1, s2, start, end]"""
    read = _Arguments(args, path, scope)
    start, end = read.part_of_run(5, 6, _FREE_U_NODE)
    b1, b2, s1, s2 = (
        read.number(position, usual, 0.0, 10.0)
        for position, usual in enumerate((1.01, 1.02, 0.99, 0.95), 1)
    )
    named = {"b1": b1, "b2": b2, "s1": s1, "s2": s2, "start": start, "end": end}
    told = (("freeu_enabled", True), *((f"freeu_{name}", value) for name, value in named.items()))
    stages = (Stage(b1, s1), Stage(b2, s2))
    return FreeU(stages, True, start, end, 0.0, by_calls=False, told=told)


def self_attention_guidance(args: Sequence[Any], path: str, scope: Scope) -> ModelPatch | None:
    """[enabled, scale, threshold]"""
    read = _Arguments(args, path, scope)
    _warn_of_threshold(read, 2)
    return SelfAttentionGuidance(read.number(1, 0.75, -2.0, 5.0), 2.0)


def self_attention_guidance_of_forge(
    args: Sequence[Any], path: str, scope: Scope
) -> ModelPatch | None:
    """[enabled, scale, blur sigma, threshold]"""
    read = _Arguments(args, path, scope)
    _warn_of_threshold(read, 3)
    return SelfAttentionGuidance(read.number(1, 0.5, -2.0, 5.0), read.number(2, 2.0, 0.0, 10.0))


def _warn_of_threshold(read: _Arguments, position: int) -> None:
    if read.value(position, 1.0) != 1.0:
        read.warn(position, "the threshold of ComfyUI's node is 1")


def perturbed_attention_guidance(args: Sequence[Any], path: str, scope: Scope) -> ModelPatch | None:
    """[enabled, scale, attenuation, start, end]"""
    read = _Arguments(args, path, scope)
    attenuation = read.number(2, 0.0, 0.0, 100.0)
    if attenuation and not _has(_PERTURBED_NODE, scope):
        read.warn(2, "ComfyUI's node does not weaken from step to step")
        attenuation = 0.0
    start, end = read.part_of_run(3, 4, _PERTURBED_NODE)
    scale = read.number(1, 3.0, 0.0, 100.0)
    told = (
        *(("pagi_enabled", True), ("pagi_scale", scale), ("pagi_attenuation", attenuation)),
        *(("pagi_start_step", start), ("pagi_end_step", end)),
    )
    return PerturbedAttentionGuidance(scale, attenuation, start, end, told)


def deep_shrink(args: Sequence[Any], path: str, scope: Scope) -> ModelPatch | None:
    """[enabled, block, factor, start, end, after skip, down, up]"""
    read = _Arguments(args, path, scope)
    return DeepShrink(
        block=int(read.number(1, 3, 1, 32)),
        factor=read.number(2, 2.0, 0.1, 9.0),
        start=read.number(3, 0.0, 0.0, 1.0),
        end=read.number(4, 0.35, 0.0, 1.0),
        after_skip=bool(read.value(5, True)),
        down=read.choice(6, "bicubic", _METHODS),
        up=read.choice(7, "bicubic", _METHODS),
    )


def rescaled_guidance(args: Sequence[Any], path: str, scope: Scope) -> ModelPatch | None:
    """[share, colour fix, its strength, keep the original]"""
    read = _Arguments(args, path, scope)
    if read.value(1, False):
        scope.report.unsupported(
            f"{path}[1]", "its colour fix is not done; send false", instead="it is left out"
        )
    read.warn(0, "ComfyUI's RescaleCFG takes the spread of v-predictions, not of clean latents")
    return RescaledGuidance(read.number(0, 0.0, 0.0, 1.0))


def dynamic_thresholding(args: Sequence[Any], path: str, scope: Scope) -> ModelPatch | None:
    """[enabled, mimic scale, percentile, ..., phi], see `_THRESHOLDING`."""
    if not scope.catalog.has(_THRESHOLDING_NODE):
        scope.report.missing(
            path,
            "it needs the node pack sd-dynamic-thresholding (mcmonkeyprojects), which is also one "
            "of ComfyUI's",
            instead="it is left out",
        )
        return None
    read = _Arguments(args, path, scope)
    inputs: dict[str, Any] = {}
    for position, (name, usual) in enumerate(_THRESHOLDING, 1):
        if isinstance(usual, float):
            inputs[name] = read.number(position, usual, 0.0, 100.0)
        else:
            known = scope.catalog.options(_THRESHOLDING_NODE, name)
            inputs[name] = read.choice(position, str(usual), known or (str(usual),))
    return DynamicThresholding(tuple(inputs.items()))


PatchReader = Callable[[Sequence[Any], str, Scope], ModelPatch | None]

PATCH_READERS: Mapping[str, PatchReader] = {
    "cfg rescale extension": rescaled_guidance,
    "freeu": free_u,
    "freeu integrated (sd 1.x, sd 2.x, sdxl)": free_u_of_forge,
    "self attention guidance": self_attention_guidance,
    "selfattentionguidance integrated (sd 1.x, sd 2.x, sdxl)": self_attention_guidance_of_forge,
    "perturbedattentionguidance integrated": perturbed_attention_guidance,
    "kohya hrfix integrated": deep_shrink,
    "dynamic thresholding (cfg scale fix)": dynamic_thresholding,
    "dynamicthresholding (cfg-fix) integrated": dynamic_thresholding,
}
"""Lower-case title -> what reads the arguments of a script that changes the model."""
