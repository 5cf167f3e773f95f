"""The nodes of PuLID_ComfyUI: a face in SDXL's cross-attention."""

from __future__ import annotations

from typing import Literal

from translator.comfy.graph import Graph, Image, Mask, Model, Ref
from translator.comfy.nodes.instantid import FaceAnalysis

PulidMethod = Literal["fidelity", "style"]


class PulidModel(Ref):
    """PULID"""

    __slots__ = ()


class EvaClip(Ref):
    """EVA_CLIP"""

    __slots__ = ()


def load_pulid(graph: Graph, name: str) -> PulidModel:
    return graph.add("PulidModelLoader", pulid_file=name).out(PulidModel)


def load_eva_clip(graph: Graph) -> EvaClip:
    """EVA02-CLIP-L-14-336, from Hugging Face's cache."""
    return graph.add("PulidEvaClipLoader").out(EvaClip)


def pulid_face_analysis(graph: Graph, provider: str) -> FaceAnalysis:
    """InsightFace's antelopev2; `provider` is onnxruntime's."""
    return graph.add("PulidInsightFaceLoader", provider=provider).out(FaceAnalysis)


def apply_pulid(
    graph: Graph,
    *,
    title: str,
    model: Model,
    pulid: PulidModel,
    eva_clip: EvaClip,
    face_analysis: FaceAnalysis,
    image: Image,
    method: PulidMethod,
    weight: float,
    start: float,
    end: float,
    mask: Mask | None,
) -> Model:
    """A face in the model's cross-attention; `start` and `end` are shares of the schedule."""
    return graph.add(
        "ApplyPulid",
        title=title,
        model=model,
        pulid=pulid,
        eva_clip=eva_clip,
        face_analysis=face_analysis,
        image=image,
        method=method,
        weight=weight,
        start_at=start,
        end_at=end,
        attn_mask=mask,
    ).out(Model)
