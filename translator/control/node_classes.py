"""The node classes that a unit's kind of work takes, its preprocessor's aside."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from translator.control.models import Kind
from translator.control.modules import Role

OWN_NODES = (
    "A1111ControlNetFit",
    "A1111ControlNetImage",
    "A1111ControlNetInput",
    "A1111ControlNetOnWhite",
    "A1111ControlNetReference",
    "A1111AverageImagePrompts",
    "A1111FaceFound",
    "A1111LargestFace",
    "A1111FaceTokens",
    "A1111LayerWeights",
    "A1111PooledControlNet",
    "A1111ControlNetRegion",
    "A1111ControlNetClipImage",
    "A1111AdapterFeatures",
    "A1111ControlLLLite",
    "A1111ControlNetAnyline",
    "A1111ControlNetRecolor",
    "A1111ControlNetPaste",
    "A1111ControlNetColorFix",
    "A1111ControlNetInpaintOnly",
    "A1111ControlNetAttention",
    "A1111Revision",
    "A1111InstantIDControlNet",
)
"""The pack's nodes for ControlNet units; ``exact`` ControlNet has all of them or none."""

_ADVANCED = ("ACN_AdvancedControlNetApply_v2",)

_OF_ROLE: Mapping[Role, tuple[str, ...]] = {
    "instant_id_embedding": (
        "InstantIDModelLoader",
        "InstantIDFaceAnalysis",
        "InstantIDAttentionPatch",
    ),
    "instant_id_keypoints": ("InstantIDFaceAnalysis", "FaceKeypointsPreprocessor"),
    "ip_adapter": ("IPAdapterModelLoader", "CLIPVisionLoader", "IPAdapterAdvanced"),
    "face_id": (
        "IPAdapterModelLoader",
        "CLIPVisionLoader",
        "IPAdapterInsightFaceLoader",
        "IPAdapterFaceID",
    ),
    "pulid": ("PulidModelLoader", "PulidEvaClipLoader", "PulidInsightFaceLoader", "ApplyPulid"),
    "reference": ("ACN_ReferencePreprocessor", "ACN_ReferenceControlNet", *_ADVANCED),
    "inpaint": ("InpaintPreprocessor",),
    "style": ("StyleModelLoader", "CLIPVisionLoader", "CLIPVisionEncode", "StyleModelApply"),
    "revision": ("CLIPVisionLoader", "CLIPVisionEncode"),
}

_OF_KIND: Mapping[Kind, tuple[str, ...]] = {
    Kind.INSTANT_ID: ("ApplyInstantIDControlNet",),
    Kind.LLLITE: ("ACN_ControlNetLoaderAdvanced",),
}


BOUND_BY_OURS = frozenset((Kind.CONTROLNET, Kind.UNION, Kind.INSTANT_ID))
"""Models that our node keeps in a region."""

_DONE_BY_OURS: frozenset[Role] = frozenset(("reference",))
"""Kinds of work that our nodes do by themselves."""


def node_classes(
    role: Role, kind: Kind, *, exact: bool, block_weights: bool, per_layer: bool, region: bool
) -> Iterable[str]:
    """The classes of a unit that ComfyUI must have.

    Args:
        exact: whether our nodes are used.
        block_weights: whether its residuals have a weight per block.
        per_layer: whether an image prompt has a weight per layer.
        region: whether it acts in a part of the picture only.
    """
    if exact and region and kind in BOUND_BY_OURS:
        block_weights = region = False
    if not (exact and role in _DONE_BY_OURS):
        yield from _OF_ROLE.get(role, ())
    yield from _OF_KIND.get(kind, ())
    if kind is Kind.LLLITE and not exact:
        yield from _ADVANCED
    if kind is Kind.INSTANT_ID:
        if block_weights or region:
            yield "ACN_ControlNetLoaderAdvanced"
    elif block_weights or (region and role not in ("ip_adapter", "face_id", "pulid")):
        yield from _ADVANCED
    if per_layer and role != "instant_id_embedding":
        yield "IPAdapterMS"


FINISHERS: Mapping[str, str] = {
    "recolor_luminance": "A1111ControlNetRecolor",
    "recolor_intensity": "A1111ControlNetRecolor",
    "inpaint_only": "A1111ControlNetPaste",
    "inpaint_only+lama": "A1111ControlNetPaste",
}
"""Modules that work on the finished picture, and our node that does it."""
