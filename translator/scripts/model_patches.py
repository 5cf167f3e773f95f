"""Always-on scripts that change the model: their arguments -> `ModelPatch`.

Sources: the scripts' own argument lists (sd-webui-freeu, sd-dynamic-thresholding, the "Integrated"
scripts of Forge 2025-06), restated in the project's facts. Arguments that are not sent have the
values of A1111's page. What a node does otherwise than the script is a warning.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from translator.plan.patches import (
    DeepShrink,
    DynamicThresholding,
    FreeU,
    ModelPatch,
    PerturbedAttentionGuidance,
    RescaledGuidance,
    SelfAttentionGuidance,
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


_FREE_U_STAGES = ((1.2, 0.9), (1.4, 0.2))
_UNCHANGED = (1.0, 1.0)
"""Factors of backbone and skip connection: the page's two stages, and a stage left alone."""


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

    def whole_run(self, start: int, end: int) -> None:
        """Warn where the script acts on a part of the steps; its node acts on all of them."""
        if (self.number(start, 0.0, 0.0, 1.0), self.number(end, 1.0, 0.0, 1.0)) != (0.0, 1.0):
            self.warn(start, "ComfyUI's node acts on every step, not on a part of them")


def free_u(args: Sequence[Any], path: str, scope: Scope) -> ModelPatch | None:
    """sd-webui-freeu's object; its flat list differs from release to release."""
    given = args[0] if args else None
    if not isinstance(given, Mapping):
        scope.report.unsupported(
            path,
            'the list of plain values differs from release to release; send one object: {"enable": '
            'true, "version": "2", "stage_infos": [...]}',
            instead="it is left out",
        )
        return None
    stages = given.get("stage_infos") or []
    if not isinstance(stages, list) or not all(isinstance(stage, Mapping) for stage in stages):
        scope.report.invalid(f"{path}[0].stage_infos", f"{show(stages)} is not a list of objects")
        return None
    if given.get("start_ratio", 0) or given.get("stop_ratio", 1) != 1:
        scope.report.warn(
            f"{path}[0].start_ratio", "ComfyUI's node acts on every step, not on a part of them"
        )
    factors = [
        _stage(stage, f"{path}[0].stage_infos[{n}]", scope) for n, stage in enumerate(stages)
    ]
    (b1, s1), (b2, s2) = (*(factors or _FREE_U_STAGES), _UNCHANGED)[:2]
    return FreeU(b1, b2, s1, s2, first=str(given.get("version", "1")) == "1")


def _stage(stage: Mapping[str, Any], path: str, scope: Scope) -> tuple[float, float]:
    """Factors of backbone and skip connection; what a node lacks is a warning."""
    for name, usual in (("backbone_offset", 0), ("backbone_width", 0.5), ("skip_cutoff", 0)):
        if stage.get(name, usual) != usual:
            scope.report.warn(f"{path}.{name}", "ComfyUI's node has no such number")
    values = [stage.get(name, 1.0) for name in ("backbone_factor", "skip_factor")]
    for name, value in zip(("backbone_factor", "skip_factor"), values, strict=True):
        if not isinstance(value, int | float) or not 0 <= value <= 10:
            scope.report.invalid(
                f"{path}.{name}", f"{show(value)} is not a number within 0..10", value
            )
            return 1.0, 1.0
    return float(values[0]), float(values[1])


def free_u_of_forge(args: Sequence[Any], path: str, scope: Scope) -> ModelPatch | None:
    """[enabled, b1, b2, s1, s2, start, end]"""
    read = _Arguments(args, path, scope)
    read.whole_run(5, 6)
    b1, b2, s1, s2 = (
        read.number(position, usual, 0.0, 10.0)
        for position, usual in enumerate((1.01, 1.02, 0.99, 0.95), 1)
    )
    return FreeU(b1, b2, s1, s2)


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
    if read.value(2, 0.0):
        read.warn(2, "ComfyUI's node does not weaken from step to step")
    read.whole_run(3, 4)
    return PerturbedAttentionGuidance(read.number(1, 3.0, 0.0, 100.0))


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
