"""Stage: PuLID: a face in SDXL's cross-attention, by the nodes of PuLID_ComfyUI."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from translator.comfy import nodes
from translator.comfy.graph import Model
from translator.comfy.nodes.instantid import FaceAnalysis
from translator.comfy.nodes.pulid import PulidMethod
from translator.control.plan import UnitPlan
from translator.control.sizes import RESOLUTION_UNSEEN
from translator.control.units import UnitImage
from translator.control.windows import Window
from translator.stages.control import preprocess
from translator.stages.control.preprocess import ControlPass

_METHODS: Mapping[str, PulidMethod] = {"Fidelity": "fidelity", "Extremely style": "style"}
"""A1111's pulid_mode -> ApplyPulid's method."""


def patch(
    at: ControlPass, unit: UnitPlan, window: Window, model: Model, items: Sequence[UnitImage]
) -> Model:
    """Add a face, of the pictures given, to the model's cross-attention."""
    assert unit.model is not None
    graph = at.graph
    region = unit.unit.effective_region_mask
    return nodes.apply_pulid(
        graph,
        title=f"ControlNet unit {unit.unit.index}: {unit.module.label}",
        model=model,
        pulid=nodes.load_pulid(graph, unit.model.name),
        eva_clip=nodes.load_eva_clip(graph),
        face_analysis=_face_analysis(at),
        image=preprocess.scaled_batch(at, unit, items, RESOLUTION_UNSEEN),
        method=_METHODS[unit.unit.pulid_mode],
        weight=unit.unit.weight,
        start=window.start,
        end=window.end,
        mask=preprocess.load_mask(graph, at.plan, region) if region else None,
    )


def _face_analysis(at: ControlPass) -> FaceAnalysis:
    analysis = nodes.pulid_face_analysis(at.graph, at.plan.face_provider)
    if not at.plan.exact:
        return analysis
    return nodes.a1111_strict_face_analysis(at.graph, analysis)
