"""Always-on scripts that change the model: their arguments -> `PatchScript`.

Sources: the scripts' own argument lists and infotexts (sd-webui-freeu, sd-dynamic-thresholding,
sd_webui_SAG, CFG_Rescale_webui, the "Integrated" scripts of Forge 2025-06), restated. Arguments
that are not sent have the values of the page. What a node does otherwise than the script is a
warning.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass, field, replace
from typing import Any

from translator.plan.free_u import Stage
from translator.plan.patches import (
    DeepShrink,
    DynamicThresholding,
    FreeU,
    HyperTile,
    ModelPatch,
    PerturbedAttentionGuidance,
    RescaledGuidance,
    SelfAttentionGuidance,
)
from translator.report import Report, show
from translator.scope import Scope
from translator.scripts.arguments import Arguments
from translator.suggest import did_you_mean

_METHODS = ("bicubic", "nearest-exact", "bilinear", "area", "bislerp")

_THRESHOLDING_NODE = "DynamicThresholdingFull"
_PERCENTILE, _CHANNELS = "threshold_percentile", "separate_feature_channels"
_THRESHOLDING: Mapping[str, float | str] = {
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

_THRESHOLDING_ALONE: Mapping[str, Any] = {
    **_THRESHOLDING,
    _PERCENTILE: 100.0,
    "sched_val": 4.0,
    _CHANNELS: True,
}
"""The same of the extension's own page, which has percents and a switch."""

_THRESHOLDING_ENTRIES: Mapping[str, str] = {
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

_FREE_U_NODE = "A1111FreeU"
_PERTURBED_NODE = "A1111PerturbedAttention"

_FREE_U = ("enable", "start_ratio", "stop_ratio", "transition_smoothness", "version")
"""sd-webui-freeu's plain values, in order; six for each stage follow."""

_STAGE_INFOS = "stage_infos"
_FREE_U_NUMBERS: Mapping[str, float] = {
    "start_ratio": 0.0,
    "stop_ratio": 1.0,
    "transition_smoothness": 0.0,
}
_FREE_U_VERSIONS = ("1", "2")

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


@dataclass(frozen=True)
class PatchScript:
    """What a script asks for.

    Attributes:
        patch: the change of the model.
        infotext: what the script writes into the infotext.
    """

    patch: ModelPatch
    infotext: Mapping[str, Any] = field(default_factory=dict)


def _entries(prefix: str, names: Iterable[str], given: Arguments) -> Mapping[str, Any]:
    """Infotext of Forge's scripts: every argument as it was sent."""
    return {
        f"{prefix}_{name}": value
        for name, value in zip(("enabled", *names), given.values, strict=False)
    }


def _part_of_run(given: Arguments, start: int, node: str, scope: Scope) -> tuple[float, float]:
    """The share of the steps that a script acts in; all of them without our node.

    Args:
        start: position of the share that it begins at; the one that it ends at follows.
    """
    found = given.number(start, 0.0, 1.0), given.number(start + 1, 0.0, 1.0)
    if found == (0.0, 1.0) or scope.has_own(node):
        return found
    given.warn(start, "ComfyUI's node acts on every step, not on a part of them")
    return 0.0, 1.0


def free_u(args: Sequence[Any], path: str, scope: Scope) -> PatchScript | None:
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
    for name in _FREE_U_NUMBERS:
        value = named[name]
        named[name] = float(value) if isinstance(value, int) else value
    return _free_u_of({**named, _STAGE_INFOS: list(args[len(_FREE_U) :])}, path, scope)


def _free_u_of(given: Mapping[str, Any], path: str, scope: Scope) -> PatchScript | None:
    report = scope.report
    _refuse_unknown(given, (*_FREE_U, _STAGE_INFOS), path, report)
    stages = _stages(given.get(_STAGE_INFOS) or [], f"{path}.{_STAGE_INFOS}", report)
    start, stop, smoothness = (
        _bounded(given.get(name, usual), f"{path}.{name}", report)
        for name, usual in _FREE_U_NUMBERS.items()
    )
    second = _free_u_version(given.get("version", "1"), f"{path}.version", report) == "2"
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
    if not scope.has_own(_FREE_U_NODE):
        patch = _free_u_of_core(patch, path, report)
    return PatchScript(patch, _free_u_entries(stages, (start, stop, smoothness), second))


def _free_u_of_core(patch: FreeU, path: str, report: Report) -> FreeU:
    """What ComfyUI's own nodes can do of it."""
    if not patch.is_plain:
        report.warn(
            path,
            "without our node pack it acts on every step and on half of the channels, with one "
            "cutoff for all frequencies",
        )
    plain = tuple(Stage(stage.backbone, stage.skip) for stage in patch.stages[:2])
    return replace(patch, stages=plain, start=0.0, stop=1.0, smoothness=0.0, by_calls=False)


def _free_u_version(value: Any, path: str, report: Report) -> str:
    """``1`` or ``2``; the extension takes whatever else it is told for 1, the number 2 as well."""
    version = value.removeprefix("Version ") if isinstance(value, str) else ""
    if version in _FREE_U_VERSIONS:
        return version
    report.warn(path, f'{show(value)} is taken for "1", as in the extension; it knows "1" and "2"')
    return _FREE_U_VERSIONS[0]


def _free_u_entries(
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
    start, end = _part_of_run(given, 5, _FREE_U_NODE, scope)
    b1, b2, s1, s2 = (given.number(position, 0.0, 10.0) for position in range(1, 5))
    stages = (Stage(b1, s1), Stage(b2, s2))
    return PatchScript(
        FreeU(stages, True, start, end, 0.0, by_calls=False),
        _entries("freeu", ("b1", "b2", "s1", "s2", "start", "end"), given),
    )


def self_attention_guidance(args: Sequence[Any], path: str, scope: Scope) -> PatchScript | None:
    """[enabled, scale, threshold]"""
    given = Arguments(args, path, scope, (False, 0.75, 1.0))
    given.warn_of_surplus()
    _warn_of_threshold(given, 2)
    return PatchScript(
        SelfAttentionGuidance(given.number(1, -2.0, 5.0), 2.0),
        {"SAG Guidance Scale": given.values[1], "SAG Mask Threshold": given.values[2]},
    )


def self_attention_guidance_of_forge(
    args: Sequence[Any], path: str, scope: Scope
) -> PatchScript | None:
    """[enabled, scale, blur sigma, threshold]"""
    given = Arguments(args, path, scope, (False, 0.5, 2.0, 1.0))
    given.warn_of_surplus()
    _warn_of_threshold(given, 3)
    return PatchScript(
        SelfAttentionGuidance(given.number(1, -2.0, 5.0), given.number(2, 0.0, 10.0)),
        _entries("sag", ("scale", "blur_sigma", "threshold"), given),
    )


def _warn_of_threshold(given: Arguments, position: int) -> None:
    if given.values[position] != 1.0:
        given.warn(position, "the threshold of ComfyUI's node is 1")


def perturbed_attention_guidance(
    args: Sequence[Any], path: str, scope: Scope
) -> PatchScript | None:
    """[enabled, scale, attenuation, start, end]"""
    given = Arguments(args, path, scope, (False, 3.0, 0.0, 0.0, 1.0))
    given.warn_of_surplus()
    attenuation = given.number(2, 0.0, 100.0)
    if attenuation and not scope.has_own(_PERTURBED_NODE):
        given.warn(2, "ComfyUI's node does not weaken from step to step")
        attenuation = 0.0
    start, end = _part_of_run(given, 3, _PERTURBED_NODE, scope)
    scale = given.number(1, 0.0, 100.0)
    return PatchScript(
        PerturbedAttentionGuidance(scale, attenuation, start, end),
        _entries("pagi", ("scale", "attenuation", "start_step", "end_step"), given),
    )


def deep_shrink(args: Sequence[Any], path: str, scope: Scope) -> PatchScript | None:
    """[enabled, block, factor, start, end, after skip, down, up]"""
    usual = (False, 3, 2.0, 0.0, 0.35, True, "bicubic", "bicubic")
    given = Arguments(args, path, scope, usual)
    given.warn_of_surplus()
    patch = DeepShrink(
        block=given.whole(1, 1, 32),
        factor=given.number(2, 0.1, 9.0),
        start=given.number(3, 0.0, 1.0),
        end=given.number(4, 0.0, 1.0),
        after_skip=given.switch(5),
        down=given.choice(6, _METHODS),
        up=given.choice(7, _METHODS),
    )
    names = (
        *("block_number", "downscale_factor", "start_percent", "end_percent"),
        *("downscale_after_skip", "downscale_method", "upscale_method"),
    )
    return PatchScript(patch, _entries("kohya_hrfix", names, given))


def hyper_tile(args: Sequence[Any], path: str, scope: Scope) -> PatchScript | None:
    """[enabled, tile size, swap size, depth, scale depth]"""
    given = Arguments(args, path, scope, (False, 256, 2, 0, False))
    given.warn_of_surplus()
    given.warn(0, "ComfyUI's HyperTile draws other tiles: the picture is near, not the same")
    patch = HyperTile(
        tile=given.whole(1, 64, 2048),
        swap_size=given.whole(2, 1, 128),
        depth=given.whole(3, 0, 10),
        roles=("first", "img2img", "hires"),
        scales=given.switch(4),
    )
    names = ("tile_size", "swap_size", "max_depth", "scale_depth")
    return PatchScript(patch, _entries("hypertile", names, given))


def rescaled_guidance(args: Sequence[Any], path: str, scope: Scope) -> PatchScript | None:
    """[share, colour fix, its strength, keep the original]"""
    given = Arguments(args, path, scope, (0.0, False, 0.0, False))
    given.warn_of_surplus()
    if given.switch(1):
        given.unsupported(1, "its colour fix is not done; send false", instead="it is left out")
    given.warn(0, "ComfyUI's RescaleCFG takes the spread of v-predictions, not of clean latents")
    share = given.number(0, 0.0, 1.0)
    return PatchScript(RescaledGuidance(share), {"CFG Rescale": given.values[0]})


def dynamic_thresholding_of_forge(
    args: Sequence[Any], path: str, scope: Scope
) -> PatchScript | None:
    """[enabled, mimic scale, percentile, ..., phi], see `_THRESHOLDING`."""
    if not _has_thresholding(path, scope):
        return None
    given = Arguments(args, path, scope, (False, *_THRESHOLDING.values()))
    given.warn_of_surplus()
    inputs = _thresholding(given, scope)
    return PatchScript(DynamicThresholding(inputs), _entries("dynthres", _THRESHOLDING, given))


def dynamic_thresholding(args: Sequence[Any], path: str, scope: Scope) -> PatchScript | None:
    """The extension's own: as Forge's, but for a percentile in percent and a switch of channels."""
    if not _has_thresholding(path, scope):
        return None
    given = Arguments(args, path, scope, (False, *_THRESHOLDING_ALONE.values()))
    given.warn_of_surplus()
    shown = dict(zip(_THRESHOLDING, given.values[1:], strict=False))
    position = {name: number for number, name in enumerate(_THRESHOLDING, 1)}
    given.values[position[_PERCENTILE]] = given.number(position[_PERCENTILE], 0.0, 100.0) * 0.01
    given.values[position[_CHANNELS]] = "enable" if shown[_CHANNELS] else "disable"
    inputs = _thresholding(given, scope)
    return PatchScript(DynamicThresholding(inputs), _thresholding_entries(shown))


def _has_thresholding(path: str, scope: Scope) -> bool:
    if scope.catalog.has(_THRESHOLDING_NODE):
        return True
    scope.report.missing(
        path,
        "it needs the node pack sd-dynamic-thresholding (mcmonkeyprojects), which is also one of "
        "ComfyUI's",
        instead="it is left out",
    )
    return False


def _thresholding(given: Arguments, scope: Scope) -> tuple[tuple[str, Any], ...]:
    """The node's inputs."""
    inputs: dict[str, Any] = {}
    for position, (name, usual) in enumerate(_THRESHOLDING.items(), 1):
        if isinstance(usual, float):
            most = 1.0 if name in (_PERCENTILE, "interpolate_phi") else 100.0
            inputs[name] = given.number(position, 0.0, most)
        else:
            known = scope.catalog.options(_THRESHOLDING_NODE, name)
            inputs[name] = given.choice(position, known or (usual,))
    return tuple(inputs.items())


def _thresholding_entries(shown: Mapping[str, Any]) -> Mapping[str, Any]:
    """The extension's infotext: what does not count for the modes is left out."""
    left_out: set[str] = set()
    for mode, least in (("mimic_mode", "mimic_scale_min"), ("cfg_mode", "cfg_scale_min")):
        left_out |= {mode, least} if shown[mode] == _CONSTANT else set()
    if not any(shown[mode] in _MODES_WITH_VALUE for mode in ("mimic_mode", "cfg_mode")):
        left_out.add("sched_val")
    entries = {
        entry: shown[name] for name, entry in _THRESHOLDING_ENTRIES.items() if name not in left_out
    }
    return {"Dynamic thresholding enabled": True, **entries}


PatchReader = Callable[[Sequence[Any], str, Scope], PatchScript | None]

PATCH_READERS: Mapping[str, PatchReader] = {
    "cfg rescale extension": rescaled_guidance,
    "freeu": free_u,
    "freeu integrated (sd 1.x, sd 2.x, sdxl)": free_u_of_forge,
    "self attention guidance": self_attention_guidance,
    "selfattentionguidance integrated (sd 1.x, sd 2.x, sdxl)": self_attention_guidance_of_forge,
    "perturbedattentionguidance integrated": perturbed_attention_guidance,
    "kohya hrfix integrated": deep_shrink,
    "hypertile integrated": hyper_tile,
    "dynamic thresholding (cfg scale fix)": dynamic_thresholding,
    "dynamicthresholding (cfg-fix) integrated": dynamic_thresholding_of_forge,
}
"""Lower-case title -> what reads the arguments of a script that changes the model."""
