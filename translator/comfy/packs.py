"""The node classes that a unit's kind of work takes, and where they come from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from translator.comfy.catalog import Catalog
from translator.control.models import Kind
from translator.control.modules import Role

PACKS: Mapping[str, str] = {
    "custom_nodes.comfyui_controlnet_aux": "comfyui_controlnet_aux (github.com/Fannovel16)",
    "custom_nodes.ComfyUI-Advanced-ControlNet": (
        "ComfyUI-Advanced-ControlNet (github.com/Kosinkadink)"
    ),
    "custom_nodes.ComfyUI_InstantID": "ComfyUI_InstantID (github.com/cubiq)",
    "custom_nodes.ComfyUI_IPAdapter_plus": "ComfyUI_IPAdapter_plus (github.com/cubiq)",
    "custom_nodes.comfyui_a1111": "custom_nodes/comfyui_a1111 of this project",
}
"""Where a missing node comes from; ``custom_nodes.txt`` pins the packs."""

FIT = "A1111ControlNetFit"
PREPARE = "A1111ControlNetImage"
INPUT = "A1111ControlNetInput"
RECOLOR = "A1111ControlNetRecolor"
PASTE = "A1111ControlNetPaste"
COLOR_FIX = "A1111ControlNetColorFix"
INPAINT_ONLY = "A1111ControlNetInpaintOnly"
ATTENTION = "A1111ControlNetAttention"
REVISION = "A1111Revision"
FACE_CONTROL = "A1111InstantIDControlNet"

OWN = (
    FIT,
    PREPARE,
    INPUT,
    RECOLOR,
    PASTE,
    COLOR_FIX,
    INPAINT_ONLY,
    ATTENTION,
    REVISION,
    FACE_CONTROL,
)
"""Our nodes; ``exact`` ControlNet has all of them or none."""

ADVANCED = ("ACN_AdvancedControlNetApply_v2",)

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
    "reference": ("ACN_ReferencePreprocessor", "ACN_ReferenceControlNet", *ADVANCED),
    "inpaint": ("InpaintPreprocessor",),
    "style": ("StyleModelLoader", "CLIPVisionLoader", "CLIPVisionEncode", "StyleModelApply"),
    "revision": ("CLIPVisionLoader", "CLIPVisionEncode"),
}

_OF_KIND: Mapping[Kind, tuple[str, ...]] = {
    Kind.INSTANT_ID: ("ApplyInstantIDControlNet",),
    Kind.LLLITE: ("ACN_ControlNetLoaderAdvanced", *ADVANCED),
}


def of_unit(
    role: Role, kind: Kind, *, block_weights: bool, per_layer: bool, region: bool
) -> Iterable[str]:
    """The node classes of a unit, its preprocessor's aside.

    Args:
        block_weights: whether its residuals have a weight per block.
        per_layer: whether an image prompt has a weight per layer.
        region: whether it acts in a part of the picture only.
    """
    yield from _OF_ROLE.get(role, ())
    yield from _OF_KIND.get(kind, ())
    if kind is Kind.INSTANT_ID:
        if block_weights or region:
            yield "ACN_ControlNetLoaderAdvanced"
    elif block_weights or (region and role not in ("ip_adapter", "face_id")):
        yield from ADVANCED
    if per_layer:
        yield "IPAdapterMS"


def pack_of(class_type: str) -> str:
    """What to install for a node that is not there."""
    known = Catalog.bundled().nodes.get(class_type)
    return PACKS.get(known.pack if known else "", "a current ComfyUI")
