"""Stage: units that change the text conditioning: revision, and T2I-Adapter's style."""

from __future__ import annotations

from translator.comfy import nodes
from translator.comfy.graph import ClipVisionOutput, Conditioning
from translator.control.plan import UnitPlan
from translator.control.shared import POOLED_WIDTH
from translator.control.windows import Window
from translator.stages.control.ip_adapter import clip_image, load_vision
from translator.stages.control.preprocess import ControlPass

_NOTHING = 0.0
"""The strength that leaves tokens of zeros."""


def style(
    at: ControlPass,
    unit: UnitPlan,
    window: Window,
    positive: Conditioning,
    negative: Conditioning,
) -> tuple[Conditioning, Conditioning]:
    """Append a picture's style to the prompt, and as many empty tokens to the negative prompt.

    In the hires pass A1111 appends the style to both.
    """
    weight = unit.unit.weight
    own = _NOTHING if at.shared.tells_negative else weight
    styled = _styled(at, unit, positive, weight)
    return (
        _while(at, window, styled, positive),
        _while(at, window, _styled(at, unit, negative, own), negative),
    )


def _styled(at: ControlPass, unit: UnitPlan, text: Conditioning, strength: float) -> Conditioning:
    assert unit.model is not None
    return nodes.style_model_apply(
        at.graph,
        title=f"ControlNet unit {unit.unit.index}: style",
        conditioning=text,
        style_model=nodes.load_style_model(at.graph, unit.model.name),
        clip_vision_output=_encoded(at, unit),
        strength=strength,
    )


def revision(
    at: ControlPass,
    unit: UnitPlan,
    window: Window,
    positive: Conditioning,
    negative: Conditioning,
    *,
    seed: int,
    before: int,
) -> tuple[Conditioning, Conditioning]:
    """Put a picture in place of SDXL's pooled text, and nothing in the negative prompt's.

    In the hires pass A1111 puts it in place of both.

    Args:
        seed: of torch's generator in A1111 when the request's sampling begins, or -1.
        before: how many earlier revision units have their pictures there, to be added to.
    """
    encoded = _encoded(at, unit)
    if not at.plan.exact:
        bare = nodes.zero_out(at.graph, positive) if at.plan.zero_text else positive
        revised = nodes.unclip_conditioning(
            at.graph, bare, encoded, unit.unit.weight, float(unit.unit.threshold_a)
        )
        return _while(at, window, revised, positive), negative
    revised = _revised(at, unit, positive, encoded, seed, before)
    if at.shared.tells_negative:
        emptied = _revised(at, unit, negative, None, seed, 0)
    else:
        emptied = _revised(at, unit, negative, encoded, seed, before)
    return _while(at, window, revised, positive), _while(at, window, emptied, negative)


def _revised(
    at: ControlPass,
    unit: UnitPlan,
    text: Conditioning,
    encoded: ClipVisionOutput | None,
    seed: int,
    before: int,
) -> Conditioning:
    return nodes.a1111_revision(
        at.graph,
        title=f"ControlNet unit {unit.unit.index}: {unit.module.name}",
        conditioning=text,
        clip_vision_output=encoded,
        strength=unit.unit.weight,
        noise_augmentation=float(unit.unit.threshold_a),
        seed=max(seed, 0),
        drawn=before * POOLED_WIDTH,
        add=before > 0,
        zero_text=at.plan.zero_text,
    )


def _encoded(at: ControlPass, unit: UnitPlan) -> ClipVisionOutput:
    source = at.of(unit).features
    shown = unit if source is None or not at.plan.exact else at.plan.by_index(source.unit)
    return nodes.clip_vision_encode(
        at.graph, load_vision(at, unit), clip_image(at, shown, shown.images[0])
    )


def _while(
    at: ControlPass, window: Window, changed: Conditioning, before: Conditioning
) -> Conditioning:
    """The changed text within a window, the text as it was outside of it."""
    result = changed
    if window.start > 0.0 or window.end < 1.0:
        result = nodes.set_range(at.graph, changed, window.start, window.end)
    if window.start > 0.0:
        early = nodes.set_range(at.graph, before, 0.0, window.start)
        result = nodes.combine(at.graph, result, early)
    if window.end < 1.0:
        late = nodes.set_range(at.graph, before, window.end, 1.0)
        result = nodes.combine(at.graph, result, late)
    return result
